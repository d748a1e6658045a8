/**
 * Room for what comes: blocks that every required target has are removed, oldest first, when the file is too large or
 * they are too old. Pending blocks are never touched here. Windows go long after raw, or when there is no raw left to go.
 */
import type { RunBook, TargetBook } from './books.ts';
import type { Stamp } from './journal.ts';
import type { BlockRow, BlockStore, RunRow } from './store.ts';

/** In one commit: a few MB, so that no commit takes long because of it. */
const BLOCKS_AT_ONCE = 256;
const WINDOWS_AT_ONCE = 256;
const AGE_CHECK_MS = 60_000;
/** What a block costs besides its bytes, on the average: half-filled pages, its row and index entry. */
const BLOCK_OVERHEAD_BYTES = 1024;

export interface RetentionLimits {
  readonly bytesMax: number;
  readonly ageMax: number;
  readonly windowsAgeMax: number;
}

export class Retention {
  readonly #store: BlockStore;
  readonly #runs: RunBook;
  readonly #targets: TargetBook;
  readonly #limits: RetentionLimits;
  #agesCheckedMs = Number.NEGATIVE_INFINITY;
  /** No removable block has a lower id. */
  #from = 0;

  constructor(store: BlockStore, runs: RunBook, targets: TargetBook, limits: RetentionLimits) {
    this.#store = store;
    this.#runs = runs;
    this.#targets = targets;
    this.#limits = limits;
  }

  /** After marks changed: older blocks may have become removable. */
  marksChanged(): void {
    this.#from = 0;
  }

  /** Inside a transaction. @param coming bytes about to be written. @returns whether there is room for them. */
  makeRoom(coming: number, now: Stamp): boolean {
    if (now.monoMs - this.#agesCheckedMs >= AGE_CHECK_MS) this.#removeOld(now);
    let excess = this.#store.bytesUsed() + coming - this.#limits.bytesMax;
    if (excess <= 0) return true;
    const required = this.#targets.mask(true);
    const page = this.#store.removableBlocks(required, this.#from, BLOCKS_AT_ONCE);
    for (const row of page) {
      if (excess <= 0) break;
      this.#remove(row);
      excess -= row.bytes + BLOCK_OVERHEAD_BYTES;
    }
    if (page.length === 0) this.#from = Number.MAX_SAFE_INTEGER;
    if (excess > 0 && page.length < BLOCKS_AT_ONCE) this.#store.removeWindows(Number.MAX_SAFE_INTEGER, WINDOWS_AT_ONCE);
    return this.#store.bytesUsed() + coming <= this.#limits.bytesMax;
  }

  #removeOld(now: Stamp): void {
    const page = this.#store.removableBlocks(this.#targets.mask(true), this.#from, BLOCKS_AT_ONCE);
    for (const row of page) {
      if (!(this.#ageMs(row, now) > this.#limits.ageMax)) break;
      this.#remove(row);
    }
    let windows = 0;
    if (now.synced) windows = this.#store.removeWindows(now.wallMs - this.#limits.windowsAgeMax, WINDOWS_AT_ONCE);
    const more = page.length === BLOCKS_AT_ONCE || windows === WINDOWS_AT_ONCE;
    if (!more) this.#agesCheckedMs = now.monoMs;
  }

  /** Time that passed, as far as it is known: monotonic within a boot, else wall clocks that were both set. NaN: unknown. */
  #ageMs(row: BlockRow, now: Stamp): number {
    const boot = this.#runs.bySeq(row.run)?.boot;
    const isThisBoot = boot !== undefined && Buffer.compare(boot, this.#runs.current.boot) === 0;
    if (isThisBoot) return now.monoMs - row.monoMs;
    return row.synced && now.synced ? now.wallMs - row.wallMs : Number.NaN;
  }

  #remove(row: BlockRow): void {
    // Targets that are not required take what is still there, and count what they missed.
    for (const target of this.#targets.active()) {
      if ((row.pending & (1 << target.bit)) === 0) continue;
      for (const [source, rows] of row.counts) this.#store.count(target.name, source, 'dropped', rows);
    }
    const run: RunRow | undefined = this.#runs.removed(row.run, row.class, row.n0 + row.rows - 1);
    if (run !== undefined) this.#store.putRun(run);
    this.#store.removeBlock(row.id);
  }
}
