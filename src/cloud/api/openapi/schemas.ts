/** What answers look like, as JSON Schema 2020-12 (which OpenAPI 3.1 uses). */
import { ROLES } from '../../access/tokens.ts';
import { FORGET_PHASES } from '../../forget/jobs.ts';

type Schema = Readonly<Record<string, unknown>>;

const string = { type: 'string' } as const;
const number = { type: 'number' } as const;
const integer = { type: 'integer' } as const;
const boolean = { type: 'boolean' } as const;
export const list = (items: Schema): Schema => ({ type: 'array', items });
const orNull = ({ type, ...rest }: { readonly type: string } & Schema): Schema => ({ ...rest, type: [type, 'null'] });
const time = { type: 'string', format: 'date-time' } as const;
const value = {
  type: ['string', 'number', 'boolean', 'null'],
  description: '64-bit integers, NaN and infinities are strings; null for readings of bad quality',
} as const;
const ref = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` });

/** Every property is there, and no other. */
export function exactly(properties: Readonly<Record<string, Schema>>, optional: readonly string[] = []): Schema {
  const required = Object.keys(properties).filter((name) => !optional.includes(name));
  return { type: 'object', properties, required, additionalProperties: false };
}

const identity = { gateway: string, tag: string } as const;
const tag = { ...identity, type: orNull(string), unit: orNull(string) };
const reading = {
  time: { ...orNull(time), description: 'null where no calendar reaches' },
  timeMs: { ...number, description: 'milliseconds since 1970 UTC' },
  value,
  status: { enum: ['good', 'uncertain', 'bad'] },
  reason: orNull(string),
};
const spanned = { from: orNull(time), to: orNull(time) };
const window = {
  ...identity,
  start: orNull(time),
  startMs: number,
  count: { ...integer, description: 'readings that have a value' },
  good: integer,
  aggregated: { ...integer, description: 'how many of them are known only as part of a sum of the gateway' },
  min: value,
  max: value,
  mean: orNull(number),
  first: value,
  last: value,
};
const next = { ...orNull(string), description: 'the `cursor` of the next page' };
const token = { name: string, role: { enum: ROLES } };
const removed = exactly({ readings: integer, blocks: integer, aggregates: integer, records: integer, tags: integer });

export const SCHEMAS: Readonly<Record<string, Schema>> = {
  Error: exactly({ code: { ...string, description: 'stable' }, message: string, hint: orNull(string) }),
  Tag: exactly(tag),
  Reading: exactly({ ...identity, ...reading }),
  Readings: exactly({ tags: list(ref('Tag')), ...spanned, truncated: boolean, next, readings: list(ref('Reading')) }),
  Latest: exactly({
    truncated: boolean,
    next: orNull(integer),
    latest: list(exactly({ ...tag, ...reading, ageMs: number })),
  }),
  Window: exactly(window),
  Windows: exactly({ tags: list(ref('Tag')), ...spanned, periodMs: number, windows: list(ref('Window')) }),
  Columns: {
    ...exactly({
      gateway: string,
      tag: string,
      unit: orNull(string),
      columns: { type: 'object', additionalProperties: list(value) },
    }),
    description:
      'format=columns: `series`, in the place of the lines, is a list of these; all arrays of one are of one length',
  },
  Digest: exactly({ gateway: string, tags: { type: 'object', additionalProperties: { type: 'object' } } }),
  Alarms: exactly({
    cloud: list(
      exactly({
        ...{
          id: integer,
          device: string,
          gateway: string,
          kind: { enum: ['fork', 'loss'] },
          subject: string,
          text: string,
        },
        ...{ active: boolean, raised: time, cleared: orNull(time), closedBy: orNull(string) },
      }),
    ),
    gateways: list({
      type: 'object',
      required: ['gateway', 'id', 'condition', 'state', 'active', 'time', 'text', 'run', 'n'],
      properties: { state: { enum: ['raised', 'cleared', 'acknowledged', 'ended'] }, active: boolean, time },
    }),
  }),
  Closed: exactly({ closed: integer, by: string }),
  Devices: exactly({
    devices: list(
      exactly({
        ...{ device: string, name: string, listed: boolean, revoked: boolean },
        ...{ firstSeen: orNull(time), lastSeen: orNull(time) },
        ...{ batches: integer, rows: integer, readings: integer, duplicates: integer },
        alarms: exactly({ cloud: integer, gateway: integer }),
        runs: list({ type: 'object', required: ['run', 'opened', 'previous', 'classes'] }),
      }),
    ),
  }),
  Tokens: exactly({
    tokens: list(exactly({ ...token, created: time, expires: orNull(time), used: orNull(time) })),
  }),
  NewToken: exactly({ ...token, expires: time }, ['expires']),
  MadeToken: exactly({ ...token, token: { ...string, description: 'shown this once' } }),
  Removed: exactly({ removed: string }),
  Audit: exactly({
    entries: list(
      exactly({
        ...{ id: integer, time, timeMs: number, who: string, address: orNull(string), action: string },
        ...{ object: orNull(string), outcome: { enum: ['done', 'refused', 'failed'] } },
        ...{ details: { type: 'object' }, count: integer },
      }),
    ),
    next: orNull(integer),
  }),
  Forget: {
    ...exactly({ gateway: string, tag: string, everything: { const: true }, reason: string }, [
      'tag',
      'everything',
      'reason',
    ]),
    description: 'either a tag, or everything: true',
  },
  Forgetting: exactly({
    ...{ id: integer, gateway: string, device: string, tag: orNull(string), reason: orNull(string), by: string },
    ...{ asked: time, done: orNull(time), phase: { enum: FORGET_PHASES }, removed },
  }),
  ForgetList: exactly({ requests: list(ref('Forgetting')) }),
  Health: exactly({ status: { const: 'ok' } }),
};
