// The degradation ladder of the cache: when it steps, and what each step does to rows on a real disk.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { CacheCore, CoreOptions } from '../../src/cache/core.ts';
import { HYSTERESIS, nextState, type Pressure, THRESHOLDS } from '../../src/cache/ladder/ladder.ts';
import { readCache } from '../../src/cache/reader.ts';
import type { LadderLevel, LadderState } from '../../src/cache/types.ts';
import { Quality } from '../../src/reading.ts';
import type { ManualClock } from '../../src/runtime/clock.ts';
import { parseAggregate, parseControl } from '../../src/wire/control.ts';
import { contains, count, type RangeSet, subtract, union } from '../../src/wire/ranges.ts';
import { chunk, drain, FarSide, folder, openClock, openCore, request, START_MS, tag } from './rig.ts';

const AT_REST: Pressure = { disk: 0, isFreeDisk: false, memory: 0, age: 0, full: false };
const share = fc.double({ min: 0, max: 1.2, noNaN: true });
const level = fc.constantFrom<LadderLevel>(0, 1, 2, 3, 4, 5);
const pressure = fc.record({
  disk: share,
  isFreeDisk: fc.boolean(),
  memory: share,
  age: share,
  full: fc.boolean(),
}) satisfies fc.Arbitrary<Pressure>;

describe('the decision', () => {
  test('reaches each level at its threshold, of the disk and of memory alike', () => {
    for (const [wanted, at] of Object.entries(THRESHOLDS).slice(1)) {
      for (const input of ['disk', 'memory'] as const) {
        expect(nextState(0, { ...AT_REST, [input]: at }).level).toBe(Number(wanted));
        expect(nextState(0, { ...AT_REST, [input]: at - 1e-9 }).level).toBe(Number(wanted) - 1);
      }
    }
  });
  test('counts age for levels 3 and 4 only', () => {
    expect([0.5, 0.79, 0.8, 0.9, 1.5].map((age) => nextState(0, { ...AT_REST, age }).level)).toEqual([0, 0, 3, 4, 4]);
  });
  test('is at 5 while the disk is full, whatever the shares say', () => {
    expect(nextState(0, { ...AT_REST, full: true })).toMatchObject({ level: 5, cause: 'full' });
  });
  test('never flaps: what moved the level by less than ten points does not move it back', () => {
    fc.assert(
      fc.property(level, pressure, fc.double({ min: -0.099, max: 0.099, noNaN: true }), (from, now, by) => {
        const up = nextState(from, now).level;
        fc.pre(up > from && !now.full);
        const back = { ...now, disk: now.disk + by, memory: now.memory + by, age: now.age + by };
        expect(nextState(up, back).level).toBeGreaterThanOrEqual(up);
      }),
    );
  });
  test('is monotone: more pressure or a higher level before never gives a lower one', () => {
    fc.assert(
      fc.property(level, level, pressure, pressure, (a, b, one, more) => {
        const worse = {
          ...more,
          disk: Math.max(one.disk, more.disk),
          memory: Math.max(one.memory, more.memory),
          age: Math.max(one.age, more.age),
          full: one.full || more.full,
        };
        const [low, high] = [Math.min(a, b) as LadderLevel, Math.max(a, b) as LadderLevel];
        expect(nextState(high, worse).level).toBeGreaterThanOrEqual(nextState(low, one).level);
      }),
    );
  });
  test('stays when looked at again, and is back at 0 from anywhere once all inputs are ten points below the first level', () => {
    fc.assert(
      fc.property(level, pressure, (from, now) => {
        const next = nextState(from, now).level;
        expect(nextState(next, now).level).toBe(next);
        const calm = 0.5 - HYSTERESIS - 1e-9;
        const rest = { ...now, full: false, disk: Math.min(now.disk, calm), memory: Math.min(now.memory, calm) };
        expect(nextState(from, { ...rest, age: Math.min(now.age, 0.69) }).level).toBe(0);
      }),
    );
  });
});

let place: ReturnType<typeof folder>;
let clock: ManualClock;
let far: FarSide;
let seen: LadderState[];
beforeEach(() => {
  place = folder();
  clock = openClock();
  far = new FarSide();
  seen = [];
});
afterEach(() => place.remove());

const TAGS = ['plc/a', 'plc/b', 'plc/low', 'plc/low_int', 'plc/low_text'] as const;
const BYTES_MAX = 1_000_000;

function open(more: Partial<CoreOptions> = {}): CacheCore {
  const options = { bytesMax: BYTES_MAX, windows: [], onLadder: (state: LadderState) => seen.push(state), ...more };
  const core = openCore(place.path, clock, options);
  const low = { priority: 'low' };
  core.registerTag(tag(0, TAGS[0]));
  core.registerTag(tag(1, TAGS[1]));
  core.registerTag(tag(2, TAGS[2], 'float64', low));
  core.registerTag(tag(3, TAGS[3], 'int32', low));
  return core;
}

interface Said {
  readonly tag: number;
  readonly timeMs: number;
  readonly value: number;
  readonly quality: number;
}
/** Values that no compressor makes small; every 50th is bad, every 70th uncertain. */
function readings(from: number, rows: number, tags: readonly number[]): Said[] {
  return Array.from({ length: rows }, (_, i) => {
    const at = from + i;
    const index = tags[at % tags.length] ?? 0;
    const noise = Math.sin(at * 12.9898) * 43_758.5453;
    const quality = at % 50 === 7 ? Quality.commError : at % 70 === 9 ? Quality.stale : Quality.good;
    return { tag: index, timeMs: START_MS + at * 20, value: index === 3 ? Math.round(noise) : noise, quality };
  });
}
function add(core: CacheCore, rows: readonly Said[]): void {
  core.add({
    chunk: chunk(rows.map(({ tag: index, timeMs, value, quality }) => [index, timeMs, value, quality])),
    counts: [{ source: 'plc', received: rows.length, rejected: 0, duplicate: 0, thinned: 0 }],
  });
}
function relieve(core: CacheCore): number {
  let steps = 0;
  while (core.ladderStep()) if (++steps > 10_000) throw new Error('it never ends');
  return steps;
}
function levels(): number[] {
  return seen.map((state) => state.level);
}
function account(core: CacheCore) {
  const ledger = core.stats().ledger;
  const [accepted, mine] = [ledger.sources.plc?.accepted ?? 0, ledger.targets.cloud?.plc];
  if (mine === undefined) throw new Error('no account');
  return { accepted, ...mine };
}
function verify(): void {
  const reader = readCache(place.path);
  expect(reader.verify()).toMatchObject({ ok: true, damaged: [], differences: [] });
  reader.close();
}

/** Decodes what the cloud was told and holds it against everything that was accepted. */
function check(core: CacheCore, said: ReadonlyMap<number, readonly Said[]>): { aggregated: number; dropped: number } {
  const { run } = core.stats();
  const gone = { aggregated: [] as RangeSet, dropped: [] as RangeSet };
  const sums = { aggregated: 0, dropped: 0 };
  for (const [classNumber, all] of said) {
    const key = `${run}/${classNumber}`;
    const held = far.held.get(key) ?? [];
    let explained: RangeSet = [];
    gone.aggregated = [];
    gone.dropped = [];
    for (const { row } of far.control) {
      const control = parseControl(row);
      if (control.type !== 'GAP' || control.class !== classNumber || control.run !== run) continue;
      if (control.reason !== 'aggregated' && control.reason !== 'dropped') throw new Error(control.reason);
      expect(subtract(control.ranges, explained)).toEqual(control.ranges);
      explained = union(explained, control.ranges);
      gone[control.reason] = union(gone[control.reason], control.ranges);
      expect(count(control.ranges)).toBe(control.count);
    }
    // Exactly what is missing: nothing twice, nothing not at all.
    expect(subtract(held, explained)).toEqual(held);
    expect(union(held, explained)).toEqual([{ from: 1, to: all.length }]);
    sums.aggregated += count(gone.aggregated);
    sums.dropped += count(gone.dropped);
    checkAggregates(run, classNumber, all, gone.aggregated);
  }
  expect(account(core)).toMatchObject({ ...sums, pending: 0 });
  const { accepted, delivered } = account(core);
  expect(delivered + sums.aggregated + sums.dropped).toBe(accepted);
  expect(accepted).toBe([...said.values()].reduce((sum, { length }) => sum + length, 0));
  return sums;
}

/** A recount of the removed rows, one by one, against the sum of the AGG rows. */
function checkAggregates(run: string, classNumber: number, all: readonly Said[], gone: RangeSet): void {
  let rows = 0;
  const minutes = new Map<string, { row: Said; n: number }[]>();
  all.forEach((row, at) => {
    const key = `${row.tag} ${Math.floor(row.timeMs / 60_000) * 60_000}`;
    const known = minutes.get(key);
    if (known === undefined) minutes.set(key, [{ row, n: at + 1 }]);
    else known.push({ row, n: at + 1 });
  });
  for (const [key, text] of far.rows) {
    if (!key.startsWith(`${run}/2/`)) continue;
    const agg = parseAggregate(JSON.parse(text));
    if (agg.class !== classNumber) continue;
    const index = TAGS.map(String).indexOf(names.get(agg.tag) ?? '');
    const mine = (minutes.get(`${index} ${agg.startMs}`) ?? [])
      .filter(({ n }) => contains(agg.ranges, n) && contains(gone, n))
      .map(({ row }) => row);
    const good = mine.filter(({ quality }) => quality === Quality.good);
    expect(agg.count).toBe(mine.length);
    expect(agg.good).toBe(good.length);
    rows += mine.length;
    if (good.length === 0) continue;
    const values = good.map(({ value }) => value);
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    expect(agg.mean).toBeCloseTo(mean, 6);
    const m2 = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    expect(Math.abs((agg.m2 ?? 0) - m2)).toBeLessThanOrEqual(1e-9 * m2 + 1e-6);
    expect(agg).toMatchObject({ min: Math.min(...values), max: Math.max(...values) });
    expect(agg).toMatchObject({ first: values[0], last: values.at(-1) });
    if (index === 3) expect(agg.sum).toBe(String(values.reduce((a, b) => a + b, 0)));
    expect(agg).toMatchObject({ firstMs: mine[0]?.timeMs, lastMs: mine.at(-1)?.timeMs });
  }
  // Small AGG rows may have been dropped since; none stands for more than was removed.
  expect(rows).toBeLessThanOrEqual(count(gone));
  if (!far.control.some(({ row }) => row.type === 'GAP' && row.class === 2)) expect(rows).toBe(count(gone));
}

const names = new Map<string, string>();
function learnNames(): void {
  for (const { row } of far.control) {
    if (row.type === 'TAG') names.set(String(row.id), JSON.parse(String(row.content)).name);
  }
}

/** Rows in the order of their numbers: by commit, and in a commit by tag. */
function numbered(commits: readonly (readonly Said[])[], isLow: boolean): Said[] {
  return commits.flatMap((rows) =>
    rows.filter((row) => row.tag >= 2 === isLow).sort((a, b) => a.tag - b.tag || a.timeMs - b.timeMs),
  );
}

describe('a cache without uplink', () => {
  test('takes ten times its size: bounded, level by level, every reading there, summed up or written off', () => {
    const core = open();
    const commits: Said[][] = [];
    // 1,000,000 readings take ten times the limit.
    for (let from = 0; from < 1_000_000; from += 8000) {
      const rows = readings(from, 8000, [0, 1, 2, 3]);
      commits.push(rows);
      add(core, rows);
      expect(core.commit().done).toBe(true);
      relieve(core);
      clock.advance(2000);
      expect(core.stats().bytesUsed).toBeLessThan(BYTES_MAX);
    }
    expect([...new Set(levels())]).toEqual([1, 2, 3, 4]);
    verify();
    const reader = readCache(place.path);
    expect(reader.ladder()).toMatchObject({ level: 4, cause: 'disk' });
    reader.close();
    const before = account(core);
    expect(before.aggregated).toBeGreaterThan(50_000);
    expect(before.dropped).toBeGreaterThan(50_000);
    expect(before.accepted).toBe(before.pending + before.aggregated + before.dropped);
    // The live lane takes none of the sums, and the backlog lane nothing that young.
    clock.advance(20_000);
    drain(core, far);
    learnNames();
    check(
      core,
      new Map([
        [3, numbered(commits, false)],
        [4, numbered(commits, true)],
      ]),
    );
    // Nothing of it went unsaid, and nothing was said too often.
    const gaps = far.control.filter(({ row }) => row.type === 'GAP');
    expect(gaps.length).toBeLessThan(600);
    clock.advance(60_000);
    core.commit();
    expect(core.ladder.level).toBe(0);
    drain(core, far);
    const steps = far.control.map(({ row }) => row).filter(({ type }) => type === 'LADDER');
    expect(steps.at(0)).toMatchObject({ from: 0, to: 1, cause: 'disk' });
    expect(steps.at(-1)).toMatchObject({ to: 0 });
    expect(steps.slice(1).map(({ from }) => from)).toEqual(steps.slice(0, -1).map(({ to }) => to));
    verify();
    core.close();
  }, 60_000);

  test('writes an aggregate off that the cloud refuses, as it does a reading, with a dead letter that shows it', () => {
    const core = open();
    for (let from = 0; core.backlog('cloud').perClass.aggregate === 0 && from < 1_000_000; from += 8000) {
      add(core, readings(from, 8000, [0, 1, 2, 3]));
      core.commit();
      relieve(core);
      clock.advance(2000);
    }
    clock.advance(20_000);
    const before = account(core);
    const waiting = core.backlog('cloud').perClass.aggregate;
    expect(waiting).toBeGreaterThan(0);
    // The control rows before it pass.
    for (let batch = core.cut(request('alarm')); batch !== undefined; batch = core.cut(request('alarm'))) {
      far.take(batch);
      core.acknowledge(batch.batchId, { code: 0, rows: 0, duplicates: 0, incarnation: '00' });
    }
    core.commit();
    const one = core.cut(request('backlog', { rowsMax: 1 }));
    expect(one).toMatchObject({ rows: 1, readings: 0, refusable: 1 });
    core.refuse(one?.batchId ?? '', 'row_refused');
    expect(core.backlog('cloud').perClass.aggregate).toBe(waiting - 1);
    expect(account(core)).toEqual(before);
    const reader = readCache(place.path);
    const [letter] = reader.deadLetters(1);
    reader.close();
    expect(letter).toMatchObject({ source: 'plc', reason: 'refused by the cloud: row_refused' });
    expect(TAGS).toContain(letter?.subject);
    expect(JSON.parse(Buffer.from(letter?.original ?? []).toString())).toMatchObject({ type: 'AGG', class: 4 });
    drain(core, far);
    const said = far.control.map(({ row }) => row).filter(({ type, class: of }) => type === 'GAP' && of === 2);
    expect(said).toMatchObject([{ reason: 'refused', count: 1 }]);
    expect(core.hello(core.helloRuns('cloud'), far.answer())).toMatchObject({ lost: 0, reopened: 0 });
    verify();
    core.close();
  }, 60_000);

  test('touches nothing that is on its way', () => {
    const core = open();
    const rows = readings(0, 8000, [2]);
    add(core, rows);
    core.commit();
    const batch = core.cut(request('live'));
    for (let from = 8000; core.ladder.level < 4 && from < 1_000_000; from += 8000) {
      add(core, readings(from, 8000, [0, 1]));
      core.commit();
      clock.advance(2000);
    }
    relieve(core);
    expect(account(core)).toMatchObject({ aggregated: 0 });
    expect(account(core).dropped).toBeGreaterThan(0);
    if (batch === undefined) throw new Error('nothing was cut');
    far.take(batch);
    core.acknowledge(batch.batchId, { code: 0, rows: 0, duplicates: 0, incarnation: '00' });
    expect(account(core).delivered).toBe(8000);
    verify();
    core.close();
  });
});
