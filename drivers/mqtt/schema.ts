/** The settings of an MQTT source: see README.md beside this file for what they mean together. */
import { z } from 'zod';
import { duration, durationFrom, name, size, tagFields, valueType } from '../../src/config/fields.ts';
import { slotKind, type ValueType } from '../../src/reading.ts';
import { compilePath, type JsonPath } from './path.ts';
import { filterFault, placeholdersOf, wildcardsOf } from './topic.ts';

/** What a PLC gateway or sensor sends is far below; camera pictures are not readings. */
const PAYLOAD_BYTES_MAX = 256_000;
/** As many as there are packet identifiers (MQTT 3.1.1, section 2.3.1): a broker cannot have more in flight. */
const RECEIVE_WINDOW = 65_535;
const KEEP_ALIVE_MS = 60_000;
const KEEP_ALIVE_SECONDS_MAX = 65_535;
const CONNECT_TIMEOUT_MS = 10_000;
/** As long as the cache keeps data: a box that was away for longer has nothing of it left to compare with. */
const SESSION_EXPIRY_MS = 14 * 86_400_000;

const path = () =>
  z.string().transform((text, context): JsonPath => {
    const compiled = compilePath(text);
    if (compiled !== undefined) return compiled;
    context.addIssue(
      `expected a path such as $.t, $.sensors[0].v or @.v (of an element of each), not ${JSON.stringify(text)}`,
    );
    return z.NEVER;
  });

const field = z.union([
  path(),
  z.strictObject({
    ...tagFields,
    priority: tagFields.priority.unwrap().optional(),
    path: path(),
    type: valueType().optional(),
  }),
]);

const topicShape = z.strictObject({
  ...tagFields,
  /** Topic filter to subscribe to. */
  filter: z.string().superRefine((text, context) => {
    const fault = filterFault(text);
    if (fault !== undefined) context.addIssue(fault);
  }),
  /** The tag's name: `{1}` is what the first wildcard of the filter matched, then `{topic}`, `{field}`, `{name}`. */
  tag: z.string().min(1).max(256),
  payload: z.enum(['json', 'number', 'text', 'bool']).default('json'),
  /** JSON: several values of one message, each a tag by `{field}`. */
  fields: z.record(name(), field).optional(),
  /** JSON: the only value. */
  value: path().optional(),
  /** JSON: a list of readings; `@` in the other paths is its element. */
  each: path().optional(),
  /** With `each`, where elements have no time of their own: the time from one to the next. */
  step: durationFrom(0.001, '0.001ms').optional(),
  /** JSON: text that becomes `{name}` in the tag. */
  name: path().optional(),
  /** JSON: seconds, milli-, micro- or nanoseconds since the epoch, or ISO 8601 with a zone. Without it, or where it is missing: arrival. */
  time: path().optional(),
  qos: z.literal([0, 1]).default(1),
  /** Default: `bool` or `text` for a payload of that kind, else `float64`. */
  type: valueType().optional(),
  /** `timed`: a retained message counts if it has its own time and the broker had kept no session of ours. */
  retained: z.enum(['timed', 'use', 'ignore']).default('timed'),
});

const topic = topicShape.superRefine((rule, context) => {
  for (const fault of faultsOf(rule)) context.addIssue(fault);
});

/** @public */
export const schema = z
  .strictObject({
    url: z
      .string()
      .refine(isBrokerUrl, { error: 'expected mqtt://host:port or mqtts://host:port, without user and path' }),
    username: z.string().optional(),
    password: z.string().optional(),
    /** Default `sluice-<gateway>-<source>`. Two clients of one name push each other off the broker. */
    clientId: z.string().min(1).max(256).optional(),
    /** 4 is MQTT 3.1.1. */
    protocolVersion: z.literal([4, 5]).default(4),
    keepAlive: durationFrom(1000, '1s')
      .refine((ms) => ms <= KEEP_ALIVE_SECONDS_MAX * 1000, { error: 'must be at most 65535s' })
      .default(KEEP_ALIVE_MS),
    /** From the first packet until every subscription is granted. */
    connectTimeout: durationFrom(100, '100ms').default(CONNECT_TIMEOUT_MS),
    /** MQTT 5: how long the broker keeps our session while we are away. MQTT 3.1.1 leaves that to the broker. */
    sessionExpiry: duration().default(SESSION_EXPIRY_MS),
    /** Most QoS 1 messages that wait for the disk. With MQTT 5 the broker knows; one that sends more is not read for a while. */
    receiveWindow: z.int().min(1).max(65_535).default(RECEIVE_WINDOW),
    /** A longer message is kept as a dead letter. */
    payloadMax: size()
      .refine((bytes) => bytes <= 16e6, { error: 'must be at most 16MB' })
      .default(PAYLOAD_BYTES_MAX),
    /** PEM texts, for mqtts. The system's certificates are trusted where `ca` is not given. */
    tls: z
      .strictObject({
        ca: z.string().optional(),
        cert: z.string().optional(),
        key: z.string().optional(),
        servername: z.string().optional(),
      })
      .optional(),
    topics: z.array(topic).min(1).max(1000),
  })
  .superRefine((config, context) => {
    const filters = config.topics.map((rule) => rule.filter);
    const twice = filters.find((filter, at) => filters.indexOf(filter) !== at);
    if (twice !== undefined)
      context.addIssue(`the filter ${twice} is there twice: use fields for several values of a message`);
  });

export type MqttConfig = z.output<typeof schema>;
export type TopicConfig = z.output<typeof topicShape>;

export function typeOf(rule: Pick<TopicConfig, 'type' | 'payload'>): ValueType {
  return rule.type ?? (rule.payload === 'bool' || rule.payload === 'text' ? rule.payload : 'float64');
}

function isBrokerUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  return (
    (url.protocol === 'mqtt:' || url.protocol === 'mqtts:') &&
    url.hostname !== '' &&
    (url.pathname === '' || url.pathname === '/') &&
    url.username === '' &&
    url.password === ''
  );
}

function* faultsOf(rule: TopicConfig): Generator<string> {
  const placeholders = placeholdersOf(rule.tag);
  const wildcards = wildcardsOf(rule.filter);
  for (const word of placeholders) {
    const known = ['topic', 'field', 'name'].includes(word) || /^[1-9]\d?$/.test(word);
    if (!known) yield `{${word}} is no placeholder: there are {1} for the first wildcard, {topic}, {field} and {name}`;
    else if (Number(word) > wildcards) yield `{${word}} needs as many wildcards, the filter has ${wildcards}`;
  }
  if (placeholders.includes('field') !== (rule.fields !== undefined)) yield '{field} in the tag and fields go together';
  if (placeholders.includes('name') !== (rule.name !== undefined)) yield '{name} in the tag and name go together';
  if (rule.payload !== 'json') {
    const setting = (['fields', 'value', 'each', 'name', 'time', 'step'] as const).find(
      (key) => rule[key] !== undefined,
    );
    if (setting !== undefined) yield `${setting} needs payload: json`;
    const kind = slotKind(typeOf(rule));
    const fits = rule.payload === 'number' ? kind !== 'text' && kind !== 'bool' : kind === rule.payload;
    if (!fits) yield `a payload of kind ${rule.payload} does not go into type ${rule.type}`;
    return;
  }
  if ((rule.fields === undefined) === (rule.value === undefined)) yield 'a JSON payload needs either fields or value';
  if (rule.step !== undefined && rule.each === undefined) yield 'step needs each';
  if (rule.each?.relative) yield 'each starts at the message: $';
  const paths = [rule.value, rule.name, rule.time, ...Object.values(rule.fields ?? {})];
  const relative = paths.some((at) => at !== undefined && ('path' in at ? at.path : at).relative);
  if (relative && rule.each === undefined) yield '@ is an element of each: without each use $';
}
