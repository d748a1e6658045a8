/** The running numbers of each tag: what it holds since when, and how far each open window has counted that. */
import { THINNED } from '../../reading.ts';
import type { WindowSource } from './source.ts';
import { FLAG, W, WINDOW_NUMBERS } from './window.ts';

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
  /** Time of the last reading that windows saw and the journal did not get: the deadband kept it back, or a crash may have. */
  missingMs: 8,
  /** Not 0 after a crash that may have lost readings: what is held is not sure until the next one. */
  unsure: 9,
  /** From here one a level: the time to which the open window's area is counted, then that of the reading before it. */
  upTo: 10,
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

  /** Its time is past: windows that hold it, or that began with what was held then, do not know their time any more. */
  outOfOrder(levels: readonly Float64Array[], tag: number, time: number): void {
    const at = tag * WINDOW_NUMBERS;
    for (let level = 0; level < levels.length; level++) {
      const w = levels[level] as Float64Array; // in bounds, here and below
      const from = w[at + W.start] as number;
      const isInside = from <= time;
      const lasts = from <= time + HOLD_MS_MAX && time >= this.before(tag, level);
      if (isInside || lasts) w[at + W.flags] = (w[at + W.flags] as number) | FLAG.time;
    }
  }

  /**
   * A reading of a closed window. It may be later than all that was seen (the wall clock closed its window early, and the next
   * is not open yet): then its value is what lasts.
   */
  late(levels: readonly Float64Array[], tag: number, time: number, value: number, quality: number): void {
    this.outOfOrder(levels, tag, time);
    const r = this.at(tag);
    const { running } = this;
    if (time < (running[r + R.seenMs] as number)) return; // in bounds
    for (let level = 0; level < levels.length; level++)
      this.extend(levels[level] as Float64Array, tag * WINDOW_NUMBERS, r, level, time);
    running[r + R.seenMs] = time;
    running[r + R.holdMs] = quality >= BAD ? Number.NaN : time;
    running[r + R.holdValue] = value;
  }

  /** What was held until now may have been another value: the windows that it lasted into do not know. */
  sureAgain(levels: readonly Float64Array[], tag: number, time: number): void {
    const r = this.at(tag);
    this.running[r + R.unsure] = 0;
    this.running[r + R.missingMs] = Math.max(this.running[r + R.missingMs] as number, time);
    const at = tag * WINDOW_NUMBERS + W.flags;
    for (const w of levels) w[at] = (w[at] as number) | FLAG.thin;
  }

  /** Of some rows of the tag, the latest that the journal does not get. */
  noteThinned(tag: number, { timeMs, quality }: WindowSource, order: Uint32Array, start: number, end: number): void {
    const at = this.at(tag) + R.missingMs;
    for (let i = start; i < end; i++) {
      const row = order[i] as number; // in bounds, here and below
      if (((quality[row] as number) & THINNED) === 0) continue;
      this.running[at] = Math.max(this.running[at] as number, timeMs[row] as number);
    }
  }

  known(tag: number, endMs: number): void {
    const at = this.at(tag) + R.knownMs;
    this.running[at] = Math.max(this.running[at] as number, endMs);
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
    this.running[r + R.missingMs] = Number.NEGATIVE_INFINITY;
    this.running[r + R.seenMs] = Number.NEGATIVE_INFINITY;
  }
}
