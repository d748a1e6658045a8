// What is written to the device, how long a card bears it, and the budget that hurried commits keep to.
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { openCache } from '../../src/cache/index.ts';
import { processWritten, Wear } from '../../src/cache/wear.ts';
import { WriteBudget } from '../../src/cache/write-budget.ts';
import { ManualClock } from '../../src/runtime/clock.ts';
import { chunk, config, device, folder, openCore, tag } from './rig.ts';

const OPTIONS = { version: '0.0.0', targets: [{ name: 'cloud', required: true }], device };

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Meta rows of a store, and a kernel that counts what it is told. */
function box(clock: ManualClock, endurance?: number) {
  const rows = new Map<string, string>();
  const store = { meta: (key: string) => rows.get(key), setMeta: (key: string, value: string) => rows.set(key, value) };
  const kernel = { written: 0 as number | undefined };
  return { store, kernel, start: () => new Wear(store, { clock, written: () => kernel.written, endurance }) };
}

describe('wear', () => {
  test('is what the kernel counts, a day and a reading, and the years a card lasts at it', () => {
    const clock = new ManualClock();
    const { kernel, start } = box(clock, 100e12);
    const wear = start();
    for (let hour = 1; hour <= 6; hour++) {
      clock.advance(HOUR_MS);
      kernel.written = hour * 1e9;
      wear.stats(hour * 20_000_000);
    }
    const stats = wear.stats(120_000_000);
    expect(stats).toMatchObject({ written: 6e9, total: 6e9, endurance: 100e12, isAssumed: false });
    expect(stats.perDay).toBeCloseTo(24e9, -3);
    expect(stats.perReading).toBeCloseTo(50);
    expect(stats.years).toBeCloseTo(100e12 / 24e9 / 365.25, 3);
  });

  test('is never less than nothing: a ballast in memory is made, and the kernel counts no byte of it', () => {
    const clock = new ManualClock();
    const { store } = box(clock);
    const made = { bytes: 0 };
    const wear = new Wear(store, { clock, written: () => 0, once: () => made.bytes, endurance: undefined });
    made.bytes = 12_000_000;
    clock.advance(HOUR_MS);
    expect(wear.stats(1_000_000)).toMatchObject({ perDay: 0, perReading: 0, years: undefined });
  });

  test('goes by the last day of running, not by a burst of last week', () => {
    const clock = new ManualClock();
    const { kernel, start } = box(clock);
    const wear = start();
    clock.advance(HOUR_MS);
    kernel.written = 500e9;
    wear.stats(0);
    for (let hour = 0; hour < 7 * 24; hour++) {
      clock.advance(HOUR_MS);
      kernel.written += 1e6;
      wear.stats(0);
    }
    expect(wear.stats(0)).toMatchObject({ total: 500e9 + 168e6, isAssumed: true, perReading: undefined });
    expect(wear.stats(0).perDay).toBeCloseTo(24e6, -2);
  });

  test('survives restarts, though the kernel counts from zero again; time off and clock steps change nothing', () => {
    const clock = new ManualClock();
    const { store, kernel, start } = box(clock);
    const first = start();
    clock.advance(10 * HOUR_MS);
    kernel.written = 10e9;
    first.save(store, 1000);
    clock.advance(100 * DAY_MS);
    clock.step(-300 * DAY_MS);
    kernel.written = 0;
    const second = start();
    clock.advance(10 * HOUR_MS);
    kernel.written = 10e9;
    const stats = second.stats(1000);
    expect(stats).toMatchObject({ written: 10e9, total: 20e9, observedMs: 20 * HOUR_MS, perReading: 1e7 });
    expect(stats.perDay).toBeCloseTo(24e9, -3);
    expect(second.lastDay).toBe(20e9);
  });

  test('is unknown where the system does not count, and right after a start', () => {
    const clock = new ManualClock();
    const { kernel, start } = box(clock);
    const wear = start();
    kernel.written = 1e6;
    clock.advance(5000);
    expect(wear.stats(10).perDay).toBeUndefined();
    kernel.written = undefined;
    clock.advance(HOUR_MS);
    expect(wear.stats(10)).toMatchObject({
      written: undefined,
      perDay: undefined,
      perReading: undefined,
      years: undefined,
    });
  });

  test('is saved with the checkpoint and at the end, not with every commit', () => {
    const place = folder();
    const clock = new ManualClock();
    const saves: number[] = [];
    const wear = {
      save: (_: unknown, readings: number) => saves.push(readings),
      stats: () => new Wear({ meta: () => undefined }, { clock, written: () => 0, endurance: undefined }).stats(0),
    };
    try {
      const core = openCore(place.path, clock, { wear, checkpointInterval: 60_000 });
      for (let second = 0; second < 150; second++) {
        core.add({ counts: [{ source: 'plc', received: 1, rejected: 1, duplicate: 0, thinned: 0 }] });
        clock.advance(1000);
        core.commit();
      }
      expect(saves).toHaveLength(2);
      core.close();
      expect(saves).toHaveLength(3);
    } finally {
      place.remove();
    }
  });

  test('the kernel of this machine counts', () => {
    expect(processWritten()).toBeGreaterThanOrEqual(0);
  });
});

describe('the write budget', () => {
  const BUDGET = 20e9;

  test('hurried commits are 20 ms apart within it, 250 ms beyond, and 20 ms again when some is back', () => {
    const budget = new WriteBudget(BUDGET, 0, 0, 0);
    expect(budget.apartMs(0)).toBe(20);
    budget.committed(0, BUDGET - 1);
    expect(budget.apartMs(0)).toBe(20);
    budget.committed(0, BUDGET + 1000);
    expect(budget.apartMs(0)).toBe(250);
    expect(budget.stats(0)).toEqual({ bytesADay: BUDGET, leftBytes: 0, isStretched: true });
    expect(budget.apartMs(DAY_MS / 200)).toBe(250);
    expect(budget.apartMs(DAY_MS / 100 + 1)).toBe(20);
  });

  test('a sensor that asks fifty times a second keeps the day within the budget, and one that asks ten times is never stretched', () => {
    for (const [everyMs, overMost] of [
      [20, 1.02],
      [100, 0.8],
    ] as const) {
      const budget = new WriteBudget(BUDGET, 0, BUDGET, 0);
      let written = 0;
      let stretched = 0;
      for (let nowMs = 0; nowMs < DAY_MS; ) {
        written += 18_000;
        budget.committed(nowMs, written);
        const apartMs = budget.apartMs(nowMs);
        if (apartMs > 20 && nowMs > HOUR_MS) stretched++;
        nowMs += Math.max(everyMs, apartMs);
      }
      expect(written / BUDGET).toBeLessThan(overMost);
      expect(stretched > 0).toBe(everyMs === 20);
    }
  });

  test('a restart gives no new budget, and what the system does not count is estimated', () => {
    expect(new WriteBudget(BUDGET, 0, BUDGET + 5, 0).apartMs(0)).toBe(250);
    const blind = new WriteBudget(BUDGET, 0, 0, undefined);
    for (let commit = 0; commit < 100; commit++) blind.committed(0, undefined);
    expect(blind.stats(0).leftBytes).toBe(BUDGET - 100 * 10_000);
  });

  test.each([
    [1, 250, true],
    [20e9, 20, false],
  ])(
    'the worker keeps to it: with %d bytes a day hurried commits are %d ms apart',
    async (writeBudget, apartMs, isStretched) => {
      const place = folder();
      const cache = await openCache({ ...config(join(place.path, 'cache')), writeBudget }, OPTIONS);
      try {
        cache.registerTag(tag(0, 'plc/x'));
        cache.append({ chunk: chunk([[0, 1_780_000_000_000, 1]]) });
        await cache.committed();
        const startedMs = performance.now();
        for (let i = 1; i <= 4; i++) {
          cache.append({ chunk: chunk([[0, 1_780_000_000_000 + i, 1]]) });
          await cache.committed();
        }
        // One commit at the start may have been earlier than the first answer; a busy machine is slower, never faster.
        expect(performance.now() - startedMs).toBeGreaterThan(3 * apartMs);
        expect((await cache.stats()).writeBudget).toMatchObject({ bytesADay: writeBudget, isStretched });
        expect((await cache.stats()).wear).toMatchObject({ isAssumed: true });
      } finally {
        await cache.close();
        place.remove();
      }
    },
  );
});
