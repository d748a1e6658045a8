// Readings are removed before the windows they are in were saved: a crash in that moment loses none of these windows.
import { describe, expect, test } from '@jest/globals';
import { decodeContent } from '../../src/cache/content.ts';
import { CacheCore, type CoreOptions } from '../../src/cache/core.ts';
import { openDatabase } from '../../src/cache/database.ts';
import { makeFolder } from '../../src/cache/folder.ts';
import type { BlockStore } from '../../src/cache/store.ts';
import { SqliteStore } from '../../src/cache/store-sqlite.ts';
import { decodeWindows } from '../../src/cache/windows/block.ts';
import { emptyWindow, FLAG, joinRow, W, WINDOW_NUMBERS } from '../../src/cache/windows/window.ts';
import type { ManualClock } from '../../src/runtime/clock.ts';
import { Crash, faultyStore, type StoreHooks } from '../../src/simulate/faulty-store.ts';
import { MemoryStore } from '../../src/simulate/memory-store.ts';
import { holdsReadings } from '../../src/wire/classes.ts';
import { chunk, config, device, folder, openClock, START_MS, tag } from './rig.ts';
import { type Row, recountWindow } from './windows-recount.ts';

const PERIODS = [1000, 10_000];
const READINGS_A_SECOND = 20;

interface Disk {
  open(): BlockStore;
  /** The process is gone. */
  closed(): void;
  remove(): void;
}

function memory(): Disk {
  const store = new MemoryStore();
  return { open: () => store, closed: () => {}, remove: () => {} };
}

function file(): Disk {
  const place = folder();
  makeFolder(place.path);
  let store: BlockStore | undefined;
  return {
    open: () => {
      store = new SqliteStore(openDatabase(place.path));
      return store;
    },
    closed: () => store?.close(),
    remove: place.remove,
  };
}

class Gateway {
  readonly clock: ManualClock = openClock();
  /** On disk, at some time. */
  readonly committed: Row[] = [];
  /** Transactions that removed readings. */
  removals = 0;
  crashesAt = Number.POSITIVE_INFINITY;
  readonly #disk: Disk;
  readonly #more: Partial<CoreOptions>;
  #seconds = 0;

  constructor(disk: Disk, more: Partial<CoreOptions>) {
    this.#disk = disk;
    this.#more = more;
  }

  open(): CacheCore {
    const inner = this.#disk.open();
    const hooks: StoreHooks = {
      isFull: () => false,
      ambush: undefined,
      onCrash: () => {},
      onCommitted: ({ blocks, removed }) => {
        for (const { row, bytes } of blocks) if (holdsReadings(row.class)) this.#note(row, bytes);
        if (!removed.some((row) => holdsReadings(row.class))) return;
        if (++this.removals >= this.crashesAt) hooks.ambush = { countdown: 0, at: 'after commit', what: 'crash' };
      },
    };
    const core = new CacheCore(faultyStore(inner, hooks).store, {
      ...config('-'),
      clock: this.clock,
      boot: new Uint8Array(16).fill(7),
      // Nobody is waited for: all may be removed.
      targets: [],
      device,
      version: '0.0.0',
      reason: 'start',
      windows: PERIODS,
      checkpointInterval: 86_400_000,
      ...this.#more,
    });
    core.registerTag(tag(0, 'a/x'));
    return core;
  }

  #note(row: Parameters<typeof decodeContent>[0], bytes: Uint8Array): void {
    const content = decodeContent(row, bytes);
    if (content.kind !== 'readings') return;
    const { timeMs, value, quality, rows } = content.columns;
    for (let at = 0; at < rows; at++) this.committed.push([0, timeMs[at] ?? 0, value[at] ?? 0, quality[at] ?? 0]);
  }

  second(core: CacheCore): void {
    const timeMs = START_MS + this.#seconds++ * 1000;
    this.clock.advance(1000);
    const rows = Array.from({ length: READINGS_A_SECOND }, (_, i) => [0, timeMs + i * 50, Math.sin(timeMs + i), 0]);
    core.add({ chunk: chunk(rows as [number, number, number, number][]) });
    core.commit();
  }

  /** Until it dies. */
  live(core: CacheCore): void {
    try {
      for (let i = 0; i < 2000; i++) this.second(core);
    } catch (thrown) {
      if (!(thrown instanceof Crash)) throw thrown;
      this.#disk.closed();
      return;
    }
    throw new Error('it did not crash');
  }

  /** Another process, which ends in order. @returns `period start` → window. */
  windows(): Map<string, Float64Array> {
    this.crashesAt = Number.POSITIVE_INFINITY;
    const core = this.open();
    for (let i = 0; i < 15; i++) this.second(core);
    core.close();
    const store = this.#disk.open();
    const found = new Map<string, Float64Array>();
    for (const { block } of store.windowsAfter(0, 1000)) {
      const { length, numbers, periodMs } = decodeWindows(block);
      for (let row = 0; row < length; row++) {
        const start = numbers[row * WINDOW_NUMBERS + W.start] ?? 0;
        const window = found.get(`${periodMs} ${start}`) ?? emptyWindow(start);
        found.set(`${periodMs} ${start}`, window);
        joinRow(window, numbers, row * WINDOW_NUMBERS);
      }
    }
    this.#disk.closed();
    return found;
  }

  remove(): void {
    this.#disk.remove();
  }
}

/** @returns how many say that they are not exact. */
function expectAll(gateway: Gateway): number {
  const found = gateway.windows();
  let doubtful = 0;
  const wrong: string[] = [];
  for (const period of PERIODS) {
    const last = Math.max(...gateway.committed.map(([, timeMs]) => timeMs));
    const starts = new Set(gateway.committed.map(([, timeMs]) => Math.floor(timeMs / period) * period));
    for (const start of starts) {
      if (start + period > last) continue; // open
      const expected = recountWindow(gateway.committed, start, period);
      const window = found.get(`${period} ${start}`);
      if (window === undefined) wrong.push(`${period} at ${start - START_MS} is lost`);
      else if (((window[W.flags] ?? 0) & FLAG.thin) !== 0) doubtful++;
      else if (window[W.count] !== expected.count || window[W.min] !== expected.min || window[W.max] !== expected.max)
        wrong.push(`${period} at ${start - START_MS} has ${window[W.count]} of ${expected.count}`);
      else if (Math.abs((window[W.area] ?? 0) / (window[W.covered] ?? 0) - expected.timeWeightedMean) > 1e-9)
        wrong.push(`${period} at ${start - START_MS} has another mean`);
    }
  }
  expect(wrong).toEqual([]);
  return doubtful;
}

describe.each([
  ['memory', memory],
  ['a file', file],
])('in %s', (_, disk) => {
  test.each([1, 3])('a crash right after removal %i for want of room loses no window', (removal) => {
    const gateway = new Gateway(disk(), { bytesMax: 80_000 });
    gateway.crashesAt = removal;
    gateway.live(gateway.open());
    // Those of the commit that never came to be: its second, and what lasts from it.
    expect(expectAll(gateway)).toBeLessThanOrEqual(6);
    gateway.remove();
  });

  test.each([1, 2])('a crash right after removal %i for their age loses no window', (removal) => {
    const gateway = new Gateway(disk(), { ageMax: 20_000 });
    gateway.crashesAt = removal;
    gateway.live(gateway.open());
    expect(expectAll(gateway)).toBeLessThanOrEqual(6);
    gateway.remove();
  });

  test('without a crash none is lost or doubtful, however short raw is kept', () => {
    const gateway = new Gateway(disk(), { ageMax: 20_000, checkpointInterval: 7000 });
    const core = gateway.open();
    for (let i = 0; i < 200; i++) gateway.second(core);
    core.close();
    expect(gateway.removals).toBeGreaterThan(0);
    expect(expectAll(gateway)).toBe(0);
    gateway.remove();
  });
});
