// What sluice status says of the disk.
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import type { PendingView } from '../../src/cache/index.ts';
import type { CacheStats, LadderState } from '../../src/cache/types.ts';
import { Wear } from '../../src/cache/wear.ts';
import type { Output } from '../../src/cli/output.ts';
import { printDisk, printStorage, printWear } from '../../src/cli/status-storage.ts';
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

/** Without the ends of lines at 80 columns, which every line keeps. */
function unfolded(text: string): string {
  for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
  return text.replaceAll(/\n {11}(?: {2})?(?=\S)(?!→|what is done|today|a card|how long|the log|no room)/g, ' ');
}

function storage(ladder: Partial<LadderState>, more: Partial<CacheStats> = {}): string {
  const state = { level: 0, cause: 'disk', disk: 0, memory: 0, age: 0, ...ladder };
  const cache = { bytesUsed: 0.9 * GB, bytesMax: GB, full: false, ladder: state, ...more } as CacheStats; // what is shown
  const pending = [{ oldestMs: NOW_MS - 3 * HOUR_MS }, { oldestMs: NOW_MS - HOUR_MS }] as unknown as PendingView[];
  return unfolded(said((output) => printStorage(cache, pending, NOW_MS, output)));
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
  const line = (stats: ReturnType<typeof wear>) => unfolded(said((output) => printWear(stats, output)));
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

test('what is written once in the life of a cache is no rate, and a short time says nothing of years', () => {
  const clock = new ManualClock(NOW_MS);
  let written = 12_000_000;
  const options = { clock, written: () => written, once: () => 11_000_000, endurance: undefined };
  const account = new Wear({ meta: () => undefined }, options);
  clock.advance(5 * 60_000);
  written += 4_000_000;
  const stats = account.stats(100_000);
  // 5 MB in five minutes, of 16 MB that the card has seen.
  expect(stats).toMatchObject({ total: 16_000_000, perDay: 5_000_000 * 12 * 24, perReading: 50 });
  expect(unfolded(said((output) => printWear(stats, output)))).toBe(
    'wear       1.4 GB a day written to disk, 50 B a reading (measured over 5 min 0 s)\n' +
      '           how long a card lasts at that is said after an hour of running',
  );
});

test('a log that a reader keeps from shrinking, and who that is', () => {
  const disk = { fileBytes: 5e6, logBytes: 64e6, logPinned: true, freeBytes: 3e9, writtenMs: NOW_MS };
  const lines = (logReaders: { pid: number; name: string | undefined }[]) =>
    unfolded(said((output) => printDisk({ ...disk, logReaders }, GB, output)));
  expect(lines([{ pid: 4711, name: 'sqlite3' }])).toBe(
    'disk       a file of 5.0 MB of 1.0 GB, and a log of 64.0 MB; 3.0 GB free on the disk\n' +
      '           the log has grown to 64.0 MB: process 4711 (sqlite3) reads the cache and does not end\n' +
      '           → end it: until then the log takes room from readings',
  );
  const full = said((output) => printDisk({ ...disk, freeBytes: 0, logReaders: [] }, GB, output));
  expect(full).toMatch(/0 B free on the\s+disk\n +the disk is full: what was delivered gives way/);
  expect(lines([])).toMatch(/another process reads .*\n +→ find it by fuser on cache\.db-shm/);
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
