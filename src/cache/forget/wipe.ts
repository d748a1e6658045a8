/**
 * What was deleted is still in free pages, in the tails of pages that were used again, and in the log. So:
 *
 *     zeros     rows of zeros take every free page, some hundred kB a step;
 *     again     they go again, one a step: the pages are free, and zero;
 *     rows      each row is written anew, and its old pages are zeroed as they become free
 *               (`secure_delete` is ON from here to the end, for whatever else is written meanwhile, too);
 *     log       is written back and cut off.
 *
 * That writes the whole cache once: forgetting is rare. The flash below may keep older copies of a page where no program can
 * reach them.
 */
import type { Database } from 'better-sqlite3';

/** Commits wait for a step: some ten milliseconds on a disk, three times that on a card. */
const STEP_BYTES = 500_000;
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
  #phase: 'zeros' | 'again' | 'rows' | 'log' = 'zeros';
  /** Taken by zeros at the moment: no content, and not to be counted as such. */
  pages = 0;

  constructor(db: Database) {
    this.#db = db;
    // Of a crash in between: they may be as many as the cache is large. The start does not wait for them to go, and what is
    // still free is taken after them.
    const sum = 'SELECT coalesce(sum(length(zeros)), 0) AS bytes FROM wiping';
    const { bytes } = db.prepare(sum).get() as { bytes: number }; // its column
    this.pages = Math.ceil(bytes / this.#pragma('page_size'));
  }

  step(): 'more' | 'busy' | 'done' {
    if (this.#phase === 'zeros') return this.#zeros();
    if (this.#phase === 'again') return this.#again();
    // What is written does not wait in the log for thousands of pages to be written back at once.
    if (this.#phase === 'rows') {
      this.#rows();
      this.#writeBack();
      return 'more';
    }
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
      this.#writeBack();
      return 'more';
    }
    this.#phase = 'again';
    return 'more';
  }

  /** Zeros are not overwritten with zeros: nothing else is freed meanwhile. */
  #again(): 'more' {
    this.#db.pragma('secure_delete = FAST');
    const remove = 'DELETE FROM wiping WHERE id = (SELECT max(id) FROM wiping) RETURNING length(zeros) AS bytes';
    const gone = this.#db.prepare(remove).get() as { bytes: number } | undefined; // its column
    this.#db.pragma('secure_delete = ON');
    if (gone !== undefined) {
      this.pages = Math.max(0, this.pages - Math.ceil(gone.bytes / this.#pragma('page_size')));
      this.#writeBack();
      return 'more';
    }
    this.pages = 0;
    this.#phase = 'rows';
    this.#table = 0;
    this.#after = -1;
    return 'more';
  }

  #writeBack(): void {
    this.#db.pragma('wal_checkpoint(PASSIVE)');
  }

  #rows(): void {
    const table = TABLES[this.#table];
    if (table === undefined) {
      this.#smallTables();
      this.#phase = 'log';
      return;
    }
    const sql = `SELECT rowid, * FROM ${table} WHERE rowid > ? ORDER BY rowid LIMIT ?`;
    const rows = firstBytes(this.#db.prepare(sql).raw().iterate(this.#after, ROWS_AT_ONCE) as Iterable<Row>); // its columns
    if (rows.length > 0) this.#rewrite(table, rows);
    this.#after = Number(rows.at(-1)?.[0] ?? this.#after);
    if (rows.length === 0) {
      this.#table++;
      this.#after = -1;
    }
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

/** As many of the first rows as are a step's work; one at least, where there is one. What is not taken is not read. */
function firstBytes(found: Iterable<Row>): Row[] {
  const rows: Row[] = [];
  let left = STEP_BYTES;
  for (const row of found) {
    rows.push(row);
    for (const value of row) if (value instanceof Uint8Array) left -= value.length;
    if (left <= 0) break;
  }
  return rows;
}
