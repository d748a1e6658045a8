// A tag's history in so many points: the finest that fits, and nothing missing.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type CacheReader, readCache } from '../../src/cache/reader.ts';
import { chunk, folder, openClock, openCore, START_MS, tag } from './rig.ts';
import { expectView, type Row, recountWindow } from './windows-recount.ts';

const place = folder();
const rows: Row[] = [];
const SECONDS = 4000;
let reader: CacheReader;

beforeAll(() => {
  const clock = openClock();
  const core = openCore(place.path, clock, { windows: [1000, 10_000, 60_000] });
  core.registerTag(tag(0, 'a/x'));
  core.registerTag(tag(1, 'a/text', 'text'));
  for (let i = 0; i < SECONDS; i++) {
    // In the middle a silence, then one reading alone.
    if (i < 1500 || i > 1700 || i === 1600) {
      rows.push([0, START_MS + i * 1000, Math.round(Math.sin(i / 50) * 100) / 10, 0]);
      core.add({ chunk: chunk(rows.slice(-1)) });
    }
    clock.advance(1000);
    if (i % 5 === 0) core.commit();
  }
  core.commit();
  // The core stays open: what closed last is not written yet.
  reader = readCache(place.path);
});
afterAll(() => {
  reader.close();
  place.remove();
});

const end = START_MS + SECONDS * 1000;

describe('a series', () => {
  test('is of readings where all of them fit', () => {
    const { periodMs, readings, windows } = reader.series('a/x', START_MS, START_MS + 99_999, 100);
    expect([periodMs, readings.length, windows.length]).toEqual([undefined, 100, 0]);
  });

  test.each([
    [500, 10_000],
    [100, 60_000],
    [10, 480_000],
  ])('in %d points is of windows of %d ms, and misses nothing', (points, period) => {
    const { periodMs, windows, why } = reader.series('a/x', START_MS, end - 1, points);
    expect([periodMs, windows.length <= points, /more than/.test(why)]).toEqual([period, true, true]);
    expect(windows.reduce((sum, { count }) => sum + count, 0)).toBe(rows.length);
    for (const view of windows) {
      const expected = recountWindow(rows, view.startMs, period);
      // Joined of parts, of which one is missing: what lasted through that is not known.
      const timeWeightedMean = view.inexact === 'time' ? view.timeWeightedMean : expected.timeWeightedMean;
      expectView(String(view.startMs), { ...view, inexact: undefined }, { ...expected, timeWeightedMean });
    }
    expect(windows.filter(({ inexact }) => inexact === 'time').length).toBeLessThan(period === 480_000 ? 4 : 1);
  });

  test('of texts is of the newest', () => {
    expect(reader.series('a/text', START_MS, end, 10)).toMatchObject({ periodMs: undefined, readings: [] });
  });
});

describe('windows', () => {
  test('that closed and wait to be written are there all the same', () => {
    const windows = reader.windows('a/x', 10_000, end - 60_000, end);
    expect(windows.map(({ startMs }) => startMs)).toEqual([0, 1, 2, 3, 4].map((i) => end - 60_000 + i * 10_000));
  });
});
