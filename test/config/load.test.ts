import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ConfigInvalid, findingsOf, formatFinding } from '../../src/config/findings.ts';
import { jsonSchema } from '../../src/config/json-schema.ts';
import { checkConfig, loadConfig } from '../../src/config/load.ts';
import { distance, nearest } from '../../src/config/near.ts';
import { codeOf } from '../../src/errors.ts';
import { fakeDrivers } from './fake-drivers.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-config-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string, mode = 0o600): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

const boiler = (more = '') => `
gateway: { id: line3, site: plant7 }
sources:
  boiler:
    driver: bus
    transport: tcp://10.0.0.5:502
    timeout: 250ms
    ${more}
    units:
      - { unit: 1, every: 5s, tags: [{ name: pump/flow, register: 1, type: float32, deadband: 0.5, maxSilence: 2min }] }
`;

describe('a good config', () => {
  test('becomes plain values: durations in milliseconds, defaults filled in, tags planned', () => {
    const config = loadConfig(file('sluice.yaml', boiler('readTimeout: 2s')), fakeDrivers, {});
    expect(config.gateway).toEqual({ id: 'line3', site: 'plant7' });
    expect(config.pipeline).toMatchObject({ tagsMax: 10_000, futureMax: 300_000, maxSilence: 60_000 });
    expect(config.log).toEqual({ level: 'info', format: 'auto' });
    expect(config.http).toBeUndefined();
    const [source] = config.sources;
    expect(source).toMatchObject({ name: 'boiler', driver: 'bus', readTimeout: 2000 });
    expect(source?.prepared.endpoint).toBe('tcp://10.0.0.5:502');
    expect(source?.prepared.groups[0]).toMatchObject({ unit: 'unit 1', everyMs: 5000 });
    expect(source?.prepared.groups[0]?.tags[0]).toMatchObject({
      name: 'pump/flow',
      fields: { deadband: 0.5, maxSilence: 120_000 },
    });
  });

  test('takes values from the environment, files and credentials, as the type the setting wants', () => {
    file('password', 'correct horse\n');
    file('broker-token', 'battery staple');
    file('ca.pem', '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n', 0o644);
    const path = file(
      'sluice.yaml',
      `
gateway: { id: "\${env:LINE:-line9}-\${env:SHIFT}" }
sources:
  boiler: { driver: bus, transport: "tcp://10.0.0.5:$\${502}", password: "\${file:password}", units: [] }
  weather:
    driver: topics
    url: mqtt://bob:\${credential:broker-token}@10.0.0.9
    topics: [{ payload: number, filter: a, port: "\${env:PORT}" }]
    tls: { ca: "\${file:ca.pem}" }
`,
    );
    const config = loadConfig(path, fakeDrivers, { SHIFT: 'late', PORT: '1883', CREDENTIALS_DIRECTORY: folder });
    expect(config.gateway.id).toBe('line9-late');
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the escape leaves exactly these characters
    expect(config.sources[0]?.prepared.endpoint).toBe('tcp://10.0.0.5:${502}');
    expect(config.sources[1]?.prepared.endpoint).toBe('mqtt://bob:battery staple@10.0.0.9');
    expect([...config.secrets].sort()).toEqual(['battery staple', 'correct horse']);
  });

  test('takes file names from its own folder, wherever the daemon was started', () => {
    const config = loadConfig(
      file('sluice.yaml', `${boiler('trace: logs/bus.txt')}cache: { path: data/cache.db }`),
      fakeDrivers,
      {},
    );
    expect(config.cache.path).toBe(join(folder, 'data/cache.db'));
  });

  test('leaves a key alone that a credential gave in place of its file name', () => {
    file('device-key', '{"kind":"sluice-device-key"}\n');
    const uplink = `uplink: { url: "https://cloud.example.com", keys: { device: "\${credential:device-key}", cloud: cloud.json } }`;
    const config = loadConfig(file('sluice.yaml', boiler() + uplink), fakeDrivers, { CREDENTIALS_DIRECTORY: folder });
    expect(config.uplink?.keys).toEqual({ device: '{"kind":"sluice-device-key"}', cloud: join(folder, 'cloud.json') });
  });

  test('keeps anchors and merge keys', () => {
    const path = file(
      'sluice.yaml',
      `
gateway: { id: line3 }
sources:
  a: &press { driver: bus, transport: tcp://10.0.0.5:502, units: [] }
  b: { <<: *press, transport: tcp://10.0.0.6:502 }
`,
    );
    expect(loadConfig(path, fakeDrivers, {}).sources.map((source) => source.prepared.endpoint)).toEqual([
      'tcp://10.0.0.5:502',
      'tcp://10.0.0.6:502',
    ]);
  });
});

describe('a bad config', () => {
  test('is thrown as config.invalid with every finding, one a line', () => {
    const path = file('sluice.yaml', boiler('transprot: x').replace('line3', 'a/b'));
    const thrown = (() => {
      try {
        return loadConfig(path, fakeDrivers, {});
      } catch (error) {
        return error;
      }
    })();
    expect(thrown).toBeInstanceOf(ConfigInvalid);
    expect(codeOf(thrown)).toBe('config.invalid');
    const findings = findingsOf(thrown);
    expect(findings.map((finding) => finding.path)).toEqual(['gateway.id', 'sources.boiler.transprot']);
    expect(formatFinding(findings[1] ?? raise(), folder)).toBe(
      'sluice.yaml:8:5: sources.boiler.transprot ("x") is not a setting; did you mean transport?',
    );
    expect((thrown as Error).message).toContain('did you mean transport?');
  });

  test('names a secret file that others can read, and never shows a secret', () => {
    file('token', 'open sesame!', 0o644);
    const path = file('sluice.yaml', boiler(`password: "\${file:token}"\n    passwrod: "open sesame!"`));
    const findings = checkConfig(path, fakeDrivers, {});
    expect(findings.map(({ path: at, reason }) => `${at} ${reason}`)).toEqual([
      expect.stringMatching(
        /^sources\.boiler\.password cannot be filled in: others can read .*token \(mode 0644\); chmod 600 /,
      ),
      'sources.boiler.passwrod is not a setting',
    ]);
    expect(JSON.stringify(findings)).not.toContain('open sesame');
  });

  test('that is missing, a folder or no text is a finding, not a crash', () => {
    expect(checkConfig(join(folder, 'none.yaml'), fakeDrivers)[0]).toMatchObject({
      reason: 'the file cannot be read (ENOENT)',
    });
    expect(checkConfig(folder, fakeDrivers)[0]).toMatchObject({ reason: 'the file cannot be read (EISDIR)' });
    expect(checkConfig(file('a.yaml', '\u0000\u0001{{{'), fakeDrivers).length).toBeGreaterThan(0);
  });

  test('of any shape is answered with findings', () => {
    const key = fc.constantFrom(
      'gateway',
      'sources',
      'id',
      'driver',
      'units',
      'tags',
      '__proto__',
      'log',
      'cache',
      'x',
    );
    const leaf = fc.oneof(fc.string(), fc.double(), fc.boolean(), fc.constant(null), fc.constantFrom('bus', 'topics'));
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 5 },
        leaf,
        fc.array(tie('tree'), { maxLength: 3 }),
        fc.dictionary(key, tie('tree'), { maxKeys: 4 }),
      ),
    }));
    const path = join(folder, 'any.yaml');
    fc.assert(
      fc.property(tree, (value) => {
        writeFileSync(path, JSON.stringify(value));
        for (const finding of checkConfig(path, fakeDrivers, {})) {
          expect(finding.line).toBeGreaterThanOrEqual(1);
          expect(finding.reason).not.toBe('');
        }
      }),
      { numRuns: 60 },
    );
  });
});

test('the JSON Schema knows every section and each driver’s settings', () => {
  const schema = JSON.parse(JSON.stringify(jsonSchema(fakeDrivers)));
  expect(Object.keys(schema.properties)).toEqual(
    expect.arrayContaining(['gateway', 'sources', 'pipeline', 'cache', 'uplink', 'hmi', 'http', 'log']),
  );
  const bus = schema.properties.sources.additionalProperties.oneOf[0];
  expect(bus.properties.driver).toEqual({ const: 'bus' });
  expect(Object.keys(bus.properties)).toEqual(expect.arrayContaining(['readTimeout', 'transport', 'units']));
  expect(bus.required).toEqual(expect.arrayContaining(['driver', 'transport', 'units']));
  expect(bus.additionalProperties).toBe(false);
});

describe('near matches', () => {
  test('count one for a letter too many, missing, wrong, or swapped with its neighbour', () => {
    expect([
      distance('transprot', 'transport'),
      distance('evry', 'every'),
      distance('', 'abc'),
      distance('ca', 'abc'),
    ]).toEqual([1, 1, 3, 3]);
  });

  test('are symmetric, and zero only for equal words', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 8 }), fc.string({ maxLength: 8 }), (a, b) => {
        expect(distance(a, b)).toBe(distance(b, a));
        expect(distance(a, b) === 0).toBe(a === b);
      }),
    );
  });

  test('are offered only when they are near', () => {
    expect(nearest('transprot', ['timeout', 'transport'])).toBe('transport');
    expect(nearest('Every', ['every'])).toBe('every');
    expect(nearest('uint46', ['uint16', 'uint64'])).toBe('uint64');
    expect(nearest('colour', ['level', 'format'])).toBeUndefined();
  });
});

function raise(): never {
  throw new Error('expected a finding');
}
