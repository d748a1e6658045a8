/** The running numbers of each tag: what it holds since when, and how far each open window has counted that. */
import { W } from './window.ts';

/** Five times the longest silence that a healthy tag keeps by default. */
export const HOLD_MS_MAX = 300_000;
export const LATE_IN_A_ROW_MAX = 64;
/** Qualities from here on are bad. */
export const BAD = 0x40;

/** Positions in a tag's running numbers. */
export const R = {
  /** Since when the value is held; NaN: none is. */
  holdMs: 0,
  holdValue: 1,
  lateInARow: 2,
  /** End of the last window that was closed: readings before it are late. */
  closedMs: 3,
  seenMs: 4,
  /** Monotonic. */
  arrivedMs: 5,
  /** Before it windows were written: whatever opens there, after the clock was set back, is a part. */
  knownMs: 6,
  /** Of the values, as `scale.ts` numbers them. */
  scale: 7,
  /** From here one a level: the time to which the open window's area is counted, then that of the reading before it. */
  upTo: 8,
} as const;

export class TagTimes {
  running = new Float64Array(0);
  readonly #levels: number;
  readonly #stride: number;

  constructor(levels: number) {
    this.#levels = levels;
    this.#stride = R.upTo + 2 * levels;
  }

  at(tag: number): number {
    return tag * this.#stride;
  }

  /** A window opens; the reading before it is the last that was seen. */
  open(r: number, level: number, from: number): void {
    const at = r + R.upTo + level;
    this.running[at] = from;
    this.running[at + this.#levels] = this.running[r + R.seenMs] as number;
  }

  /** Time of the last reading before the open window. */
  before(tag: number, level: number): number {
    return this.running[this.at(tag) + R.upTo + this.#levels + level] as number;
  }

  /** Counts what is held into the window of a level, up to `time`. @param at of the window in `w`, `r` of the tag. */
  extend(w: Float64Array, at: number, r: number, level: number, time: number): void {
    const running = this.running;
    const upTo = running[r + R.upTo + level] as number; // in bounds, here and below
    if (!(time > upTo)) return;
    running[r + R.upTo + level] = time;
    const end = (running[r + R.holdMs] as number) + HOLD_MS_MAX;
    const lasted = Math.min(time, end) - upTo;
    // NaN where nothing is held.
    if (!(lasted > 0)) return;
    w[at + W.area] = (w[at + W.area] as number) + (running[r + R.holdValue] as number) * lasted;
    w[at + W.covered] = (w[at + W.covered] as number) + lasted;
  }

  grow(from: number, capacity: number, scale: number): void {
    const next = new Float64Array(capacity * this.#stride);
    next.set(this.running);
    this.running = next;
    for (let tag = from; tag < capacity; tag++) this.clear(tag, scale);
  }

  clear(tag: number, scale: number): void {
    const r = this.at(tag);
    this.running.fill(0, r, r + this.#stride);
    this.running[r + R.holdMs] = Number.NaN;
    this.running[r + R.closedMs] = Number.NEGATIVE_INFINITY;
    this.running[r + R.knownMs] = Number.NEGATIVE_INFINITY;
    this.running[r + R.scale] = scale;
    this.running[r + R.seenMs] = Number.NEGATIVE_INFINITY;
  }
}
