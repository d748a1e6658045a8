import { modbus } from '../../../drivers/modbus/index.ts';
import { driverContract } from '../contract.ts';
import { honest, ScriptedSlave } from './slave.ts';

driverContract('modbus', async () => {
  const slave = await ScriptedSlave.start();
  const settings = (transport: string) => ({
    transport,
    timeout: '40ms',
    retries: 1,
    connectTimeout: '250ms',
    units: [
      {
        unit: 1,
        tags: [
          { name: 'flow', register: 'holding:100' },
          { name: 'fast', register: 'input:3', every: '100ms' },
        ],
      },
      { unit: 2, tags: [{ name: 'pump', register: 'coil:7' }] },
    ],
  });
  return {
    driver: modbus,
    settings: settings(slave.transport),
    unreachable: settings('tcp://127.0.0.1:1'),
    silence: () => {
      slave.script = () => undefined;
    },
    speak: () => {
      slave.script = honest;
    },
    hangUp: () => slave.hangUp(),
    connections: () => slave.sockets.size,
    stop: () => slave.stop(),
  };
});
