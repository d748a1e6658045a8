/** Stored windows of a tag, their parts put together. */
import type { Database } from 'better-sqlite3';
import { decodeWindows } from './block.ts';
import type { WindowRows } from './rows.ts';
import { emptyWindow, exactSum, FLAG, joinRow, W, WINDOW_NUMBERS } from './window.ts';

const PAGE = 64;

export interface WindowView {
  readonly startMs: number;
  readonly periodMs: number;
  /** Values that were not bad. */
  readonly count: number;
  readonly mean: number;
  /** Of the values, n − 1 in the denominator; NaN for one. */
  readonly deviation: number;
  readonly min: number;
  readonly max: number;
  readonly first: number;
  readonly last: number;
  readonly firstMs: number;
  readonly lastMs: number;
  /** Exact, where all values were integers. */
  readonly sum: bigint | undefined;
  /** NaN where no time was covered. */
  readonly timeWeightedMean: number;
  /** 0 to 1. */
  readonly good: number;
  /**
   * What is not exact: `time`, the time-weighted mean, because readings came late and raw no longer tells when; `all`, because
   * it was counted again after a crash without the readings that the deadband thinned. Undefined: everything is exact.
   */
  readonly inexact: 'time' | 'all' | undefined;
}

/** @param tags all numbers that the tag's name had. By start; windows of one reading were not stored. Damaged blocks are left out. */
export function readNumbers(
  db: Database,
  tags: readonly number[],
  periodMs: number,
  fromMs: number,
  toMs: number,
): Map<number, Float64Array> {
  const found = new Map<number, Float64Array>();
  const wanted = new Set(tags);
  for (const block of blocksOf(db, periodMs, fromMs, toMs)) {
    const rows = decoded(block);
    if (rows === undefined) continue;
    const { length, tag, numbers } = rows;
    for (let row = 0; row < length; row++) {
      const at = row * WINDOW_NUMBERS;
      const start = numbers[at + W.start] ?? 0;
      if (!wanted.has(tag[row] ?? -1) || start < fromMs || start >= toMs) continue;
      const window = found.get(start) ?? emptyWindow(start);
      found.set(start, window);
      joinRow(window, numbers, at);
    }
  }
  return found;
}

function decoded(block: Uint8Array): WindowRows | undefined {
  try {
    return decodeWindows(block);
  } catch {
    return undefined;
  }
}

function* blocksOf(db: Database, periodMs: number, fromMs: number, toMs: number): Generator<Uint8Array> {
  const sql = `SELECT id, block FROM windows WHERE period_ms = ? AND to_ms > ? AND from_ms < ? AND id > ? ORDER BY id LIMIT ${PAGE}`;
  const statement = db.prepare(sql);
  for (let id = 0; ; ) {
    const page = statement.all(periodMs, fromMs, toMs, id) as { id: number; block: Uint8Array }[]; // its columns
    for (const { block } of page) yield block;
    const end = page.at(-1);
    if (end === undefined || page.length < PAGE) return;
    id = end.id;
  }
}

function inexactOf(flags: number): WindowView['inexact'] {
  if ((flags & FLAG.thin) !== 0) return 'all';
  return (flags & (FLAG.time | FLAG.part)) !== 0 ? 'time' : undefined;
}

export function windowView(w: Float64Array, periodMs: number): WindowView {
  const number = (column: number) => w[column] ?? Number.NaN;
  const count = number(W.count);
  const value = (column: number) => (count === 0 ? Number.NaN : number(column));
  return {
    startMs: number(W.start),
    periodMs,
    count,
    mean: value(W.mean),
    deviation: Math.sqrt(number(W.m2) / (count - 1)),
    min: value(W.min),
    max: value(W.max),
    first: value(W.first),
    last: value(W.last),
    firstMs: value(W.firstMs),
    lastMs: value(W.lastMs),
    sum: count === 0 ? undefined : exactSum(w, 0),
    timeWeightedMean: number(W.area) / number(W.covered),
    good: number(W.good) / number(W.total),
    inexact: inexactOf(number(W.flags)),
  };
}
