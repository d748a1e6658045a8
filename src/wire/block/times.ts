/**
 * Times of one tag. A poll has a period and some jitter, so the best prediction of a time is its place on a grid
 * (base + i × period): independent jitter costs its own width there, and √2 of it as differences. Where the series
 * drifts or has gaps, differences to the previous time win. Both in whole milliseconds or microseconds; anything else is
 * stored as it is, its bytes transposed.
 */

import type { Planes, PlanesCursor } from './planes.ts';
import {
  type Cursor,
  malformedBlock,
  putVarint,
  type SplitReader,
  type SplitWriter,
  type Stream,
  VARINT_BYTES_MAX,
} from './streams.ts';

const MODE = { same: 0, gridMs: 1, deltaMs: 2, gridUs: 3, deltaUs: 4, raw: 5 } as const;
/** Whole numbers up to here: sums of base, period and residual stay exact. */
const INTEGER_MAX = 2 ** 52 - 1;
/** Residuals wider than this are no series: stored raw. */
const SPREAD_MAX = 2 ** 40;
/** A residual of this spread is one byte each: the period at hand is good enough. */
const SPREAD_OF_A_BYTE = 126;
const US_PER_MS = 1000;

export class TimesWriter {
  readonly #modes: Stream;
  readonly #bases: SplitWriter;
  readonly #periods: Stream;
  readonly #residuals: Stream;
  readonly #raw: Planes;
  #scratch = new Float64Array(1024);
  #base = 0;
  #period = 0;
  /** Where the previous tag's times are. */
  #previous = 0;
  #previousEnd = 0;

  constructor(modes: Stream, bases: SplitWriter, periods: Stream, residuals: Stream, raw: Planes) {
    this.#modes = modes;
    this.#bases = bases;
    this.#periods = periods;
    this.#residuals = residuals;
    this.#raw = raw;
  }

  /** @throws RangeError for a time that is not finite. */
  tag(timeMs: Float64Array, start: number, end: number): void {
    if (this.#sameAsPrevious(timeMs, start, end)) {
      this.#modes.u8(MODE.same);
    } else if (allWhole(timeMs, start, end)) {
      this.#series(timeMs, start, end, 1);
    } else {
      this.#microseconds(timeMs, start, end);
    }
    this.#previous = start;
    this.#previousEnd = end;
  }

  #sameAsPrevious(timeMs: Float64Array, start: number, end: number): boolean {
    const length = end - start;
    if (this.#previousEnd - this.#previous !== length) return false;
    for (let i = 0, other = this.#previous; i < length; i++) {
      if (timeMs[start + i] !== timeMs[other + i]) return false;
    }
    // −0 equals 0 and would come back as the other's sign; no clock shows it, but bits are bits.
    return timeMs[start] !== 0;
  }

  #microseconds(timeMs: Float64Array, start: number, end: number): void {
    const length = end - start;
    if (this.#scratch.length < length) this.#scratch = new Float64Array(length * 2);
    const scratch = this.#scratch;
    for (let i = 0; i < length; i++) {
      const time = timeMs[start + i] as number;
      const us = Math.round(time * US_PER_MS);
      if (us / US_PER_MS !== time || us > INTEGER_MAX || us < -INTEGER_MAX || (us === 0 && 1 / time < 0)) {
        this.#rawTimes(timeMs, start, end);
        return;
      }
      scratch[i] = us;
    }
    this.#series(scratch, 0, length, US_PER_MS, () => this.#rawTimes(timeMs, start, end));
  }

  #rawTimes(timeMs: Float64Array, start: number, end: number): void {
    for (let i = start; i < end; i++) {
      if (!Number.isFinite(timeMs[i])) throw new RangeError(`${timeMs[i]} is no time`);
    }
    this.#modes.u8(MODE.raw);
    this.#raw.add(timeMs, start, end);
  }

  #series(
    t: Float64Array,
    start: number,
    end: number,
    unit: 1 | typeof US_PER_MS,
    raw = () => this.#rawTimes(t, start, end),
  ): void {
    const length = end - start;
    const first = t[start] as number;
    let period = this.#period;
    let grid = gridSpread(t, start, end, period);
    let delta = Number.POSITIVE_INFINITY;
    if (grid.spread > SPREAD_OF_A_BYTE && length > 1) {
      period = likelyPeriod((t[end - 1] as number) - first, length - 1, unit);
      grid = gridSpread(t, start, end, period);
      if (grid.spread > SPREAD_OF_A_BYTE) delta = deltaSpread(t, start, end);
    }
    const onGrid = grid.spread <= delta;
    const base = onGrid ? first + grid.middle : first;
    const step = base - this.#base;
    if (Math.min(grid.spread, delta) > SPREAD_MAX || Math.abs(step) > INTEGER_MAX || Math.abs(period) > SPREAD_MAX) {
      raw();
      return;
    }
    this.#modes.u8(unit === 1 ? (onGrid ? MODE.gridMs : MODE.deltaMs) : onGrid ? MODE.gridUs : MODE.deltaUs);
    this.#bases.zigzag(step);
    this.#periods.zigzag(period - this.#period);
    this.#base = base;
    this.#period = period;
    if (onGrid) this.#gridResiduals(t, start, end, base, period);
    else this.#deltaResiduals(t, start, end, period);
  }

  #gridResiduals(t: Float64Array, start: number, end: number, base: number, period: number): void {
    const out = this.#residuals.reserve((end - start) * VARINT_BYTES_MAX);
    let at = this.#residuals.length;
    let expected = base;
    for (let i = start; i < end; i++, expected += period) {
      const r = (t[i] as number) - expected;
      at = putVarint(out, at, r < 0 ? -2 * r - 1 : 2 * r);
    }
    this.#residuals.length = at;
  }

  #deltaResiduals(t: Float64Array, start: number, end: number, period: number): void {
    const out = this.#residuals.reserve((end - start) * VARINT_BYTES_MAX);
    let at = this.#residuals.length;
    let previous = t[start] as number;
    for (let i = start + 1; i < end; i++) {
      const time = t[i] as number;
      const r = time - previous - period;
      at = putVarint(out, at, r < 0 ? -2 * r - 1 : 2 * r);
      previous = time;
    }
    this.#residuals.length = at;
  }
}

function allWhole(timeMs: Float64Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const time = timeMs[i] as number;
    // Written so that NaN fails too.
    if (!(Math.floor(time) === time && time <= INTEGER_MAX && time >= -INTEGER_MAX)) return false;
    if (time === 0 && 1 / time < 0) return false;
  }
  return true;
}

/** How far the times stray from first + i × period, and the middle of that. */
function gridSpread(t: Float64Array, start: number, end: number, period: number): { spread: number; middle: number } {
  let low = 0;
  let high = 0;
  let sum = 0;
  let expected = t[start] as number;
  for (let i = start; i < end; i++, expected += period) {
    const r = (t[i] as number) - expected;
    sum += r;
    if (r < low) low = r;
    else if (r > high) high = r;
  }
  return { spread: high - low, middle: Math.round(sum / (end - start)) };
}

/** Schedules have round periods; what a few jittery rows show is near one. In milliseconds. */
const ROUND_PERIODS = [1000, 500, 250, 100, 50, 20, 10, 5] as const;
/** Jitter of a poll that may hide a round period. */
const JITTER_MS = 25;

function likelyPeriod(elapsed: number, steps: number, unit: number): number {
  const measured = elapsed / steps;
  for (const roundMs of ROUND_PERIODS) {
    const period = Math.round(measured / (roundMs * unit)) * roundMs * unit;
    if (period > 0 && Math.abs(period * steps - elapsed) <= JITTER_MS * unit) return period;
  }
  return Math.round(measured);
}

function deltaSpread(t: Float64Array, start: number, end: number): number {
  let previous = t[start] as number;
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (let i = start + 1; i < end; i++) {
    const time = t[i] as number;
    const d = time - previous;
    if (d < low) low = d;
    if (d > high) high = d;
    previous = time;
  }
  return high - low;
}

export class TimesReader {
  readonly #modes: Cursor;
  readonly #bases: SplitReader;
  readonly #periods: Cursor;
  readonly #residuals: Cursor;
  readonly #raw: PlanesCursor;
  #base = 0;
  #period = 0;
  #previous = 0;
  #previousEnd = 0;

  constructor(modes: Cursor, bases: SplitReader, periods: Cursor, residuals: Cursor, raw: PlanesCursor) {
    this.#modes = modes;
    this.#bases = bases;
    this.#periods = periods;
    this.#residuals = residuals;
    this.#raw = raw;
  }

  tag(out: Float64Array, start: number, end: number): void {
    const mode = this.#modes.u8();
    switch (mode) {
      case MODE.same:
        if (this.#previousEnd - this.#previous !== end - start) {
          throw malformedBlock('times repeated from a tag with another number of rows');
        }
        out.copyWithin(start, this.#previous, this.#previousEnd);
        break;
      case MODE.raw:
        this.#raw.take(out, start, end);
        for (let i = start; i < end; i++)
          if (!Number.isFinite(out[i])) throw malformedBlock('a time that is not finite');
        break;
      case MODE.gridMs:
      case MODE.gridUs:
        this.#head();
        this.#grid(out, start, end, mode === MODE.gridMs ? 1 : US_PER_MS);
        break;
      case MODE.deltaMs:
      case MODE.deltaUs:
        this.#head();
        this.#deltas(out, start, end, mode === MODE.deltaMs ? 1 : US_PER_MS);
        break;
      default:
        throw malformedBlock(`time mode ${mode}`);
    }
    this.#previous = start;
    this.#previousEnd = end;
  }

  #head(): void {
    this.#base += this.#bases.zigzag();
    this.#period += this.#periods.zigzag();
  }

  #grid(out: Float64Array, start: number, end: number, unit: number): void {
    const residuals = this.#residuals;
    const period = this.#period;
    let expected = this.#base;
    for (let i = start; i < end; i++, expected += period) {
      const time = expected + residuals.zigzag();
      if (!(time <= Number.MAX_SAFE_INTEGER && time >= -Number.MAX_SAFE_INTEGER))
        throw malformedBlock('a time of 2^53 or more');
      out[i] = unit === 1 ? time : time / unit;
    }
  }

  #deltas(out: Float64Array, start: number, end: number, unit: number): void {
    const residuals = this.#residuals;
    const period = this.#period;
    let time = this.#base;
    out[start] = unit === 1 ? time : time / unit;
    for (let i = start + 1; i < end; i++) {
      time += period + residuals.zigzag();
      if (!(time <= Number.MAX_SAFE_INTEGER && time >= -Number.MAX_SAFE_INTEGER))
        throw malformedBlock('a time of 2^53 or more');
      out[i] = unit === 1 ? time : time / unit;
    }
  }
}
