/** How much of the disk the cache's file and the log beside it take. */
import { statSync } from 'node:fs';
import type { Database } from 'better-sqlite3';
import { codeOf } from '../errors.ts';
import { diskError } from './disk-error.ts';

/** What a crash leaves to be replayed, and how much of the card the WAL covers. Rolled up within it, small blocks never reach the file. */
export const CHECKPOINT_BYTES = 8_000_000;

/**
 * The log is written back into the file every `CHECKPOINT_BYTES` and then begins anew, unless another process
 * reads in a snapshot that it does not end: then it grows. Nobody can take that lock away, so what it takes beyond this
 * counts as used: old readings give way to it, then the ladder does what it does when the disk is full.
 */
const LOG_BYTES_MAX = 64_000_000;
const LOG_SHARE = 1 / 8;
/** A reader that held its snapshot for long lets the log grow; afterwards it shrinks to this again. A larger one is held. */
export const LOG_BYTES_KEPT = 16_000_000;

/** @param bytesMax of the cache. */
export function logBytesMax(bytesMax: number): number {
  return Math.max(LOG_BYTES_KEPT, Math.min(LOG_BYTES_MAX, bytesMax * LOG_SHARE));
}

export class FileBytes {
  readonly #db: Database;
  readonly #logBytesMax: number;

  constructor(db: Database, logMax: number) {
    this.#db = db;
    this.#logBytesMax = logMax;
  }

  /** Of the log. */
  log(): number {
    return statSync(`${this.#db.name}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  }

  /** Without free pages. @param freePages that are not on the list of free ones. */
  used(freePages: number): number {
    const pages = this.#pragma('page_count') - this.#pragma('freelist_count') - freePages;
    return pages * this.#pragma('page_size') + Math.max(0, this.log() - this.#logBytesMax);
  }

  /** Nothing is written while there is no room, and so nothing is written back: this finds out that the reader has gone. */
  cutLog(): void {
    if (this.log() <= this.#logBytesMax) return;
    const timeoutMs = this.#pragma('busy_timeout');
    // Nobody waits for a reader here.
    this.#db.pragma('busy_timeout = 0');
    try {
      this.#db.pragma('wal_checkpoint(TRUNCATE)');
    } catch (thrown) {
      throw diskError(thrown);
    } finally {
      this.#db.pragma(`busy_timeout = ${timeoutMs}`);
    }
  }

  /** What the log holds goes into the file, as far as no reader needs it and the disk has room; then the log begins anew where it lies. */
  writeBack(): void {
    try {
      this.#db.pragma('wal_checkpoint(PASSIVE)');
    } catch (thrown) {
      const error = diskError(thrown);
      if (codeOf(error) !== 'cache.full') throw error;
    }
  }

  #pragma(name: string): number {
    return Number(this.#db.pragma(name, { simple: true }));
  }
}
