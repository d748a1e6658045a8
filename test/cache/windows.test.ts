// Windows against a recount of every reading.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readCache } from '../../src/cache/reader.ts';
import { WindowAccumulator } from '../../src/cache/windows/accumulate.ts';
import { decodeWindows, encodeWindows } from '../../src/cache/windows/block.ts';
import type { WindowRows } from '../../src/cache/windows/rows.ts';
import { emptyWindow, exactSum, foldValue, joinRow, W, WINDOW_NUMBERS } from '../../src/cache/windows/window.ts';
import { isBad, Quality, THINNED } from '../../src/reading.ts';
import { sortByTag } from '../../src/wire/sort.ts';
import { chunk, folder, openClock, openCore, START_MS, tag } from './rig.ts';

/** Monotonic, when readings arrive. */
const NOW_MS = 0;
const PERIODS = [1000, 10_000, 60_000];
interface Row {
  tag: number;
  gapMs: number;
  value: number;
  quality: number;
}
const row: fc.Arbitrary<Row> = fc.record({
  tag: fc.nat(2),
  gapMs: fc.oneof(fc.nat(400), fc.integer({ min: 700, max: 2500 }), fc.nat(30_000)),
  value: fc.oneof(fc.integer({ min: -1000, max: 1000 }), fc.double({ min: -1e6, max: 1e6, noNaN: true })),
  quality: fc.constantFrom(
    Quality.good,
    Quality.good,
    Quality.good,
    Quality.sourceUncertain,
    Quality.commError,
    THINNED,
  ),
});

/** `tag period start` → readings, in order. */
function recount(rows: readonly (Row & { timeMs: number })[]): Map<string, (Row & { timeMs: number })[]> {
  const windows = new Map<string, (Row & { timeMs: number })[]>();
  for (const each of rows) {
    for (const period of PERIODS) {
      const key = `${each.tag} ${period} ${Math.floor(each.timeMs / period) * period}`;
      windows.set(key, [...(windows.get(key) ?? []), each]);
    }
  }
  return windows;
}

function collect(into: Map<string, Float64Array>, all: readonly WindowRows[]): void {
  for (const rows of all) {
    const { tag: tags, numbers, length, periodMs } = decodeWindows(encodeWindows(rows));
    for (let i = 0; i < length; i++) {
      const at = i * WINDOW_NUMBERS;
      const start = numbers[at + W.start] ?? 0;
      const key = `${tags[i]} ${periodMs} ${start}`;
      const window = into.get(key) ?? emptyWindow(start);
      into.set(key, window);
      joinRow(window, numbers, at);
    }
  }
}

function expectWindow(window: Float64Array, raw: readonly (Row & { timeMs: number })[]): void {
  const values = raw.filter(({ quality }) => !isBad(quality));
  expect(window[W.total]).toBe(raw.length);
  expect(window[W.count]).toBe(values.length);
  expect(window[W.good]).toBe(raw.filter(({ quality }) => (quality & ~THINNED) === 0).length);
  if (values.length === 0) return;
  const mean = values.reduce((sum, { value }) => sum + value, 0) / values.length;
  const m2 = values.reduce((sum, { value }) => sum + (value - mean) ** 2, 0);
  const scale = Math.max(1, ...values.map(({ value }) => Math.abs(value)));
  expect(Math.abs((window[W.mean] ?? Number.NaN) - mean)).toBeLessThan(scale * 1e-9);
  expect(Math.abs((window[W.m2] ?? Number.NaN) - m2)).toBeLessThan(scale * scale * values.length * 1e-9);
  expect(window[W.min]).toBe(Math.min(...values.map(({ value }) => value)));
  expect(window[W.max]).toBe(Math.max(...values.map(({ value }) => value)));
  const inTime = [...values].sort((a, b) => a.timeMs - b.timeMs);
  expect(window[W.firstMs]).toBe(inTime[0]?.timeMs);
  expect(window[W.lastMs]).toBe(inTime.at(-1)?.timeMs);
  if (values.every(({ value }) => Number.isInteger(value))) {
    expect(exactSum(window, 0)).toBe(values.reduce((sum, { value }) => sum + BigInt(value), 0n));
  } else {
    expect(exactSum(window, 0)).toBeUndefined();
  }
}

describe('windows', () => {
  test('equal a recount of all readings, thinned ones included, in whatever chunks they come', () => {
    fc.assert(
      fc.property(
        fc.array(row, { minLength: 1, maxLength: 150 }),
        fc.integer({ min: 1, max: 40 }),
        (plan, chunkRows) => {
          let timeMs = START_MS;
          const next = (gapMs: number) => {
            timeMs += gapMs;
            return timeMs;
          };
          const rows = plan.map((each) => ({ ...each, timeMs: next(each.gapMs) }));
          const windows = new WindowAccumulator(PERIODS);
          const found = new Map<string, Float64Array>();
          for (let at = 0; at < rows.length; at += chunkRows) {
            const some = chunk(
              rows.slice(at, at + chunkRows).map((each) => [each.tag, each.timeMs, each.value, each.quality]),
            );
            windows.add(some, sortByTag(some, 3), () => 'number', NOW_MS);
            windows.closePassed(1000);
            collect(found, windows.take());
          }
          windows.closePassed(1e9);
          collect(found, windows.take());
          for (const [key, raw] of recount(rows)) {
            const window = found.get(key);
            if (raw.length === 1) expect(window).toBeUndefined();
            else expectWindow(window ?? new Float64Array(WINDOW_NUMBERS), raw);
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  test('weigh each value by how long it lasted', () => {
    const windows = new WindowAccumulator([10_000]);
    // 10 for 4 s, 20 for 5 s; then bad, so the last second counts for nothing.
    const rows = chunk([
      [0, START_MS, 10],
      [0, START_MS + 4000, 20],
      [0, START_MS + 9000, 0, Quality.commError],
    ]);
    windows.add(rows, sortByTag(rows, 1), () => 'number', NOW_MS);
    windows.closePassed(60_000);
    const [{ numbers }] = windows.take() as [WindowRows];
    expect((numbers[W.area] ?? 0) / (numbers[W.covered] ?? 0)).toBeCloseTo((10 * 4 + 20 * 5) / 9, 9);
    expect(numbers[W.covered]).toBe(9000);
  });

  test('add integers exactly where a float64 sum would not', () => {
    const window = emptyWindow(0);
    const values = [2 ** 52 - 1, 2 ** 52 - 1, 3, -7, 2 ** 52 - 5];
    values.forEach((value, at) => {
      foldValue(window, 0, at, value, true);
    });
    expect(exactSum(window, 0)).toBe(values.reduce((sum, value) => sum + BigInt(value), 0n));
  });

  test('take late readings as parts of their own, and lose none', () => {
    const windows = new WindowAccumulator(PERIODS);
    const found = new Map<string, Float64Array>();
    const rows: (Row & { timeMs: number })[] = [];
    const feed = (timeMs: number, value: number) => {
      rows.push({ tag: 0, gapMs: 0, value, quality: 0, timeMs });
      const one = chunk([[0, timeMs, value]]);
      windows.add(one, sortByTag(one, 1), () => 'number', NOW_MS);
      collect(found, windows.take());
    };
    for (let i = 0; i < 400; i++) feed(START_MS + i * 300, i);
    for (let i = 0; i < 5; i++) feed(START_MS + i * 7000 + 50, -i);
    // The clock is set back for good: windows open anew there.
    for (let i = 0; i < 200; i++) feed(START_MS - 3_600_000 + i * 300, i);
    windows.closePassed(1e9);
    collect(found, windows.take());
    for (const [key, raw] of recount(rows))
      if (raw.length > 1) expectWindow(found.get(key) ?? new Float64Array(WINDOW_NUMBERS), raw);
  });
});

describe('open windows', () => {
  test.each([
    ['a clean stop', true],
    ['a crash', false],
  ])('go on after %s as if nothing had happened', (_, clean) => {
    const place = folder();
    const clock = openClock();
    const rows = Array.from({ length: 300 }, (__, i): [number, number, number] => [
      i % 2,
      START_MS + i * 500,
      Math.sin(i),
    ]);
    let core = openCore(place.path, clock, { checkpointInterval: 30_000 });
    for (let at = 0; at < rows.length; at += 10) {
      core.registerTag(tag(0, 'a/x'));
      core.registerTag(tag(1, 'a/y'));
      core.add({ chunk: chunk(rows.slice(at, at + 10)) });
      core.commit();
      clock.advance(5000);
      if (at % 70 !== 0) continue;
      if (clean) core.close();
      core = openCore(place.path, clock, { checkpointInterval: 30_000 });
    }
    clock.advance(3_700_000);
    core.registerTag(tag(0, 'a/x'));
    core.add({ chunk: chunk([[0, clock.wallMs(), 1]]) });
    core.commit();
    // What closed last waits to be written with more.
    core.close();
    const reader = readCache(place.path);
    for (const [key, raw] of recount(
      rows.map(([index, timeMs, value]) => ({ tag: index, gapMs: 0, value, quality: 0, timeMs })),
    )) {
      const [index, period, start] = key.split(' ').map(Number) as [number, number, number];
      const [window] = reader.windows(index === 0 ? 'a/x' : 'a/y', period, start, start + 1);
      expect([key, window?.count]).toEqual([key, raw.length < 2 ? undefined : raw.length]);
      if (raw.length < 2 || window === undefined) continue;
      expect(window.mean).toBeCloseTo(raw.reduce((sum, { value }) => sum + value, 0) / raw.length, 9);
      expect(window.inexact).toBeUndefined();
    }
    reader.close();
    place.remove();
  });
});

describe('windows that are old', () => {
  test('go the shortest first: of each length the newest are kept', () => {
    const place = folder();
    const clock = openClock();
    const core = openCore(place.path, clock, { windows: [1000, 10_000], windowsKept: 60, ageMax: 60_000 });
    core.registerTag(tag(0, 'a/x'));
    for (let i = 0; i < 2000; i++) {
      core.add({
        chunk: chunk([
          [0, clock.wallMs(), i],
          [0, clock.wallMs() + 500, i],
        ]),
      });
      clock.advance(1000);
      if (i % 10 === 0) core.commit();
    }
    core.close();
    const reader = readCache(place.path);
    const oldest = (periodMs: number) => reader.windows('a/x', periodMs, 0, clock.wallMs())[0]?.startMs ?? 0;
    const ages = [1000, 10_000].map((periodMs) => clock.wallMs() - oldest(periodMs));
    // Ten minutes of windows go at once; a block is a minute of them, and ages are looked at once a minute.
    expect(ages[0]).toBeGreaterThanOrEqual(60_000);
    expect(ages[0]).toBeLessThan(60_000 + 600_000 + 180_000);
    expect(ages[1]).toBeGreaterThanOrEqual(600_000);
    expect(ages[1]).toBeLessThan(600_000 + 600_000 + 180_000);
    reader.close();
    place.remove();
  });
});
