/**
 * One window of one tag: numbers side by side in a Float64Array. Everything in it can be merged with another part of the
 * same window without loss; only the time-weighted mean of a part that came late is an estimate.
 */

/** Positions in a window's numbers. */
export const W = {
  /** NaN: no window is open. */
  start: 0,
  /** Readings that were not bad. */
  count: 1,
  mean: 2,
  /** Sum of squared distances from the mean (Welford): no cancellation. */
  m2: 3,
  min: 4,
  max: 5,
  first: 6,
  firstMs: 7,
  last: 8,
  lastMs: 9,
  /** Of good quality, and all. */
  good: 10,
  total: 11,
  /** The exact sum is sumHigh × 2^32 + sumLow while `fractions` is 0. */
  sumHigh: 12,
  sumLow: 13,
  /** Not 0 when a value was no integer, or too large to add exactly. */
  fractions: 14,
  /** While open: the tag's running area and covered time at the start; closed: of the window itself. */
  area: 15,
  covered: 16,
  /** `LATE` for a part that came after its window was closed. */
  flags: 17,
} as const;
export const WINDOW_NUMBERS = 18;
export const LATE = 1;

const TWO_POW_32 = 0x1_0000_0000;
/** Beyond it the lower half of the sum is carried over; both halves stay exact. */
const SUM_LOW_MAX = 2 ** 52;

export function clearWindow(w: Float64Array, at: number, startMs: number, area: number, covered: number): void {
  w.fill(0, at, at + WINDOW_NUMBERS);
  w[at + W.start] = startMs;
  w[at + W.area] = area;
  w[at + W.covered] = covered;
}

/** Adds one value that is not bad. In bounds by construction, so `as number` only drops an `undefined` that cannot be. */
export function foldValue(w: Float64Array, at: number, timeMs: number, value: number, isGood: boolean): void {
  const count = (w[at + W.count] as number) + 1;
  w[at + W.count] = count;
  w[at + W.total] = (w[at + W.total] as number) + 1;
  if (isGood) w[at + W.good] = (w[at + W.good] as number) + 1;
  addExactly(w, at, value);
  if (count === 1) {
    w[at + W.mean] = value;
    w[at + W.min] = value;
    w[at + W.max] = value;
    w[at + W.first] = value;
    w[at + W.firstMs] = timeMs;
    w[at + W.last] = value;
    w[at + W.lastMs] = timeMs;
    return;
  }
  const mean = w[at + W.mean] as number;
  const delta = value - mean;
  const next = mean + delta / count;
  w[at + W.mean] = next;
  w[at + W.m2] = (w[at + W.m2] as number) + delta * (value - next);
  if (value < (w[at + W.min] as number)) w[at + W.min] = value;
  if (value > (w[at + W.max] as number)) w[at + W.max] = value;
  if (timeMs >= (w[at + W.lastMs] as number)) {
    w[at + W.last] = value;
    w[at + W.lastMs] = timeMs;
  } else if (timeMs < (w[at + W.firstMs] as number)) {
    w[at + W.first] = value;
    w[at + W.firstMs] = timeMs;
  }
}

export function foldBad(w: Float64Array, at: number): void {
  w[at + W.total] = (w[at + W.total] as number) + 1;
}

function addExactly(w: Float64Array, at: number, value: number): void {
  if (!Number.isInteger(value) || value > SUM_LOW_MAX || value < -SUM_LOW_MAX) {
    w[at + W.fractions] = 1;
    return;
  }
  w[at + W.sumLow] = (w[at + W.sumLow] as number) + value;
  carry(w, at);
}

function carry(w: Float64Array, at: number): void {
  const low = w[at + W.sumLow] as number;
  if (low <= SUM_LOW_MAX && low >= -SUM_LOW_MAX) return;
  const high = Math.trunc(low / TWO_POW_32);
  w[at + W.sumHigh] = (w[at + W.sumHigh] as number) + high;
  w[at + W.sumLow] = low - high * TWO_POW_32;
}

/** The exact sum of a window whose values were all integers. */
export function exactSum(w: Float64Array, at: number): bigint | undefined {
  if ((w[at + W.fractions] as number) !== 0) return undefined;
  return BigInt(w[at + W.sumHigh] as number) * 0x1_0000_0000n + BigInt(w[at + W.sumLow] as number);
}

/** Adds the values of window `b` to `w` (Chan et al. for mean and m2); area, covered, start and flags are the caller's. */
export function mergeWindow(w: Float64Array, at: number, b: Float64Array, from: number): void {
  const added = b[from + W.count] as number;
  const had = w[at + W.count] as number;
  w[at + W.total] = (w[at + W.total] as number) + (b[from + W.total] as number);
  w[at + W.good] = (w[at + W.good] as number) + (b[from + W.good] as number);
  if (added === 0) return;
  w[at + W.fractions] = Math.max(w[at + W.fractions] as number, b[from + W.fractions] as number);
  w[at + W.sumHigh] = (w[at + W.sumHigh] as number) + (b[from + W.sumHigh] as number);
  w[at + W.sumLow] = (w[at + W.sumLow] as number) + (b[from + W.sumLow] as number);
  carry(w, at);
  w[at + W.count] = had + added;
  if (had === 0) {
    for (let i = W.mean; i <= W.lastMs; i++) w[at + i] = b[from + i] as number;
    return;
  }
  const delta = (b[from + W.mean] as number) - (w[at + W.mean] as number);
  const share = added / (had + added);
  w[at + W.mean] = (w[at + W.mean] as number) + delta * share;
  w[at + W.m2] = (w[at + W.m2] as number) + (b[from + W.m2] as number) + delta * delta * had * share;
  w[at + W.min] = Math.min(w[at + W.min] as number, b[from + W.min] as number);
  w[at + W.max] = Math.max(w[at + W.max] as number, b[from + W.max] as number);
  if ((b[from + W.firstMs] as number) < (w[at + W.firstMs] as number)) {
    w[at + W.first] = b[from + W.first] as number;
    w[at + W.firstMs] = b[from + W.firstMs] as number;
  }
  if ((b[from + W.lastMs] as number) >= (w[at + W.lastMs] as number)) {
    w[at + W.last] = b[from + W.last] as number;
    w[at + W.lastMs] = b[from + W.lastMs] as number;
  }
}
