/**
 * A long span in slices that hold about as many rows each, whatever the rate: the next one is longer or shorter by what the last
 * one held. A slice that held too much is taken again in parts, so memory has a bound; only what shares one millisecond
 * cannot be parted.
 */
import type { TimeSpan } from './tier.ts';

/** About 5 MB of objects on their way out. */
const ROWS_AIMED_AT = 20_000;
/** A slice that holds more is cut. */
export const SLICE_ROWS_MAX = 4 * ROWS_AIMED_AT;
const FIRST_MS = 60_000;
const LONGER_MAX = 8;
const SHORTEST_MS = 1;

export class Slices {
  readonly #toMs: number;
  #atMs: number;
  #lengthMs = FIRST_MS;
  /** Of a slice of one millisecond all rows are taken. */
  rowsMax = SLICE_ROWS_MAX;

  constructor({ fromMs, toMs }: TimeSpan) {
    this.#atMs = fromMs;
    this.#toMs = toMs;
  }

  /** There is nothing before this. */
  skipTo(ms: number): void {
    this.#atMs = Math.max(this.#atMs, ms);
  }

  next(): TimeSpan | undefined {
    if (this.#atMs >= this.#toMs) return undefined;
    this.rowsMax = this.#lengthMs <= SHORTEST_MS ? Number.MAX_SAFE_INTEGER : SLICE_ROWS_MAX;
    const end = this.#atMs + this.#lengthMs;
    // So far from 1970 that a millisecond is nothing: all of the rest at once.
    return { fromMs: this.#atMs, toMs: end > this.#atMs ? Math.min(this.#toMs, end) : this.#toMs };
  }

  /** @returns whether the slice counts; otherwise it comes again, shorter */
  took({ fromMs, toMs }: TimeSpan, rows: number, truncated: boolean): boolean {
    if (truncated) {
      this.#lengthMs = Math.max(SHORTEST_MS, (toMs - fromMs) / LONGER_MAX);
      return false;
    }
    this.#atMs = toMs;
    const share = rows === 0 ? LONGER_MAX : ROWS_AIMED_AT / rows;
    this.#lengthMs = Math.max(SHORTEST_MS, this.#lengthMs * Math.min(LONGER_MAX, Math.max(1 / LONGER_MAX, share)));
    return true;
  }
}
