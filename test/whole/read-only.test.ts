// A card that the kernel turned read-only under the whole gateway, which is at home on it. Takes about 20 s: the gateway
// looks every five whether it may write again.
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import mqtt from 'mqtt';
import type { GatewayStatus } from '../../src/gateway.ts';
import { sleep, systemClock } from '../../src/runtime/clock.ts';
import { Disk, noDisks } from '../cache/disk.ts';
import { folder } from '../cache/rig.ts';
import { sluice } from '../cli/rig.ts';
import { freePort } from '../peers/modbus-ports.ts';
import { Whole } from './rig.ts';

const WITHIN_MS = 30_000;
const reason = noDisks();
const withDisk = reason === undefined ? test : test.skip;
const place = folder();
let whole: Whole | undefined;
let disk: Disk | undefined;
let panel: mqtt.MqttClient | undefined;
afterEach(async () => {
  panel?.end(true);
  await whole?.stop();
  disk?.unmount();
  place.remove();
});

/** The status page goes away and comes back while the path starts again. */
async function until(rig: Whole, what: string, holds: (status: GatewayStatus) => boolean): Promise<GatewayStatus> {
  const endMs = systemClock.monoMs() + WITHIN_MS;
  for (;;) {
    const status = await rig.status().catch(() => undefined);
    if (status !== undefined && holds(status)) return status;
    if (systemClock.monoMs() > endMs) throw new Error(`${what}: ${JSON.stringify(status)}\n${rig.log().slice(-4000)}`);
    await sleep(systemClock, 100);
  }
}
const alarmed = ({ alarms }: GatewayStatus) => alarms.some(({ id }) => id === 'storage/read_only');

withDisk(
  `a disk that turns read-only leaves live values and an alarm, and the cache goes on by itself once it is mounted again${
    reason === undefined ? '' : ` (skipped: ${reason})`
  }`,
  async () => {
    disk = new Disk(place.path);
    const port = await freePort();
    const rig = await Whole.make({
      sources: {
        plant: { driver: 'simulator', every: '200ms', tags: [{ name: 't', count: 5, shape: 'random-walk' }] },
      },
      hmi: { mqtt: { listen: `127.0.0.1:${port}`, anonymous: 'read' } },
      cache: { path: join(disk.path, 'cache'), commitInterval: '50ms' },
    });
    whole = rig;
    await rig.startCloud();
    await rig.startGateway();
    const plant = (status: GatewayStatus) => status.cache.ledger.sources.plant;
    const before = await until(rig, 'readings are kept', (status) => (plant(status)?.accepted ?? 0) > 20);
    expect(alarmed(before)).toBe(false);

    expect(disk.turnReadOnly()).toBe(true);
    const during = await until(rig, 'the alarm', alarmed);
    expect(during.pid).toBe(before.pid);
    const later = await until(rig, 'polls go on', (status) => (plant(status)?.received ?? 0) >= 25);
    expect(plant(later)).toMatchObject({ accepted: 0, rejected: plant(later)?.received });
    panel = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`);
    const seen: { topic: string; text: string }[] = [];
    panel.on('message', (topic, text) => seen.push({ topic, text: String(text) }));
    await panel.subscribeAsync('sluice/box/#');
    const fresh = () =>
      seen.filter(({ topic, text }) => topic.startsWith('sluice/box/plant/') && /"q":"good"/.test(text));
    const endMs = systemClock.monoMs() + WITHIN_MS;
    while (fresh().length < 10 && systemClock.monoMs() < endMs) await sleep(systemClock, 50);
    expect(fresh().length).toBeGreaterThanOrEqual(10);
    expect(seen.some(({ topic }) => topic === 'sluice/box/$alarms/storage/read_only')).toBe(true);

    // A person pulls it out of the error: nothing of ours holds it.
    disk.remounted();
    const kept = plant(before)?.accepted ?? 0;
    const after = await until(rig, 'readings are kept again', (status) => (plant(status)?.accepted ?? 0) > kept + 20);
    expect(alarmed(after)).toBe(false);
    // What was seen and not kept is in the account.
    expect(plant(after)?.rejected).toBeGreaterThanOrEqual(plant(later)?.rejected ?? 0);
    expect(await rig.stopGateway()).toBe(0);

    // And as it is after a reboot onto such a card.
    expect(disk.remountReadOnly()).toBe(true);
    await rig.startGateway();
    await until(rig, 'a start without a disk', (status) => alarmed(status) && (plant(status)?.rejected ?? 0) > 10);
    // There is no lock to be seen on such a disk.
    const said = await sluice('status', '-c', join(rig.path, 'sluice.yaml'));
    expect(said).toMatchObject({
      code: 1,
      out: expect.stringMatching(/runs as process \d+(?:.|\n)*storage\/read_only/),
    });
    await rig.stopGateway();
    const dead = await sluice('status', '-c', join(rig.path, 'sluice.yaml'));
    expect(dead).toMatchObject({ code: 1, out: expect.stringMatching(/NOT RUNNING/) });
  },
  120_000,
);
