// Faults of the disk, made for real.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import Database from 'better-sqlite3';
import type { CacheCore } from '../../src/cache/core.ts';
import { readCache } from '../../src/cache/reader.ts';
import type { TargetLedger } from '../../src/cache/types.ts';
import type { ManualClock } from '../../src/runtime/clock.ts';
import { chunk, drain, FarSide, folder, openClock, openCore, START_MS, tag } from './rig.ts';

let place: ReturnType<typeof folder>;
let clock: ManualClock;
let far: FarSide;
beforeEach(() => {
  place = folder();
  clock = openClock();
  far = new FarSide();
});
afterEach(() => place.remove());

/** Values that no compressor makes small. */
function noise(from: number, count: number): [number, number, number][] {
  return Array.from({ length: count }, (_, i) => [
    0,
    START_MS + (from + i) * 10,
    Math.sin((from + i) * 12.9898) * 43_758.5453,
  ]);
}
function open(path = place.path, more = {}): CacheCore {
  const core = openCore(path, clock, more);
  core.registerTag(tag(0, 'plc/x'));
  return core;
}
function account(core: CacheCore): TargetLedger {
  const found = core.stats().ledger.targets.cloud?.plc;
  if (found === undefined) throw new Error('no account');
  return found;
}

describe('a flipped bit in a block', () => {
  test('costs that block alone: set aside, counted, told to the cloud, and the rest flows', () => {
    let core = open();
    for (let i = 0; i < 5; i++) {
      core.add({ chunk: chunk(noise(i * 100, 100)) });
      core.commit();
    }
    core.close();
    const db = new Database(join(place.path, 'cache.db'));
    const { id, block } = db
      .prepare('SELECT id, block FROM blocks JOIN journal USING (id) WHERE class = 3 AND n0 = 201')
      .get() as { id: number; block: Buffer };
    const at = block.length >> 1;
    block[at] = (block[at] ?? 0) ^ 0x10;
    db.prepare('UPDATE blocks SET block = ? WHERE id = ?').run(block, id);
    db.close();
    const reader = readCache(place.path);
    expect(reader.verify()).toMatchObject({ ok: false, damaged: [expect.objectContaining({ id })], differences: [] });
    reader.close();
    core = open();
    drain(core, far);
    expect(far.readings()).toHaveLength(400);
    expect(account(core)).toMatchObject({ delivered: 400, damaged: 100, pending: 0 });
    expect(far.control.at(-1)?.row).toMatchObject({
      type: 'GAP',
      reason: 'damaged',
      ranges: [{ from: 201, to: 300 }],
      count: 100,
    });
    expect(core.stats().damagedBlocks).toBe(1);
    // What the cloud was told is lost is not asked for again.
    expect(core.hello(core.helloRuns('cloud'), far.answer())).toEqual({ marked: 0, reopened: 0, lost: 0 });
    core.close();
  });
});

const mountable = process.platform === 'linux' && process.getuid?.() === 0 && canMount();
function canMount(): boolean {
  const probe = folder();
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', probe.path]).status === 0;
  if (mounted) spawnSync('umount', [probe.path]);
  probe.remove();
  return mounted;
}
function mounted(options: string, work: (path: string, remount: (more: string) => void) => void): void {
  const path = join(place.path, 'disk');
  mkdirSync(path);
  expect(spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path]).status).toBe(0);
  try {
    work(path, (more) => expect(spawnSync('mount', ['-o', `remount,${more}`, path]).status).toBe(0));
  } finally {
    spawnSync('umount', ['-l', path]);
  }
}
function withDisk(name: string, work: () => void): void {
  if (mountable) test(name, work);
  else test.skip(`${name} (skipped: mounting a tmpfs needs root)`, work);
}

describe('a full disk', () => {
  withDisk('loses nothing: commits wait in memory, and go on without a restart when there is room', () => {
    mounted('size=2m,mode=700', (path, remount) => {
      const core = open(join(path, 'cache'));
      let done = true;
      let rows = 0;
      for (; done && rows < 2_000_000; rows += 20_000) {
        core.add({ chunk: chunk(noise(rows, 20_000)) });
        done = core.commit().done;
      }
      expect(done).toBe(false);
      expect(core.stats().full).toBe(true);
      core.add({ chunk: chunk(noise(rows, 10)) });
      expect(core.commit().done).toBe(false);
      remount('size=64m');
      expect(core.commit().done).toBe(true);
      drain(core, far);
      expect(far.readings()).toHaveLength(rows + 10);
      expect(new Set(far.readings()).size).toBe(rows + 10);
      expect(account(core)).toMatchObject({ delivered: rows + 10, pending: 0 });
      core.close();
    });
  });
});

describe('a read-only medium', () => {
  withDisk('is readable, a WAL left by a crash included', () => {
    mounted('size=20m,mode=700', (path, remount) => {
      const core = open(join(path, 'cache'));
      core.add({ chunk: chunk(noise(0, 500)) });
      core.commit();
      // Copied while it is open: what a card looks like that was pulled.
      cpSync(join(path, 'cache'), join(path, 'pulled'), { recursive: true });
      core.close();
      remount('ro');
      const reader = readCache(join(path, 'pulled'));
      expect(reader.range('plc/x', 0, 1e15)).toHaveLength(500);
      expect(reader.verify().ok).toBe(true);
      reader.close();
    });
  });
});

describe('a cache at its size', () => {
  test('removes what was delivered, oldest first, and stays below', () => {
    const core = open(place.path, { bytesMax: 1_500_000 });
    for (let i = 0; i < 30; i++) {
      core.add({ chunk: chunk(noise(i * 10_000, 10_000)) });
      expect(core.commit().done).toBe(true);
      drain(core, far);
    }
    expect(core.stats().bytesUsed).toBeLessThan(1_600_000);
    expect(statSync(join(place.path, 'cache.db')).size).toBeLessThan(2_100_000);
    expect(account(core)).toMatchObject({ delivered: 300_000, pending: 0 });
    const reader = readCache(place.path);
    const kept = reader.range('plc/x', 0, 1e15);
    expect(kept.at(-1)?.timeMs).toBe(START_MS + 299_999 * 10);
    expect(kept.length).toBeGreaterThan(80_000);
    expect(reader.verify().ok).toBe(true);
    reader.close();
    core.close();
  }, 30_000);

  test('takes nothing more when all of it is pending, says so, and goes on when the cloud has taken some', () => {
    const core = open(place.path, { bytesMax: 1_000_000 });
    let rows = 0;
    for (let done = true; done; rows += 10_000) {
      core.add({ chunk: chunk(noise(rows, 10_000)) });
      done = core.commit().done;
    }
    expect(core.stats().full).toBe(true);
    drain(core, far);
    expect(core.commit().done).toBe(true);
    drain(core, far);
    expect(far.readings()).toHaveLength(rows);
    expect(account(core)).toMatchObject({ delivered: rows, pending: 0 });
    core.close();
  });

  test('full of small delivered blocks takes commit after commit, and one that is many times as large', () => {
    const core = open(place.path, { bytesMax: 200_000, windows: [] });
    let refused = 0;
    const commit = (rows: [number, number, number][]) => {
      core.add({ chunk: chunk(rows) });
      if (!core.commit().done) refused++;
      clock.advance(1000);
    };
    for (let i = 0; i < 1_500; i++) {
      commit(noise(i * 5, 5));
      if (i % 25 === 0) drain(core, far);
    }
    drain(core, far);
    expect(core.stats().blocks).toBeLessThan(1_500);
    commit(noise(10_000, 5_000));
    expect(refused).toBe(0);
    drain(core, far);
    expect(core.stats().bytesUsed).toBeLessThan(215_000);
    expect(account(core)).toMatchObject({ delivered: 12_500, pending: 0 });
    core.close();
  }, 30_000);

  test('whose limit was lowered by far goes on at once, and is soon below it', () => {
    let core = open();
    for (let i = 0; i < 900; i++) {
      core.add({ chunk: chunk(noise(i * 100, 100)) });
      core.commit();
      clock.advance(1000);
      if (i % 50 === 0) drain(core, far);
    }
    drain(core, far);
    expect(core.stats().bytesUsed).toBeGreaterThan(1_000_000);
    core.close();
    core = open(place.path, { bytesMax: 400_000 });
    core.add({ chunk: chunk(noise(100_000, 10)) });
    expect(core.commit().done).toBe(true);
    expect(core.stats().bytesUsed).toBeLessThan(420_000);
    core.close();
  }, 30_000);

  test('keeps what it freed when that was not enough', () => {
    const core = open(place.path, { bytesMax: 300_000, windows: [] });
    core.add({ chunk: chunk(noise(0, 10_000)) });
    core.commit();
    drain(core, far);
    core.add({ chunk: chunk(noise(10_000, 60_000)) });
    expect(core.commit().done).toBe(false);
    expect(core.stats().bytesUsed).toBeLessThan(60_000);
    core.close();
  });

  test('remembers the last numbers of the run before, though its blocks went before this run has a row', () => {
    let core = open(place.path, { bytesMax: 1_000_000, windows: [] });
    core.add({ chunk: chunk(noise(0, 10_000)) });
    core.commit();
    drain(core, far);
    core.close();
    core = open(place.path, { bytesMax: 150_000, windows: [] });
    core.add({ chunk: chunk(noise(10_000, 60_000)) });
    expect(core.commit().done).toBe(false);
    core.close();
    core = open();
    core.add({ chunk: chunk(noise(70_000, 1)) });
    core.commit();
    drain(core, far);
    const opens = far.control.filter(({ row }) => row.type === 'RUN_OPEN').map(({ row }) => row.previous);
    expect(opens).toContainEqual(expect.objectContaining({ last: expect.arrayContaining([10_000]) }));
    core.close();
  });

  test('removes what is older than allowed by the time that passed, whatever the clock says', () => {
    const core = open(place.path, { ageMax: 3_600_000 });
    core.add({ chunk: chunk(noise(0, 100)) });
    core.commit();
    drain(core, far);
    clock.step(400 * 86_400_000);
    core.add({ chunk: chunk(noise(100, 100)) });
    core.commit();
    const count = () => {
      const reader = readCache(place.path);
      const { readings } = reader.verify();
      reader.close();
      return readings;
    };
    expect(count()).toBe(200);
    drain(core, far);
    clock.advance(3_700_000);
    core.add({ chunk: chunk(noise(200, 100)) });
    core.commit();
    expect(count()).toBe(100);
    core.close();
  });

  test('says what is lost when a restored cloud no longer holds what was removed here', () => {
    const core = open(place.path, { ageMax: 3_600_000 });
    core.add({ chunk: chunk(noise(0, 100)) });
    core.commit();
    drain(core, far);
    clock.advance(3_700_000);
    core.add({ chunk: chunk(noise(100, 1)) });
    core.commit();
    far.forget(`${core.stats().run}/3`, [{ from: 11, to: 20 }]);
    expect(core.hello(core.helloRuns('cloud'), far.answer())).toEqual({ marked: 0, reopened: 0, lost: 10 });
    drain(core, far);
    expect(account(core)).toMatchObject({ delivered: 91, cloud_lost: 10, pending: 0 });
    const gaps = far.control.filter(({ row }) => row.type === 'GAP');
    expect(gaps).toMatchObject([{ row: { reason: 'cloud_lost', ranges: [{ from: 11, to: 20 }] } }]);
    core.close();
  });
});

describe('targets', () => {
  const cloud = { name: 'cloud', required: true };
  test('keep what waits for an uplink that was taken out of the configuration, and deliver it when it is back', () => {
    const asleep = { name: 'cloud', required: false, dormant: true };
    let core = open(place.path, { targets: [cloud] });
    core.add({ chunk: chunk(noise(0, 100)) });
    core.commit();
    core.close();
    core = open(place.path, { targets: [asleep] });
    core.add({ chunk: chunk(noise(0, 50)) });
    core.commit();
    expect(core.stats().ledger.targets.cloud?.plc).toMatchObject({ forgotten: 0, pending: 150 });
    core.close();
    core = open(place.path, { targets: [cloud] });
    expect(core.stats().ledger.targets.cloud?.plc).toMatchObject({ forgotten: 0, pending: 150 });
    drain(core, far);
    expect(account(core)).toMatchObject({ delivered: 150, pending: 0 });
    core.close();
  });

  test('begin no account for an uplink that was never there', () => {
    const core = open(place.path, { targets: [{ name: 'cloud', required: false, dormant: true }] });
    core.add({ chunk: chunk(noise(0, 10)) });
    core.commit();
    expect(core.stats().ledger.targets).toEqual({});
    core.close();
  });

  test('that are new get what is kept; those that go are written off', () => {
    let core = open(place.path, { targets: [] });
    core.add({ chunk: chunk(noise(0, 100)) });
    core.commit();
    core.close();
    core = open(place.path, { targets: [cloud, { name: 'influx', required: false }] });
    expect(account(core)).toMatchObject({ pending: 100, forgotten: 0 });
    drain(core, far);
    core.close();
    core = open(place.path, { targets: [cloud] });
    expect(core.stats().ledger.targets.influx?.plc).toMatchObject({ forgotten: 100, pending: 0 });
    expect(account(core)).toMatchObject({ delivered: 100, pending: 0 });
    core.close();
  });
});

describe('a clock that was never set', () => {
  test('marks its rows with the boot, lets them wait, and says the offset once it is known', () => {
    clock.step(-START_MS, false);
    const core = open();
    core.add({ chunk: chunk([[0, clock.wallMs(), 1]]) });
    core.commit();
    const before = clock.wallMs();
    const readings = () => far.readings().length;
    drain(core, far);
    expect(readings()).toBe(0);
    clock.advance(5000);
    clock.step(START_MS, true);
    core.add({ chunk: chunk([[0, clock.wallMs(), 2]]) });
    core.commit();
    drain(core, far);
    expect(readings()).toBe(2);
    expect(far.control.filter(({ row }) => row.type === 'CLOCK_OFFSET')).toMatchObject([
      { row: { offsetMs: START_MS } },
    ]);
    expect(before).toBe(0);
    core.close();
  });
});
