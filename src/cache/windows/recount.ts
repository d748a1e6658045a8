/** Windows of one length counted again from raw, against what is written of them: what is to be written in their place. */
import { rawRemoved } from '../raw-removed.ts';
import type { BlockStore } from '../store.ts';
import { addAll, newWindows, type WindowBook } from './book.ts';
import type { RawReadings } from './raw.ts';
import type { Repair } from './repair-queue.ts';
import { WindowRows } from './rows.ts';
import { StoredWindows } from './stored.ts';
import { HOLD_MS_MAX } from './tag-times.ts';
import { emptyWindow, FLAG, W } from './window.ts';

const INEXACT = FLAG.part | FLAG.time;

export class Recount {
  readonly #store: BlockStore;
  readonly #windows: WindowBook;
  readonly #raw: RawReadings;
  readonly #periodMs: number;
  readonly #removedMs: number;

  constructor(store: BlockStore, windows: WindowBook, raw: RawReadings, periodMs: number) {
    this.#store = store;
    this.#windows = windows;
    this.#raw = raw;
    this.#periodMs = periodMs;
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
    const done = new Set<string>();
    const level = this.#windows.periods.indexOf(this.#periodMs);
    const count = (tag: number, startMs: number, unsure: boolean) => {
      const key = `${tag} ${startMs}`;
      if (done.has(key) || this.#windows.open.isOpen(tag, level, startMs)) return;
      done.add(key);
      const row = this.#counted(stored, tag, startMs, unsure);
      if (row !== undefined) rows.push(tag, row, 0);
    };
    for (const { tag, fromMs: first, toMs: end, unsure } of repairs)
      for (let startMs = first; startMs < end; startMs += this.#periodMs) count(tag, startMs, unsure);
    for (const { tag, fromMs: first, toMs: end } of repairs)
      for (let startMs = first; startMs < end; startMs += this.#periodMs)
        for (const next of this.#reached(stored, tag, startMs)) count(tag, next, false);
    addAll(this.#store, newWindows(rows));
  }

  /** What is to be written of it. @param unsure rows of it may be missing. */
  #counted(stored: StoredWindows, tag: number, startMs: number, unsure: boolean): Float64Array | undefined {
    const known = stored.window(tag, startMs);
    const before = known?.window;
    if (before === undefined && !unsure) return undefined;
    const counted = this.#raw.window(tag, startMs, this.#periodMs);
    const missingMs = Math.max(this.#removedMs, this.#windows.open.missingMs(tag));
    const isThere = missingMs < Math.max(this.#raw.lastBefore(tag, startMs), startMs - HOLD_MS_MAX);
    if (before === undefined) {
      if ((counted[W.total] as number) < 2) return undefined;
      counted[W.flags] = isThere ? FLAG.whole : INEXACT | FLAG.thin;
      return counted;
    }
    if (isThere && hasAll(before, counted)) {
      if (isSame(before, counted)) return undefined;
      counted[W.flags] = FLAG.whole;
      return counted;
    }
    // A window of one reading was not written: what is left of it may be the parts alone.
    const flags = unsure || known?.isWritten === false ? INEXACT | FLAG.thin : INEXACT;
    const had = before[W.flags] as number;
    return (had & flags) === flags || ((had & INEXACT) !== 0 && (flags & FLAG.thin) === 0)
      ? undefined
      : doubt(startMs, flags);
  }

  /**
   * Starts of the windows that a late value lasts into: that of the next reading. Where raw is gone, the next window there is
   * says where that reading is.
   */
  #reached(stored: StoredWindows, tag: number, startMs: number): number[] {
    const known = stored.window(tag, startMs);
    // One that is whole already was so as the next of another: how far its own late values reach is not known any more.
    const isPart = ((known?.window[W.flags] ?? 0) & INEXACT) !== 0;
    if (known !== undefined && isPart && known.lateMs < known.inTimeMs) return [];
    const endMs = startMs + this.#periodMs;
    const nextMs = this.#raw.firstFrom(tag, endMs) ?? Number.POSITIVE_INFINITY;
    const found: number[] = [];
    if (nextMs < endMs + HOLD_MS_MAX) found.push(Math.floor(nextMs / this.#periodMs) * this.#periodMs);
    for (let after = endMs; after < Math.min(endMs + HOLD_MS_MAX, nextMs); after += this.#periodMs) {
      if (stored.window(tag, after) === undefined) continue;
      found.push(after);
      break;
    }
    return found;
  }
}

/** Whether raw has all that the window saw. More, where one reading alone was not written, or its block is damaged. */
function hasAll(before: Float64Array, counted: Float64Array): boolean {
  return ((before[W.flags] as number) & FLAG.thin) === 0 && (counted[W.total] as number) >= (before[W.total] as number);
}

function isSame(before: Float64Array, counted: Float64Array): boolean {
  if (((before[W.flags] as number) & INEXACT) !== 0) return false;
  return before.every((number, column) => column === W.flags || number === counted[column]);
}

/** A row that adds nothing but what is not exact. */
function doubt(startMs: number, flags: number): Float64Array {
  const window = emptyWindow(startMs);
  window[W.flags] = flags;
  return window;
}
