// Keys: made, refused where they cannot be used, before anything is started.
import { chmodSync, copyFileSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { fixedDevices } from '../../src/cloud/index.ts';
import { readSecretFile } from '../../src/runtime/credentials.ts';
import { readUplinkKeys } from '../../src/uplink/index.ts';
import { parseCloudKey } from '../../src/wire/keys.ts';
import { gatewayConfig, Place, sluice, sluiceJson } from './rig.ts';

let place: Place;
beforeEach(() => {
  place = new Place();
});
afterEach(() => place.remove());

const at = (name: string) => join(place.path, name);
const mode = (name: string) => statSync(at(name)).mode & 0o777;

describe('keygen', () => {
  test('makes what gateway and cloud can use; the secret for its owner alone', async () => {
    expect((await sluice('keygen', '--dir', place.path, '--name', 'box')).code).toBe(0);
    expect((await sluice('keygen', '--cloud', '--dir', place.path)).code).toBe(0);
    expect(['device.key', 'device.json', 'cloud.key', 'cloud.pub'].map(mode)).toEqual([0o600, 0o644, 0o600, 0o644]);
    const { device, cloudKeys } = readUplinkKeys({ device: at('device.key'), cloud: at('cloud.pub') });
    const cloud = parseCloudKey(readSecretFile(at('cloud.key')));
    expect(cloudKeys?.recipient.publicKey).toEqual(cloud.recipient.publicKey);
    const listed = JSON.parse(readFileSync(at('device.json'), 'utf8'));
    expect(listed).toEqual([
      {
        device: Buffer.from(device.device).toString('hex'),
        name: 'box',
        publicKey: Buffer.from(device.publicKey).toString('hex'),
      },
    ]);
    expect(() => fixedDevices(listed)).not.toThrow();
  });

  test('refuses to replace a secret, and replaces it when forced to', async () => {
    await sluice('keygen', '--dir', place.path);
    const before = readFileSync(at('device.key'), 'utf8');
    const refused = await sluice('keygen', '--dir', place.path);
    expect(refused.code).toBe(2);
    expect(refused.problems).toMatch(/device\.key is there already/);
    expect(readFileSync(at('device.key'), 'utf8')).toBe(before);
    chmodSync(at('device.key'), 0o644);
    expect((await sluice('keygen', '--dir', place.path, '--force')).code).toBe(0);
    expect(readFileSync(at('device.key'), 'utf8')).not.toBe(before);
    expect(mode('device.key')).toBe(0o600);
  });

  test('tells the public facts as JSON, and no secret', async () => {
    const { code, facts } = await sluiceJson('keygen', '--dir', place.path);
    expect(code).toBe(0);
    expect(facts).toMatchObject({ secret: at('device.key'), public: at('device.json'), name: 'gateway' });
    const { secret } = JSON.parse(readFileSync(at('device.key'), 'utf8'));
    expect(JSON.stringify(facts)).not.toContain(secret);
  });
});

describe('check and run', () => {
  let config: string;
  beforeEach(async () => {
    await sluice('keygen', '--dir', place.path);
    await sluice('keygen', '--cloud', '--dir', place.path);
    config = place.file(
      'sluice.yaml',
      gatewayConfig(
        './cache',
        `uplink:
  url: http://127.0.0.1:1
  keys:
    device: ./device.key
    cloud: ./cloud.pub
`,
      ),
    );
  });

  const damages: [string, string, RegExp, () => void][] = [
    ['a device key that others can read', 'device', /mode 0644.*chmod 600/, () => chmodSync(at('device.key'), 0o644)],
    ['a device key that is none', 'device', /no key/, () => place.file('device.key', 'garbage')],
    ['a cloud key as device key', 'device', /no key/, () => copyFileSync(at('cloud.key'), at('device.key'))],
    ['a device key as cloud key', 'cloud', /no key/, () => copyFileSync(at('device.key'), at('cloud.pub'))],
  ];
  test.each(damages)('find %s, with its line, before anything is started', async (_, setting, why, damage) => {
    damage();
    const checked = await sluice('check', '-c', config);
    expect(checked.code).toBe(2);
    const line = setting === 'device' ? 13 : 14;
    expect(checked.problems).toMatch(new RegExp(`sluice\\.yaml:${line}:\\d+: uplink\\.keys\\.${setting} `));
    expect(checked.problems).toMatch(why);
    expect(await sluice('run', '-c', config)).toEqual(checked);
  });

  test('find both keys missing at once, and another fault with them', async () => {
    const text = readFileSync(config, 'utf8').replace(/\.\/(device\.key|cloud\.pub)/g, './none');
    const broken = place.file('broken.yaml', text.replace('shape: sine', 'shape: sinus'));
    const { code, facts } = await sluiceJson('check', '-c', broken);
    expect(code).toBe(2);
    expect(facts).toMatchObject({
      ok: false,
      findings: [
        { path: expect.stringContaining('sources.made'), line: expect.any(Number) },
        { path: 'uplink.keys.device', line: 13, reason: expect.stringContaining('ENOENT') },
        { path: 'uplink.keys.cloud', line: 14, reason: expect.stringContaining('ENOENT') },
      ],
    });
  });

  test('find certificates that cannot be used, and a key of one that others can read', async () => {
    const pem = (what: string) => `-----BEGIN ${what}-----\nAAAA\n-----END ${what}-----\n`;
    place.file('box.pem', pem('CERTIFICATE'));
    place.file('box.key', pem('PRIVATE KEY'));
    place.file('ca.pem', 'no certificate');
    const text = `${readFileSync(config, 'utf8')}  tls: { ca: ./ca.pem, cert: ./box.pem, key: ./box.key }\n`;
    const secured = place.file('tls.yaml', text);
    const { code, problems } = await sluice('check', '-c', secured);
    expect(code).toBe(2);
    expect(problems).toMatch(/tls\.yaml:15:14: uplink\.tls\.ca .*holds no PEM/);
    expect(problems).toMatch(/uplink\.tls\.key .*mode 0644.*chmod 600/);
    expect(problems).not.toMatch(/uplink\.tls\.cert/);
    chmodSync(at('box.key'), 0o600);
    place.file('ca.pem', pem('CERTIFICATE'));
    expect(await sluice('check', '-c', secured)).toMatchObject({ code: 0, problems: '' });
  });

  test('take the keys that keygen made', async () => {
    expect(await sluice('check', '-c', config)).toMatchObject({ code: 0, problems: '' });
  });

  test('let one who may not read the keys look at the cache', async () => {
    chmodSync(at('device.key'), 0o644);
    expect((await sluice('status', '-c', config)).problems).toMatch(/there is no cache/);
  });
});
