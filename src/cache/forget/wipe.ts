/**
 * What was deleted is still in free pages until they are used again, and in the log until that is cut off. So the free pages
 * are filled with zeros: rows of zeros take them all, some MB a step, and go again; then the log is written back and cut.
 *
 * The flash below may keep older copies of a page where no program can reach them.
 */
import type { Database } from 'better-sqlite3';

/** 2 MB of 4 kB pages: some ten milliseconds. */
const PAGES_AT_ONCE = 500;
/** So that the last row of zeros leaves no free page over. */
const PAGES_BEYOND = 2;

export class Wipe {
  readonly #db: Database;
  /** Taken by zeros at the moment: no content, and not to be counted as such. */
  pages = 0;

  constructor(db: Database) {
    this.#db = db;
    // Of a crash in between.
    db.exec('DELETE FROM wiping');
  }

  step(): 'more' | 'busy' | 'done' {
    const free = this.#pragma('freelist_count');
    if (free > 0 && !this.#emptied) {
      const pages = Math.min(free, PAGES_AT_ONCE) + PAGES_BEYOND;
      this.#db.prepare('INSERT INTO wiping (zeros) VALUES (zeroblob(?))').run(pages * this.#pragma('page_size'));
      this.pages += pages;
      return 'more';
    }
    this.#emptied = true;
    this.#db.exec('DELETE FROM wiping');
    this.pages = 0;
    if (!this.#cutLog()) return 'busy';
    this.#emptied = false;
    return 'done';
  }

  #emptied = false;

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
