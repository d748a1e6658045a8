// A window as its readings say, counted in the plainest way.
import { expect } from '@jest/globals';
import type { WindowView } from '../../src/cache/reader.ts';
import { isBad, THINNED } from '../../src/reading.ts';

/** tag, time, value, quality; in order of arrival. */
export type Row = readonly [number, number, number, number];

const HOLD_MS = 300_000;

export interface Recount {
  readonly total: number;
  readonly count: number;
  readonly mean: number;
  readonly variance: number;
  readonly min: number;
  readonly max: number;
  readonly first: number;
  readonly last: number;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly timeWeightedMean: number;
  readonly good: number;
  /** The largest value that counts in the time-weighted mean, without its sign. */
  readonly heldMax: number;
}

/** @param rows of one tag. */
export function recountWindow(rows: readonly Row[], startMs: number, periodMs: number): Recount {
  const endMs = startMs + periodMs;
  const sorted = [...rows].sort((a, b) => a[1] - b[1]);
  const inside = sorted.filter(([, timeMs]) => timeMs >= startMs && timeMs < endMs);
  const values = inside.filter(([, , , q]) => !isBad(q));
  const mean = values.reduce((sum, [, , each]) => sum + each, 0) / values.length;
  let area = 0;
  let covered = 0;
  let heldMax = 0;
  sorted.forEach(([, timeMs, each, q], at) => {
    if (isBad(q)) return;
    const from = Math.max(timeMs, startMs);
    const to = Math.min(endMs, timeMs + HOLD_MS, sorted[at + 1]?.[1] ?? Number.POSITIVE_INFINITY);
    if (to <= from) return;
    area += each * (to - from);
    covered += to - from;
    heldMax = Math.max(heldMax, Math.abs(each));
  });
  const numbers = values.map(([, , each]) => each);
  return {
    total: inside.length,
    count: values.length,
    mean,
    variance: values.reduce((sum, [, , each]) => sum + (each - mean) ** 2, 0) / (values.length - 1),
    min: values.length === 0 ? Number.NaN : Math.min(...numbers),
    max: values.length === 0 ? Number.NaN : Math.max(...numbers),
    first: numbers[0] ?? Number.NaN,
    last: numbers.at(-1) ?? Number.NaN,
    firstMs: values[0]?.[1] ?? Number.NaN,
    lastMs: values.at(-1)?.[1] ?? Number.NaN,
    timeWeightedMean: area / covered,
    good: inside.filter(([, , , q]) => (q & ~THINNED) === 0).length / inside.length,
    heldMax,
  };
}

const EXACT = ['count', 'min', 'max', 'first', 'last', 'firstMs', 'lastMs', 'good'] as const;

type Recounted = Pick<Recount, (typeof EXACT)[number]>;

/** Counts, extremes and ends exactly, the rest to 12 digits of the largest value. */
export function expectView(what: string, view: WindowView | undefined, expected: Recount): void {
  // Of 0 and −0 either is the larger.
  const exact = (of: Recounted | undefined, each: keyof Recounted) =>
    each === 'min' || each === 'max' ? (of?.[each] ?? Number.NaN) + 0 : of?.[each];
  const facts = (of: Recounted | undefined) => [what, ...EXACT.map((each) => exact(of, each))];
  expect([...facts(view), view?.inexact]).toEqual([...facts(expected), undefined]);
  const scale = Math.max(Math.abs(expected.min), Math.abs(expected.max));
  const near = (name: string, found = Number.NaN, wanted: number, slack: number) => {
    if (Number.isNaN(found) && Number.isNaN(wanted)) return;
    expect([what, name, Math.abs(found - wanted) <= slack, found, wanted]).toEqual([what, name, true, found, wanted]);
  };
  if (expected.count > 0) near('mean', view?.mean, expected.mean, scale * 1e-12 + 1e-300);
  if (expected.count > 1) {
    // What the values themselves are rounded by, against how far they lie apart.
    const slack =
      expected.variance * 1e-12 + scale * Math.sqrt(expected.variance) * 1e-14 + scale ** 2 * 1e-28 + 1e-300;
    near('variance', (view?.deviation ?? Number.NaN) ** 2, expected.variance, slack);
  }
  near('time-weighted mean', view?.timeWeightedMean, expected.timeWeightedMean, expected.heldMax * 1e-12 + 1e-300);
}
