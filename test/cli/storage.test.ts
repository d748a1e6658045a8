// What sluice status says of the disk.
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import type { PendingView } from '../../src/cache/index.ts';
import type { CacheStats, LadderState } from '../../src/cache/types.ts';
import { Wear } from '../../src/cache/wear.ts';
import type { Output } from '../../src/cli/output.ts';
import { printStorage, printWear } from '../../src/cli/status-storage.ts';
import { ManualClock } from '../../src/runtime/clock.ts';
import { folder, openCore } from '../cache/rig.ts';
import { sluice, sluiceJson } from './rig.ts';

const NOW_MS = 1_780_000_000_000;
const HOUR_MS = 3_600_000;
const GB = 1e9;

function said(print: (output: Output) => void): string {
  const lines: string[] = [];
  print({ line: (text = '') => void lines.push(text) } as Output); // the only one used
  return lines.join('\n');
}

function storage(ladder: Partial<LadderState>, more: Partial<CacheStats> = {}): string {
  const state = { level: 0, cause: 'disk', disk: 0, memory: 0, age: 0, ...ladder };
  const cache = { bytesUsed: 0.9 * GB, bytesMax: GB, full: false, ladder: state, ...more } as CacheStats; // what is shown
  const pending = [{ oldestMs: NOW_MS - 3 * HOUR_MS }, { oldestMs: NOW_MS - HOUR_MS }] as unknown as PendingView[];
  return said((output) => printStorage(cache, pending, NOW_MS, output));
}

/** A wear account after so many hours of so many bytes. */
function wear(hours: number, bytesAnHour: number, readingsAnHour: number, endurance?: number) {
  const clock = new ManualClock(NOW_MS);
  let written = 0;
  const account = new Wear({ meta: () => undefined }, { clock, written: () => written, endurance });
  for (let hour = 1; hour <= hours; hour++) {
    clock.advance(HOUR_MS);
    written = hour * bytesAnHour;
    account.stats(hour * readingsAnHour);
  }
  return account.stats(hours * readingsAnHour);
}

test('the level of the ladder, what waits and since when, why, and what is done', () => {
  expect(storage({ disk: 0.12 })).toBe(
    'disk       900.0 MB of 1.0 GB\nstorage    level 0 of 5: 12 % of 1.0 GB waits for the cloud, the oldest 3 h 0 min',
  );
  const third = storage({ level: 3, disk: 0.83 });
  expect(third).toMatch(/level 3 of 5: 83 % of 1\.0 GB waits for the cloud, the oldest 3 h 0 min/);
  expect(third).toMatch(
    /done: the oldest low-priority readings become averages of a minute.*\n +→ bring the uplink back/,
  );
  expect(storage({ level: 5, cause: 'full', disk: 0.3 })).toMatch(
    /no room on the disk\n +what is done: no readings are taken.*\n +→ free space on the disk/,
  );
  const spent = { writeBudget: { bytesADay: 20 * GB, leftBytes: 0, isStretched: true } };
  expect(storage({}, spent)).toMatch(/write budget of 20\.0 GB is used up: hurried commits are 250 ms apart/);
});

test('bytes a day and a reading, and how long a card lasts at that', () => {
  const line = (stats: ReturnType<typeof wear>) => said((output) => printWear(stats, output));
  expect(line(wear(24, 3.1e9 / 24, 1_800_000))).toBe(
    'wear       3.1 GB a day written to disk, 72 B a reading (by the last 24 h 0 min)\n' +
      '           a card that bears 20.0 TB (assumed: set cache.endurance) lasts 18 years at that',
  );
  expect(line(wear(6, 10 * GB, 0, 100e12))).toBe(
    'wear       240.0 GB a day written to disk (by the last 6 h 0 min)\n' +
      '           a card that bears 100.0 TB lasts 14 months at that',
  );
  expect(line(wear(2, 1000, 1))).toMatch(/lasts more than 100 years/);
  expect(line(wear(0, 0, 0))).toMatch(/unknown/);
});

test('the wear is known while the gateway is dead, as of its last checkpoint', async () => {
  const place = folder();
  const clock = new ManualClock(NOW_MS);
  try {
    const path = join(place.path, 'cache');
    let written = 0;
    const account = new Wear({ meta: () => undefined }, { clock, written: () => written, endurance: undefined });
    const core = openCore(path, clock, { wear: account });
    clock.advance(24 * HOUR_MS);
    written = 5e9;
    core.close();
    expect((await sluice('status', '--cache', path)).out).toMatch(/wear +5\.0 GB a day written to disk/);
    expect(await sluiceJson('status', '--cache', path)).toMatchObject({
      facts: { wear: { total: 5e9, isAssumed: true } },
    });
  } finally {
    place.remove();
  }
});
