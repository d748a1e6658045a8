/**
 * The readings of one tag over the last so many milliseconds, in constant memory: a ring of 60 buckets, each with count,
 * mean, M2 (Welford), least, greatest, first and last value. The window is what lies in the newest bucket and the 59 before
 * it, so it is up to a sixtieth shorter than it is called: what a reading did is forgotten that much too early, never too
 * late. Times are those of the readings; one that comes late goes into its bucket, or is left out when that one is gone.
 *
 * What is in the 59 older buckets is merged once and kept until one of them changes: a reading costs two merges, not sixty.
 */
import type { SlidingAggregate } from '../config/fields.ts';

export const BUCKETS = 60;
const MINUTE_MS = 60_000;

/** Positions in a bucket's numbers. `M2` is the sum of squared distances from the mean. */
const [COUNT, MEAN, M2, MIN, MAX, FIRST, FIRST_MS, LAST, LAST_MS, NUMBERS] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

export class SlidingWindow {
  readonly overMs: number;
  readonly bucketMs: number;
  readonly #ring = new Float64Array(BUCKETS * NUMBERS);
  /** All buckets but the newest; valid while `#restOf` is its number. */
  readonly #rest = new Float64Array(NUMBERS);
  readonly #all = new Float64Array(NUMBERS);
  #restOf = Number.NaN;
  /** Number of the newest bucket since 1970. */
  #newest = Number.NEGATIVE_INFINITY;

  constructor(overMs: number) {
    this.overMs = overMs;
    this.bucketMs = overMs / BUCKETS;
  }

  /** False when it is older than the window. */
  add(timeMs: number, value: number): boolean {
    this.advance(timeMs);
    const bucket = Math.floor(timeMs / this.bucketMs);
    if (bucket <= this.#newest - BUCKETS) return false;
    if (bucket !== this.#newest) this.#restOf = Number.NaN;
    fold(this.#ring, placeOf(bucket), timeMs, value);
    return true;
  }

  /** Moves its end forward; what falls out behind is forgotten. */
  advance(endMs: number): void {
    const bucket = Math.floor(endMs / this.bucketMs);
    if (bucket <= this.#newest) return;
    const from = Math.max(this.#newest + 1, bucket - BUCKETS + 1);
    for (let each = from; each <= bucket; each++) {
      const at = placeOf(each);
      this.#ring.fill(0, at, at + NUMBERS);
    }
    this.#newest = bucket;
    this.#restOf = Number.NaN;
  }

  /** As if no reading had ever come. */
  clear(): void {
    this.#ring.fill(0);
    this.#newest = Number.NEGATIVE_INFINITY;
    this.#restOf = Number.NaN;
  }

  get count(): number {
    return this.#merged()[COUNT] as number; // in bounds, here and below
  }

  /** NaN where there are too few readings to tell. */
  value(of: SlidingAggregate): number {
    const all = this.#merged();
    const count = all[COUNT] as number;
    if (of === 'count') return count;
    if (count === 0) return Number.NaN;
    switch (of) {
      case 'mean':
        return all[MEAN] as number;
      case 'min':
        return all[MIN] as number;
      case 'max':
        return all[MAX] as number;
      case 'range':
        return (all[MAX] as number) - (all[MIN] as number);
      case 'stddev':
        return count < 2 ? Number.NaN : Math.sqrt((all[M2] as number) / (count - 1));
      case 'rate': {
        const ms = (all[LAST_MS] as number) - (all[FIRST_MS] as number);
        return ms > 0 ? (((all[LAST] as number) - (all[FIRST] as number)) / ms) * MINUTE_MS : Number.NaN;
      }
    }
  }

  #merged(): Float64Array {
    if (this.#restOf !== this.#newest) {
      this.#rest.fill(0);
      // Oldest first: of equal times the later value is the last one.
      for (let age = BUCKETS - 1; age > 0; age--) merge(this.#rest, this.#ring, placeOf(this.#newest - age));
      this.#restOf = this.#newest;
    }
    this.#all.set(this.#rest);
    merge(this.#all, this.#ring, placeOf(this.#newest));
    return this.#all;
  }
}

/** Times before 1970 are negative. */
function placeOf(bucket: number): number {
  return Number.isFinite(bucket) ? (((bucket % BUCKETS) + BUCKETS) % BUCKETS) * NUMBERS : 0;
}

function fold(ring: Float64Array, at: number, timeMs: number, value: number): void {
  const count = (ring[at + COUNT] as number) + 1;
  ring[at + COUNT] = count;
  const mean = ring[at + MEAN] as number;
  const delta = value - mean;
  ring[at + MEAN] = mean + delta / count;
  ring[at + M2] = (ring[at + M2] as number) + delta * (value - (ring[at + MEAN] as number));
  if (count === 1 || value < (ring[at + MIN] as number)) ring[at + MIN] = value;
  if (count === 1 || value > (ring[at + MAX] as number)) ring[at + MAX] = value;
  if (count === 1 || timeMs < (ring[at + FIRST_MS] as number)) {
    ring[at + FIRST] = value;
    ring[at + FIRST_MS] = timeMs;
  }
  if (count === 1 || timeMs >= (ring[at + LAST_MS] as number)) {
    ring[at + LAST] = value;
    ring[at + LAST_MS] = timeMs;
  }
}

/** Adds a later bucket to what was merged before (Chan, Golub, LeVeque). */
function merge(into: Float64Array, ring: Float64Array, at: number): void {
  const added = ring[at + COUNT] as number;
  if (added === 0) return;
  const before = into[COUNT] as number;
  if (before === 0) {
    for (let i = 0; i < NUMBERS; i++) into[i] = ring[at + i] as number;
    return;
  }
  const count = before + added;
  const delta = (ring[at + MEAN] as number) - (into[MEAN] as number);
  into[COUNT] = count;
  into[MEAN] = (into[MEAN] as number) + (delta * added) / count;
  into[M2] = (into[M2] as number) + (ring[at + M2] as number) + (delta * delta * before * added) / count;
  into[MIN] = Math.min(into[MIN] as number, ring[at + MIN] as number);
  into[MAX] = Math.max(into[MAX] as number, ring[at + MAX] as number);
  into[LAST] = ring[at + LAST] as number;
  into[LAST_MS] = ring[at + LAST_MS] as number;
}
