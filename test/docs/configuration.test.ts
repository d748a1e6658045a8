// docs/configuration.md names the settings that exist, all of them, with their defaults.
import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { drivers } from '../../drivers/index.ts';
import { duration, size, tagFields, tagFieldsSchema } from '../../src/config/fields.ts';
import { type JsonSchema, jsonSchema } from '../../src/config/json-schema.ts';
import { configSchema, sourceSchema } from '../../src/config/schema.ts';

interface Documented {
  readonly setting: string;
  readonly fallback: string;
}

/** Heading → rows of its table. */
function sectionsOf(text: string): Map<string, Documented[]> {
  const sections = new Map<string, Documented[]>();
  let rows: Documented[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('## ')) {
      rows = [];
      sections.set(line.slice(3), rows);
    }
    const [, setting, , fallback] = /^\| `([^`]+)` \| (.*?) \| (.*?) \| .*\|$/.exec(line) ?? [];
    if (setting !== undefined && fallback !== undefined) rows.push({ setting, fallback });
  }
  return sections;
}

function record(value: unknown): JsonSchema {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonSchema) : {};
}

/** Paths of all settings that hold no further ones: `units[].tags[].register`. Both sides of a union count. */
function leaves(schema: JsonSchema, path = ''): Set<string> {
  const found = new Set<string>();
  const options = [schema.anyOf, schema.oneOf].flatMap((list) => (Array.isArray(list) ? list : []));
  for (const option of options) for (const leaf of leaves(record(option), path)) found.add(leaf);
  for (const [key, below] of Object.entries(record(schema.properties))) {
    for (const leaf of leaves(record(below), path === '' ? key : `${path}.${key}`)) found.add(leaf);
  }
  const maps = record(schema.additionalProperties);
  if (Object.keys(maps).length > 0) for (const leaf of leaves(maps, `${path}.<name>`)) found.add(leaf);
  if (Object.keys(record(schema.items)).length > 0) {
    for (const leaf of leaves(record(schema.items), `${path}[]`)) found.add(leaf);
  }
  // A path or a map (`fields`) is a setting by itself as well as what is below it.
  if (found.size === 0 || (options.length > 0 && [...found].every((leaf) => leaf !== path))) found.add(path);
  return new Set([...found].map((leaf) => leaf.replace(/\[\]$/, '')));
}

const documented = sectionsOf(readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8'));
const rowsOf = (heading: string) => documented.get(heading) ?? [];
const named = (heading: string) => rowsOf(heading).map(({ setting }) => setting);
const schema = jsonSchema(drivers);
const sections = record(schema.properties);
const sourceSchemas = record(record(sections.sources).additionalProperties).oneOf as JsonSchema[];
/** Where tags stand in each driver's settings. */
const TAGS_AT: Readonly<Record<string, readonly string[]>> = {
  modbus: ['units[].tags[]'],
  mqtt: ['topics[]', 'topics[].fields.<name>'],
  simulator: ['tags[]'],
};
const EVERY_TAG = 'Every tag';

test.each(Object.keys(sections).filter((name) => name !== 'sources'))(
  'every setting of %s is there, and no other',
  (name) => {
    expect(named(`\`${name}\``).sort()).toEqual([...leaves(record(sections[name]))].sort());
  },
);

test.each(drivers.map(({ name }) => name))(
  'every setting of a source with the driver %s is there, and no other',
  (name) => {
    const mine = sourceSchemas.find((each) => record(record(each.properties).driver).const === name) ?? {};
    const everyTag = (TAGS_AT[name] ?? []).flatMap((at) => named(EVERY_TAG).map((setting) => `${at}.${setting}`));
    const all = [...named('`sources.<name>`'), ...named(`\`sources.<name>\` with driver ${name}`), ...everyTag];
    const real = [...leaves(mine)].filter(
      (path) => !/\.alarm(\.hi|\.lo)?$/.test(path) && path !== 'topics[].fields.<name>',
    );
    expect(all.sort()).toEqual([...new Set([...real, ...(name === 'mqtt' ? ['topics[].fields'] : [])])].sort());
  },
);

test('what every tag may say is there', () => {
  const keys = new Set(named(EVERY_TAG).map((setting) => setting.split('.')[0] ?? ''));
  expect([...keys].sort()).toEqual(Object.keys(tagFields).sort());
});

const limits = { hi: { limit: 1 }, lo: { limit: 0 } };
const alarm = { ...limits, sliding: [{ over: '1min', of: 'mean', ...limits }] };
const whole = configSchema.parse({
  gateway: { id: 'x' },
  sources: {},
  uplink: { url: 'https://cloud.example.com', keys: { device: 'a', cloud: 'b' } },
  hmi: { mqtt: { users: [{ name: 'panel', password: 'long enough' }] } },
  http: {},
  // Left out it is nothing at all; its defaults are those of who has it.
  cache: { encryptAtRest: {} },
});
const tag = { name: 'a' };
const smallest: Readonly<Record<string, object>> = {
  modbus: { transport: 'tcp://10.0.0.5', units: [{ unit: 1, tags: [{ ...tag, register: 'holding:0' }] }] },
  mqtt: { url: 'mqtt://10.0.0.9', topics: [{ filter: 'a', tag: 'a', value: '$' }] },
  simulator: { tags: [tag] },
};

/** The value at `units[].every` in parsed settings, of the first of each list. */
function valueAt(value: unknown, path: string): unknown {
  const steps = path.replaceAll('[]', '.0').split('.');
  return steps.reduce<unknown>((at, step) => (at as Record<string, unknown> | undefined)?.[step], value);
}

/** `1s` is 1000, `[1s, 1h]` two of them, `64KiB` bytes; everything else as YAML has it. */
function meant(text: string): unknown {
  const value: unknown = parse(text);
  const plain = (one: unknown): unknown =>
    [duration(), size()].map((unit) => unit.safeParse(one)).find(({ success }) => success)?.data ?? one;
  return Array.isArray(value) ? value.map(plain) : plain(value);
}

/** `{ host, port }` as it is written. */
function written(value: unknown): unknown {
  const { host, port } = record(value);
  return host === undefined ? value : `${host}:${port}`;
}

test.each<[string, unknown]>([
  ...Object.entries(whole).map(([name, parsed]): [string, unknown] => [`\`${name}\``, parsed]),
  ['`sources.<name>`', sourceSchema.parse({})],
  ...drivers.map((driver): [string, unknown] => [
    `\`sources.<name>\` with driver ${driver.name}`,
    driver.schema.parse(smallest[driver.name]),
  ]),
  [EVERY_TAG, tagFieldsSchema.parse({ alarm })],
])('the defaults of %s are those of the schema', (heading, parsed) => {
  const given = smallest[heading.split(' driver ')[1] ?? ''];
  for (const { setting, fallback } of rowsOf(heading)) {
    if (fallback === '**needed**' || valueAt(given, setting) !== undefined) continue;
    const value = written(valueAt(parsed, setting));
    const text = /^`(.*)`$/.exec(fallback)?.[1];
    // Windows of the HMI are labels, not lengths.
    const expected = text === undefined ? undefined : setting === 'mqtt.windows' ? parse(text) : meant(text);
    expect([setting, value]).toEqual([setting, expected]);
  }
});
