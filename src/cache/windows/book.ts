/**
 * The windows of a cache: those that are open, those that were closed and wait to be written, and those to be counted again.
 *
 * What closed is written together, `WRITE_AFTER_MS` after the first of it: six windows of a tag side by side take less room
 * than one each in six blocks, and fewer pages are written. A crash loses none: what waited is in the checkpoint, or is counted
 * again from the journal, which holds every reading since. All that waits is written at once, late parts as well.
 */
import type { SlotKind } from '../../reading.ts';
import type { SortedRows } from '../../wire/sort.ts';
import type { BlockStore, WindowBlock } from '../store.ts';
import { WindowAccumulator } from './accumulate.ts';
import { decodeWindows, encodeWindows } from './block.ts';
import { RepairQueue, type RepairState } from './repair-queue.ts';
import { WindowRows } from './rows.ts';
import { byShelf } from './shelf.ts';
import type { AccumulatorState, WindowSource } from './source.ts';

const WRITE_AFTER_MS = 60_000;
/** Of one length. At full speed a commit closes as many. */
const ROWS_WAITING_MAX = 10_000;
/** Room that stays for the next: 2.4 MB at most. */
const ROWS_KEPT_MAX = 16_384;

export type NewWindows = Omit<WindowBlock, 'id'>;

export interface WindowsState {
  readonly open: AccumulatorState;
  readonly repairs: RepairState;
  /** Blocks of those that were not written yet. */
  readonly waiting: readonly Uint8Array[];
}

export class WindowBook {
  readonly open: WindowAccumulator;
  readonly repairs: RepairQueue;
  #waiting: WindowRows[];
  #sinceMs: number | undefined;

  constructor(periods: readonly number[]) {
    this.open = new WindowAccumulator(periods);
    this.repairs = new RepairQueue(periods);
    this.#waiting = periods.map((period) => new WindowRows(period));
  }

  get periods(): readonly number[] {
    return this.open.periods;
  }

  add(rows: WindowSource, sorted: SortedRows, kindOf: (tag: number) => SlotKind, nowMs: number): void {
    this.open.add(rows, sorted, kindOf, nowMs);
  }

  /** Closes what has passed. @returns all that closed since the last call; it waits. */
  take(nowMs: number): WindowRows[] {
    this.open.closePassed(nowMs);
    const closed = this.open.take();
    this.wait(closed, nowMs);
    return closed;
  }

  /** Whether what waits is to be written with this commit. */
  isDue(nowMs: number): boolean {
    const isLong = this.#waiting.some(({ length }) => length >= ROWS_WAITING_MAX);
    return isLong || nowMs - (this.#sinceMs ?? nowMs) >= WRITE_AFTER_MS;
  }

  wait(closed: readonly WindowRows[], nowMs: number): void {
    for (const rows of closed) {
      const waiting = this.#waiting[this.periods.indexOf(rows.periodMs)];
      if (waiting === undefined) continue;
      this.#sinceMs ??= nowMs;
      waiting.pushAll(rows);
      this.repairs.note(rows, nowMs);
    }
  }

  /** What waits, as it is written. It goes on waiting until `written`. */
  waiting(): NewWindows[] {
    return this.#waiting.flatMap(newWindows);
  }

  written(): void {
    for (const rows of this.#waiting) rows.clear(ROWS_KEPT_MAX);
    this.#sinceMs = undefined;
  }

  /** What waits; from here on it is the caller's. */
  flush(): NewWindows[] {
    const blocks = this.waiting();
    this.written();
    return blocks;
  }

  /** As if nothing of the tag had ever come. Of what was written before, `forget/windows-step.ts`. */
  forget(tag: number): void {
    this.open.forget(tag);
    this.#waiting = this.#waiting.map((rows) => rows.without(new Set([tag])));
    this.repairs.forget(tag);
  }

  /** @param isWritten what waits is in the same transaction. */
  state(isWritten = false): WindowsState {
    const waiting = isWritten ? [] : this.#waiting.filter(({ length }) => length > 0).map(encodeWindows);
    return { open: this.open.state(), repairs: this.repairs.state(), waiting };
  }

  /** @returns the rows that waited: some may have been written since. */
  restore({ open, repairs, waiting }: WindowsState, nowMs: number): WindowRows[] {
    this.open.restore(open, nowMs);
    this.repairs.restore(repairs, nowMs);
    return waiting.map(decodeWindows);
  }
}

/** A block for each shelf that they are on. */
export function newWindows(rows: WindowRows): NewWindows[] {
  if (rows.length === 0) return [];
  return byShelf(rows).map((each) => ({
    periodMs: each.periodMs,
    ...each.span(),
    rows: each.length,
    block: encodeWindows(each),
  }));
}

/** Inside a transaction. */
export function addAll(store: BlockStore, blocks: readonly NewWindows[]): void {
  for (const block of blocks) store.addWindows(block);
}
