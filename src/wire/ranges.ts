/**
 * Sets of row numbers as sorted, disjoint, inclusive ranges that do not touch: 1–3 and 4–5 are always 1–5. Immutable.
 */
import { SluiceError } from '../errors.ts';
import { type ByteReader, type ByteWriter, malformed } from './bytes.ts';

export interface Range {
  /** 1 ≤ from ≤ to < 2^53. */
  readonly from: number;
  readonly to: number;
}
export type RangeSet = readonly Range[];

/** In one message. A fragmented set is sent in parts; 100,000 single rows of one batch still fit. */
export const RANGES_MAX = 100_000;

const EMPTY: RangeSet = [];

/** @throws RangeError unless 1 ≤ from ≤ to < 2^53 and both are integers. */
export function range(from: number, to: number): Range {
  if (!isRange(from, to)) throw new RangeError(`${from}–${to} is no range of row numbers`);
  return { from, to };
}

function isRange(from: number, to: number): boolean {
  return Number.isSafeInteger(from) && Number.isSafeInteger(to) && from >= 1 && from <= to;
}

/** Any ranges, in any order, overlapping or not, as a set. */
export function rangeSet(ranges: Iterable<Range>): RangeSet {
  const sorted = [...ranges].sort((a, b) => a.from - b.from);
  const out: Range[] = [];
  for (const next of sorted) append(out, next);
  return out;
}

/** Adds at the end; `next` must not begin before the last range. */
function append(out: Range[], next: Range): void {
  const last = out.at(-1);
  if (last !== undefined && next.from <= last.to + 1) {
    if (next.to > last.to) out[out.length - 1] = { from: last.from, to: next.to };
  } else {
    out.push(next);
  }
}

export function add(set: RangeSet, added: Range): RangeSet {
  const last = set.at(-1);
  // Rows are numbered in order, so nearly every addition grows the last range.
  if (last === undefined || added.from > last.to + 1) return [...set, added];
  if (added.from >= last.from) {
    return added.to <= last.to ? set : [...set.slice(0, -1), { from: last.from, to: added.to }];
  }
  return union(set, [added]);
}

export function union(a: RangeSet, b: RangeSet): RangeSet {
  if (a.length === 0) return b;
  if (b.length === 0) return a;
  const out: Range[] = [];
  let i = 0;
  let j = 0;
  for (;;) {
    const left = a[i];
    const right = b[j];
    if (left !== undefined && (right === undefined || left.from <= right.from)) {
      append(out, left);
      i++;
    } else if (right !== undefined) {
      append(out, right);
      j++;
    } else {
      return out;
    }
  }
}

/** What of `set` is not in `removed`. */
export function subtract(set: RangeSet, removed: Range | RangeSet): RangeSet {
  const holes = isSet(removed) ? removed : [removed];
  if (holes.length === 0 || set.length === 0) return set;
  const out: Range[] = [];
  let j = 0;
  for (const { from, to } of set) {
    let at = from;
    while ((holes[j]?.to ?? Number.POSITIVE_INFINITY) < from) j++;
    for (let k = j; at <= to; k++) {
      const hole = holes[k];
      if (hole === undefined || hole.from > to) {
        out.push({ from: at, to });
        break;
      }
      if (hole.from > at) out.push({ from: at, to: hole.from - 1 });
      at = Math.max(at, hole.to + 1);
    }
  }
  return out;
}

export function intersect(set: RangeSet, other: Range | RangeSet): RangeSet {
  const others = isSet(other) ? other : [other];
  if (set.length === 0 || others.length === 0) return EMPTY;
  const out: Range[] = [];
  let i = 0;
  let j = 0;
  for (;;) {
    const a = set[i];
    const b = others[j];
    if (a === undefined || b === undefined) return out;
    const from = Math.max(a.from, b.from);
    const to = Math.min(a.to, b.to);
    if (from <= to) out.push({ from, to });
    if (a.to < b.to) i++;
    else j++;
  }
}

export function contains(set: RangeSet, n: number): boolean {
  let low = 0;
  let high = set.length - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const candidate = set[middle];
    if (candidate === undefined) return false;
    if (n < candidate.from) high = middle - 1;
    else if (n > candidate.to) low = middle + 1;
    else return true;
  }
  return false;
}

/** Whether every row of `range` is in the set. */
export function containsRange(set: RangeSet, { from, to }: Range): boolean {
  return set.some((held) => held.from <= from && to <= held.to);
}

/** How many rows are in the set. */
export function count(set: RangeSet): number {
  let sum = 0;
  for (const { from, to } of set) sum += to - from + 1;
  return sum;
}

function isSet(value: Range | RangeSet): value is RangeSet {
  return Array.isArray(value);
}

/** Count, then for each: distance to the end of the one before, then length − 1; all varints. */
export function encodeRanges(writer: ByteWriter, set: RangeSet): void {
  writer.varint(set.length);
  let end = 0;
  for (const { from, to } of set) {
    writer.varint(from - end - 1).varint(to - from);
    end = to;
  }
}

/** @throws wire.malformed for ranges that touch, wire.number_too_large past 2^53, wire.count_too_large. */
export function decodeRanges(reader: ByteReader, rangesMax = RANGES_MAX): RangeSet {
  const length = reader.count(2, rangesMax);
  const set: Range[] = [];
  let end = 0;
  for (let i = 0; i < length; i++) {
    const gap = reader.varint();
    if (i > 0 && gap === 0) throw malformed('ranges that touch');
    const from = end + 1 + gap;
    const to = from + reader.varint();
    if (to > Number.MAX_SAFE_INTEGER) {
      throw new SluiceError('wire.number_too_large', 'discard', 'a row number of 2^53 or more');
    }
    set.push({ from, to });
    end = to;
  }
  return set;
}

/** From JSON: `[{from, to}, …]`, strictly ascending and apart. @throws wire.malformed */
export function parseRanges(value: unknown, rangesMax = RANGES_MAX): RangeSet {
  if (!Array.isArray(value) || value.length > rangesMax) throw malformed('ranges are no list, or too many');
  let end = -1;
  return value.map((item: unknown) => {
    if (typeof item !== 'object' || item === null) throw malformed('a range is an object of from and to');
    const fields = new Map<string, unknown>(Object.entries(item));
    const [from, to] = [fields.get('from'), fields.get('to')];
    if (
      fields.size !== 2 ||
      typeof from !== 'number' ||
      typeof to !== 'number' ||
      !isRange(from, to) ||
      from <= end + 1
    ) {
      throw malformed('ranges must ascend without touching');
    }
    end = to;
    return { from, to };
  });
}
