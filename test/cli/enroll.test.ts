// From no key at all to a configuration that works: the commands, one after the other, as a person types them.
import { copyFileSync, existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { type Cloud, devicesFile, startCloud } from '../../src/cloud/index.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { readSecretFile } from '../../src/runtime/credentials.ts';
import { readUplinkKeys } from '../../src/uplink/index.ts';
import { openKeyList, parseKeyList } from '../../src/wire/keylist.ts';
import { parseCloudKey, toPublic } from '../../src/wire/keys.ts';
import { WireProxy } from '../uplink/wire-proxy.ts';
import { gatewayConfig, Place, sluice, sluiceJson } from './rig.ts';

const quiet = pino({ level: 'silent' });
let place: Place;
let cloud: Cloud | undefined;
const at = (...path: string[]) => join(place.path, ...path);
const mode = (...path: string[]) => statSync(at(...path)).mode & 0o777;

async function startReceiver(key = 'cloud.key', list = at('data', 'cloud.list')): Promise<void> {
  cloud = await startCloud({
    ...{ host: '127.0.0.1', port: 0, dataDir: at('data'), clock: systemClock, logger: quiet },
    keys: parseCloudKey(readSecretFile(at(key))),
    keyList: parseKeyList(readFileSync(list, 'utf8')),
    devices: devicesFile(at('data', 'devices.json'), quiet),
  });
}

const sign = (pub = 'cloud.pub', out = at('data', 'cloud.list')) =>
  sluice('cloud', 'keys', '--root', at('root.key'), '--cloud', at(pub), '--out', out);

/** What is printed alone on standard output. */
async function token(name = 'box', ...more: string[]): Promise<string> {
  const { code, out, problems } = await sluice('cloud', 'token', '--data', at('data'), '--name', name, ...more);
  expect([code, problems.includes('sluice enroll')]).toEqual([0, true]);
  return out;
}
const enroll = (text: string, ...more: string[]) =>
  sluice('enroll', '--url', cloud?.url ?? '', '--token', text, '--out', at('keys'), ...more);

beforeEach(async () => {
  place = new Place();
  await sluice('keygen', '--root', '--dir', place.path);
  await sluice('keygen', '--cloud', '--dir', place.path);
  expect((await sign()).code).toBe(0);
  place.file('data/devices.json', '[]');
  await startReceiver();
});
afterEach(async () => {
  await cloud?.close();
  await place.remove();
});

describe('enroll', () => {
  test('writes keys for their owner alone, and a configuration that check takes', async () => {
    const { code, out } = await enroll(await token());
    expect(code).toBe(0);
    expect(['device.key', 'root.pub', 'cloud.list'].map((name) => mode('keys', name))).toEqual([0o600, 0o600, 0o600]);
    expect(existsSync(at('keys', 'device-enrolling.key'))).toBe(false);
    const yaml = out.slice(out.indexOf('uplink:'));
    const config = place.file('sluice.yaml', gatewayConfig('./cache', `${yaml}\n`));
    expect(await sluice('check', '-c', config)).toMatchObject({ code: 0, problems: '' });
    const { device, cloudKeys, keyList } = readUplinkKeys({
      device: at('keys/device.key'),
      cloud: at('keys/root.pub'),
    });
    expect(cloudKeys).toEqual(toPublic(parseCloudKey(readSecretFile(at('cloud.key')))));
    expect(keyList?.root).toEqual(openKeyList(parseKeyList(readFileSync(at('data/cloud.list'), 'utf8'))).root);
    expect(JSON.parse(readFileSync(at('data/devices.json'), 'utf8'))).toMatchObject([
      { name: 'box', device: Buffer.from(device.device).toString('hex') },
    ]);
  });

  test('again after its answer was lost goes on with the same key', async () => {
    const cable = await new WireProxy().listen();
    cable.to = cloud?.port;
    cable.loseAnswers = 2; // a kept connection is tried twice
    const text = await token();
    const lost = await sluice(
      'enroll',
      '--url',
      `http://127.0.0.1:${cable.port}`,
      '--token',
      text,
      '--out',
      at('keys'),
    );
    await cable.close();
    expect(lost.code).toBe(1);
    expect(lost.problems).toMatch(/no answer from.*the same key may use the token again/s);
    expect([existsSync(at('keys/device.key')), mode('keys', 'device-enrolling.key')]).toEqual([false, 0o600]);
    const pending = readFileSync(at('keys/device-enrolling.key'), 'utf8');
    expect((await enroll(text)).code).toBe(0);
    expect(readFileSync(at('keys/device.key'), 'utf8')).toBe(pending);
    // And once more, with the key that is there now.
    expect((await enroll(text)).code).toBe(0);
  });

  test('takes a key that is there: of a file, or of a credential', async () => {
    await sluice('keygen', '--dir', at('own'));
    const { facts } = await sluiceJson(
      ...[
        'enroll',
        '--url',
        cloud?.url ?? '',
        '--token',
        await token('a'),
        '--out',
        at('keys'),
        '--key',
        at('own/device.key'),
      ],
    );
    expect(facts).toMatchObject({ name: 'a', keys: { device: at('own/device.key'), cloud: at('keys/root.pub') } });
    expect(existsSync(at('keys/device.key'))).toBe(false);
    await sluice('keygen', '--dir', at('own'), '--force');
    process.env.CREDENTIALS_DIRECTORY = at('own');
    try {
      const { code, out } = await enroll(await token('b'), '--credential', 'device.key');
      expect(code).toBe(0);
      expect(out).toContain(`device: "\${credential:device.key}"`);
    } finally {
      delete process.env.CREDENTIALS_DIRECTORY;
    }
  });

  test('of a box that was revoked gives it a new key under its old id', async () => {
    await enroll(await token());
    const { device } = JSON.parse(readFileSync(at('keys/device.key'), 'utf8'));
    const revoked = await sluice('cloud', 'revoke', 'box', '--data', at('data'));
    expect(revoked).toMatchObject({ code: 0, out: expect.stringMatching(/box .* is revoked, 1 keys/) });
    const before = readFileSync(at('keys/device.key'), 'utf8');
    expect((await enroll(await token())).code).toBe(0);
    const after = JSON.parse(readFileSync(at('keys/device.key'), 'utf8'));
    expect(after.device).toBe(device);
    expect(after.secret).not.toBe(JSON.parse(before).secret);
    expect((await sluice('cloud', 'revoke', 'nobody', '--data', at('data'))).problems).toMatch(/no device is called/);
  });

  test('says what is wrong, and writes nothing that was not proved', async () => {
    const text = await token();
    expect(await enroll(text.slice(0, -3))).toMatchObject({
      code: 2,
      problems: expect.stringMatching(/no enrolment token/),
    });
    expect((await enroll(text, '--key', at('cloud.key'))).problems).toMatch(/sluice-device-key/);
    const far = await sluice('enroll', '--url', 'http://cloud.example.com', '--token', text, '--out', at('keys'));
    expect(far).toMatchObject({ code: 2, problems: expect.stringMatching(/--allow-insecure/) });
    await enroll(text);
    rmSync(at('keys'), { recursive: true });
    const used = await enroll(text);
    expect(used.code).toBe(1);
    expect(used.problems).toMatch(/enrol\.token_used.*make another/s);
    expect([existsSync(at('keys/root.pub')), existsSync(at('keys/cloud.list'))]).toEqual([false, false]);
    place.file('token', await token('c'), 0o644);
    const open = await sluice('enroll', '--url', cloud?.url ?? '', '--token-file', at('token'), '--out', at('keys'));
    expect(open).toMatchObject({ code: 2, problems: expect.stringMatching(/chmod 600/) });
  });

  test('at a cloud that went back to an older key list is refused by a box that knows a newer one', async () => {
    await enroll(await token());
    await sluice('keygen', '--cloud', '--rotate', '--dir', place.path);
    await sign('cloud-2.pub', at('newer.list'));
    place.file('keys/cloud.list', readFileSync(at('newer.list'), 'utf8'), 0o600);
    const refused = await enroll(await token());
    expect(refused.problems).toMatch(/key list is older/);
    expect(JSON.parse(readFileSync(at('keys/cloud.list'), 'utf8'))).toMatchObject({ version: 2 });
    expect(existsSync(at('keys/device-enrolling.key'))).toBe(true);
  });

  test('at a cloud that is not the one of the token is refused', async () => {
    const text = await token();
    await cloud?.close();
    // Somebody else's cloud: it does not know the token.
    rmSync(at('data'), { recursive: true });
    place.file('data/devices.json', '[]');
    await sluice('keygen', '--root', '--dir', place.path, '--force');
    await sign();
    await startReceiver();
    expect((await enroll(text)).problems).toMatch(/enrol\.token_unknown/);
    expect(existsSync(at('keys/root.pub'))).toBe(false);
  });
});

describe('cloud keys', () => {
  test('of the next version stand beside the old ones, and its list takes their place; a version never comes twice', async () => {
    const next = await sluice('keygen', '--cloud', '--rotate', '--dir', place.path);
    expect(next.out).toMatch(/cloud-2\.key.*cloud-2\.pub.*sign it/s);
    expect(mode('cloud-2.key')).toBe(0o600);
    const [first, second] = ['cloud.key', 'cloud-2.key'].map((name) => parseCloudKey(readSecretFile(at(name))));
    expect(second).toMatchObject({ version: 2, previousRecipient: first?.recipient, previousAnswer: first?.answer });
    expect((await sign()).problems).toMatch(/version never goes down/);
    expect((await sign('cloud-2.pub')).code).toBe(0);
    await cloud?.close();
    await expect(startReceiver()).rejects.toMatchObject({ code: 'cloud.key_list_mismatch' });
    await startReceiver('cloud-2.key');
    expect((await sluice('keygen', '--cloud', '--retire', '--dir', place.path)).code).toBe(0);
    const third = parseCloudKey(readSecretFile(at('cloud-3.key')));
    expect(third).toEqual({ recipient: second?.recipient, answer: second?.answer, version: 3 });
  });

  test('are refused where they cannot be signed: a root that others can read, or none', async () => {
    copyFileSync(at('cloud.pub'), at('other.pub'));
    place.file('open.key', readFileSync(at('root.key'), 'utf8'), 0o644);
    const out = at('new.list');
    const args = ['cloud', 'keys', '--cloud', at('other.pub'), '--out', out, '--root'];
    expect((await sluice(...args, at('open.key'))).problems).toMatch(/chmod 600/);
    expect((await sluice(...args, at('cloud.key'))).problems).toMatch(/sluice-root-key/);
    expect(existsSync(out)).toBe(false);
    expect((await sluice('keygen', '--root', '--cloud')).code).toBe(2);
    expect((await sluice('keygen', '--cloud', '--rotate', '--dir', at('none'))).problems).toMatch(
      /there is no cloud.key/,
    );
  });
});

describe('keygen --rotate', () => {
  let config: string;
  beforeEach(async () => {
    const { out } = await enroll(await token());
    config = place.file('sluice.yaml', gatewayConfig('./cache', `${out.slice(out.indexOf('uplink:'))}\n`));
  });
  const key = () => JSON.parse(readFileSync(at('keys/device.key'), 'utf8'));
  const rotate = (...more: string[]) => sluice('keygen', '--rotate', '-c', config, ...more);
  const listed = () => JSON.parse(readFileSync(at('data/devices.json'), 'utf8'));

  test('brings the cloud a new key, and puts it in the place of the old one', async () => {
    const before = key();
    expect(await rotate()).toMatchObject({ code: 0, problems: '' });
    expect(key()).toMatchObject({ device: before.device });
    expect(key().public).not.toBe(before.public);
    expect(mode('keys', 'device.key')).toBe(0o600);
    expect(listed()).toMatchObject([
      { publicKey: before.public },
      { publicKey: key().public, replaces: before.public },
    ]);
  });

  test('ended before the cloud has answered leaves the old key; again it goes on with the same new one', async () => {
    const before = key();
    const { port } = cloud ?? { port: 0 };
    await cloud?.close();
    const failed = await rotate();
    expect(failed.code).toBe(1);
    expect(failed.problems).toMatch(/no signed answer.*the old key goes on/s);
    expect(key()).toEqual(before);
    const next = readFileSync(at('keys/device-next.key'), 'utf8');
    await startReceiver();
    writeUrl(port);
    expect((await rotate()).code).toBe(0);
    expect(readFileSync(at('keys/device.key'), 'utf8')).toBe(next);
    // As if it had ended after the cloud's yes, before the file took its place: the same pair again.
    place.file('keys/device-next.key', next, 0o600);
    place.file('keys/device.key', JSON.stringify(before), 0o600);
    expect((await rotate()).code).toBe(0);
    expect(readFileSync(at('keys/device.key'), 'utf8')).toBe(next);
    expect(listed()).toHaveLength(2);
  });

  test('of a revoked box is refused, and the old key stays', async () => {
    await sluice('cloud', 'revoke', 'box', '--data', at('data'));
    const before = key();
    const refused = await rotate();
    expect(refused.problems).toMatch(/signer_revoked.*enrol it anew/s);
    expect(key()).toEqual(before);
  });

  test('of a key in a credential needs a folder for the new one', async () => {
    copyFileSync(at('keys/device.key'), at('box'));
    const text = readFileSync(config, 'utf8').replace(at('keys/device.key'), `"\${credential:box}"`);
    config = place.file('credential.yaml', text);
    process.env.CREDENTIALS_DIRECTORY = place.path;
    try {
      expect(await rotate()).toMatchObject({ code: 2, problems: expect.stringMatching(/is a credential/) });
      expect((await rotate('--out', at('fresh'))).code).toBe(0);
    } finally {
      delete process.env.CREDENTIALS_DIRECTORY;
    }
    expect(mode('fresh', 'device.key')).toBe(0o600);
    expect(listed()).toHaveLength(2);
  });

  /** The receiver came back on another port. */
  function writeUrl(port: number): void {
    const text = readFileSync(config, 'utf8').replace(`:${port}`, `:${cloud?.port}`);
    place.file('sluice.yaml', text);
  }
});
