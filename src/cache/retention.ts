/**
 * Room for what comes: blocks that every required target has are removed, oldest first, when the file is too large or
 * they are too old. Pending blocks are never touched here. Windows go long after raw, or when there is no raw left to go.
 */
import type { RunBook, TargetBook } from './books.ts';
import type { Stamp } from './journal.ts';
import { ageMs } from './ladder/age.ts';
import type { Room } from './ladder/room.ts';
import { countDropped, type DropReason } from './ledger-reasons.ts';
import { noteRemoved } from './raw-removed.ts';
import { type BlockRow, type BlockStore, lastNumber, numbersOf, type RunRow } from './store.ts';
import { explainLater, gapsOf } from './untold.ts';

/** In one transaction: some ms, of blocks or of the pages they take. */
const BLOCKS_AT_ONCE = 256;
const BYTES_AT_ONCE = 2_000_000;
/** Before one commit, unless it takes more itself: after a limit was lowered by much the rest goes before the next ones. */
const FREED_BYTES_ENOUGH = 2_000_000;
const PAGES_AT_ONCE = 32;
/** Freed beyond what is needed, as a share of the limit, so that not every commit has to make room. */
const SPARE_SHARE = 1 / 64;
const WINDOWS_AT_ONCE = 256;
const AGE_CHECK_MS = 60_000;
/** What a block costs besides its bytes, at most: half-filled pages, its row and index entry. Says when to measure. */
const BLOCK_OVERHEAD_BYTES = 1024;

export interface RetentionLimits {
  readonly bytesMax: number;
  readonly ageMax: number;
  readonly windowsAgeMax: number;
  /** Of each length, of each tag. */
  readonly windowsKept: number;
}

export class Retention {
  readonly #store: BlockStore;
  readonly #runs: RunBook;
  readonly #targets: TargetBook;
  readonly #limits: Omit<RetentionLimits, 'bytesMax'>;
  readonly #room: Pick<Room, 'limit'>;
  #agesCheckedMs = Number.NEGATIVE_INFINITY;
  /** No removable block has a lower id. */
  #from = 0;
  /** Of the bytes in use, at this moment. */
  #limit = Number.POSITIVE_INFINITY;
  readonly #settle: () => boolean;
  readonly #rawWent: () => void;

  /**
   * @param settle writes the acknowledgements that wait for the next commit; returns whether marks changed.
   * @param rawWent at the end of each transaction that may have removed raw.
   */
  constructor(
    store: BlockStore,
    runs: RunBook,
    targets: TargetBook,
    room: Pick<Room, 'limit'>,
    limits: Omit<RetentionLimits, 'bytesMax'>,
    settle: () => boolean,
    rawWent: () => void,
  ) {
    this.#store = store;
    this.#runs = runs;
    this.#targets = targets;
    this.#room = room;
    this.#limits = limits;
    this.#settle = settle;
    this.#rawWent = rawWent;
  }

  /** After marks changed: older blocks may have become removable. */
  marksChanged(): void {
    this.#from = 0;
  }

  /**
   * Before the transaction that writes, in others of its own: what was removed stays removed when there is not enough room
   * all the same, and the next try goes on from there.
   * @param coming bytes about to be written. @param margin to be left of the limit.
   * @returns whether they may be written: they fit, or more was freed than they take (the limit was lowered).
   * @throws cache.full, cache.disk as `BlockStore.transaction`
   */
  makeRoom(coming: number, now: Stamp, margin = 0): boolean {
    this.#limit = this.#room.limit(now.monoMs) - margin;
    if (now.monoMs - this.#agesCheckedMs >= AGE_CHECK_MS) {
      this.#settle();
      this.#transaction(() => this.#removeOld(now));
    }
    if (this.#excess(coming) <= 0) return true;
    const before = this.#store.bytesUsed();
    const wanted = coming + this.#limit * SPARE_SHARE;
    for (let pages = 0; pages < PAGES_AT_ONCE && this.#excess(wanted) > 0; pages++) {
      // Before windows go, or a commit is refused, what was delivered a moment ago goes.
      if (!this.#anyRemovable() && this.#settle()) continue;
      if (!this.#transaction(() => this.#removePage(wanted))) break;
      if (before - this.#store.bytesUsed() >= Math.max(coming, FREED_BYTES_ENOUGH)) break;
    }
    const freed = before - this.#store.bytesUsed();
    return this.#excess(coming) <= 0 || (freed > 0 && freed >= coming);
  }

  #anyRemovable(): boolean {
    return this.#store.removableBlocks(this.#targets.mask(true), this.#from, 1).length > 0;
  }

  #excess(coming: number): number {
    return this.#store.bytesUsed() + coming - this.#limit;
  }

  #transaction<T>(work: () => T): T {
    const restore = this.#runs.snapshot();
    try {
      return this.#store.transaction(() => {
        const done = work();
        this.#rawWent();
        return done;
      });
    } catch (thrown) {
      restore();
      this.#from = 0;
      throw thrown;
    }
  }

  /** Removes as much as is wanted or as one transaction may. @returns false when nothing is left that may go. */
  #removePage(wanted: number): boolean {
    const page = this.#page();
    if (page.length === 0) {
      // New blocks come after this one, and may be removable from the start where there is no target.
      this.#from = this.#store.lastBlockId() + 1;
      return this.#removeFinest();
    }
    let excess = this.#excess(wanted);
    const gone: BlockRow[] = [];
    for (const row of page) {
      this.#remove(row);
      gone.push(row);
      this.#from = row.id + 1;
      excess -= row.bytes + BLOCK_OVERHEAD_BYTES;
      // Only whole pages become free: what was really freed is less than it seems, most of all with small blocks.
      if (excess <= 0) excess = this.#excess(wanted);
      if (excess <= 0) break;
    }
    this.#explain(gone, 'bytes');
    return true;
  }

  /** The next that may go, as many as one transaction takes. */
  #page(): BlockRow[] {
    const page = this.#store.removableBlocks(this.#targets.mask(true), this.#from, BLOCKS_AT_ONCE);
    let bytes = 0;
    return page.filter((row, at) => {
      bytes += row.bytes;
      return at === 0 || bytes <= BYTES_AT_ONCE;
    });
  }

  #removeOld(now: Stamp): void {
    const page = this.#page();
    const isOld = (row: BlockRow) => ageMs(row, this.#runs, now) > this.#limits.ageMax;
    const young = page.findIndex((row) => !isOld(row));
    const gone = young === -1 ? page : page.slice(0, young);
    for (const row of gone) this.#remove(row);
    this.#explain(gone, 'age');
    const windows = now.synced ? this.#removeOldWindows(now.wallMs) : 0;
    const more = (gone.length > 0 && gone.length === page.length) || windows > 0;
    if (!more) this.#agesCheckedMs = now.monoMs;
  }

  /** Each length keeps as many windows of a tag, so that the longer ones reach further back. @returns how many went, at most. */
  #removeOldWindows(wallMs: number): number {
    const { windowsAgeMax, windowsKept } = this.#limits;
    const removed = this.#store.windowPeriods().map((periodMs) => {
      const ageMs = Math.min(windowsAgeMax, windowsKept * periodMs);
      return this.#store.removeWindows(periodMs, wallMs - ageMs, WINDOWS_AT_ONCE);
    });
    return Math.max(0, ...removed);
  }

  /** The oldest of the shortest windows: what they say, the longer ones say in less. @returns false when there are none. */
  #removeFinest(): boolean {
    const removed = (periodMs: number) =>
      this.#store.removeWindows(periodMs, Number.MAX_SAFE_INTEGER, WINDOWS_AT_ONCE) > 0;
    return this.#store.windowPeriods().some(removed);
  }

  /** Targets that are not required take what is still there, and count what they missed. They are told of it later. */
  #explain(gone: readonly BlockRow[], why: DropReason): void {
    for (const { bit, name } of this.#targets.active()) {
      const missed = gone.filter(({ pending }) => (pending & (1 << bit)) !== 0);
      const gaps = gapsOf(missed.map((row) => ({ row, ranges: numbersOf(row) })));
      explainLater(this.#store, name, 'dropped', gaps);
      for (const { counts } of missed) countDropped(this.#store, name, counts, why);
    }
  }

  #remove(row: BlockRow): void {
    const run: RunRow | undefined = this.#runs.removed(row.run, row.class, lastNumber(row));
    if (run !== undefined) this.#store.putRun(run);
    noteRemoved(this.#store, row);
    this.#store.removeBlock(row.id);
  }
}
