/** Finished windows of one length, waiting to be written: one row each, growing by doubling. */
import { clearWindow, W, WINDOW_NUMBERS } from './window.ts';

const FIRST_CAPACITY = 64;

export class WindowRows {
  readonly periodMs: number;
  length = 0;
  /** Numbers of tags on disk (not registry indexes). */
  tag: Uint32Array;
  /** `WINDOW_NUMBERS` a row. */
  numbers: Float64Array;

  /** @param capacity rows that are expected; more find room as well. */
  constructor(periodMs: number, capacity = FIRST_CAPACITY) {
    this.periodMs = periodMs;
    this.tag = new Uint32Array(capacity);
    this.numbers = new Float64Array(capacity * WINDOW_NUMBERS);
  }

  /** @param from position in `w` of a window whose area and covered time are its own already. */
  push(tag: number, w: Float64Array, from: number): void {
    this.#makeRoom(this.length + 1);
    const { numbers } = this;
    this.tag[this.length] = tag;
    const to = this.length * WINDOW_NUMBERS;
    for (let i = 0; i < WINDOW_NUMBERS; i++) numbers[to + i] = w[from + i] as number; // in bounds
    this.length++;
  }

  /** Another row: a window without readings. @returns its number. */
  open(tag: number, startMs: number, flags: number): number {
    const row = this.length;
    this.#makeRoom(row + 1);
    this.tag[row] = tag;
    clearWindow(this.numbers, row * WINDOW_NUMBERS, startMs);
    this.numbers[row * WINDOW_NUMBERS + W.flags] = flags;
    this.length++;
    return row;
  }

  pushAll({ length, tag, numbers }: WindowRows): void {
    this.#makeRoom(this.length + length);
    this.tag.set(tag.subarray(0, length), this.length);
    this.numbers.set(numbers.subarray(0, length * WINDOW_NUMBERS), this.length * WINDOW_NUMBERS);
    this.length += length;
  }

  /** Room for so many rows, which are then there. */
  reserve(length: number): void {
    this.length = length;
    this.tag = new Uint32Array(length);
    this.numbers = new Float64Array(length * WINDOW_NUMBERS);
  }

  /** @param keptMax rows whose room stays; what has more is made anew. */
  clear(keptMax: number): void {
    if (this.tag.length > keptMax) this.reserve(FIRST_CAPACITY);
    this.length = 0;
  }

  without(tags: ReadonlySet<number>): WindowRows {
    const left = new WindowRows(this.periodMs);
    for (let row = 0; row < this.length; row++) {
      const tag = this.tag[row] as number; // in bounds
      if (!tags.has(tag)) left.push(tag, this.numbers, row * WINDOW_NUMBERS);
    }
    return left;
  }

  /** From the start of the first to the end of the last. */
  span(): { fromMs: number; toMs: number } {
    let fromMs = Number.POSITIVE_INFINITY;
    let toMs = Number.NEGATIVE_INFINITY;
    for (let row = 0; row < this.length; row++) {
      const start = this.numbers[row * WINDOW_NUMBERS + W.start] as number; // in bounds
      if (start < fromMs) fromMs = start;
      if (start + this.periodMs > toMs) toMs = start + this.periodMs;
    }
    return { fromMs, toMs };
  }

  #makeRoom(length: number): void {
    if (length <= this.tag.length) return;
    const capacity = Math.max(length, this.tag.length * 2);
    const tag = new Uint32Array(capacity);
    const numbers = new Float64Array(capacity * WINDOW_NUMBERS);
    tag.set(this.tag);
    numbers.set(this.numbers);
    this.tag = tag;
    this.numbers = numbers;
  }
}
