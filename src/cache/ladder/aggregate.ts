/**
 * Readings of some blocks as one row a tag and minute: pure. Every figure is of exactly the rows given; two rows of the same
 * tag and minute, from two steps, merge without loss.
 *
 * Texts cannot be averaged and their values are all they say: they are left as they are, for level 4.
 */
import { isBad, statusOf, type ValueType } from '../../reading.ts';
import type { BlockColumns } from '../../wire/block.ts';
import { rowNumbers } from '../../wire/columns.ts';
import type { AggregateRow } from '../../wire/control.ts';
import { add, type RangeSet, rangeSet, subtract } from '../../wire/ranges.ts';

export const AGGREGATE_PERIOD_MS = 60_000;

interface Sums {
  ranges: RangeSet;
  count: number;
  good: number;
  mean: number;
  m2: number;
  min: number;
  max: number;
  first: number;
  last: number;
  goodFirstMs: number;
  goodLastMs: number;
  firstMs: number;
  lastMs: number;
  sum: bigint | number | undefined;
}

/** What of a block goes, and what stays because it is text. */
export function parted(columns: BlockColumns): { readonly gone: RangeSet; readonly kept: RangeSet } {
  const all = rangeSet(columns.chunks.map(({ n0, count }) => ({ from: n0, to: n0 + count - 1 })));
  if (columns.tags.every(({ kind }) => kind !== 'text')) return { gone: all, kept: [] };
  const numbers = rowNumbers(columns);
  const kept: { from: number; to: number }[] = [];
  let row = 0;
  for (const { kind, counts } of columns.tags) {
    const end = row + counts.reduce((sum, count) => sum + count, 0);
    for (; row < end; row++) {
      const n = numbers[row] ?? 0;
      if (kind === 'text') kept.push({ from: n, to: n });
    }
  }
  const texts = rangeSet(kept);
  return { gone: subtract(all, texts), kept: texts };
}

export class Aggregation {
  readonly #typeOf: (tag: number) => ValueType;
  /** Tag → begin of the minute → figures. */
  readonly #tags = new Map<number, Map<number, Sums>>();
  rows = 0;
  size = 0;

  constructor(typeOf: (tag: number) => ValueType) {
    this.#typeOf = typeOf;
  }

  /** All rows but those of text tags. @param gone their numbers. */
  add(columns: BlockColumns, gone: RangeSet): void {
    const { timeMs, quality, value } = columns;
    const signed = new BigInt64Array(value.buffer, value.byteOffset, value.length);
    const unsigned = new BigUint64Array(value.buffer, value.byteOffset, value.length);
    let row = 0;
    for (const { tag, kind, counts } of columns.tags) {
      const end = row + counts.reduce((sum, count) => sum + count, 0);
      const isInteger = kind === 'number' && /int/.test(this.#typeOf(tag));
      let minute = Number.NaN;
      let sums: Sums | undefined;
      if (kind === 'text') row = end;
      for (; row < end; row++) {
        const time = timeMs[row] ?? 0;
        const start = Math.floor(time / AGGREGATE_PERIOD_MS) * AGGREGATE_PERIOD_MS;
        if (sums === undefined || start !== minute) {
          minute = start;
          sums = this.#at(tag, start, kind === 'int64' || kind === 'uint64' ? 0n : isInteger ? 0 : undefined);
          for (const range of gone) sums.ranges = add(sums.ranges, range);
        }
        const exact = kind === 'int64' ? signed[row] : kind === 'uint64' ? unsigned[row] : undefined;
        count(sums, time, quality[row] ?? 0, exact === undefined ? (value[row] ?? 0) : Number(exact), exact);
        this.rows++;
      }
    }
  }

  #at(tag: number, startMs: number, zero: bigint | number | undefined): Sums {
    let minutes = this.#tags.get(tag);
    if (minutes === undefined) {
      minutes = new Map();
      this.#tags.set(tag, minutes);
    }
    let sums = minutes.get(startMs);
    if (sums === undefined) {
      sums = empty(zero);
      minutes.set(startMs, sums);
      this.size++;
    }
    return sums;
  }

  /** @param place where the rows were. @param idOf 32 hex digits */
  results(place: Pick<AggregateRow, 'run' | 'class'>, idOf: (tag: number) => string): AggregateRow[] {
    return [...this.#tags].flatMap(([tag, minutes]) =>
      [...minutes].map(([startMs, sums]): AggregateRow => rowOf(sums, { ...place, tag: idOf(tag), startMs })),
    );
  }
}

function empty(sum: bigint | number | undefined): Sums {
  const [most, least] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  const times = { goodFirstMs: most, goodLastMs: least, firstMs: most, lastMs: least };
  return { ranges: [], count: 0, good: 0, mean: 0, m2: 0, min: most, max: least, first: 0, last: 0, ...times, sum };
}

function count(sums: Sums, time: number, quality: number, value: number, exact: bigint | undefined): void {
  sums.count++;
  if (time < sums.firstMs) sums.firstMs = time;
  if (time > sums.lastMs) sums.lastMs = time;
  // JSON has no word for what is not finite.
  if (isBad(quality) || statusOf(quality) !== 'good' || !Number.isFinite(value)) return;
  sums.good++;
  const distance = value - sums.mean;
  sums.mean += distance / sums.good;
  sums.m2 += distance * (value - sums.mean);
  if (value < sums.min) sums.min = value;
  if (value > sums.max) sums.max = value;
  if (time < sums.goodFirstMs) {
    sums.goodFirstMs = time;
    sums.first = value;
  }
  if (time >= sums.goodLastMs) {
    sums.goodLastMs = time;
    sums.last = value;
  }
  if (typeof sums.sum === 'bigint') sums.sum += exact ?? 0n;
  else if (sums.sum !== undefined) sums.sum += value;
}

function rowOf(sums: Sums, place: Pick<AggregateRow, 'run' | 'class' | 'tag' | 'startMs'>): AggregateRow {
  const figure = (value: number) => (sums.good > 0 && Number.isFinite(value) ? value : null);
  return {
    type: 'AGG',
    ...place,
    ranges: sums.ranges,
    periodMs: AGGREGATE_PERIOD_MS,
    count: sums.count,
    good: sums.good,
    mean: figure(sums.mean),
    m2: figure(sums.m2),
    min: figure(sums.min),
    max: figure(sums.max),
    first: figure(sums.first),
    last: figure(sums.last),
    firstMs: sums.firstMs,
    lastMs: sums.lastMs,
    ...(sums.sum !== undefined && { sum: String(sums.sum) }),
  };
}
