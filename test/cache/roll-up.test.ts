// Small blocks into large ones: what changes, and all that must not.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { CacheCore, CoreOptions } from '../../src/cache/core.ts';
import { openDatabase } from '../../src/cache/database.ts';
import { readCache } from '../../src/cache/reader.ts';
import { isRolled } from '../../src/cache/rolled/open.ts';
import { allBlocks, type BlockRow } from '../../src/cache/store.ts';
import { SqliteStore } from '../../src/cache/store-sqlite.ts';
import type { ManualClock } from '../../src/runtime/clock.ts';
import { chunk, drain, FarSide, folder, OK, openClock, openCore, request, START_MS, tag } from './rig.ts';

let place: ReturnType<typeof folder>;
let clock: ManualClock;
let core: CacheCore;
let far: FarSide;
let next = 0;

beforeEach(() => {
  place = folder();
  clock = openClock();
  far = new FarSide();
  next = 0;
  start();
});
afterEach(() => {
  core.close();
  place.remove();
});

function start(more: Partial<CoreOptions> = {}): void {
  core = openCore(place.path, clock, more);
  core.registerTag(tag(0, 'boiler/flow'));
  core.registerTag(tag(1, 'boiler/pump', 'bool', { priority: 'low' }));
  core.registerTag(tag(2, 'weather/rain'));
  core.registerTag(tag(3, 'boiler/count', 'uint32'));
}

/** One commit of `rows` readings, a second later. */
function commit(rows: number): void {
  const readings = Array.from({ length: rows }, () => {
    const at = next++;
    return [at % 4, START_MS + at * 5, at % 2] as [number, number, number];
  });
  core.add({ chunk: chunk(readings) });
  core.commit();
  clock.advance(1000);
}

function roll(): number {
  // Acknowledgements are written with a commit.
  core.commit();
  for (let steps = 1; ; steps++) if (!core.rollUp()) return steps;
}

/** The file as another process sees it. */
function blocks(): { row: BlockRow; rolled: boolean }[] {
  const db = openDatabase(place.path);
  const store = new SqliteStore(db);
  const all = [...allBlocks(store)].map((row) => ({ row, rolled: isRolled(store.block(row.id)) }));
  db.close();
  return all;
}
const readings = () => blocks().filter(({ row }) => row.class >= 3);

function facts() {
  core.commit();
  const reader = readCache(place.path);
  try {
    const { ok, readings: rows, damaged } = reader.verify();
    const ranges = ['boiler/flow', 'boiler/pump', 'weather/rain', 'boiler/count'].map((name) =>
      reader.range(name, 0, Number.MAX_SAFE_INTEGER),
    );
    return { ok, rows, damaged, digest: [...reader.digest()], ledger: reader.ledger(), ranges };
  } finally {
    reader.close();
  }
}

/** Within a class and run, ids go up with the numbers. */
function inOrder(): void {
  const last = new Map<string, BlockRow>();
  for (const { row } of blocks()) {
    const key = `${row.run} ${row.class}`;
    expect(row.n0).toBeGreaterThan(last.get(key)?.n0 ?? 0);
    last.set(key, row);
  }
}

describe('the roll-up', () => {
  test('makes one block a class of many, and changes nothing of what they say', () => {
    for (let i = 0; i < 60; i++) commit(200);
    clock.advance(130_000);
    const before = facts();
    expect(readings()).toHaveLength(120);
    roll();
    expect(facts()).toEqual(before);
    expect(before).toMatchObject({ ok: true, rows: 12_000 });
    const after = readings();
    expect(after.map(({ row, rolled }) => [row.class, row.rows, rolled])).toEqual([
      [3, 9000, true],
      ...Array.from({ length: 60 }, () => [4, 50, false]),
    ]);
    expect(drain(core, far)).toBeGreaterThan(12_000);
    expect(far.readings()).toHaveLength(12_000);
    expect(far.duplicates).toBe(0);
  });

  test('leaves young blocks alone, and does not look again at once', () => {
    for (let i = 0; i < 40; i++) commit(1000);
    roll();
    expect(readings().filter(({ row }) => row.class === 3).length).toBeGreaterThan(28);
    expect(roll()).toBe(1);
  });

  test('rolls small blocks of a slow box after a while, and again into larger ones', () => {
    const sizes = (): number[] => readings().flatMap(({ row }) => (row.class === 3 ? [row.rows] : []));
    const later = (commits: number) => {
      for (let i = 0; i < commits; i++) commit(4);
      clock.advance(16 * 60_000);
      // Saves the windows, so that all before is on one side of them.
      commit(4);
      roll();
    };
    later(10);
    expect(sizes()).toEqual([30, 3]);
    later(8);
    // Not enough others to write the thirty again.
    expect(sizes()).toEqual([30, 27, 3]);
    later(6);
    expect(sizes()).toEqual([78, 3]);
    expect(facts().ok).toBe(true);
  });

  test('rolls rows of control and alarms as well', () => {
    for (let i = 0; i < 12; i++) {
      core.registerTag(tag(10 + i, `late/tag${i}`));
      core.add({ chunk: chunk([[10 + i, START_MS + i, 1]]) });
      core.commit();
      clock.advance(1000);
    }
    const control = () => blocks().filter(({ row }) => row.class === 1);
    expect(control().length).toBeGreaterThan(10);
    clock.advance(16 * 60_000);
    roll();
    expect(control()).toHaveLength(1);
    drain(core, far);
    expect(far.control.filter(({ row }) => row.type === 'TAG')).toHaveLength(12);
    expect(far.control[0]?.row.type).toBe('RUN_OPEN');
  });

  test('does not touch what is in flight, nor void what was cut of it', () => {
    for (let i = 0; i < 60; i++) commit(200);
    clock.advance(130_000);
    const batch = core.cut(request('backlog', { rowsMax: 3000 }));
    if (batch === undefined) throw new Error('a batch');
    roll();
    far.take(batch);
    core.acknowledge(batch.batchId, OK);
    clock.advance(10 * 60_000);
    roll();
    inOrder();
    drain(core, far);
    expect(far.readings()).toHaveLength(12_000);
    expect(far.duplicates).toBe(0);
    expect(facts()).toMatchObject({ ok: true });
  });

  test('gives up what a cut came before', () => {
    for (let i = 0; i < 60; i++) commit(200);
    clock.advance(130_000);
    for (let step = 0; step < 2; step++) core.rollUp();
    const batch = core.cut(request('backlog', { rowsMax: 100 }));
    roll();
    expect(readings().length).toBeGreaterThan(60);
    if (batch !== undefined) core.release(batch.batchId);
    expect(facts()).toMatchObject({ ok: true });
  });

  test('keeps order and numbers when a large block is acknowledged in parts, and joins the parts again', () => {
    for (let i = 0; i < 60; i++) commit(800);
    clock.advance(130_000);
    const before = facts();
    roll();
    const [large] = readings().filter(({ rolled }) => rolled);
    // No more of one tag than a step encodes.
    expect(large?.row.rows).toBe(24_000);
    let batches = 0;
    for (const rowsMax of [1, 999, 3000, 1, 7000]) {
      const batch = core.cut(request('backlog', { rowsMax }));
      if (batch === undefined || far.take(batch) !== 'ok') throw new Error('a batch');
      core.acknowledge(batch.batchId, OK);
      inOrder();
      batches++;
    }
    expect(batches).toBe(5);
    expect(facts()).toMatchObject({ ok: true, digest: before.digest, ranges: before.ranges });
    drain(core, far);
    expect(far.readings()).toHaveLength(48_000);
    expect(far.duplicates).toBe(0);
    clock.advance(20 * 60_000);
    roll();
    inOrder();
    expect(readings().filter(({ row }) => row.class === 3).length).toBeLessThan(3);
    expect(facts()).toMatchObject({ ok: true, digest: before.digest, ranges: before.ranges });
  });

  test('never joins blocks on both sides of the saved windows, so that a crash counts none twice', () => {
    const windowsAfterCrash = (rolls: boolean) => {
      core.close();
      place.remove();
      place = folder();
      clock = openClock();
      next = 0;
      start({ checkpointInterval: 40_000 });
      for (let i = 0; i < 75; i++) commit(400);
      clock.advance(50_000);
      if (rolls) roll();
      const count = readings().length;
      // Opened again without `close`: as after a crash.
      openCore(place.path, clock).close();
      const reader = readCache(place.path);
      const windows = reader.windows('boiler/flow', 60_000, 0, Number.MAX_SAFE_INTEGER);
      reader.close();
      return { count, windows };
    };
    const before = windowsAfterCrash(false);
    const after = windowsAfterCrash(true);
    expect(before.windows.length).toBeGreaterThan(1);
    expect(after.windows).toEqual(before.windows);
    expect(after.count).toBeLessThan(before.count);
    // Nor what was rolled since: in part before the saved windows, in part behind.
    const halves = readings().filter(({ row, rolled }) => rolled && row.class === 3);
    expect(halves.length).toBeGreaterThan(0);
  });

  test('gives no id twice after all blocks behind a large one are gone', () => {
    for (let i = 0; i < 60; i++) commit(200);
    clock.advance(130_000);
    core.close();
    start();
    roll();
    core.close();
    start();
    commit(200);
    inOrder();
    const batch = core.cut(request('backlog', { rowsMax: 1000 }));
    if (batch !== undefined && far.take(batch) === 'ok') core.acknowledge(batch.batchId, OK);
    inOrder();
    drain(core, far);
    expect(far.readings()).toHaveLength(12_200);
    expect(far.duplicates).toBe(0);
  });

  test('goes around a damaged block, which stays where it is', () => {
    for (let i = 0; i < 90; i++) commit(200);
    const victim = readings().filter(({ row }) => row.class === 3)[30]?.row.id ?? 0;
    const db = openDatabase(place.path);
    db.prepare('UPDATE blocks SET block = zeroblob(40) WHERE id = ?').run(victim);
    db.close();
    clock.advance(16 * 60_000);
    roll();
    const normal = readings().filter(({ row }) => row.class === 3);
    expect(normal.map(({ row }) => row.rows)).toEqual([4500, 150, 8850]);
    expect(normal[1]?.row.id).toBe(victim);
    expect(facts().damaged.map(({ id }) => id)).toEqual([victim]);
    drain(core, far);
    expect(far.readings()).toHaveLength(18_000 - 150);
  });

  test('removes a large block as one, and accounts for it', () => {
    for (let i = 0; i < 60; i++) commit(800);
    clock.advance(130_000);
    roll();
    drain(core, far);
    core.close();
    start({ bytesMax: 20_000 });
    commit(4);
    expect(readings().filter(({ rolled }) => rolled)).toEqual([]);
    expect(facts()).toMatchObject({ ok: true });
    const { boiler } = core.stats().ledger.targets.cloud ?? {};
    expect(boiler?.dropped).toBe(0);
    expect(boiler?.delivered).toBe(36_000);
  });
});
