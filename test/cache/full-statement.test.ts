// A disk that is full at any one statement of any transaction: SQLite's own SQLITE_FULL, on a real file that may not grow from
// that statement on. Nothing is lost, nothing is half there, and it goes on without a restart once there is room.
import { cpSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Database } from 'better-sqlite3';
import type { CacheCore } from '../../src/cache/core.ts';
import { readCache } from '../../src/cache/reader.ts';
import type { Append, CutBatch } from '../../src/cache/types.ts';
import { codeOf } from '../../src/errors.ts';
import { count, union } from '../../src/wire/ranges.ts';
import { chunk, drain, FarSide, folder, openClock, openCore, request, START_MS, tag } from './rig.ts';

const PAGES_ENOUGH = 1_000_000;
/** Of one operation, which runs as often. */
const STATEMENTS_MAX = 1000;

/** Counts what changes the file, and lets it grow no more from a given statement on. */
class Disk {
  statements = 0;
  #fullFrom = Number.POSITIVE_INFINITY;
  #db: Database | undefined;

  readonly watch = (db: Database): void => {
    this.#db = db;
    const prepare = db.prepare.bind(db);
    const counted = (sql: string) =>
      new Proxy(prepare(sql), {
        get: (statement, key) => {
          const value: unknown = Reflect.get(statement, key, statement);
          if (typeof value !== 'function') return value;
          return (...args: unknown[]) => {
            if (key === 'run') this.#next();
            return value.apply(statement, args);
          };
        },
      });
    // The same signature; the types of bound parameters are lost on a Proxy.
    db.prepare = counted as unknown as typeof db.prepare;
  };

  fullFrom(statement: number): void {
    this.statements = 0;
    this.#fullFrom = statement;
  }
  free(): void {
    this.#fullFrom = Number.POSITIVE_INFINITY;
    this.#db?.pragma(`max_page_count = ${PAGES_ENOUGH}`);
  }

  #next(): void {
    if (++this.statements === this.#fullFrom)
      this.#db?.pragma(`max_page_count = ${Number(this.#db.pragma('page_count', { simple: true }))}`);
  }
}

interface Run {
  readonly core: CacheCore;
  readonly far: FarSide;
  readonly batch: CutBatch | undefined;
  readonly clock: ReturnType<typeof openClock>;
}

let template: ReturnType<typeof folder>;
let templateFar: FarSide;
let taken = 0;

const noise = (n: number) => Math.sin(n * 12.9898) * 43_758.5453;
function append(from: number, rows: number): Append {
  const original = Buffer.alloc(2000, from % 251);
  return {
    chunk: chunk(Array.from({ length: rows }, (_, i) => [i % 3, START_MS + (from + i) * 10, noise(from + i)] as const)),
    counts: [{ source: 'plc', received: rows + 1, rejected: 1, duplicate: 0, thinned: 0 }],
    deadLetters: [{ atMs: START_MS, source: 'plc', subject: 'plc/a', reason: 'no', original }],
    receipts: { add: [{ source: 'plc', packetId: (from % 60_000) + 1, digest: 'ab'.repeat(32) }] },
    alarms: [{ type: 'ALARM', id: `plc/a/${from}`, condition: 'high', state: 'raised', at: START_MS, text: 'too hot' }],
  };
}
function open(path: string, clock: ReturnType<typeof openClock>, disk: Disk): CacheCore {
  const options = { checkpointInterval: 3000, checkpointReadings: 2000 };
  const core = openCore(path, clock, options, undefined, disk.watch);
  for (const [index, name] of ['plc/a', 'plc/b', 'plc/c'].entries()) core.registerTag(tag(index, name));
  return core;
}

beforeAll(() => {
  template = folder();
  const clock = openClock();
  const core = open(template.path, clock, new Disk());
  templateFar = new FarSide();
  for (let i = 0; i < 12; i++, taken += 300) {
    core.add(append(taken, 300));
    core.commit();
    clock.advance(1000);
    if (i === 6) drain(core, templateFar);
  }
  core.close();
});
afterAll(() => template.remove());

/** A cache with delivered and pending readings, and a batch on its way. */
function begin(path: string, disk: Disk, isCut: boolean): Run {
  cpSync(template.path, path, { recursive: true });
  const clock = openClock();
  clock.advance(100_000);
  const core = open(path, clock, disk);
  const far = new FarSide();
  far.held = new Map(templateFar.held);
  far.rows = new Map(templateFar.rows);
  far.dictionaries = new Map(templateFar.dictionaries);
  core.add(append(taken, 300));
  core.commit();
  const batch = isCut ? core.cut(request('backlog', { rowsMax: 500 })) : undefined;
  clock.advance(40_000);
  return { core, far, batch, clock };
}

const ledgers = (path: string) => {
  const reader = readCache(path);
  try {
    expect(reader.verify()).toMatchObject({ ok: true, damaged: [], differences: [] });
  } finally {
    reader.close();
  }
};

interface Operation {
  readonly name: string;
  readonly isCut?: boolean;
  /** @returns false while it is not done for want of room; may throw cache.full instead. */
  readonly run: (run: Run) => boolean;
  /** Readings it takes in. */
  readonly adds?: number;
  /** Of one with hundreds of statements, each so many of them. */
  readonly every?: number;
}

const MORE = 900;
const OPERATIONS: readonly Operation[] = [
  {
    name: 'a commit of readings, alarms, receipts, dead letters and a checkpoint',
    adds: MORE,
    run: ({ core }) => core.commit().done,
  },
  {
    name: 'a refusal',
    isCut: true,
    every: 5,
    run: ({ core, batch }) => {
      if (batch !== undefined) core.refuse(batch.batchId, 'no');
      return core.commit().done;
    },
  },
  {
    name: 'the forgetting of a tag',
    every: 29,
    run: ({ core }) => {
      const { forgetting } = core;
      if (!forgetting.request({ id: 'a'.repeat(32), tag: 'plc/b', reason: null, by: 'test', atMs: 0 })) return false;
      for (let i = 0; i < 1000 && forgetting.active; i++) if (!forgetting.step()) return !forgetting.active;
      return !forgetting.active;
    },
  },
];

function attempt(work: () => boolean): boolean {
  try {
    return work();
  } catch (thrown) {
    expect(codeOf(thrown)).toBe('cache.full');
    return false;
  }
}

describe('a disk that is full from any one statement on', () => {
  test.each(OPERATIONS)(
    'costs $name nothing',
    ({ run, adds = 0, isCut = false, every = 1 }) => {
      let failures = 0;
      let statement = 1;
      for (; statement < STATEMENTS_MAX; statement += every) {
        const place = folder();
        const disk = new Disk();
        const it = begin(`${place.path}/cache`, disk, isCut);
        const { core, far, clock } = it;
        try {
          if (adds > 0) core.add(append(taken + 300, adds));
          disk.fullFrom(statement);
          const isDone = attempt(() => run(it));
          const reached = disk.statements >= statement;
          if (!isDone) failures++;
          ledgers(`${place.path}/cache`);
          disk.free();
          if (!isDone) for (let i = 0; i < 5 && !attempt(() => run(it)); i++) clock.advance(1000);
          expect(core.commit().done).toBe(true);
          clock.advance(60_000);
          for (let i = 0; i < 3; i++) {
            drain(core, far);
            core.commit();
          }
          ledgers(`${place.path}/cache`);
          const { sources, targets } = core.stats().ledger;
          const accepted = taken + 300 + adds;
          expect(sources.plc).toMatchObject({ accepted, rejected: adds > 0 ? 14 : 13 });
          const mine = targets.cloud?.plc;
          const off = (mine?.forgotten ?? 0) + (mine?.refused ?? 0) + (mine?.cloud_lost ?? 0);
          expect(mine).toMatchObject({ pending: 0, delivered: accepted - off });
          // Every number is there, or explained: none was given twice, none was left out.
          const numbers = [...far.held.keys()].filter((key) => key.endsWith('/3'));
          const known = numbers.map((key) => union(far.held.get(key) ?? [], far.explained.get(key) ?? []));
          for (const ranges of known) expect(ranges).toEqual([{ from: 1, to: count(ranges) }]);
          expect(known.reduce((sum, ranges) => sum + count(ranges), 0)).toBe(accepted);
          if (!reached) break;
        } finally {
          core.close();
          place.remove();
        }
      }
      expect(statement).toBeGreaterThan(5);
      expect(statement).toBeLessThan(STATEMENTS_MAX);
      expect(failures).toBeGreaterThan(2);
    },
    60_000,
  );
});
