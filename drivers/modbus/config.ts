/** The settings of a Modbus source, as they stand in the YAML. What contradicts itself across settings: groups.ts. */
import { z } from 'zod';
import { duration, durationFrom, tagFields, tagName, valueType } from '../../src/config/fields.ts';
import { parseRegister } from './address.ts';
import { ORDERS, SHORT_ORDERS } from './order.ts';

const PORT_DEFAULT = 502;
const PORT_MAX = 65_535;
/** The transaction id has 16 bits; devices that pipeline at all take 1 to 16 (Messaging on TCP/IP V1.0b, 4.3.2). */
const WINDOW_MAX = 16;
/** A field of 250 bytes: what one read can hold. */
const WORDS_MAX = 125;
const BITS_MAX = 2000;

/** Where a Modbus TCP server listens. */
export interface TcpAddress {
  /** A name or address, IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

const TRANSPORT = /^([a-z][a-z0-9+.-]*):\/\/(?:\[([0-9a-f:.%a-z]+)\]|([^\s:/?#@[\]]+))(?::(\d{1,5}))?\/?$/i;

const transport = () =>
  z.string().transform((text, context): TcpAddress => {
    const scheme = /^([^:/]*):/.exec(text)?.[1]?.toLowerCase();
    const match = TRANSPORT.exec(text);
    const port = Number(match?.[4] ?? PORT_DEFAULT);
    const host = match?.[2] ?? match?.[3];
    if (scheme !== 'tcp') {
      context.addIssue(`${text}: only tcp://host:port is supported (Modbus TCP), such as tcp://10.0.0.5:502`);
      return z.NEVER;
    }
    if (host === undefined || port < 1 || port > PORT_MAX) {
      context.addIssue(`${text}: expected tcp://host:port, such as tcp://10.0.0.5:502 or tcp://[fe80::1]:502`);
      return z.NEVER;
    }
    return { host, port };
  });

const register = () =>
  z
    .union([z.string(), z.number()], { error: 'expected a register such as holding:100 or 40101' })
    .transform((input, context) => {
      const parsed = parseRegister(input);
      if ('problem' in parsed) {
        context.addIssue(parsed.problem);
        return z.NEVER;
      }
      return parsed;
    });

/** How often: as often as a device on a bus can be asked, and no more often than a timer can keep. */
const every = () => durationFrom(10, '10ms');

const tag = z.strictObject({
  ...tagFields,
  name: tagName(),
  register: register(),
  /** bool for a coil, a discrete input or with `bit`; else uint16. */
  type: valueType().optional(),
  /** The unit's unless given. */
  order: z.enum(ORDERS).optional(),
  scale: z
    .number()
    .refine((scale) => scale !== 0, { error: 'a scale of 0 makes every value 0' })
    .optional(),
  offset: z.number().optional(),
  /** 0 is the least significant bit of the register. */
  bit: z.int().min(0).max(15).optional(),
  /** Registers of a text, two characters each. */
  length: z.int().min(1).max(WORDS_MAX).optional(),
  every: every().optional(),
});

const unit = z.strictObject({
  /** Unit id; 255 is what most devices that are no gateway answer to. */
  unit: z.int().min(0).max(255),
  every: every().default(1000),
  order: z.enum(SHORT_ORDERS).default('ABCD'),
  tags: z.array(tag).min(1),
});

export const schema = z.strictObject({
  transport: transport(),
  /** From a request on the wire to its reply. Field devices answer within 200 ms. */
  timeout: durationFrom(1, '1ms').default(1000),
  /** How often a request is repeated after a time-out before its unit counts as silent. */
  retries: z.int().min(0).max(10).default(1),
  connectTimeout: durationFrom(1, '1ms').default(3000),
  /** A pause before each request after the first, for devices that go deaf when asked too fast. */
  requestDelay: duration().default(0),
  /** Registers read for nothing to save a request. */
  mergeGap: z.int().min(0).max(WORDS_MAX).default(10),
  /** Registers, or bits, in one read; fewer for devices that refuse the standard's 125 and 2000. */
  wordsMax: z.int().min(1).max(WORDS_MAX).default(WORDS_MAX),
  bitsMax: z.int().min(1).max(BITS_MAX).default(BITS_MAX),
  /** Requests on the wire at the same time. More than 1 only for devices known to queue them. */
  window: z.int().min(1).max(WINDOW_MAX).default(1),
  units: z.array(unit).min(1),
});

export type ModbusConfig = z.output<typeof schema>;
export type UnitConfig = ModbusConfig['units'][number];
export type TagConfig = UnitConfig['tags'][number];
