import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { devicesFile, fixedDevices } from '../../src/cloud/index.ts';
import { hex } from '../../src/wire/bytes.ts';
import { generateDeviceKey } from '../../src/wire/keys.ts';
import { quiet } from './cloud.ts';

const entryOf = (key: ReturnType<typeof generateDeviceKey>, name: string) => ({
  device: hex(key.device),
  name,
  publicKey: hex(key.publicKey),
});

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-devices-'));
  file = join(folder, 'devices.json');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('the device list', () => {
  const [one, two] = [generateDeviceKey(), generateDeviceKey()];

  test('in a file is in force as soon as the file changes, and the last good one stays when it turns bad', () => {
    writeFileSync(file, JSON.stringify([entryOf(one, 'line3')]));
    const list = devicesFile(file, quiet);
    expect(list.signer(one.kid, one.device)).toEqual(one.publicKey);
    expect(list.signer(two.kid, two.device)).toBeUndefined();
    writeFileSync(file, JSON.stringify([{ ...entryOf(one, 'line3'), revoked: true }, entryOf(two, 'line4')]));
    expect(list.signer(one.kid, one.device)).toBe('revoked');
    expect(list.signer(two.kid, two.device)).toEqual(two.publicKey);
    expect(list.signer(two.kid, one.device)).toBe('foreign');
    writeFileSync(file, '[{');
    expect(list.find('line4')).toBe(hex(two.device));
    rmSync(file);
    expect(list.nameOf(hex(two.device))).toBe('line4');
  });

  test('may be YAML', () => {
    const { device, publicKey } = entryOf(one, 'line3');
    writeFileSync(file, `- { device: "${device}", name: line3, publicKey: "${publicKey}" }\n`);
    expect(devicesFile(file, quiet).find('line3')).toBe(device);
  });

  test('may hold two keys of one device, while one replaces the other', () => {
    const next = { ...generateDeviceKey(), device: one.device };
    const list = fixedDevices([entryOf(one, 'line3'), entryOf(next, 'line3')]);
    expect(list.signer(next.kid, one.device)).toEqual(next.publicKey);
    expect(list.signer(one.kid, one.device)).toEqual(one.publicKey);
  });

  test.each([
    ['a name twice', [entryOf(one, 'a'), entryOf(two, 'a')]],
    ['a key twice', [entryOf(one, 'a'), { ...entryOf(one, 'b'), device: hex(two.device) }]],
    ['two names for one device', [entryOf(one, 'a'), { ...entryOf(two, 'b'), device: hex(one.device) }]],
    ['a field that is not known', [{ ...entryOf(one, 'a'), admin: true }]],
    ['a name with a colon', [entryOf(one, 'a:b')]],
    ['no list', { device: 'x' }],
  ])('with %s is refused', (_what, content) => {
    writeFileSync(file, JSON.stringify(content));
    expect(() => devicesFile(file, quiet)).toThrow(expect.objectContaining({ code: 'cloud.devices_invalid' }));
  });

  test('with a key of small order is refused', () => {
    const weak = { ...entryOf(one, 'a'), publicKey: `01${'00'.repeat(31)}` };
    expect(() => fixedDevices([weak])).toThrow(expect.objectContaining({ code: 'key.weak' }));
  });
});
