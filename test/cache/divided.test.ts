// Blocks that are taken in parts, and blocks of which a part is damaged: what of them is written again, and what is lost.
import { copyFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import Database from 'better-sqlite3';
import { CacheCore } from '../../src/cache/core.ts';
import { openDatabase } from '../../src/cache/database.ts';
import { readCache } from '../../src/cache/reader.ts';
import { RolledEncoder } from '../../src/cache/rolled/encode.ts';
import { isRolled, openRolled } from '../../src/cache/rolled/open.ts';
import { allBlocks, type BlockRow, type BlockStore } from '../../src/cache/store.ts';
import { SqliteStore } from '../../src/cache/store-sqlite.ts';
import type { ManualClock } from '../../src/runtime/clock.ts';
import { toPublic } from '../../src/wire/keys.ts';
import {
  chunk,
  cloudKey,
  config,
  device,
  drain,
  FarSide,
  folder,
  OK,
  openClock,
  openCore,
  request,
  START_MS,
  tag,
} from './rig.ts';

const TAGS = 8;

let place: ReturnType<typeof folder>;
let clock: ManualClock;
let core: CacheCore;
let far: FarSide;
let next: number;

beforeEach(() => {
  place = folder();
  clock = openClock();
  far = new FarSide();
  next = 0;
  core = start(openCore(place.path, clock));
});
afterEach(() => {
  core.close();
  place.remove();
});

function start(opened: CacheCore): CacheCore {
  for (let at = 0; at < TAGS; at++) opened.registerTag(tag(at, at < 4 ? `boiler/t${at}` : `press/t${at}`));
  return opened;
}

/** Every reading has a value of its own; tags of the press share their times. */
function commit(rounds: number): void {
  const rows = Array.from({ length: rounds * TAGS }, (_, i) => {
    const [at, round] = [i % TAGS, Math.floor((next + i) / TAGS)];
    return [at, START_MS + round * 10 + Math.sin(round * (at < 4 ? at + 1 : 9)) * 3, Math.sin(next + i) * 1e6] as const;
  });
  next += rows.length;
  core.add({ chunk: chunk(rows), counts: countsOf(rows.length / 2) });
  core.commit();
  clock.advance(1000);
}
const countsOf = (received: number) =>
  ['boiler', 'press'].map((source) => ({ source, received, rejected: 0, duplicate: 0, thinned: 0 }));

function roll(): void {
  clock.advance(130_000);
  core.commit();
  while (core.rollUp());
}

function readings(path = place.path): { row: BlockRow; stored: Uint8Array }[] {
  const db = openDatabase(path);
  const store = new SqliteStore(db);
  const all = [...allBlocks(store)].flatMap((row) =>
    row.class < 3 ? [] : [{ row, stored: store.block(row.id) ?? new Uint8Array() }],
  );
  db.close();
  return all;
}

/** A core over a store that tells what is called on it. */
function watched(more = {}): { core: CacheCore; calls: string[] } {
  const calls: string[] = [];
  const inner = new SqliteStore(openDatabase(place.path));
  const store = new Proxy<BlockStore>(inner, {
    get: (of, name) => {
      const found = Reflect.get(of, name);
      if (typeof found !== 'function') return found;
      return (...args: unknown[]) => {
        calls.push(String(name));
        return Reflect.apply(found, of, args);
      };
    },
  });
  const opened = new CacheCore(store, {
    ...config(place.path),
    ...{ clock, boot: new Uint8Array(16).fill(7), targets: [{ name: 'cloud', required: true }], device },
    ...{ version: '0', reason: 'start', ...more },
  });
  opened.setRecipient('cloud', toPublic(cloudKey));
  return { core: start(opened), calls };
}

describe('a rolled block that is acknowledged in parts', () => {
  test('is not written again, and is one block as before when all of it is delivered', () => {
    for (let i = 0; i < 60; i++) commit(25);
    roll();
    const [before] = readings();
    if (before === undefined) throw new Error('rolled above');
    expect(before.row.rows).toBe(12_000);
    drain(core, far); // the control rows, and nothing else is young
    core.close();
    place.remove();

    place = folder();
    next = 0;
    far = new FarSide();
    core = start(openCore(place.path, clock));
    for (let i = 0; i < 60; i++) commit(25);
    roll();
    core.close();
    const [whole] = readings();
    const { core: again, calls } = watched();
    core = again;
    let most = 0;
    for (let parts = 0; parts < 100; parts++) {
      const batch = core.cut(request('backlog', { rowsMax: 1111 }));
      if (batch === undefined) break;
      expect(far.take(batch)).toBe('ok');
      calls.length = 0;
      core.acknowledge(batch.batchId, OK);
      core.commit();
      expect(calls.filter((name) => name === 'addBlock')).toEqual([]);
      const now = readings();
      most = Math.max(most, now.length);
      expect(now.map(({ row }) => row.rows).reduce((a, b) => a + b)).toBe(12_000);
      expect(now.reduce((sum, { row }) => sum + row.bytes, 0)).toBe(whole?.row.bytes);
      const reader = readCache(place.path);
      expect(reader.verify()).toMatchObject({ ok: true, readings: 12_000 });
      expect(reader.range('press/t5', 0, Number.MAX_SAFE_INTEGER)).toHaveLength(1500);
      reader.close();
    }
    expect(most).toBe(2);
    expect(far.readings()).toHaveLength(12_000);
    expect(far.duplicates).toBe(0);
    expect(readings()).toEqual([{ row: { ...whole?.row, pending: 0 }, stored: whole?.stored }]);
  });
});

describe('a step', () => {
  test('of rolling up encodes no more than a few thousand readings', () => {
    for (let i = 0; i < 60; i++) commit(125);
    clock.advance(130_000);
    core.commit();
    const add = RolledEncoder.prototype.add;
    let [rows, most, all] = [0, 0, 0];
    RolledEncoder.prototype.add = function (of) {
      rows += of.rows;
      all += of.rows;
      add.call(this, of);
    };
    try {
      for (let more = true; more; most = Math.max(most, rows)) {
        rows = 0;
        more = core.rollUp();
      }
    } finally {
      RolledEncoder.prototype.add = add;
    }
    expect(all).toBe(60_000);
    expect(most).toBeLessThanOrEqual(4096 + 8192);
    expect(Math.max(...readings().map(({ row }) => row.rows))).toBeGreaterThan(5000);
  });
});

test('a limit that was lowered by far is kept after some commits, and none of them removes more than some blocks', () => {
  for (let i = 0; i < 75; i++) {
    commit(600);
    if (i % 20 === 19) drain(core, far);
  }
  drain(core, far);
  core.close();
  const { core: again, calls } = watched({ bytesMax: 500_000 });
  core = again;
  const removed: number[] = [];
  for (let commits = 0; commits < 10; commits++) {
    calls.length = 0;
    commit(1);
    removed.push(calls.filter((name) => name === 'removeBlock').length);
  }
  const [first = 0] = removed;
  expect(first).toBeGreaterThan(20);
  expect(Math.max(...removed)).toBeLessThan(80);
  expect(removed[1]).toBeGreaterThan(5);
  expect(core.stats().bytesUsed).toBeLessThan(500_000);
});

describe('a byte flipped in a rolled block', () => {
  /** With that byte of its only block flipped: what the cloud has in the end. */
  function damagedAt(at: number) {
    const other = folder();
    for (const name of readdirSync(place.path).filter((file) => file.startsWith('cache.db')))
      copyFileSync(join(place.path, name), join(other.path, name));
    const db = new Database(join(other.path, 'cache.db'));
    const { id, block } = db.prepare('SELECT id, block FROM blocks JOIN journal USING (id) WHERE class = 3').get() as {
      id: number;
      block: Buffer;
    };
    block[at] = (block[at] ?? 0) ^ (1 << (at % 8));
    db.prepare('UPDATE blocks SET block = ? WHERE id = ?').run(block, id);
    db.close();
    const reader = readCache(other.path);
    const verified = reader.verify();
    const ranges = Array.from({ length: TAGS }, (_, t) =>
      reader.range(t < 4 ? `boiler/t${t}` : `press/t${t}`, 0, Number.MAX_SAFE_INTEGER),
    );
    reader.close();
    const cloud = new FarSide();
    const opened = start(openCore(other.path, clock));
    drain(opened, cloud);
    opened.commit();
    const { ledger, damagedBlocks } = opened.stats();
    const hello = opened.hello(opened.helloRuns('cloud'), cloud.answer());
    opened.close();
    const after = readCache(other.path);
    const ok = after.verify().ok;
    after.close();
    other.remove();
    return { verified, ranges, cloud, targets: ledger.targets.cloud ?? {}, damagedBlocks, hello, ok };
  }

  test('costs the readings of its tag, or of those with these times, and never gives a wrong value', () => {
    core.close();
    core = start(openCore(place.path, clock, { rollUp: { rowsMin: 400 } }));
    for (let i = 0; i < 60; i++) commit(1);
    roll();
    core.close();
    const [{ stored } = { stored: new Uint8Array() }] = readings();
    expect(isRolled(stored)).toBe(true);
    const untouched = damagedAt(stored.length);
    const sound = new Set(untouched.cloud.readings());
    expect(sound.size).toBe(60 * TAGS);
    const costs = new Set<number>();
    const step = Math.max(1, Math.floor(stored.length / 40));
    for (let at = 0; at < stored.length; at += step) {
      const bytes = Uint8Array.from(stored);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
      let lost = sound.size;
      try {
        const block = openRolled(bytes);
        block.numbers();
        const broken = block.broken();
        lost = block.tags.reduce((sum, each) => sum + (broken.has(each.tag) ? each.rows : 0), 0);
      } catch {
        // The directory, or the numbers: all of it.
      }
      costs.add(lost / 60);
      const found = damagedAt(at);
      expect(found.verified).toMatchObject({ ok: false, damagedReadings: lost, differences: [] });
      const sum = (what: 'delivered' | 'damaged' | 'pending') =>
        Object.values(found.targets).reduce((total, counts) => total + counts[what], 0);
      expect([sum('delivered'), sum('damaged'), sum('pending')]).toEqual([sound.size - lost, lost, 0]);
      const delivered = found.cloud.readings();
      expect(delivered).toHaveLength(sound.size - lost);
      expect(delivered.every((row) => sound.has(row))).toBe(true);
      found.ranges.forEach((range, t) => {
        if (range.length > 0) expect(range).toEqual(untouched.ranges[t]);
      });
      const gaps = found.cloud.control.filter(({ row }) => row.type === 'GAP' && row.reason === 'damaged');
      expect(gaps.reduce((total, { row }) => total + Number(row.count), 0)).toBe(lost);
      expect(found).toMatchObject({ ok: true, damagedBlocks: 1, hello: { marked: 0, reopened: 0, lost: 0 } });
    }
    core = start(openCore(place.path, clock));
    // One tag, the four that share their times, all of it.
    expect([...costs].sort((a, b) => a - b)).toEqual([1, 4, TAGS]);
  });

  test('in the last block of a run does not let its last number be forgotten', () => {
    commit(12);
    commit(12);
    const numbers = () =>
      core.helloRuns('cloud').runs.flatMap(({ classes }) => classes.filter((one) => one.class === 3));
    const before = numbers();
    const last = readings().at(-1)?.row.id ?? 0;
    const db = new Database(join(place.path, 'cache.db'));
    db.prepare('UPDATE blocks SET block = zeroblob(40) WHERE id = ?').run(last);
    db.close();
    drain(core, far);
    expect(readings()).toHaveLength(1);
    // Opened again without `close`: as after a crash.
    core = start(openCore(place.path, clock));
    expect(numbers()).toEqual(before);
  });
});
