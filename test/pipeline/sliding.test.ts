// Sliding windows against a recount of the same readings, and the alarms that are judged by them.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SLIDING_AGGREGATES, type SlidingAggregate, tagFieldsSchema } from '../../src/config/fields.ts';
import { BUCKETS, SlidingWindow } from '../../src/pipeline/sliding.ts';
import { Quality } from '../../src/reading.ts';
import { Plant, START_MS } from './plant.ts';

interface Reading {
  readonly timeMs: number;
  readonly value: number;
}

/** By the definition, from every reading at once. Of equal times the later to come is the last. */
function recount(readings: readonly Reading[], of: SlidingAggregate): number {
  const values = readings.map(({ value }) => value);
  const n = values.length;
  if (of === 'count') return n;
  if (n === 0) return Number.NaN;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const inTime = readings.toSorted((a, b) => a.timeMs - b.timeMs);
  const [first, last] = [inTime[0], inTime.at(-1)];
  const ms = (last?.timeMs ?? 0) - (first?.timeMs ?? 0);
  const all: Record<Exclude<SlidingAggregate, 'count'>, number> = {
    mean,
    min: Math.min(...values),
    max: Math.max(...values),
    range: Math.max(...values) - Math.min(...values),
    stddev: n < 2 ? Number.NaN : Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1)),
    rate: ms === 0 ? Number.NaN : (((last?.value ?? 0) - (first?.value ?? 0)) / ms) * 60_000,
  };
  return all[of];
}

const close = (a: number, b: number) =>
  (Number.isNaN(a) && Number.isNaN(b)) || Math.abs(a - b) <= 1e-7 * Math.max(1, Math.abs(a), Math.abs(b));

describe('a sliding window', () => {
  const readings = fc.array(
    fc.record({
      // From one to the next; some come late.
      step: fc.oneof(
        { weight: 8, arbitrary: fc.integer({ min: 0, max: 2_000 }) },
        { weight: 2, arbitrary: fc.integer({ min: -90_000, max: -1 }) },
        { weight: 1, arbitrary: fc.integer({ min: 30_000, max: 200_000 }) },
      ),
      value: fc.double({ min: -1e4, max: 1e4, noNaN: true }),
    }),
    { minLength: 1, maxLength: 300 },
  );

  test('is what a recount says, of exactly the readings in its last 60 buckets, at every reading, late ones too', () => {
    fc.assert(
      fc.property(readings, fc.constantFrom(60_000, 90_000, 7_777), (steps, overMs) => {
        const window = new SlidingWindow(overMs);
        const bucketMs = overMs / BUCKETS;
        const seen: Reading[] = [];
        let [nowMs, endMs] = [START_MS, Number.NEGATIVE_INFINITY];
        for (const { step, value } of steps) {
          const timeMs = nowMs + step;
          if (step > 0) nowMs = timeMs;
          endMs = Math.max(endMs, timeMs);
          const newest = Math.floor(endMs / bucketMs);
          const isTaken = window.add(timeMs, value);
          expect(isTaken).toBe(Math.floor(timeMs / bucketMs) > newest - BUCKETS);
          if (isTaken) seen.push({ timeMs, value });
          const inside = seen.filter((each) => Math.floor(each.timeMs / bucketMs) > newest - BUCKETS);
          for (const of of SLIDING_AGGREGATES)
            if (!close(window.value(of), recount(inside, of)))
              throw new Error(`${of}: ${window.value(of)}, not ${recount(inside, of)}`);
          // Never a reading older than the window, and of the window at most the oldest sixtieth is missing.
          expect(inside.every((each) => each.timeMs > endMs - overMs)).toBe(true);
          const surely = seen.filter((each) => each.timeMs > endMs - overMs + bucketMs);
          expect(inside.length).toBeGreaterThanOrEqual(surely.length);
        }
      }),
      { numRuns: 100 },
    );
  });

  test('keeps values that differ in the ninth digit apart', () => {
    const window = new SlidingWindow(60_000);
    for (let i = 0; i < 1000; i++) window.add(START_MS + i * 50, 1e9 + (i % 2));
    expect(window.value('stddev')).toBeCloseTo(0.50025, 4);
    expect(window.value('mean')).toBeCloseTo(1e9 + 0.5, 6);
  });
});

/** One reading a second, for as many seconds as there are values; undefined is a second without any. */
function live(plant: Plant, tag: number, values: readonly (number | undefined)[], quality = 0): void {
  for (const value of values) {
    if (value !== undefined) plant.push({ tag, value, quality });
    plant.clock.advance(1_000);
  }
}
const times = (count: number, value: number | undefined) => Array.from({ length: count }, () => value);
const changes = (plant: Plant) =>
  plant
    .flush()
    .cache.alarms()
    .map(({ id, state, text }) => [id, state, text]);

describe('an alarm of a sliding window', () => {
  const mean = { sliding: [{ over: '1min', of: 'mean', hi: { limit: 80, hysteresis: 5 } }] };

  test('is raised by the mean, not by a single value, and says which and what it is', () => {
    const plant = new Plant();
    const tag = plant.tag('oil', 'float64', { unit: '°C', alarm: mean }, 1_000);
    live(plant, tag, [...times(70, 79), 500]);
    expect(changes(plant)).toEqual([
      ['plc/oil:mean_1min:hi', 'raised', 'the mean of plc/oil over 1 min is 86.0167, above 80'],
    ]);
    live(plant, tag, times(61, 74));
    expect(changes(plant)[1]).toEqual([
      'plc/oil:mean_1min:hi',
      'cleared',
      expect.stringMatching(/^the mean of plc\/oil over 1 min is back at 74/),
    ]);
  });

  test('is not judged before the window was watched for its whole length', () => {
    const plant = new Plant();
    const tag = plant.tag('oil', 'float64', { alarm: mean }, 1_000);
    live(plant, tag, times(58, 99));
    expect(changes(plant)).toEqual([]);
    live(plant, tag, times(3, 99));
    expect(changes(plant)).toHaveLength(1);
  });

  test('leaves bad readings out, and clears when readings stop', () => {
    const plant = new Plant();
    const tag = plant.tag('oil', 'float64', { alarm: mean }, 1_000);
    live(plant, tag, times(65, 99));
    live(plant, tag, times(30, 0), Quality.commError);
    expect(changes(plant)).toHaveLength(1);
    live(plant, tag, times(32, undefined));
    expect(changes(plant)[1]).toEqual(['plc/oil:mean_1min:hi', 'cleared', 'no reading of plc/oil for 1 min']);
  });

  test('counts readings: too few of them is an alarm by itself, also when none has ever come', () => {
    const plant = new Plant();
    const count = { sliding: [{ over: '1min', of: 'count', lo: { limit: 10 } }] };
    const tag = plant.tag('beat', 'float64', { alarm: count });
    plant.push({ tag: plant.tag('other'), value: 1 });
    plant.clock.advance(59_000);
    expect(changes(plant)).toEqual([]);
    plant.clock.advance(3_000);
    expect(changes(plant)).toEqual([
      ['plc/beat:count_1min:lo', 'raised', 'the count of plc/beat over 1 min is 0 readings, below 10 readings'],
    ]);
    live(plant, tag, times(12, 1));
    expect(changes(plant)[1]?.slice(0, 2)).toEqual(['plc/beat:count_1min:lo', 'cleared']);
  });

  test('judges range, deviation and change a minute, several at once, over windows of their own', () => {
    const plant = new Plant();
    const sliding = [
      { over: '10s', of: 'range', hi: { limit: 5 } },
      { over: '10s', of: 'stddev', lo: { limit: 0.1 } },
      { over: '1min', of: 'rate', hi: { limit: 30 }, lo: { limit: -30 } },
    ];
    const tag = plant.tag('level', 'float32', { alarm: { sliding } }, 1_000);
    live(plant, tag, times(62, 10));
    live(
      plant,
      tag,
      Array.from({ length: 60 }, (_, i) => 10 - i),
    );
    expect(changes(plant).map(([id, state]) => [id, state])).toEqual([
      ['plc/level:stddev_10s:lo', 'raised'],
      ['plc/level:stddev_10s:lo', 'cleared'],
      ['plc/level:range_10s:hi', 'raised'],
      ['plc/level:rate_1min:lo', 'raised'],
    ]);
  });

  test('takes a step of the wall clock for news of the clock, not of the plant', () => {
    const plant = new Plant();
    const sliding = [
      { over: '1min', of: 'count', lo: { limit: 10 } },
      { over: '1min', of: 'rate', hi: { limit: 30 }, lo: { limit: -30 } },
    ];
    const tag = plant.tag('oil', 'float64', { alarm: { sliding } }, 1_000);
    for (const stepMs of [0, 3_600_000, -3_600_000, 0]) {
      plant.clock.step(stepMs);
      live(plant, tag, times(150, 50));
    }
    expect(changes(plant).filter(([id]) => id?.includes('rate'))).toEqual([]);
  });

  test('that the configuration has no more is cleared at the next start', () => {
    const before = new Plant();
    live(before, before.tag('oil', 'float64', { alarm: mean }, 1_000), times(65, 99));
    const alarms = before.flush().cache.appends.flatMap((append) => append.alarms ?? []);
    const after = new Plant({}, { alarms });
    after.push({ tag: after.tag('oil', 'float64', {}, 1_000), value: 99 });
    expect(changes(after).at(-1)).toEqual([
      'plc/oil:mean_1min:hi',
      'cleared',
      'plc/oil has no mean_1min hi limit any more',
    ]);
    const same = new Plant({}, { alarms });
    same.push({ tag: same.tag('oil', 'float64', { alarm: mean }, 1_000), value: 99 });
    same.clock.advance(30_000);
    expect(same.pipeline.activeAlarms().map(({ id }) => id)).toEqual(['plc/oil:mean_1min:hi']);
  });
});

test('each combination of aggregate and length stands once, and needs a limit', () => {
  const parse = (...sliding: object[]) => tagFieldsSchema.safeParse({ alarm: { sliding } }).success;
  const one = { over: '1min', of: 'mean', hi: { limit: 1 } };
  expect(parse(one, { ...one, of: 'max' })).toBe(true);
  expect(parse(one, one)).toBe(false);
  expect(parse({ over: '1min', of: 'mean' })).toBe(false);
  expect(parse({ ...one, over: '2d' })).toBe(false);
  expect(parse({ ...one, over: '10ms' })).toBe(false);
});
