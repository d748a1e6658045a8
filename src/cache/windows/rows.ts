/** Finished windows of one length, waiting to be written: one row each, growing by doubling. */
import { W, WINDOW_NUMBERS } from './window.ts';

const FIRST_CAPACITY = 64;

export class WindowRows {
  readonly periodMs: number;
  length = 0;
  /** Numbers of tags on disk (not registry indexes). */
  tag = new Uint32Array(FIRST_CAPACITY);
  /** `WINDOW_NUMBERS` a row. */
  numbers = new Float64Array(FIRST_CAPACITY * WINDOW_NUMBERS);

  constructor(periodMs: number) {
    this.periodMs = periodMs;
  }

  /** @param from position in `w` of a window whose area and covered time are its own already. */
  push(tag: number, w: Float64Array, from: number): void {
    if (this.length === this.tag.length) this.#grow();
    this.tag[this.length] = tag;
    const to = this.length * WINDOW_NUMBERS;
    for (let i = 0; i < WINDOW_NUMBERS; i++) this.numbers[to + i] = w[from + i] as number; // in bounds
    this.length++;
  }

  /** Room for so many rows, which are then there. */
  reserve(length: number): void {
    this.length = length;
    this.tag = new Uint32Array(length);
    this.numbers = new Float64Array(length * WINDOW_NUMBERS);
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

  #grow(): void {
    const tag = new Uint32Array(this.length * 2);
    const numbers = new Float64Array(this.length * 2 * WINDOW_NUMBERS);
    tag.set(this.tag);
    numbers.set(this.numbers);
    this.tag = tag;
    this.numbers = numbers;
  }
}
