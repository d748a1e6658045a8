/** Parts of windows that were closed already, until the next commit takes them. Found by tag and start without a word of garbage. */
import { WindowRows } from './rows.ts';
import { BAD } from './tag-times.ts';
import { FLAG, foldBad, foldValue, W, WINDOW_NUMBERS } from './window.ts';

const FIRST_SLOTS = 256;
/** Room that stays for the next: 1.2 MB at most. */
const ROWS_KEPT_MAX = 8192;

export class LateParts {
  readonly #levels: LateTable[];

  constructor(periods: readonly number[]) {
    this.#levels = periods.map((period) => new LateTable(period));
  }

  /** A part of its own of every window that was closed; the first that is open takes it, and hands it on when it closes. */
  add(open: readonly Float64Array[], tag: number, timeMs: number, value: number, quality: number): void {
    for (let level = 0; level < open.length; level++) {
      const w = open[level] as Float64Array; // in bounds, here and below
      const table = this.#levels[level] as LateTable;
      const start = Math.floor(timeMs / table.rows.periodMs) * table.rows.periodMs;
      const isOpen = start === w[tag * WINDOW_NUMBERS + W.start];
      const at = isOpen ? tag * WINDOW_NUMBERS : table.at(tag, start);
      const to = isOpen ? w : table.rows.numbers;
      if (quality >= BAD) foldBad(to, at);
      else foldValue(to, at, timeMs, value, quality === 0);
      if (isOpen) return;
    }
  }

  forget(tag: number): void {
    for (const level of this.#levels) level.forget(tag);
  }

  moveTo(closed: readonly WindowRows[]): void {
    this.#levels.forEach((level, i) => {
      if (level.rows.length === 0) return;
      closed[i]?.pushAll(level.rows);
      level.clear();
    });
  }
}

/** Open addressing: a slot has a row plus one, 0 is free. At least half of them are. */
class LateTable {
  rows: WindowRows;
  #slots = new Int32Array(FIRST_SLOTS);
  /** The row that was asked for last: late readings come side by side. */
  #last = 0;

  constructor(periodMs: number) {
    this.rows = new WindowRows(periodMs);
  }

  at(tag: number, startMs: number): number {
    const { rows } = this;
    if (this.#last < rows.length && this.#is(this.#last, tag, startMs)) return this.#last * WINDOW_NUMBERS;
    let slot = this.#slot(tag, startMs);
    let row = (this.#slots[slot] as number) - 1; // in bounds, here and below
    if (row < 0) {
      if (rows.length * 2 >= this.#slots.length) {
        this.#index(this.#slots.length * 2);
        slot = this.#slot(tag, startMs);
      }
      row = rows.open(tag, startMs, FLAG.part | FLAG.time);
      this.#slots[slot] = row + 1;
    }
    this.#last = row;
    return row * WINDOW_NUMBERS;
  }

  forget(tag: number): void {
    this.rows = this.rows.without(new Set([tag]));
    this.#index(this.#slots.length);
  }

  clear(): void {
    this.rows.clear(ROWS_KEPT_MAX);
    if (this.#slots.length > 2 * ROWS_KEPT_MAX) this.#slots = new Int32Array(FIRST_SLOTS);
    else this.#slots.fill(0);
  }

  #is(row: number, tag: number, startMs: number): boolean {
    return this.rows.tag[row] === tag && this.rows.numbers[row * WINDOW_NUMBERS + W.start] === startMs;
  }

  /** Where it is, or would be. */
  #slot(tag: number, startMs: number): number {
    const mask = this.#slots.length - 1;
    const index = Math.floor(startMs / this.rows.periodMs);
    let slot = (Math.imul(index | 0, 0x9e3779b1) ^ Math.imul(tag, 0x85ebca6b)) >>> 7;
    for (; ; slot++) {
      slot &= mask;
      const row = (this.#slots[slot] as number) - 1;
      if (row < 0 || this.#is(row, tag, startMs)) return slot;
    }
  }

  #index(slots: number): void {
    this.#slots = new Int32Array(slots);
    const { length, tag, numbers } = this.rows;
    for (let row = 0; row < length; row++) {
      const slot = this.#slot(tag[row] as number, numbers[row * WINDOW_NUMBERS + W.start] as number);
      this.#slots[slot] = row + 1;
    }
  }
}
