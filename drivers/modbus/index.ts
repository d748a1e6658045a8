/**
 * Modbus as a master over TCP. Reads only; what it asks for is planned once (plan.ts), decoded without objects (decode.ts),
 * and every fault of a device stays with the tags it concerns (session.ts). Settings: config.ts; orders of bytes: order.ts.
 */
import { defineDriver } from '../../src/driver.ts';
import { schema } from './config.ts';
import { planGroups } from './groups.ts';
import { ModbusSession } from './session.ts';

export const modbus = defineDriver({
  name: 'modbus',
  mode: 'poll',
  schema,
  endpoint: ({ transport: { host, port } }) => `tcp://${host.includes(':') ? `[${host}]` : host}:${port}`,
  plan: planGroups,
  open: (config, groups, context, signal) => ModbusSession.open(config, groups, context, signal),
});
