import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { uplinkSchema } from '../../src/config/uplink.ts';
import { writeWhole } from '../../src/runtime/safe-write.ts';
import { readUplinkKeys, uplinkKeyFaults } from '../../src/uplink/index.ts';
import { formatKeyList, signKeyList } from '../../src/wire/keylist.ts';
import {
  formatCloudPublic,
  formatDeviceKey,
  formatRootPublic,
  generateCloudKey,
  generateDeviceKey,
  generateRootKey,
  toPublic,
} from '../../src/wire/keys.ts';

const keys = { device: 'device.key', cloud: 'cloud.pub' };
const finding = (config: object) => uplinkSchema.safeParse(config).error?.issues[0];

describe('the uplink section', () => {
  test('needs an address and keys, and knows the rest', () => {
    expect(uplinkSchema.parse({ url: 'https://cloud.example.com', keys })).toEqual({
      url: 'https://cloud.example.com',
      allowInsecure: false,
      keys,
      cutInterval: 2000,
      rowsMax: 10_000,
      bytesMax: 1_000_000,
      liveMaxAge: 10_000,
      timeout: 60_000,
      backlogParallel: 4,
      codec: 'brotli',
    });
  });

  test.each(['http://127.0.0.1:8080', 'http://localhost', 'http://[::1]:80', 'https://10.0.0.1/base'])(
    'takes %s',
    (url) => {
      expect(finding({ url, keys })).toBeUndefined();
    },
  );

  test('http:// to another machine is refused with the reason, unless it is said to be meant', () => {
    const url = 'http://10.0.0.7:8080';
    expect(finding({ url, keys })).toMatchObject({
      path: ['url'],
      message: expect.stringContaining('allowInsecure: true'),
    });
    expect(finding({ url, keys, allowInsecure: true })).toBeUndefined();
    expect(finding({ url: 'http://localhost.evil.example', keys })).toMatchObject({ path: ['url'] });
  });

  test.each([
    [{ url: 'ftp://cloud' }, ['url']],
    [{ url: 'cloud.example.com' }, ['url']],
    [{ url: 'https://me:secret@cloud.example.com' }, ['url']],
    [{ url: 'https://cloud.example.com', backlogParallel: 5 }, ['backlogParallel']],
    [{ url: 'https://cloud.example.com', rowsMax: 100_001 }, ['rowsMax']],
    [{ url: 'https://cloud.example.com', bytesMax: '1kB' }, ['bytesMax']],
    [{ url: 'https://cloud.example.com', codec: 'zstd' }, ['codec']],
    [{ url: 'https://cloud.example.com', tls: { pin: 'abc' } }, ['tls', 'pin']],
    [{ url: 'https://cloud.example.com', tls: { cert: 'a.pem' } }, ['tls']],
  ])('refuses %j at %j', (config, path) => {
    expect(finding({ keys, ...config })).toMatchObject({ path });
  });

  test('takes a pin as openssl prints it', () => {
    const pin = Array(32).fill('AB').join(':');
    expect(uplinkSchema.parse({ url: 'https://c', keys, tls: { pin } }).tls?.pin).toBe('ab'.repeat(32));
  });
});

describe('the key files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-keys-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const device = generateDeviceKey();
  const cloud = toPublic(generateCloudKey());
  const paths = { device: join(folder, 'device.key'), cloud: join(folder, 'cloud.pub') };
  writeFileSync(paths.device, formatDeviceKey(device), { mode: 0o600 });
  writeFileSync(paths.cloud, formatCloudPublic(cloud));

  test('are read from paths, or given as text by a credential', () => {
    expect(readUplinkKeys(paths)).toMatchObject({ device, cloudKeys: cloud, keyList: undefined });
    const texts = { device: formatDeviceKey(device), cloud: formatCloudPublic(cloud) };
    expect(readUplinkKeys(texts)).toEqual({
      ...{ device, cloudKeys: cloud },
      ...{ deviceChanged: undefined, keyList: undefined },
    });
  });

  test('a device key that others can read is refused', () => {
    chmodSync(paths.device, 0o640);
    expect(() => readUplinkKeys(paths)).toThrow(expect.objectContaining({ code: 'credential.exposed' }));
    chmodSync(paths.device, 0o600);
  });

  test('swapped files are refused by name, without showing what is in them', () => {
    const swapped = { device: formatCloudPublic(cloud), cloud: paths.cloud };
    expect(() => readUplinkKeys(swapped)).toThrow(expect.objectContaining({ code: 'uplink.key' }));
  });

  describe('with a root', () => {
    const root = generateRootKey();
    const rooted = { device: paths.device, cloud: join(folder, 'root.pub') };
    const list = join(folder, 'cloud.list');
    const listOf = (version: number) => signKeyList({ ...cloud, version }, root);
    writeFileSync(rooted.cloud, formatRootPublic(root.publicKey));

    test('the newest list is kept beside it, for the owner alone, and is there after a restart', () => {
      const before = readUplinkKeys(rooted);
      expect(before).toMatchObject({ cloudKeys: undefined, keyList: { root: root.publicKey, fault: undefined } });
      before.keyList?.save(listOf(3));
      before.keyList?.save(listOf(4));
      expect(statSync(list).mode & 0o777).toBe(0o600);
      expect(readdirSync(folder).sort()).toEqual(['cloud.list', 'cloud.pub', 'device.key', 'root.pub']);
      expect(readUplinkKeys(rooted).cloudKeys).toEqual({ ...cloud, version: 4 });
    });

    test('a list that is damaged, or of another root, is said and fetched again: no reason not to start', () => {
      const other = signKeyList(cloud, generateRootKey());
      for (const text of [
        '',
        '{',
        formatKeyList(other),
        formatKeyList(listOf(4)).replace(/"list": "..../, '"list": "0000'),
      ]) {
        writeFileSync(list, text);
        const { cloudKeys, keyList } = readUplinkKeys(rooted);
        expect([cloudKeys, keyList?.fault instanceof Error]).toEqual([undefined, true]);
      }
    });

    test('from a credential needs a place for the list', () => {
      const credential = { ...rooted, cloud: formatRootPublic(root.publicKey) };
      expect(() => readUplinkKeys(credential)).toThrow(expect.objectContaining({ code: 'uplink.key' }));
      const [fault] = uplinkKeyFaults(credential);
      expect(fault).toMatchObject({ setting: 'cloud', error: { hint: expect.stringContaining('uplink.keys.list') } });
      const placed = { ...credential, list: join(folder, 'state', 'newest.list') };
      readUplinkKeys(placed).keyList?.save(listOf(5));
      expect(readUplinkKeys(placed).cloudKeys?.version).toBe(5);
    });

    test('that is weak is refused', () => {
      const weak = formatRootPublic(Uint8Array.from({ length: 32 }, (_, i) => (i === 0 ? 1 : 0)));
      expect(() => readUplinkKeys({ ...rooted, cloud: weak })).toThrow(expect.objectContaining({ code: 'uplink.key' }));
    });
  });

  test('the device key is seen to change in its file, once, and what cannot be used is said', () => {
    const { deviceChanged } = readUplinkKeys(paths);
    expect(deviceChanged?.()).toBeUndefined();
    const next = generateDeviceKey(device.device);
    writeWhole(paths.device, formatDeviceKey(next), 0o600);
    expect(deviceChanged?.()).toEqual(next);
    expect(deviceChanged?.()).toBeUndefined();
    writeWhole(paths.device, 'garbage', 0o600);
    expect(() => deviceChanged?.()).toThrow(expect.objectContaining({ code: 'uplink.key' }));
    expect(deviceChanged?.()).toBeUndefined();
  });
});
