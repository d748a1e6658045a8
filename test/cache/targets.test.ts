// Targets come and go, and some may be left behind. What one of them will not get is explained to it, so that it never looks
// lost at the far side, and its account adds up at every moment.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { CacheCore, CoreOptions } from '../../src/cache/core.ts';
import type { ManualClock } from '../../src/runtime/clock.ts';
import { count, type RangeSet, subtract, union } from '../../src/wire/ranges.ts';
import { chunk, drain, FarSide, folder, openClock, openCore, START_MS, tag } from './rig.ts';

const CLOUD = { name: 'cloud', required: true };
const OPTIONAL = { name: 'cloud', required: false };
const HOUR_MS = 3_600_000;

let place: ReturnType<typeof folder>;
let clock: ManualClock;
let far: FarSide;
let core: CacheCore;
let taken: number;

beforeEach(() => {
  place = folder();
  clock = openClock();
  far = new FarSide();
  taken = 0;
});
afterEach(() => {
  core.close();
  place.remove();
});

function start(more: Partial<CoreOptions>): void {
  core = openCore(place.path, clock, more);
  core.registerTag(tag(0, 'plc/a'));
}
function restart(more: Partial<CoreOptions>): void {
  core.close();
  clock.advance(1000);
  start(more);
}

/** One commit of readings that take eight bytes each. */
function commit(rows: number): void {
  const noise = (n: number) => ((n * 2654435761) % 2 ** 32) / 2 ** 33 + Math.sqrt(n);
  const readings = Array.from({ length: rows }, (_, i) => [0, START_MS + taken + i, noise(taken + i)] as const);
  taken += rows;
  const counts = [{ source: 'plc', received: rows, rejected: 0, duplicate: 0, thinned: 0 }];
  core.add({ chunk: chunk(readings), counts });
  core.commit();
  clock.advance(1000);
}
/** As time goes on: also GAP rows, which wait for each other, are written. */
function later(): void {
  clock.advance(20_000);
  core.commit();
}
const account = () => core.stats().ledger.targets.cloud?.plc;
const deliver = () => {
  drain(core, far);
  core.commit();
};
const held = () => far.readings().length;
const explained = () =>
  [...far.explained].reduce((sum, [key, ranges]) => sum + (/\/[34]$/.test(key) ? count(ranges) : 0), 0);
const gaps = () => far.control.filter(({ row }) => row.type === 'GAP').map(({ row }) => row.reason);
const askCloud = () => core.hello(core.helloRuns('cloud'), far.answer());
const NOTHING_NEW = { marked: 0, reopened: 0, lost: 0 };

describe('a target that is not required', () => {
  const small = { targets: [OPTIONAL], bytesMax: 400_000 };
  function overfill(): number {
    for (let i = 0; i < 40; i++) commit(2000);
    const dropped = account()?.dropped ?? 0;
    expect(dropped).toBeGreaterThan(2_000);
    expect((account()?.pending ?? 0) + (account()?.delivered ?? 0)).toBe(taken - dropped);
    return dropped;
  }

  test('is told what was removed before it had it, and misses nothing beyond', () => {
    start(small);
    const dropped = overfill();
    later();
    deliver();
    expect(new Set(gaps())).toEqual(new Set(['dropped']));
    expect(explained()).toBe(dropped);
    expect(held()).toBe(taken - dropped);
    expect(account()).toMatchObject({ delivered: taken - dropped, dropped, pending: 0, cloud_lost: 0 });
  });

  test('takes none of it for lost at its side, whether it was told already or not', () => {
    start(small);
    const dropped = overfill();
    expect(askCloud()).toEqual(NOTHING_NEW);
    later();
    expect(askCloud()).toEqual(NOTHING_NEW);
    deliver();
    expect(askCloud()).toEqual(NOTHING_NEW);
    expect(account()).toMatchObject({ dropped, cloud_lost: 0, pending: 0 });
  });

  test('is told after a crash what was not told before', () => {
    start({ ...small, bytesMax: 2_000_000 });
    for (let i = 0; i < 40; i++) commit(2000);
    later();
    core.close();
    // Room is made before this run has told anything, and it tells nothing: it ends without a commit that is done.
    start(small);
    commit(2000);
    const dropped = account()?.dropped ?? 0;
    expect(dropped).toBeGreaterThan(10_000);
    restart(small);
    expect(askCloud()).toEqual(NOTHING_NEW);
    later();
    deliver();
    expect(explained()).toBe(dropped);
    expect(held()).toBe(taken - dropped);
  });

  test('settles nothing over rows that it was not told of', () => {
    start(small);
    commit(10);
    deliver();
    clock.advance(2 * HOUR_MS);
    overfill();
    deliver();
    later();
    clock.advance(2 * HOUR_MS);
    commit(10);
    deliver();
    commit(10);
    deliver();
    let settled = 0;
    const told = new Map<string, RangeSet>();
    for (const { row, run } of far.control) {
      if (row.type === 'GAP') told.set(`${row.run}`, union(told.get(`${row.run}`) ?? [], row.ranges as RangeSet));
      if (row.type !== 'SETTLED' || row.class !== 3) continue;
      settled++;
      const known = union(told.get(`${row.run}`) ?? [], far.held.get(`${run}/3`) ?? []);
      expect(subtract([{ from: 1, to: Number(row.n) }], known)).toEqual([]);
    }
    expect(settled).toBeGreaterThan(0);
  });
});

describe('a target that comes late', () => {
  test('is told that what was removed before will not come, and does not look as if it had lost it', () => {
    start({ targets: [], bytesMax: 400_000 });
    for (let i = 0; i < 40; i++) commit(2000);
    restart({ targets: [CLOUD], bytesMax: 400_000 });
    const kept = account()?.pending ?? 0;
    expect(kept).toBeGreaterThan(1000);
    expect(account()).toMatchObject({ forgotten: taken - kept, delivered: 0 });
    expect(askCloud()).toEqual(NOTHING_NEW);
    later();
    deliver();
    expect(askCloud()).toEqual(NOTHING_NEW);
    expect([held(), explained()]).toEqual([kept, taken - kept]);
    expect(account()).toMatchObject({ delivered: kept, forgotten: taken - kept, pending: 0, cloud_lost: 0 });
  });
});

describe('a target that was taken out and comes back', () => {
  test.each([1, 3])('begins with what comes from then on, over %i restarts in between', (restarts) => {
    start({ targets: [CLOUD] });
    commit(100);
    deliver();
    commit(50);
    for (let i = 0; i < restarts; i++) {
      restart({ targets: [] });
      commit(30);
    }
    restart({ targets: [CLOUD] });
    const missed = 50 + restarts * 30;
    expect(account()).toMatchObject({ delivered: 100, forgotten: missed, pending: 0 });
    expect(askCloud()).toEqual(NOTHING_NEW);
    commit(20);
    later();
    deliver();
    expect(askCloud()).toEqual(NOTHING_NEW);
    expect(account()).toMatchObject({ delivered: 120, forgotten: missed, pending: 0, cloud_lost: 0 });
    expect([held(), explained()]).toEqual([120, missed]);
    expect(new Set(gaps())).toEqual(new Set(['forgotten']));
  });

  test('gives no reading twice and counts none below zero, however often it comes and goes', () => {
    start({ targets: [CLOUD] });
    for (let i = 0; i < 3; i++) {
      commit(10);
      deliver();
      commit(5);
      restart({ targets: [] });
      commit(3);
      restart({ targets: [CLOUD] });
      expect(askCloud()).toEqual(NOTHING_NEW);
      later();
      deliver();
    }
    expect(account()).toMatchObject({ delivered: 30, forgotten: 24, pending: 0 });
    expect([held(), explained(), far.duplicates]).toEqual([30, 24, 0]);
  });

  test('is delivered to again what a restored cloud lost, if it had it', () => {
    start({ targets: [CLOUD] });
    commit(100);
    deliver();
    restart({ targets: [] });
    commit(30);
    restart({ targets: [CLOUD] });
    later();
    deliver();
    const [run = ''] = far.held.keys();
    far.forget(`${run.split('/')[0]}/3`, [{ from: 1, to: 40 }]);
    expect(askCloud()).toEqual({ marked: 0, reopened: 40, lost: 0 });
    deliver();
    expect(account()).toMatchObject({ delivered: 100, forgotten: 30, pending: 0 });
  });

  test('keeps what its signed answer says it holds after all', () => {
    start({ targets: [CLOUD] });
    commit(100);
    const batch = core.cut({ target: 'cloud', lane: 'live', rowsMax: 10_000, bytesMax: 1_000_000, liveMs: 10_000 });
    if (batch !== undefined) far.take(batch); // its answer never comes
    restart({ targets: [] });
    restart({ targets: [CLOUD] });
    expect(account()).toMatchObject({ delivered: 0, forgotten: 100 });
    askCloud();
    expect(account()).toMatchObject({ delivered: 100, forgotten: 0, pending: 0 });
  });
});
