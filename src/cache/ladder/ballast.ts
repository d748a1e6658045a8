/**
 * A file of nothing, to be given up when the disk is full: SQLite needs room even to delete, so without it marks, the
 * ledger and alarms would stop together with the readings. Real blocks: a file with holes would free nothing.
 */

import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, ftruncateSync, openSync, statSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf } from '../../errors.ts';
import { CHECKPOINT_BYTES } from '../file-bytes.ts';

export const BALLAST_FILE = 'ballast';
const SHARE = 1 / 64;
/** A checkpoint may make the file larger by all the WAL holds, before the WAL can begin anew; and some to go on with. */
const BYTES_MIN = CHECKPOINT_BYTES + 2_000_000;
const BYTES_MAX = CHECKPOINT_BYTES + 4_000_000;
const PIECE_BYTES = 64 * 1024;
/** What `stat` counts blocks in, whatever the file system. */
const STAT_BLOCK_BYTES = 512;

export interface Ballast {
  readonly bytes: number;
  readonly isHeld: boolean;
  release(): void;
  /** Takes the room again. @returns whether there was enough. */
  restore(): boolean;
}

export function ballastBytes(bytesMax: number): number {
  return Math.min(BYTES_MAX, Math.max(BYTES_MIN, Math.floor(bytesMax * SHARE)));
}

export class BallastFile implements Ballast {
  readonly bytes: number;
  /** Bytes of its making in a cache that had none; making it anew after a full disk is part of a bad day's rate. */
  madeBytes = 0;
  readonly #file: string;
  readonly #isFirst: boolean;
  #isHeld: boolean;

  constructor(folder: string, bytes: number) {
    this.bytes = bytes;
    this.#file = join(folder, BALLAST_FILE);
    const found = statSync(this.#file, { throwIfNoEntry: false });
    this.#isFirst = found === undefined;
    this.#isHeld = found !== undefined && found.size === bytes && found.blocks * STAT_BLOCK_BYTES >= bytes;
  }

  get isHeld(): boolean {
    return this.#isHeld;
  }

  release(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#empty();
  }

  restore(): boolean {
    if (this.#isHeld) return true;
    try {
      this.#fill();
      this.#isHeld = true;
    } catch (thrown) {
      // Somebody else took the room meanwhile, or a quota ends here; a disk that fails shows itself in the database.
      if (codeOf(thrown) !== 'ENOSPC' && codeOf(thrown) !== 'EDQUOT') return false;
      this.#empty();
    }
    return this.#isHeld;
  }

  #fill(): void {
    const isFirst = this.#isFirst && this.madeBytes === 0;
    const handle = openSync(this.#file, 'w', 0o600);
    try {
      ftruncateSync(handle, 0);
      // Random: a file system that compresses would store zeros in no room at all.
      const piece = randomBytes(PIECE_BYTES);
      for (let at = 0; at < this.bytes; ) at += writeSync(handle, piece, 0, Math.min(PIECE_BYTES, this.bytes - at));
      fsyncSync(handle);
      if (isFirst) this.madeBytes = this.bytes;
    } finally {
      closeSync(handle);
    }
  }

  #empty(): void {
    try {
      truncateSync(this.#file, 0);
    } catch {
      // Not there: it takes no room either.
    }
  }
}
