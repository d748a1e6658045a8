// The key of the device changes, or is revoked, while readings flow.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { pino } from 'pino';
import { devicesFile } from '../../src/cloud/index.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { hex } from '../../src/wire/bytes.ts';
import { type DeviceKey, generateDeviceKey } from '../../src/wire/keys.ts';
import { Plant } from './plant.ts';

jest.setTimeout(30_000);

const quiet = pino({ level: 'silent' });
let line: Plant;
let alarms: string[];

beforeEach(async () => {
  line = await new Plant().start();
  alarms = [];
});
afterEach(() => line.stop());

const onAlarm = (id: string, active: boolean, text: string) => {
  if (active) alarms.push(`${id}: ${text}`);
};
const held = () => alarms.filter((alarm) => alarm.startsWith('uplink/held'));
const start = (more: object = {}) => line.startUplink({}, { onAlarm, ...more });

async function until(holds: () => boolean, withinMs = 15_000): Promise<void> {
  const endMs = systemClock.monoMs() + withinMs;
  while (!holds()) {
    if (systemClock.monoMs() > endMs)
      throw new Error(`not within ${withinMs} ms: ${JSON.stringify(line.uplink?.state())}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe('the key of the device', () => {
  let file: string;
  let next: DeviceKey;
  beforeEach(async () => {
    file = join(line.folder, 'devices.json');
    next = generateDeviceKey(line.device.device);
    await line.cloud?.close();
  });
  const entry = (key: DeviceKey, more: object = {}) => ({
    ...{ device: hex(key.device), name: 'line3', publicKey: hex(key.publicKey) },
    ...more,
  });
  const list = (...entries: object[]) => writeFileSync(file, JSON.stringify(entries));
  const startCloud = () => line.startCloud('cloud', { devices: devicesFile(file, quiet) });

  test('changes while batches signed by the old one are about: they are sealed anew', async () => {
    list(entry(line.device));
    await startCloud();
    let found: DeviceKey | undefined;
    const uplink = start({ deviceChanged: () => found });
    line.commit(200);
    await until(() => uplink.state().delivered > 0);
    list(entry(line.device), entry(next, { replaces: hex(line.device.publicKey) }));
    line.cable.cut();
    line.commit(3000);
    await until(() => Object.values(uplink.state().lanes).some(({ waiting }) => waiting > 0));
    found = next;
    await new Promise((resolve) => setTimeout(resolve, 5500)); // it looks every five seconds
    // As if a HELLO by the new key had come first: the old one is over.
    list(entry(next));
    line.cable.to = line.cloud?.port ?? 0;
    await line.drained();
    await line.expectAllDelivered();
    expect(held()).toEqual([]);
  });

  test('revoked is told by a HELLO, too, when there is nothing to send; and the hold ends with it', async () => {
    list(entry(line.device, { revoked: true }));
    await startCloud();
    const uplink = start();
    await until(() => held().length > 0);
    expect(uplink.state().holds).toMatchObject([
      { reason: 'signer_revoked', hint: expect.stringContaining('enrol it anew') },
    ]);
    list(entry(line.device));
    await until(() => uplink.state().breaker === 'closed');
    line.commit(100);
    await line.drained();
    await line.expectAllDelivered();
  });
});
