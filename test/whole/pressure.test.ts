// The whole gateway with its worker, up the degradation ladder while the cloud is away, and down again when it is back.
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { readCache } from '../../src/cache/index.ts';
import type { GatewayStatus } from '../../src/gateway.ts';
import { Site } from './in-process.ts';

// Fills a disk and drains it again: ten seconds alone on a machine.
jest.setTimeout(120_000);
/** Far below what the settings allow, so that it fills in seconds. */
const BYTES_MAX = 1_000_000;
const SETTINGS = {
  cache: { windows: [], commitInterval: '200ms' },
  uplink: { cutInterval: '200ms' },
  sources: {
    plant: {
      driver: 'simulator',
      every: '20ms',
      tags: [
        { name: 'low', count: 200, shape: 'random-walk', priority: 'low' },
        { name: 'normal', count: 200, shape: 'random-walk' },
      ],
    },
    idle: { driver: 'simulator', every: '100ms', tags: [{ name: 'x', priority: 'low' }] },
  },
};

let site: Site;
beforeEach(() => {
  site = new Site();
});
afterEach(() => site.stop());

const pressure = ({ alarms }: GatewayStatus) => alarms.find(({ id }) => id === 'storage/pressure');

test('a cloud that is away costs what each level says and nothing silently; a cloud that is back ends it', async () => {
  await site.startCloud();
  await site.start(SETTINGS, (config) => ({ ...config, cache: { ...config.cache, bytesMax: BYTES_MAX } }));
  await site.until('delivery', ({ uplink }) => (uplink?.delivered ?? 0) > 0);
  await site.stopCloud();
  const second = await site.until('level 2', ({ cache }) => cache.ladder.level >= 2);
  expect(pressure(second)?.text).toMatch(/level \d of 5: .+ What is done: /);
  await site.until('slower polls', ({ sources }) => (sources.find((each) => each.source === 'idle')?.skipped ?? 0) > 0);
  await site.until('level 4', ({ cache }) => cache.ladder.level >= 4);
  await site.until('drops', ({ cache }) => (cache.ledger.targets.cloud?.plant?.dropped ?? 0) > 0);
  const { text } = await site.ask('/metrics');
  expect(text).toMatch(/^sluice_ladder_level [2-5]$/m);
  expect(text).toMatch(/^sluice_ladder_share\{of="disk"\} \d/m);
  expect(text).toMatch(/^sluice_disk_written_bytes_total \d+$/m);

  await site.startCloud();
  const relieved = await site.until('level 0', ({ cache }) => cache.ladder.level === 0);
  expect(pressure(relieved)).toBeUndefined();
  const said = site.log.filter(({ msg }) => /^storage (is at level|has room)/.test(msg));
  expect(said[0]).toMatchObject({ level: 40, msg: expect.stringMatching(/^storage is at level/) });
  expect(said.at(-1)).toMatchObject({ level: 30, msg: expect.stringMatching(/^storage has room again/) });

  expect(await site.end()).toEqual({ onDisk: true, leftBehind: false });
  const reader = readCache(site.cache);
  try {
    expect(reader.verify()).toMatchObject({ ok: true, differences: [], damaged: [] });
    for (const { received, rejected, duplicate, thinned, accepted } of Object.values(reader.ledger().sources))
      expect(received).toBe(rejected + duplicate + thinned + accepted);
  } finally {
    reader.close();
  }
});
