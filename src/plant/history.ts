/** What one tag showed and when, as changes; what ended longer ago than `keptMs` is forgotten. */
import type { PlainValue } from '../reading.ts';

/** Entries forgotten before the arrays are moved together: makes forgetting cheap. */
const COMPACT_AT = 4096;

export class History {
  readonly #keptMs: number;
  /** When each value began. */
  #fromMs: number[] = [];
  #values: PlainValue[] = [];
  #first = 0;

  constructor(keptMs: number) {
    this.#keptMs = keptMs;
  }

  /** @param nowMs never before the last one. */
  record(value: PlainValue, nowMs: number): void {
    if (this.#values.length === 0 || this.#values.at(-1) !== value) {
      this.#fromMs.push(nowMs);
      this.#values.push(value);
    }
    while ((this.#fromMs[this.#first + 1] ?? Number.POSITIVE_INFINITY) < nowMs - this.#keptMs) this.#first++;
    if (this.#first < COMPACT_AT) return;
    this.#fromMs = this.#fromMs.slice(this.#first);
    this.#values = this.#values.slice(this.#first);
    this.#first = 0;
  }

  get latest(): PlainValue {
    return this.#values.at(-1) ?? null;
  }

  /** Whether exactly this value was shown at some time in `[fromMs, toMs]`, ends included. */
  held(value: PlainValue, fromMs: number, toMs: number): boolean {
    for (let at = this.#lastBegunBy(toMs); at >= this.#first; at--) {
      if (this.#values[at] === value) return true;
      // This one began at or before the interval does, so all earlier ones ended before it.
      if ((this.#fromMs[at] ?? 0) < fromMs) return false;
    }
    return false;
  }

  #lastBegunBy(timeMs: number): number {
    let low = this.#first;
    let high = this.#fromMs.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#fromMs[middle] ?? 0) <= timeMs) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
