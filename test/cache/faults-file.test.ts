// Damaged files and logs under the cache's core, made for real: cut, flipped, zeroed, replaced.
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import Database from 'better-sqlite3';
import { CacheCore } from '../../src/cache/core.ts';
import { makeFolder } from '../../src/cache/folder.ts';
import { lockFolder } from '../../src/cache/lock.ts';
import { readCache } from '../../src/cache/reader.ts';
import type { DamageNote } from '../../src/cache/recover/notes.ts';
import { openingReason, openRecovering } from '../../src/cache/recover/open.ts';
import { markSuspect, timesSuspected } from '../../src/cache/recover/suspect.ts';
import { SqliteStore } from '../../src/cache/store-sqlite.ts';
import type { ManualClock } from '../../src/runtime/clock.ts';
import { toPublic } from '../../src/wire/keys.ts';
import { chunk, cloudKey, config, device, drain, FarSide, folder, openClock, START_MS, tag } from './rig.ts';

// 60 files with flipped bits, and 80 logs.
jest.setTimeout(30_000);

let place: ReturnType<typeof folder>;
let clock: ManualClock;
beforeEach(() => {
  place = folder();
  clock = openClock();
});
afterEach(() => place.remove());

/** As the worker starts it. */
function start(path = place.path): { core: CacheCore; notes: readonly DamageNote[] } {
  makeFolder(path);
  const where = { folder: path, bytesMax: 64_000_000, clock };
  const { value: core, notes } = openRecovering(where, (db, found) => {
    const targets = [{ name: 'cloud', required: true }];
    const rest = { clock, boot: new Uint8Array(16).fill(7), targets, device, version: '0.0.0' };
    return new CacheCore(new SqliteStore(db), { ...config(path), ...rest, reason: openingReason('start', found) });
  });
  core.setRecipient('cloud', toPublic(cloudKey));
  core.registerTag(tag(0, 'plc/x'));
  return { core, notes };
}

const ROWS = 50;
/** One group: values `group * ROWS` and on, all at times that say the same. */
function commitGroup(core: CacheCore, group: number): void {
  const rows = Array.from({ length: ROWS }, (_, i): [number, number, number] => {
    const value = group * ROWS + i;
    return [0, START_MS + value, value];
  });
  const counts = [{ source: 'plc', received: ROWS, rejected: 0, duplicate: 0, thinned: 0 }];
  core.add({ chunk: chunk(rows), counts });
  expect(core.commit().done).toBe(true);
}

/** A cache that died with `groups` commits in its log, as bytes on the disk. */
function died(groups: number): string {
  const alive = join(place.path, 'alive');
  const { core } = start(alive);
  for (let group = 0; group < groups; group++) commitGroup(core, group);
  const dead = join(place.path, 'dead');
  cpSync(alive, dead, { recursive: true });
  core.close();
  return dead;
}

let copies = 0;
function copyOf(dead: string): string {
  const path = join(place.path, `copy${copies++}`);
  cpSync(dead, path, { recursive: true });
  return path;
}

/** Starts, delivers all, and checks that it is groups from the first on, once and as they were. @returns how many. */
function exactPrefix(path: string): { groups: number; notes: readonly DamageNote[]; far: FarSide } {
  const { core, notes } = start(path);
  const far = new FarSide();
  drain(core, far);
  const values = far.readings().map((row) => Number(row.split(' ')[2]));
  for (const row of far.readings()) {
    const [, time, value] = row.split(' ');
    expect(Number(time) - START_MS).toBe(Number(value));
  }
  values.sort((a, b) => a - b);
  expect(values).toEqual(Array.from({ length: values.length }, (_, i) => i));
  expect(values.length % ROWS).toBe(0);
  const { sources, targets } = core.stats().ledger;
  if (values.length > 0) {
    expect(sources.plc).toMatchObject({ received: values.length, accepted: values.length });
    expect(targets.cloud?.plc).toMatchObject({ delivered: values.length, pending: 0 });
  }
  core.close();
  rmSync(path, { recursive: true });
  return { groups: values.length / ROWS, notes, far };
}

describe('a log that was damaged', () => {
  const GROUPS = 12;
  const log = (path: string) => join(path, 'cache.db-wal');

  test('cut anywhere opens with an exact prefix of the commits, more of them the later it is cut', () => {
    const dead = died(GROUPS);
    const bytes = statSync(log(dead)).size;
    let before = 0;
    for (let cut = 0; cut <= 40; cut++) {
      const path = copyOf(dead);
      // Also in the middle of a frame's header, and at its end.
      truncateSync(log(path), Math.min(bytes, Math.round((bytes * cut) / 40) + (cut % 3) * 11));
      const { groups } = exactPrefix(path);
      expect(groups).toBeGreaterThanOrEqual(before);
      before = groups;
    }
    expect(before).toBe(GROUPS);
  });

  test('by rubbish or zeros at its end, by no -shm, by a -shm of another day, opens with all that was committed', () => {
    const dead = died(GROUPS);
    const harms: ((path: string) => void)[] = [
      (path) => writeFileSync(log(path), Buffer.alloc(20_000), { flag: 'a' }),
      (path) => writeFileSync(log(path), Buffer.alloc(20_000, 0x5a), { flag: 'a' }),
      (path) => rmSync(join(path, 'cache.db-shm'), { force: true }),
      (path) => writeFileSync(join(path, 'cache.db-shm'), Buffer.alloc(32_768, 0x77)),
    ];
    for (const harm of harms) {
      const path = copyOf(dead);
      harm(path);
      expect(exactPrefix(path)).toMatchObject({ groups: GROUPS, notes: [] });
    }
  });

  test('missing as a whole opens with what was in the file', () => {
    const path = copyOf(died(GROUPS));
    rmSync(log(path));
    expect(exactPrefix(path).groups).toBe(0);
  });

  test('by a flipped bit opens with an exact prefix, says how many commits are lost at most, and tells the cloud', () => {
    const dead = died(GROUPS);
    const bytes = statSync(log(dead)).size;
    for (let i = 0; i < 40; i++) {
      const path = copyOf(dead);
      const wal = readFileSync(log(path));
      const at = Math.floor(((i + 0.5) / 40) * bytes);
      wal[at] = (wal[at] ?? 0) ^ (1 << (i % 8));
      writeFileSync(log(path), wal);
      const { groups, notes, far } = exactPrefix(path);
      expect(groups).toBeLessThan(GROUPS);
      expect(notes).toMatchObject([{ what: 'log', keptAs: expect.stringContaining('cache.db-wal.damaged-') }]);
      // The start made a few commits of its own, and a flip may make a frame look like one.
      const lost = notes[0]?.lostCommits ?? 0;
      expect(lost).toBeGreaterThanOrEqual(GROUPS - groups);
      expect(lost).toBeLessThanOrEqual(GROUPS - groups + 8);
      const opened = far.control.filter(({ row }) => row.type === 'RUN_OPEN');
      for (const { row } of opened.slice(groups > 0 ? 1 : 0)) expect(row.reason).toContain('lost');
    }
  });

  test('is kept aside, twice at most', () => {
    const dead = died(4);
    for (let i = 0; i < 4; i++) {
      const wal = readFileSync(log(dead));
      wal[2000] = (wal[2000] ?? 0) ^ 1;
      const path = join(place.path, 'again');
      mkdirSync(path, { recursive: true });
      for (const name of ['cache.db', 'lock']) cpSync(join(dead, name), join(path, name));
      writeFileSync(log(path), wal);
      const { core } = start(path);
      core.close();
      clock.advance(60_000);
    }
    const kept = readdirSync(join(place.path, 'again')).filter((name) => name.startsWith('cache.db-wal.damaged-'));
    expect(kept).toHaveLength(2);
  });
});

describe('a file that cannot be used', () => {
  const file = (path: string) => join(path, 'cache.db');
  const harms: [string, (path: string) => void][] = [
    ['whose header is rubbish', (path) => overwrite(path, 0, Buffer.alloc(100, 0xee))],
    ['whose first pages are zeros', (path) => overwrite(path, 0, Buffer.alloc(16_384))],
    ['that is all zeros', (path) => writeFileSync(file(path), Buffer.alloc(statSync(file(path)).size))],
    ['of length zero', (path) => truncateSync(file(path), 0)],
    ['that is no database', (path) => writeFileSync(file(path), 'a note that somebody left here\n'.repeat(500))],
  ];
  function overwrite(path: string, at: number, bytes: Buffer): void {
    const all = readFileSync(file(path));
    bytes.copy(all, at);
    writeFileSync(file(path), all);
  }
  /** Ended in order: all is in the file, and there is no log. */
  function ended(): string {
    const path = join(place.path, 'ended');
    const { core } = start(path);
    for (let group = 0; group < 5; group++) commitGroup(core, group);
    core.close();
    return path;
  }

  test.each(harms)('%s is set aside: a new one is begun at once, and says so to people and to the cloud', (_, harm) => {
    const path = ended();
    harm(path);
    const startedMs = performance.now();
    const { core, notes } = start(path);
    expect(performance.now() - startedMs).toBeLessThan(3000);
    expect(notes).toMatchObject([{ what: 'file', text: expect.stringContaining('a new one was begun') }]);
    commitGroup(core, 0);
    const far = new FarSide();
    drain(core, far);
    expect(far.readings()).toHaveLength(ROWS);
    expect(far.control[0]?.row).toMatchObject({ type: 'RUN_OPEN', previous: null });
    expect(String(far.control[0]?.row.reason)).toContain('a new one was begun');
    expect(core.stats().damage).toEqual(notes);
    core.close();
    const aside = notes[0]?.keptAs;
    if (aside !== undefined) expect(existsSync(join(path, aside))).toBe(true);
    // The next start is an ordinary one, and still knows.
    const again = start(path);
    expect(again.notes).toEqual([]);
    expect(again.core.stats().damage).toHaveLength(1);
    again.core.close();
  });

  test('but is readable in part says what waited in it, and can be asked where it lies now', () => {
    const path = ended();
    const db = new Database(file(path));
    db.exec("UPDATE runs SET last = 'no json'");
    db.close();
    const { core, notes } = start(path);
    core.close();
    expect(notes).toMatchObject([{ what: 'file', pendingReadings: 5 * ROWS }]);
    const reader = readCache(join(path, notes[0]?.keptAs ?? ''));
    expect(reader.range('plc/x', 0, 1e15)).toHaveLength(5 * ROWS);
    reader.close();
  });

  test('of a newer program, locked or out of reach stays where it is', () => {
    const path = ended();
    const db = new Database(file(path));
    db.pragma('user_version = 99');
    db.close();
    const before = readFileSync(file(path));
    expect(() => start(path)).toThrow(/newer/);
    expect(readFileSync(file(path)).equals(before)).toBe(true);
    expect(readdirSync(path).some((name) => name.includes('damaged'))).toBe(false);
  });

  test('is kept twice at most: the newest, and the one that holds most', () => {
    const path = ended();
    const large = statSync(file(path)).size;
    for (let i = 0; i < 4; i++) {
      overwrite(path, 0, Buffer.alloc(100, 0xee));
      const { core } = start(path);
      core.close();
      clock.advance(60_000);
    }
    const kept = readdirSync(path).filter((name) => name.startsWith('cache.db.damaged-'));
    expect(kept).toHaveLength(2);
    expect(kept.some((name) => statSync(join(path, name)).size >= large)).toBe(true);
  });

  test('that ended the process is looked at before it is trusted again, and not a third time', () => {
    const path = ended();
    markSuspect(path);
    const once = start(path);
    expect(once.notes).toEqual([]);
    markSuspect(path);
    expect(timesSuspected(path)).toBe(2);
    const { core, notes } = start(path);
    expect(notes).toMatchObject([{ what: 'file', text: expect.stringContaining('twice') }]);
    expect(timesSuspected(path)).toBe(0);
    core.close();
  });

  test('nor does rubbish in the lock keep the cache from starting', () => {
    const path = ended();
    writeFileSync(join(path, 'lock'), 'rubbish'.repeat(1000));
    lockFolder(path).release();
  });
});

describe('flipped bits anywhere in the file', () => {
  /** The worker ends on such an error, and its next start knows; more than a few of them in a row would be a loop. */
  const STARTS_MAX = 4;
  test('never keep the cache from starting, never end it for ever, and never deliver what was not measured', () => {
    const origin = join(place.path, 'origin');
    const { core } = start(origin);
    for (let group = 0; group < 30; group++) commitGroup(core, group);
    core.close();
    const bytes = statSync(join(origin, 'cache.db')).size;
    let seed = 12_345;
    const random = () => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff;
      return seed / 0x8000_0000;
    };
    for (let round = 0; round < ROUNDS; round++) {
      const path = copyOf(origin);
      const all = readFileSync(join(path, 'cache.db'));
      const flips = 1 + Math.floor(random() * 4);
      const where = Array.from({ length: flips }, () => Math.floor(random() * (round % 4 === 0 ? 4096 : bytes)));
      for (const at of where) all[at] = (all[at] ?? 0) ^ (1 << Math.floor(random() * 8));
      writeFileSync(join(path, 'cache.db'), all);
      const far = new FarSide();
      expect({ round, where, starts: runs(path, far) }).toMatchObject({ round, starts: expect.any(Number) });
      for (const row of far.readings()) {
        const [, time, value] = row.split(' ');
        expect({ round, where, value: Number(value) }).toEqual({ round, where, value: Number(time) - START_MS });
      }
      rmSync(path, { recursive: true });
    }
  });
  const ROUNDS = process.env.CI ? 120 : 30;

  /** Starts until one goes through; what ends it is marked as the worker marks it. */
  function runs(path: string, far: FarSide): number | string {
    for (let starts = 1; starts <= STARTS_MAX; starts++) {
      let core: CacheCore | undefined;
      try {
        core = start(path).core;
        commitGroup(core, 1000 + starts);
        drain(core, far);
        core.hello(core.helloRuns('cloud'), far.answer());
        core.close();
        return starts;
      } catch (thrown) {
        // A flip may make the version a newer one, which is refused, rightly or not.
        if (/newer Sluice/.test(String(thrown))) return starts;
        markSuspect(path);
        try {
          core?.close();
        } catch {
          // as damaged as before
        }
      }
    }
    return 'never';
  }
});
