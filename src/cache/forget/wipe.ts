/**
 * What was deleted is still in free pages, in the tails of pages that were used again, and in the log. So:
 *
 *     zeros     rows of zeros take every free page, some MB a step, and go again;
 *     rows      each row is written anew, and its old pages are zeroed as they become free
 *               (`secure_delete` is ON from here to the end, for whatever else is written meanwhile, too);
 *     log       is written back and cut off.
 *
 * That writes the whole cache once: forgetting is rare. The flash below may keep older copies of a page where no program can
 * reach them.
 */
import type { Database } from 'better-sqlite3';

/** 2 MB: some ten milliseconds. */
const STEP_BYTES = 2_000_000;
/** So that the last row of zeros leaves no free page over. */
const PAGES_BEYOND = 2;
const ROWS_AT_ONCE = 64;
const TABLES = ['blocks', 'journal', 'windows', 'dead_letters'] as const;
/** All that may be longer than a page, in one step: a few hundred kB, a few MB where thousands of ranges were explained. */
const SMALL_TABLES = ['blobs', 'meta', 'runs', 'tags', 'targets', 'explained', 'receipts', 'alarms', 'audit'] as const;

type Row = readonly unknown[];

export class Wipe {
  readonly #db: Database;
  #table = 0;
  #after = -1;
  #phase: 'zeros' | 'rows' | 'log' = 'zeros';
  /** Taken by zeros at the moment: no content, and not to be counted as such. */
  pages = 0;

  constructor(db: Database) {
    this.#db = db;
    // Of a crash in between.
    db.exec('DELETE FROM wiping');
  }

  step(): 'more' | 'busy' | 'done' {
    if (this.#phase === 'zeros') return this.#zeros();
    if (this.#phase === 'rows') return this.#rows();
    if (!this.#cutLog()) return 'busy';
    this.#phase = 'zeros';
    this.#db.pragma('secure_delete = FAST');
    return 'done';
  }

  #zeros(): 'more' {
    this.#db.pragma('secure_delete = ON');
    const free = this.#pragma('freelist_count');
    if (free > 0) {
      const pageBytes = this.#pragma('page_size');
      const pages = Math.min(free, Math.floor(STEP_BYTES / pageBytes)) + PAGES_BEYOND;
      this.#db.prepare('INSERT INTO wiping (zeros) VALUES (zeroblob(?))').run(pages * pageBytes);
      this.pages += pages;
      return 'more';
    }
    this.#db.exec('DELETE FROM wiping');
    this.pages = 0;
    this.#phase = 'rows';
    this.#table = 0;
    this.#after = -1;
    return 'more';
  }

  #rows(): 'more' {
    const table = TABLES[this.#table];
    if (table === undefined) {
      this.#smallTables();
      this.#phase = 'log';
      return 'more';
    }
    const sql = `SELECT rowid, * FROM ${table} WHERE rowid > ? ORDER BY rowid LIMIT ?`;
    const found = this.#db.prepare(sql).raw().all(this.#after, ROWS_AT_ONCE) as Row[]; // its columns
    const rows = firstBytes(found);
    if (rows.length > 0) this.#rewrite(table, rows);
    this.#after = Number(rows.at(-1)?.[0] ?? this.#after);
    if (rows.length === 0) {
      this.#table++;
      this.#after = -1;
    }
    return 'more';
  }

  #rewrite(table: string, rows: readonly Row[]): void {
    const remove = this.#db.prepare(`DELETE FROM ${table} WHERE rowid = ?`);
    this.#db.transaction(() => {
      for (const [rowid] of rows) remove.run(rowid);
      this.#add(
        table,
        rows.map(([, ...columns]) => columns),
      );
    })();
  }

  #smallTables(): void {
    this.#db.transaction(() => {
      for (const table of SMALL_TABLES) {
        const rows = this.#db.prepare(`SELECT * FROM ${table}`).raw().all() as Row[]; // its columns
        this.#db.exec(`DELETE FROM ${table}`);
        this.#add(table, rows);
      }
    })();
  }

  #add(table: string, rows: readonly Row[]): void {
    const [first] = rows;
    if (first === undefined) return;
    const add = this.#db.prepare(`INSERT INTO ${table} VALUES (${first.map(() => '?').join()})`);
    for (const columns of rows) add.run(...columns);
  }

  /** @returns false while somebody reads. */
  #cutLog(): boolean {
    const timeoutMs = this.#pragma('busy_timeout');
    // Nobody waits for a reader here.
    this.#db.pragma('busy_timeout = 0');
    try {
      const [result] = this.#db.pragma('wal_checkpoint(TRUNCATE)') as { busy: number }[]; // its one row
      return result?.busy === 0;
    } finally {
      this.#db.pragma(`busy_timeout = ${timeoutMs}`);
    }
  }

  #pragma(name: string): number {
    return Number(this.#db.pragma(name, { simple: true }));
  }
}

/** As many of the first rows as are a step's work; one at least. */
function firstBytes(rows: readonly Row[]): Row[] {
  let left = STEP_BYTES;
  const end = rows.findIndex((row) => {
    const isEnough = left <= 0;
    for (const value of row) if (value instanceof Uint8Array) left -= value.length;
    return isEnough;
  });
  return end === -1 ? [...rows] : rows.slice(0, end);
}
