/**
 * Windows at query time, from raw readings: pure. Readings without a value (bad quality) count nowhere; 64-bit integers stay
 * exact but for their mean; texts have only a first and a last.
 */
import { isBad, type PlainValue, type SlotKind, statusOf } from '../reading.ts';
import type { AggregateRow } from '../wire/control.ts';
import type { TierWindow } from './tier.ts';

type Ordered = number | bigint;

interface Open {
  count: number;
  good: number;
  min: Ordered | undefined;
  max: Ordered | undefined;
  /** Running mean: a sum of large equal numbers would lose the digits that differ. */
  mean: number;
  first: PlainValue;
  firstMs: number;
  /** Row number, which decides between readings of one time. */
  firstN: number;
  last: PlainValue;
  lastMs: number;
  lastN: number;
  aggregated: number;
}

export class Windows {
  readonly #open = new Map<number, Open>();
  readonly #periodMs: number;

  constructor(periodMs: number) {
    this.#periodMs = periodMs;
  }

  /** @param n tells readings of one time apart, whatever order they come in */
  add(kind: SlotKind, timeMs: number, value: PlainValue, quality: number, n: number): void {
    if (isBad(quality) || value === null) return;
    const open = this.#at(timeMs);
    open.count++;
    if (statusOf(quality) === 'good') open.good++;
    this.#ends(open, timeMs, value, n);
    const number = ordered(kind, value);
    if (number === undefined) return;
    if (open.min === undefined || number < open.min) open.min = number;
    if (open.max === undefined || number > open.max) open.max = number;
    open.mean += (Number(number) - open.mean) / open.count;
  }

  /** One that is longer than the period counts where it begins. */
  addAggregate(row: AggregateRow): void {
    const { good, mean, min, max, first, last, firstMs, lastMs, startMs, ranges } = row;
    if (good === 0 || mean === null) return;
    const open = this.#at(startMs);
    open.count += good;
    open.good += good;
    open.aggregated += good;
    // Its rows lie between these two numbers: as near as anyone can tell among readings of one time.
    if (first !== null) this.#ends(open, firstMs, first, ranges[0]?.from ?? 0);
    if (last !== null) this.#ends(open, lastMs, last, ranges.at(-1)?.to ?? 0);
    if (min !== null && (open.min === undefined || min < open.min)) open.min = min;
    if (max !== null && (open.max === undefined || max > open.max)) open.max = max;
    open.mean += ((mean - open.mean) * good) / open.count;
  }

  result(): TierWindow[] {
    return [...this.#open]
      .sort(([a], [b]) => a - b)
      .map(([startMs, open]) => ({
        startMs,
        count: open.count,
        good: open.good,
        min: open.min ?? null,
        max: open.max ?? null,
        mean: open.min === undefined ? null : open.mean,
        first: open.first,
        last: open.last,
        aggregated: open.aggregated,
      }));
  }

  #ends(open: Open, timeMs: number, value: PlainValue, n: number): void {
    if (timeMs < open.firstMs || (timeMs === open.firstMs && n < open.firstN)) {
      open.first = value;
      open.firstMs = timeMs;
      open.firstN = n;
    }
    if (timeMs > open.lastMs || (timeMs === open.lastMs && n > open.lastN)) {
      open.last = value;
      open.lastMs = timeMs;
      open.lastN = n;
    }
  }

  #at(timeMs: number): Open {
    const startMs = Math.floor(timeMs / this.#periodMs) * this.#periodMs;
    let open = this.#open.get(startMs);
    if (open === undefined) {
      open = {
        count: 0,
        good: 0,
        min: undefined,
        max: undefined,
        mean: 0,
        first: null,
        firstMs: Number.POSITIVE_INFINITY,
        firstN: 0,
        last: null,
        lastMs: Number.NEGATIVE_INFINITY,
        lastN: 0,
        aggregated: 0,
      };
      this.#open.set(startMs, open);
    }
    return open;
  }
}

function ordered(kind: SlotKind, value: PlainValue): Ordered | undefined {
  if (kind === 'bool') return value === true ? 1 : 0;
  return typeof value === 'number' || typeof value === 'bigint' ? value : undefined;
}
