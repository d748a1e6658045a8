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
  /** Value × ms that it lasted within the window, and the ms that any value lasted. */
  area: 15,
  covered: 16,
  /** Of `FLAG`. */
  flags: 17,
} as const;
export const WINDOW_NUMBERS = 18;

/** What a row of a window is, and what in it is not exact. Bits. */
export const FLAG = {
  /** A part of its window, to be merged with the other rows of it: its readings came after it was closed. */
  part: 1,
  /** Readings came out of their order: the time-weighted mean is an estimate, all else is exact. */
  time: 2,
  /** Takes the place of every row of its window that was written before. */
  whole: 4,
  /** Counted again after a crash, from a journal without what the deadband thinned: nothing is sure but that it happened. */
  thin: 8,
} as const;
export const FLAGS_MASK = 15;

const TWO_POW_32 = 0x1_0000_0000;
/** Beyond it the lower half of the sum is carried over; both halves stay exact. */
export const SUM_LOW_MAX = 2 ** 52;

export function clearWindow(w: Float64Array, at: number, startMs: number): void {
  // A loop: `fill` costs more than it saves on so few.
  for (let i = at + W.count, end = at + WINDOW_NUMBERS; i < end; i++) w[i] = 0;
  w[at + W.start] = startMs;
}

/** The window of the rows that were read, one after another in the order they were written. @param to of it in `window`. */
export function joinRow(window: Float64Array, numbers: Float64Array, at: number, to = 0): void {
  const flags = numbers[at + W.flags] as number; // in bounds, here and below
  if ((flags & FLAG.whole) !== 0) clearWindow(window, to, numbers[at + W.start] as number);
  const known = window[to + W.flags] as number;
  mergeWindow(window, to, numbers, at);
  window[to + W.area] = (window[to + W.area] as number) + (numbers[at + W.area] as number);
  window[to + W.covered] = (window[to + W.covered] as number) + (numbers[at + W.covered] as number);
  window[to + W.flags] = known | flags;
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
  if ((w[at + W.fractions] as number) !== 0) return;
  if (Math.floor(value) !== value || value > SUM_LOW_MAX || value < -SUM_LOW_MAX) {
    noSum(w, at);
    return;
  }
  w[at + W.sumLow] = (w[at + W.sumLow] as number) + value;
  carry(w, at);
}

/** What was added until then says nothing any more. */
function noSum(w: Float64Array, at: number): void {
  w[at + W.fractions] = 1;
  w[at + W.sumHigh] = 0;
  w[at + W.sumLow] = 0;
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
  if ((w[at + W.fractions] as number) !== 0 || (b[from + W.fractions] as number) !== 0) noSum(w, at);
  else {
    w[at + W.sumHigh] = (w[at + W.sumHigh] as number) + (b[from + W.sumHigh] as number);
    w[at + W.sumLow] = (w[at + W.sumLow] as number) + (b[from + W.sumLow] as number);
    carry(w, at);
  }
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

/** Whatever a shorter window that ends says, into the longer one around it. */
export function mergeChild(longer: Float64Array, at: number, w: Float64Array): void {
  if ((w[at + W.total] as number) > 1) mergeWindow(longer, at, w, at);
  else if ((w[at + W.count] as number) === 0) {
    longer[at + W.total] = (longer[at + W.total] as number) + (w[at + W.total] as number);
  } else foldValue(longer, at, w[at + W.firstMs] as number, w[at + W.first] as number, w[at + W.good] === 1);
  longer[at + W.area] = (longer[at + W.area] as number) + (w[at + W.area] as number);
  longer[at + W.covered] = (longer[at + W.covered] as number) + (w[at + W.covered] as number);
  longer[at + W.flags] = (longer[at + W.flags] as number) | ((w[at + W.flags] as number) & (FLAG.time | FLAG.thin));
}

export function emptyWindow(startMs: number): Float64Array<ArrayBuffer> {
  const window = new Float64Array(WINDOW_NUMBERS);
  clearWindow(window, 0, startMs);
  return window;
}

/** None of those that are added is open. */
export function moreWindows(old: Float64Array, from: number, capacity: number): Float64Array {
  const next = new Float64Array(capacity * WINDOW_NUMBERS);
  next.set(old);
  for (let tag = from; tag < capacity; tag++) next[tag * WINDOW_NUMBERS + W.start] = Number.NaN;
  return next;
}
