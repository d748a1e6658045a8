/** The byte streams of a block of windows, and what both ends guess of a number from those before it. */
import type { Cursor, Stream } from '../../wire/block/streams.ts';

/** In the order they are written. Names end in what a number is: `Low`, `Middle`, `Rest` of one split column. */
export const STREAMS = [
  'tags',
  'starts',
  'totals',
  'bads',
  'goods',
  'flags',
  'modes',
  'shapes',
  'firstsLow',
  'firstsMiddle',
  'firstsRest',
  'lasts',
  'mins',
  'maxs',
  'sums',
  'squares',
  'areas',
  'firstTimesLow',
  'firstTimesMiddle',
  'firstTimesRest',
  'nextTimes',
  'lastTimes',
  'covers',
  'doubles',
] as const;
export type StreamName = (typeof STREAMS)[number];
export type Streams = Readonly<Record<StreamName, Stream>>;
export type Cursors = Readonly<Record<StreamName, Cursor>>;

/** The row as it is, every number of it. */
export const MODE_RAW = 254;
/** Which numbers are there in a short form; the others are doubles. */
export const SHAPE = {
  mean: 1,
  m2: 2,
  area: 4,
  times: 8,
  covered: 16,
  /** The exact sum is what mean and count say. */
  sum: 32,
  /** There is no exact sum. */
  noSum: 64,
  /** The window after the tag's last one (or the first of all), whole, with as many readings as the row before, none bad. */
  steady: 128,
} as const;

/** What is known of the tag's window before. */
export interface Before {
  mode: number;
  last: number;
  /** NaN when it is not there, or not in whole milliseconds. */
  lastMs: number;
  stepMs: number;
  /** In periods; that of the block before the first. */
  start: number;
  /** What a steady window starts after it: nothing at first, then one period. */
  next: number;
}

export function before(start: number): Before {
  return { mode: -1, last: 0, lastMs: Number.NaN, stepMs: 0, start, next: 0 };
}

export interface Scaled {
  readonly count: number;
  readonly first: number;
  readonly last: number;
  /** Of the values. */
  readonly sum: number;
}

/** The sum of distances from the first value, when the values go straight from first to last. */
export function guessDistance({ count, first, last }: Scaled): number {
  return Math.round((count * (last - first)) / 2);
}

/** The sum of their squares, when they do. */
export function guessSquares(count: number, distance: number): number {
  if (count < 2) return 0;
  const step = (2 * distance) / (count * (count - 1));
  return Math.round((step * step * (count - 1) * count * (2 * count - 1)) / 6);
}

/** The area, when readings come at even times. */
export function guessArea(
  { count, sum, last }: Scaled,
  held: number,
  times: { readonly leadMs: number; readonly spanMs: number; readonly tailMs: number },
): number {
  const step = count > 1 ? times.spanMs / (count - 1) : 0;
  return Math.round(held * times.leadMs + (sum - last) * step + last * times.tailMs);
}
