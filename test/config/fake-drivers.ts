// Two drivers with the traits of real ones: units with tags that the file names, and tags that appear by themselves.
import { z } from 'zod';
import { duration, filePath, name, tagFields, tagName, valueType } from '../../src/config/fields.ts';
import { type Driver, defineDriver } from '../../src/driver.ts';
import { SluiceError } from '../../src/errors.ts';

const closedSession = () => Promise.reject(new Error('this driver only plans'));

const bus = defineDriver({
  name: 'bus',
  mode: 'poll',
  schema: z.strictObject({
    transport: z.string().regex(/^tcp:\/\//, { error: 'expected an address such as tcp://10.0.0.5:502' }),
    timeout: duration().default(1000),
    password: z.string().optional(),
    trace: filePath().optional(),
    units: z.array(
      z.strictObject({
        unit: z.int().min(0).max(247),
        every: duration().default(1000),
        order: z.enum(['ABCD', 'CDAB', 'BADC', 'DCBA']).default('ABCD'),
        tags: z.array(
          z.strictObject({
            ...tagFields,
            name: tagName(),
            register: z.union([z.string(), z.number()]),
            type: valueType(),
          }),
        ),
      }),
    ),
  }),
  endpoint: (config) => config.transport,
  plan: (config) =>
    config.units.map((unit) => ({
      unit: `unit ${unit.unit}`,
      everyMs: unit.every,
      tags: unit.tags.map(({ name: tag, register, type, ...fields }) => {
        if (register === 'none') {
          throw new SluiceError('config.register', 'stop', `the tag ${tag} has no register`, {
            facts: { tag },
            hint: 'give it one',
          });
        }
        return { name: tag, type, fields, address: register };
      }),
    })),
  open: closedSession,
});

const topics = defineDriver({
  name: 'topics',
  mode: 'listen',
  schema: z.strictObject({
    url: z.string(),
    client: name().optional(),
    topics: z.array(
      z.discriminatedUnion('payload', [
        z.strictObject({ payload: z.literal('json'), filter: z.string(), fields: z.record(z.string(), z.string()) }),
        z.strictObject({ payload: z.literal('number'), filter: z.string(), port: z.number().optional() }),
      ]),
    ),
    tls: z.union([z.boolean(), z.strictObject({ ca: z.string(), pin: z.string().optional() })]).default(false),
  }),
  endpoint: (config) => config.url,
  plan: () => [],
  open: closedSession,
});

export const fakeDrivers: readonly Driver[] = [bus, topics];
