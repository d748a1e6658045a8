/**
 * Values of one number tag, bit for bit. Field devices send decimals: 21.5 is 215 in tenths, and neighbours differ by
 * little. So: the smallest power of ten that reproduces every value exactly, then differences to the previous value less
 * the tag's mean slope (a counter's rate). float32 registers hold decimals too (21.3 arrives as 21.299999237060547):
 * those are tried next. Else the float32 or float64 bits, transposed.
 */

import type { FloatPlanes, FloatPlanesCursor, Planes, PlanesCursor } from './planes.ts';
import {
  type Cursor,
  malformedBlock,
  putVarint,
  type SplitReader,
  type SplitWriter,
  type Stream,
  VARINT_BYTES_MAX,
} from './streams.ts';

const POWERS = [1, 10, 100, 1e3, 1e4, 1e5, 1e6] as const;
const EXPONENT_MAX = 6;
/** A float32 has seven digits: with more than four behind the point nearly any bits pass as decimals. */
const FLOAT_EXPONENT_MAX = 4;
/** Modes 0–6: decimals of float64; 16–20: decimals of float32. */
const MODE_FLOAT_DECIMAL = 16;
const MODE_FLOAT = 32;
const MODE_DOUBLE = 33;
const INTEGER_MAX = 2 ** 52 - 1;
/** Differences less a slope no steeper than this stay below 2^52. */
const SPREAD_MAX = 2 ** 50;

export class NumbersWriter {
  readonly #modes: Stream;
  readonly #firsts: SplitWriter;
  readonly #slopes: Stream;
  readonly #deltas: Stream;
  readonly #floats: FloatPlanes;
  readonly #doubles: Planes;
  #scratch = new Float64Array(1024);

  constructor(
    modes: Stream,
    firsts: SplitWriter,
    slopes: Stream,
    deltas: Stream,
    floats: FloatPlanes,
    doubles: Planes,
  ) {
    this.#modes = modes;
    this.#firsts = firsts;
    this.#slopes = slopes;
    this.#deltas = deltas;
    this.#floats = floats;
    this.#doubles = doubles;
  }

  tag(values: Float64Array, start: number, end: number): void {
    if (end === start) return;
    if (this.#scratch.length < end - start) this.#scratch = new Float64Array((end - start) * 2);
    const exponent = toDecimals(values, start, end, this.#scratch);
    if (exponent <= EXPONENT_MAX) {
      if (this.#integers(end - start, exponent)) return;
    } else if (allFloats(values, start, end)) {
      const short = toFloatDecimals(values, start, end, this.#scratch);
      if (short <= FLOAT_EXPONENT_MAX && this.#integers(end - start, MODE_FLOAT_DECIMAL + short)) return;
      this.#modes.u8(MODE_FLOAT);
      this.#floats.add(values, start, end);
      return;
    }
    this.#modes.u8(MODE_DOUBLE);
    this.#doubles.add(values, start, end);
  }

  /** What is in the scratch; false when the numbers lie too far apart for exact differences. */
  #integers(length: number, mode: number): boolean {
    const integers = this.#scratch;
    const first = integers[0] as number;
    let low = first;
    let high = first;
    for (let i = 1; i < length; i++) {
      const m = integers[i] as number;
      if (m < low) low = m;
      else if (m > high) high = m;
    }
    if (high - low > SPREAD_MAX) return false;
    const slope = length > 1 ? Math.round(((integers[length - 1] as number) - first) / (length - 1)) : 0;
    this.#modes.u8(mode);
    this.#firsts.zigzag(first);
    this.#slopes.zigzag(slope);
    const out = this.#deltas.reserve(length * VARINT_BYTES_MAX);
    let at = this.#deltas.length;
    let expected = first + slope;
    for (let i = 1; i < length; i++) {
      const m = integers[i] as number;
      const d = m - expected;
      at = putVarint(out, at, d < 0 ? -2 * d - 1 : 2 * d);
      expected = m + slope;
    }
    this.#deltas.length = at;
    return true;
  }
}

/**
 * Finds the smallest e with value = m ÷ 10^e exactly for every value, and leaves the m in `out`; returns more than
 * EXPONENT_MAX when there is none.
 */
function toDecimals(values: Float64Array, start: number, end: number, out: Float64Array): number {
  let exponent = 0;
  let power: number = POWERS[0];
  for (let i = start; i < end; i++) {
    const value = values[i] as number;
    let m = Math.round(value * power);
    // −0 is not the 0 that comes back; and what is not finite fails one of the comparisons.
    while (!(m / power === value && m <= INTEGER_MAX && m >= -INTEGER_MAX && (m !== 0 || 1 / value > 0))) {
      if (++exponent > EXPONENT_MAX) return exponent;
      power = POWERS[exponent] as number;
      // What holds for e holds for e + 1: m ÷ 10^e and 10 m ÷ 10^(e + 1) are the same quotient, rounded once.
      for (let j = 0; j < i - start; j++) {
        out[j] = 10 * (out[j] as number);
        if (!(Math.abs(out[j] as number) <= INTEGER_MAX)) return EXPONENT_MAX + 1;
      }
      m = Math.round(value * power);
    }
    out[i - start] = m;
  }
  return exponent;
}

/** The same for decimals that were rounded to float32. A larger power may round another way, so each is tried whole. */
function toFloatDecimals(values: Float64Array, start: number, end: number, out: Float64Array): number {
  for (let exponent = 1; exponent <= FLOAT_EXPONENT_MAX; exponent++) {
    if (areFloatDecimals(values, start, end, POWERS[exponent] as number, out)) return exponent;
  }
  return FLOAT_EXPONENT_MAX + 1;
}

function areFloatDecimals(values: Float64Array, start: number, end: number, power: number, out: Float64Array): boolean {
  for (let i = start; i < end; i++) {
    const value = values[i] as number;
    const m = Math.round(value * power);
    if (!(Math.fround(m / power) === value && m <= INTEGER_MAX && m >= -INTEGER_MAX && (m !== 0 || 1 / value > 0))) {
      return false;
    }
    out[i - start] = m;
  }
  return true;
}

function allFloats(values: Float64Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const value = values[i] as number;
    if (Math.fround(value) !== value) return false;
  }
  return true;
}

export class NumbersReader {
  readonly #modes: Cursor;
  readonly #firsts: SplitReader;
  readonly #slopes: Cursor;
  readonly #deltas: Cursor;
  readonly #floats: FloatPlanesCursor;
  readonly #doubles: PlanesCursor;

  constructor(
    modes: Cursor,
    firsts: SplitReader,
    slopes: Cursor,
    deltas: Cursor,
    floats: FloatPlanesCursor,
    doubles: PlanesCursor,
  ) {
    this.#modes = modes;
    this.#firsts = firsts;
    this.#slopes = slopes;
    this.#deltas = deltas;
    this.#floats = floats;
    this.#doubles = doubles;
  }

  tag(out: Float64Array, start: number, end: number): void {
    if (end === start) return;
    const mode = this.#modes.u8();
    if (mode === MODE_FLOAT) this.#floats.take(out, start, end);
    else if (mode === MODE_DOUBLE) this.#doubles.take(out, start, end);
    else if (mode <= EXPONENT_MAX) this.#integers(out, start, end, POWERS[mode] as number);
    else if (mode >= MODE_FLOAT_DECIMAL && mode <= MODE_FLOAT_DECIMAL + FLOAT_EXPONENT_MAX) {
      this.#integers(out, start, end, POWERS[mode - MODE_FLOAT_DECIMAL] as number);
      for (let i = start; i < end; i++) out[i] = Math.fround(out[i] as number);
    } else throw malformedBlock(`value mode ${mode}`);
  }

  #integers(out: Float64Array, start: number, end: number, power: number): void {
    const deltas = this.#deltas;
    let m = this.#firsts.zigzag();
    const slope = this.#slopes.zigzag();
    out[start] = m / power;
    for (let i = start + 1; i < end; i++) {
      m += slope + deltas.zigzag();
      if (!(m <= Number.MAX_SAFE_INTEGER && m >= -Number.MAX_SAFE_INTEGER))
        throw malformedBlock('a value of 2^53 or more');
      out[i] = m / power;
    }
  }
}
