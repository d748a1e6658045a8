/** Windows of some tags as their rows on disk say, while they are counted again. */
import type { BlockStore } from '../store.ts';
import { decodeWindows } from './block.ts';
import type { WindowRows } from './rows.ts';
import { emptyWindow, FLAG, joinRow, W, WINDOW_NUMBERS } from './window.ts';

const PAGE = 1024;
const NONE = Number.NEGATIVE_INFINITY;

export interface StoredWindow {
  readonly window: Float64Array;
  /** Of the last value that came in time, and of the last that came late; a bad one that came late may be anywhere. */
  inTimeMs: number;
  lateMs: number;
  /** There is more than parts: what came in time, if it was not one reading. */
  isWritten: boolean;
}

export class StoredWindows {
  readonly #byTag: ReadonlyMap<number, Map<number, StoredWindow>>;
  readonly #fromMs: number;
  readonly #toMs: number;

  /** Those that begin from `fromMs` up to, not including, `toMs`. */
  constructor(store: BlockStore, periodMs: number, tags: Iterable<number>, fromMs: number, toMs: number) {
    this.#byTag = new Map([...tags].map((tag) => [tag, new Map()]));
    this.#fromMs = fromMs;
    this.#toMs = toMs;
    for (let id = 0; ; ) {
      const page = store.windowsBetween(periodMs, fromMs, toMs, id, PAGE);
      for (const { block } of page) this.#join(block);
      const end = page.at(-1);
      if (end === undefined || page.length < PAGE) return;
      id = end.id;
    }
  }

  window(tag: number, startMs: number): StoredWindow | undefined {
    return this.#byTag.get(tag)?.get(startMs);
  }

  #join(block: Uint8Array): void {
    let rows: WindowRows;
    try {
      rows = decodeWindows(block);
    } catch {
      return; // damaged: its windows look as if they had not been written
    }
    const { length, tag, numbers } = rows;
    for (let row = 0; row < length; row++) {
      const mine = this.#byTag.get(tag[row] as number); // in bounds, here and below
      const start = numbers[row * WINDOW_NUMBERS + W.start] as number;
      if (mine === undefined || start < this.#fromMs || start >= this.#toMs) continue;
      let window = mine.get(start);
      if (window === undefined) {
        window = { window: emptyWindow(start), inTimeMs: NONE, lateMs: NONE, isWritten: false };
        mine.set(start, window);
      }
      joinStored(window, numbers, row * WINDOW_NUMBERS);
    }
  }
}

function joinStored(stored: StoredWindow, numbers: Float64Array, at: number): void {
  const number = (column: number) => numbers[at + column] as number; // in bounds
  joinRow(stored.window, numbers, at);
  const flags = number(W.flags);
  if ((flags & FLAG.part) === 0) stored.isWritten = true;
  const lastMs = number(W.count) < number(W.total) ? Number.POSITIVE_INFINITY : number(W.lastMs);
  if ((flags & FLAG.whole) !== 0) {
    // Counted again as the next of another: any of its values may have come late, and may last into the next window yet.
    stored.inTimeMs = NONE;
    stored.lateMs = lastMs;
  } else if ((flags & FLAG.part) !== 0) stored.lateMs = Math.max(stored.lateMs, lastMs);
  else if (number(W.count) > 0) stored.inTimeMs = Math.max(stored.inTimeMs, number(W.lastMs));
}
