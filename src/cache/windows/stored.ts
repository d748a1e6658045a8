/** Windows of some tags as their rows on disk say, while they are counted again. */
import type { BlockStore } from '../store.ts';
import { decodeWindows } from './block.ts';
import type { WindowRows } from './rows.ts';
import { FLAG, joinRow, W, WINDOW_NUMBERS } from './window.ts';

const PAGE = 1024;
const NONE = Number.NEGATIVE_INFINITY;
const ANYWHERE = Number.POSITIVE_INFINITY;

/** How many there are of a tag at first. */
const FIRST_ROWS = 64;

/** Of one tag, columns by row: hundreds of thousands of them are no objects. */
export class TagWindows {
  readonly #rows = new Map<number, number>();
  /** `WINDOW_NUMBERS` a row. */
  numbers = new Float64Array(FIRST_ROWS * WINDOW_NUMBERS);
  /** Of the last value that came in time, and of the last that came late; a bad one that came late may be anywhere. */
  inTimeMs = new Float64Array(FIRST_ROWS);
  lateMs = new Float64Array(FIRST_ROWS);
  /** Not 0: there is more than parts, what came in time, if it was not one reading. */
  isWritten = new Uint8Array(FIRST_ROWS);

  /** −1: none. */
  row(startMs: number): number {
    return this.#rows.get(startMs) ?? -1;
  }

  join(startMs: number, numbers: Float64Array, at: number): void {
    let row = this.row(startMs);
    if (row < 0) {
      row = this.#rows.size;
      if (row === this.isWritten.length) this.#grow(row * 2);
      this.#rows.set(startMs, row);
      this.numbers[row * WINDOW_NUMBERS + W.start] = startMs;
      this.inTimeMs[row] = NONE;
      this.lateMs[row] = NONE;
    }
    joinRow(this.numbers, numbers, at, row * WINDOW_NUMBERS);
    const flags = numbers[at + W.flags] as number; // in bounds, here and below
    const count = numbers[at + W.count] as number;
    const lastMs = count < (numbers[at + W.total] as number) ? ANYWHERE : (numbers[at + W.lastMs] as number);
    if ((flags & FLAG.part) === 0) this.isWritten[row] = 1;
    if ((flags & FLAG.whole) !== 0) {
      // Counted again as the next of another: any of its values may have come late, and may last into the next window yet.
      this.inTimeMs[row] = NONE;
      this.lateMs[row] = lastMs;
    } else if ((flags & FLAG.part) !== 0) this.lateMs[row] = Math.max(this.lateMs[row] as number, lastMs);
    else if (count > 0) this.inTimeMs[row] = Math.max(this.inTimeMs[row] as number, numbers[at + W.lastMs] as number);
  }

  #grow(rows: number): void {
    const { numbers, inTimeMs, lateMs, isWritten } = this;
    this.numbers = new Float64Array(rows * WINDOW_NUMBERS);
    this.inTimeMs = new Float64Array(rows);
    this.lateMs = new Float64Array(rows);
    this.isWritten = new Uint8Array(rows);
    this.numbers.set(numbers);
    this.inTimeMs.set(inTimeMs);
    this.lateMs.set(lateMs);
    this.isWritten.set(isWritten);
  }
}

export class StoredWindows {
  readonly #byTag: ReadonlyMap<number, TagWindows>;
  readonly #fromMs: number;
  readonly #toMs: number;

  /** Those that begin from `fromMs` up to, not including, `toMs`. */
  constructor(store: BlockStore, periodMs: number, tags: Iterable<number>, fromMs: number, toMs: number) {
    this.#byTag = new Map([...tags].map((tag) => [tag, new TagWindows()]));
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

  of(tag: number): TagWindows | undefined {
    return this.#byTag.get(tag);
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
      const at = row * WINDOW_NUMBERS;
      const start = numbers[at + W.start] as number; // in bounds, here and below
      if (start >= this.#fromMs && start < this.#toMs) this.#byTag.get(tag[row] as number)?.join(start, numbers, at);
    }
  }
}
