/** Windows of one length counted again from raw, against what is written of them: what is to be written in their place. */
import { rawRemoved } from '../raw-removed.ts';
import type { BlockStore } from '../store.ts';
import { addAll, newWindows, type WindowBook } from './book.ts';
import type { RawReadings } from './raw.ts';
import type { Repair } from './repair-queue.ts';
import { WindowRows } from './rows.ts';
import { StoredWindows, type TagWindows } from './stored.ts';
import { HOLD_MS_MAX } from './tag-times.ts';
import { emptyWindow, FLAG, W, WINDOW_NUMBERS } from './window.ts';

const INEXACT = FLAG.part | FLAG.time;

export class Recount {
  readonly #store: BlockStore;
  readonly #windows: WindowBook;
  readonly #raw: RawReadings;
  readonly #periodMs: number;
  /** Of the window at hand. */
  readonly #counted = emptyWindow(0);
  readonly #level: number;
  readonly #removedMs: number;

  constructor(store: BlockStore, windows: WindowBook, raw: RawReadings, periodMs: number) {
    this.#store = store;
    this.#windows = windows;
    this.#raw = raw;
    this.#periodMs = periodMs;
    this.#level = windows.periods.indexOf(periodMs);
    this.#removedMs = rawRemoved(store).lastMs;
  }

  /** Inside a transaction; all that waited is written. */
  write(repairs: readonly Repair[]): void {
    const fromMs = repairs.reduce((least, repair) => Math.min(least, repair.fromMs), Number.POSITIVE_INFINITY);
    const toMs = repairs.reduce((most, repair) => Math.max(most, repair.toMs), Number.NEGATIVE_INFINITY);
    const tags = new Set(repairs.map(({ tag }) => tag));
    const reachMs = toMs + this.#periodMs + HOLD_MS_MAX;
    const stored = new StoredWindows(this.#store, this.#periodMs, tags, fromMs, reachMs);
    const rows = new WindowRows(this.#periodMs);
    const done = new Map([...tags].map((tag) => [tag, new Set<number>()]));
    for (const { tag, fromMs: first, toMs: end, unsure } of repairs)
      for (let startMs = first; startMs < end; startMs += this.#periodMs)
        this.#count(rows, done.get(tag), stored, tag, startMs, unsure);
    for (const { tag, fromMs: first, toMs: end } of repairs)
      for (let startMs = first; startMs < end; startMs += this.#periodMs)
        this.#reach(rows, done.get(tag), stored, tag, startMs);
    addAll(this.#store, newWindows(rows));
  }

  /** @param done starts of the tag's windows that were counted already. */
  #count(
    rows: WindowRows,
    done: Set<number> | undefined,
    stored: StoredWindows,
    tag: number,
    startMs: number,
    unsure: boolean,
  ): void {
    if (done === undefined || done.has(startMs)) return;
    if (this.#windows.open.isOpen(tag, this.#level, startMs)) return;
    done.add(startMs);
    this.#write(rows, stored.of(tag), tag, startMs, unsure);
  }

  /** Puts down what is to be written of it. @param unsure rows of it may be missing. */
  #write(rows: WindowRows, stored: TagWindows | undefined, tag: number, startMs: number, unsure: boolean): void {
    const row = stored?.row(startMs) ?? -1;
    const isKnown = stored !== undefined && row >= 0;
    if (!isKnown && !unsure) return;
    const counted = this.#raw.window(tag, startMs, this.#periodMs, this.#counted);
    const missingMs = Math.max(this.#removedMs, this.#windows.open.missingMs(tag));
    const isThere = missingMs < Math.max(this.#raw.lastBefore(tag, startMs), startMs - HOLD_MS_MAX);
    if (!isKnown) {
      // Where raw is gone, one reading that is left may have been one of many.
      if (isThere && (counted[W.total] as number) < 2) return;
      counted[W.flags] = isThere ? FLAG.whole : INEXACT | FLAG.thin;
      rows.push(tag, counted, 0);
      return;
    }
    const before = stored.numbers;
    const at = row * WINDOW_NUMBERS;
    if (isThere && hasAll(before, at, counted)) {
      if (isSame(before, at, counted)) return;
      counted[W.flags] = FLAG.whole;
      rows.push(tag, counted, 0);
      return;
    }
    // A window of one reading was not written: what is left of it may be the parts alone.
    const flags = unsure || stored.isWritten[row] === 0 ? INEXACT | FLAG.thin : INEXACT;
    const had = before[at + W.flags] as number;
    // A row that adds nothing but what is not exact.
    if ((had & flags) !== flags && ((had & INEXACT) === 0 || (flags & FLAG.thin) !== 0)) rows.open(tag, startMs, flags);
  }

  /**
   * The windows that a late value lasts into: that of the next reading. Where raw is gone, the next window there is says where
   * that reading is.
   */
  #reach(rows: WindowRows, done: Set<number> | undefined, windows: StoredWindows, tag: number, startMs: number): void {
    const stored = windows.of(tag);
    const row = stored?.row(startMs) ?? -1;
    if (stored !== undefined && row >= 0) {
      // One that is whole already was so as the next of another: how far its own late values reach is not known any more.
      const isPart = ((stored.numbers[row * WINDOW_NUMBERS + W.flags] as number) & INEXACT) !== 0;
      if (isPart && (stored.lateMs[row] as number) < (stored.inTimeMs[row] as number)) return;
    }
    const endMs = startMs + this.#periodMs;
    const nextMs = this.#raw.firstFrom(tag, endMs) ?? Number.POSITIVE_INFINITY;
    if (nextMs < endMs + HOLD_MS_MAX)
      this.#count(rows, done, windows, tag, Math.floor(nextMs / this.#periodMs) * this.#periodMs, false);
    for (let after = endMs; after < Math.min(endMs + HOLD_MS_MAX, nextMs); after += this.#periodMs) {
      if (stored === undefined || stored.row(after) < 0) continue;
      this.#count(rows, done, windows, tag, after, false);
      break;
    }
  }
}

/** Whether raw has all that the window saw. More, where one reading alone was not written, or its block is damaged. */
function hasAll(before: Float64Array, at: number, counted: Float64Array): boolean {
  const flags = before[at + W.flags] as number; // in bounds, here and below
  return (flags & FLAG.thin) === 0 && (counted[W.total] as number) >= (before[at + W.total] as number);
}

function isSame(before: Float64Array, at: number, counted: Float64Array): boolean {
  if (((before[at + W.flags] as number) & INEXACT) !== 0) return false;
  for (let column = 0; column < W.flags; column++) if (before[at + column] !== counted[column]) return false;
  return true;
}
