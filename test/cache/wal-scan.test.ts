// The log as SQLite wrote it, against what is read of it.
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, jest, test } from '@jest/globals';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { checkWal } from '../../src/cache/recover/wal-check.ts';
import { FRAME_HEADER_BYTES, scanWal, WAL_HEADER_BYTES, type WalScan } from '../../src/cache/recover/wal-scan.ts';

// Thousands of logs, each made by SQLite.
jest.setTimeout(30_000);

function folder(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'sluice-test-wal-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

interface Written {
  /** Of the file and the log, as a power cut would find them. */
  readonly db: Buffer;
  readonly wal: Buffer;
  /** Sum over the table after each commit, the first before any. */
  readonly states: number[];
  readonly pageBytes: number;
}

/** Some commits in a log; with `checkpointed` all of it is in the file already, as it is until the next commit. */
function written(pageBytes: number, sizes: readonly number[], checkpointed = false): Written {
  const place = folder();
  try {
    const file = join(place.path, 'a.db');
    const db = new Database(file);
    db.pragma(`page_size = ${pageBytes}`);
    db.pragma('journal_mode = WAL');
    db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER, b BLOB)');
    db.pragma('wal_checkpoint(TRUNCATE)');
    db.pragma('wal_autocheckpoint = 0');
    const states = [0];
    const insert = db.prepare('INSERT INTO t (v, b) VALUES (?, ?)');
    for (const size of sizes) {
      insert.run(states.length, Buffer.alloc(size, states.length));
      states.push((states.at(-1) ?? 0) + states.length);
    }
    if (checkpointed) db.pragma('wal_checkpoint(PASSIVE)');
    const wal = readFileSync(`${file}-wal`);
    const bytes = readFileSync(file);
    db.close();
    return { db: bytes, wal, states, pageBytes };
  } finally {
    place.remove();
  }
}

function scan(wal: Uint8Array, pageBytes = 0): WalScan {
  return scanWal(
    (at, into) => {
      const some = wal.subarray(at, at + into.length);
      into.set(some);
      return some.length;
    },
    wal.length,
    pageBytes,
  );
}

const pageSizes = fc.constantFrom(512, 1024, 4096, 8192, 65_536);
const commits = fc.array(fc.integer({ min: 0, max: 9000 }), { minLength: 1, maxLength: 12 });

describe('a log that SQLite wrote', () => {
  test('is read to its last commit, whatever the size of its pages', () => {
    fc.assert(
      fc.property(pageSizes, commits, (pageBytes, sizes) => {
        const { wal } = written(pageBytes, sizes);
        const found = scan(wal);
        expect(found).toMatchObject({ headerSound: true, pageBytes, lostCommits: 0 });
        expect(found.kept).toBe((wal.length - WAL_HEADER_BYTES) / (FRAME_HEADER_BYTES + pageBytes));
        expect(found.frames.filter(({ pagesAfter }) => pagesAfter > 0)).toHaveLength(sizes.length);
      }),
      { numRuns: 30 },
    );
  });

  test('tells of every flipped bit behind which commits stand', () => {
    fc.assert(
      fc.property(pageSizes, commits, fc.nat(), fc.nat({ max: 7 }), (pageBytes, sizes, where, bit) => {
        const { wal } = written(pageBytes, sizes);
        const at = WAL_HEADER_BYTES + (where % (wal.length - WAL_HEADER_BYTES));
        wal[at] = (wal[at] ?? 0) ^ (1 << bit);
        const found = scan(wal);
        const frame = Math.floor((at - WAL_HEADER_BYTES) / (FRAME_HEADER_BYTES + pageBytes));
        expect(found.kept).toBeLessThanOrEqual(frame);
        const kept = found.frames.slice(0, found.kept).filter(({ pagesAfter }) => pagesAfter > 0).length;
        expect(found.lostCommits).toBeGreaterThan(0);
        // The flipped bit may make a frame look like one commit more, which is why it says at most.
        expect(kept + found.lostCommits).toBeGreaterThanOrEqual(sizes.length);
        expect(kept + found.lostCommits).toBeLessThanOrEqual(sizes.length + 1);
      }),
      { numRuns: 80 },
    );
  });

  test('that was cut off, or is followed by rubbish or zeros, is read to the commit before, and nothing is made up', () => {
    const { wal, pageBytes } = written(1024, [10, 3000, 10, 500]);
    const frameBytes = FRAME_HEADER_BYTES + pageBytes;
    const ends = scan(wal).frames.flatMap(({ pagesAfter, at }) => (pagesAfter > 0 ? [at + frameBytes] : []));
    for (let length = 0; length <= wal.length; length += 7) {
      const found = scan(wal.subarray(0, length));
      const whole = ends.filter((end) => end <= length).length;
      expect(found.frames.slice(0, found.kept).filter(({ pagesAfter }) => pagesAfter > 0)).toHaveLength(whole);
      expect(found.lostCommits).toBe(0);
      for (const tail of [Buffer.alloc(5000), Buffer.alloc(5000, 0xa7)]) {
        const longer = scan(Buffer.concat([wal.subarray(0, length), tail]));
        expect(longer.kept).toBe(found.kept);
        // The one it was cut through is known by what is left of its frame.
        expect(longer.lostCommits).toBeLessThanOrEqual(1);
      }
    }
  });

  test('with frames of the generation before behind it has lost nothing', () => {
    const place = folder();
    const file = join(place.path, 'a.db');
    const db = new Database(file);
    db.pragma('journal_mode = WAL');
    db.exec('CREATE TABLE t (b BLOB)');
    for (let i = 0; i < 20; i++) db.prepare('INSERT INTO t VALUES (?)').run(Buffer.alloc(9000, i));
    db.pragma('wal_checkpoint(PASSIVE)');
    db.prepare('INSERT INTO t VALUES (?)').run(Buffer.alloc(10));
    expect(scan(readFileSync(`${file}-wal`))).toMatchObject({ headerSound: true, lostCommits: 0 });
    expect(checkWal(file)).toEqual({ kind: 'sound', lostCommits: 0 });
    db.close();
    place.remove();
  });

  test('and its transaction that was rolled back leave no loss behind', () => {
    const place = folder();
    const file = join(place.path, 'a.db');
    const db = new Database(file);
    db.pragma('journal_mode = WAL');
    db.pragma('cache_size = 5');
    db.exec('CREATE TABLE t (b BLOB)');
    const insert = db.prepare('INSERT INTO t VALUES (?)');
    db.exec('BEGIN');
    for (let i = 0; i < 50; i++) insert.run(Buffer.alloc(9000, i));
    db.exec('ROLLBACK');
    const spilled = scan(readFileSync(`${file}-wal`));
    expect(spilled.frames.length).toBeGreaterThan(50);
    expect(spilled.lostCommits).toBe(0);
    insert.run(Buffer.alloc(10));
    expect(scan(readFileSync(`${file}-wal`)).lostCommits).toBe(0);
    db.close();
    place.remove();
  });

  test('whose header is damaged still shows what was in it', () => {
    const { wal, pageBytes } = written(4096, [10, 20, 30]);
    wal[9] = 0xff;
    expect(scan(wal, pageBytes)).toMatchObject({ headerSound: false, kept: 0, lostCommits: 3 });
  });
});

describe('a log and its file', () => {
  /** Opened as SQLite does it, after what the check says has been done. @returns the state, as its place in `states`. */
  function opened({ db, states }: Written, wal: Buffer): number {
    const place = folder();
    try {
      const file = join(place.path, 'a.db');
      writeFileSync(file, db);
      writeFileSync(`${file}-wal`, wal);
      if (checkWal(file).kind === 'ahead') writeFileSync(`${file}-wal`, '');
      const again = new Database(file);
      const { sum } = again.prepare('SELECT coalesce(sum(v), 0) AS sum FROM t').get() as { sum: number };
      expect(again.pragma('integrity_check', { simple: true })).toBe('ok');
      again.close();
      return states.indexOf(sum);
    } finally {
      place.remove();
    }
  }

  test('make an exact prefix wherever the log is cut, and wherever a bit is flipped', () => {
    const whole = written(1024, [10, 3000, 10, 500, 2000]);
    let before = 0;
    for (let length = 0; length <= whole.wal.length; length += 101) {
      const state = opened(whole, whole.wal.subarray(0, length));
      expect(state).toBeGreaterThanOrEqual(before);
      before = state;
    }
    for (let at = 0; at < whole.wal.length; at += 97) {
      const wal = Buffer.from(whole.wal);
      wal[at] = (wal[at] ?? 0) ^ 4;
      expect(opened(whole, wal)).toBeGreaterThanOrEqual(0);
    }
  });

  test('that was copied into the file already lose nothing: the damaged log is not laid over newer pages', () => {
    const whole = written(1024, [10, 3000, 10, 500, 2000], true);
    for (let at = WAL_HEADER_BYTES; at < whole.wal.length; at += 211) {
      const wal = Buffer.from(whole.wal);
      wal[at] = (wal[at] ?? 0) ^ 4;
      expect(opened(whole, wal)).toBe(5);
      expect(opened(whole, whole.wal.subarray(0, at))).toBe(5);
    }
  });

  test('without a log are what they are', () => {
    const place = folder();
    const file = join(place.path, 'a.db');
    expect(checkWal(file)).toEqual({ kind: 'sound', lostCommits: 0 });
    writeFileSync(file, '');
    copyFileSync(file, `${file}-wal`);
    expect(checkWal(file)).toEqual({ kind: 'sound', lostCommits: 0 });
    place.remove();
  });
});
