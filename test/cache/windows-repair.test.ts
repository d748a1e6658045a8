// Windows after late readings, crashes and restarts: counted again from raw, they are what every reading says.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { CacheCore, CoreOptions } from '../../src/cache/core.ts';
import { readCache } from '../../src/cache/reader.ts';
import { isBad, Quality, THINNED } from '../../src/reading.ts';
import type { ManualClock } from '../../src/runtime/clock.ts';
import { chunk, folder, openClock, openCore, START_MS, tag } from './rig.ts';
import { expectView, recountWindow } from './windows-recount.ts';

const PERIODS = [1000, 10_000, 60_000, 3_600_000];
const NAMES = ['a/x', 'a/y'];

type Row = [number, number, number, number];
type Event =
  | {
      readonly what: 'reading';
      readonly tag: number;
      readonly gapMs: number;
      readonly value: number;
      readonly quality: number;
    }
  | {
      readonly what: 'late';
      readonly tag: number;
      readonly agoMs: number;
      readonly value: number;
      readonly quality: number;
    }
  | { readonly what: 'commit' | 'crash' | 'restart' | 'repair' };

const value = fc.oneof(
  fc.integer({ min: -1000, max: 1000 }).map((each) => each / 10),
  fc.double({ min: -1e6, max: 1e6, noNaN: true }),
);
const quality = fc.constantFrom(Quality.good, Quality.good, Quality.good, Quality.good, Quality.commError);
const which = fc.nat(1);
const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 30,
    arbitrary: fc.record({
      what: fc.constant('reading' as const),
      tag: which,
      gapMs: fc.oneof(fc.nat(700), fc.nat(20_000), fc.nat(400_000)),
      value,
      quality,
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      what: fc.constant('late' as const),
      tag: which,
      agoMs: fc.oneof(fc.nat(2000), fc.nat(30_000), fc.nat(5_000_000)),
      value,
      quality,
    }),
  },
  { weight: 8, arbitrary: fc.constantFrom<Event>({ what: 'commit' }, { what: 'repair' }) },
  { weight: 2, arbitrary: fc.constantFrom<Event>({ what: 'crash' }, { what: 'restart' }) },
);

class Gateway {
  readonly clock: ManualClock = openClock();
  readonly rows: Row[] = [];
  readonly #place = folder();
  readonly #more: Partial<CoreOptions>;
  #core: CacheCore;
  #timeMs = START_MS;

  constructor(more: Partial<CoreOptions> = {}) {
    this.#more = { windows: PERIODS, checkpointInterval: 120_000, ...more };
    this.#core = this.#open();
  }

  get path(): string {
    return this.#place.path;
  }

  #open(): CacheCore {
    const core = openCore(this.#place.path, this.clock, this.#more);
    NAMES.forEach((name, index) => {
      core.registerTag(tag(index, name));
    });
    return core;
  }

  take(index: number, timeMs: number, each: number, q: number): void {
    this.#core.add({ chunk: chunk([[index, timeMs, each, q]]) });
    this.rows.push([index, timeMs, isBad(q) ? 0 : each, q]);
  }

  does(next: Event): void {
    switch (next.what) {
      case 'reading':
        this.clock.advance(next.gapMs);
        this.#timeMs += next.gapMs;
        this.take(next.tag, this.#timeMs, next.value, next.quality);
        return;
      case 'late':
        this.take(next.tag, this.#timeMs - next.agoMs, next.value, next.quality);
        return;
      case 'commit':
        this.#core.commit();
        return;
      case 'crash':
        // What was not committed is lost: commit first, so that the list of readings holds.
        this.#core.commit();
        this.#core = this.#open();
        return;
      case 'restart':
        this.#core.close();
        this.#core = this.#open();
        return;
      case 'repair':
        this.#core.commit();
        this.repair();
    }
  }

  repair(): void {
    for (let steps = 0; this.#core.repairWindows(); steps++) if (steps > 10_000) throw new Error('repairs without end');
  }

  /** Closes all windows and repairs them. */
  end(): void {
    this.#core.commit();
    for (const gapMs of [3_700_000, 20_000]) {
      this.clock.advance(gapMs);
      this.#core.saveHot({} as never); // so that there is something to commit
      this.#core.commit();
      this.repair();
    }
    this.#core.close();
  }

  remove(): void {
    this.#place.remove();
  }
}

function expectExact(gateway: Gateway): void {
  const reader = readCache(gateway.path);
  try {
    NAMES.forEach((name, index) => {
      const mine = gateway.rows.filter(([each]) => each === index);
      for (const period of PERIODS) {
        const found = new Map(reader.windows(name, period, 0, Number.MAX_SAFE_INTEGER).map((w) => [w.startMs, w]));
        const starts = new Set(mine.map(([, timeMs]) => Math.floor(timeMs / period) * period));
        for (const start of starts) {
          const expected = recountWindow(mine, start, period);
          const view = found.get(start);
          found.delete(start);
          if (expected.total > 1 || view !== undefined) expectView(`${name} ${period} ${start}`, view, expected);
        }
        expect([...found.keys()]).toEqual([]);
      }
    });
  } finally {
    reader.close();
  }
}

describe('late readings', () => {
  test('leave windows of every length as a recount of raw says, whatever crashes in between', () => {
    fc.assert(
      fc.property(fc.array(event, { minLength: 5, maxLength: 80 }), (events) => {
        const gateway = new Gateway();
        try {
          for (const each of events) gateway.does(each);
          gateway.end();
          expectExact(gateway);
        } finally {
          gateway.remove();
        }
      }),
      { numRuns: 60 },
    );
  });

  test('find the window that was not written, having held one reading', () => {
    const gateway = new Gateway();
    gateway.take(0, START_MS + 100, 1, 0);
    gateway.take(0, START_MS + 5000, 2, 0);
    gateway.does({ what: 'commit' });
    gateway.take(0, START_MS + 200, 7, 0);
    gateway.end();
    expectExact(gateway);
    gateway.remove();
  });

  test('last into the next window when nothing newer is known', () => {
    const gateway = new Gateway();
    gateway.take(0, START_MS + 200, 40, 0);
    gateway.does({ what: 'commit' });
    // The wall clock closes the first window; what comes of it then is newer than what was seen.
    gateway.clock.advance(5000);
    gateway.take(1, START_MS + 5200, 1, 0);
    gateway.does({ what: 'commit' });
    gateway.take(0, START_MS + 800, 0, Quality.commError);
    gateway.take(0, START_MS + 13_500, 7, 0);
    gateway.take(0, START_MS + 13_800, 8, 0);
    gateway.end();
    expectExact(gateway);
    gateway.remove();
  });

  test('of a thinned tag stay parts: all is exact but the time-weighted mean, and that says so', () => {
    const gateway = new Gateway();
    const seen: Row[] = [];
    for (let i = 0; i < 40; i++) {
      const q = i % 4 === 0 ? 0 : THINNED;
      gateway.take(0, START_MS + i * 500, i / 10, q);
      seen.push([0, START_MS + i * 500, i / 10, 0]);
    }
    gateway.does({ what: 'commit' });
    gateway.take(0, START_MS + 250, 99, 0);
    seen.push([0, START_MS + 250, 99, 0]);
    gateway.end();
    const reader = readCache(gateway.path);
    const [first, second] = reader.windows('a/x', 10_000, START_MS, START_MS + 20_000);
    const { timeWeightedMean: _, ...expected } = recountWindow(seen, START_MS, 10_000);
    expectView('first', first === undefined ? undefined : { ...first, inexact: undefined }, {
      ...expected,
      timeWeightedMean: first?.timeWeightedMean ?? 0,
    });
    expect([first?.inexact, second?.inexact]).toEqual(['time', undefined]);
    reader.close();
    gateway.remove();
  });
});
