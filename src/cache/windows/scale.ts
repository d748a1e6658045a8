/**
 * The grid that the values of a window lie on. Field devices send decimals, or float32 bits: then every value is a whole
 * number of 10^−e, or of 2^−k, and so are their sum and the sum of their squares. From those, mean and m2 follow by one
 * rounded division each: exact, the same in whatever order the readings came, and a few bytes on disk instead of eight.
 */
import { W } from './window.ts';

const DECIMALS_MAX = 6;
const BITS_MAX = 40;
/** Indexes into `SCALES`: 0–6 are powers of ten, from 7 on powers of two. */
export const SCALES: readonly number[] = [
  ...Array.from({ length: DECIMALS_MAX + 1 }, (_, e) => 10 ** e),
  ...Array.from({ length: BITS_MAX }, (_, k) => 2 ** (k + 1)),
];
export const NO_SCALE = 255;
/** Differences of two differences of such integers are still exact, and so is twice that, as zigzag needs it. */
const INTEGER_MAX = 2 ** 49;
const PRODUCT_MAX = Number.MAX_SAFE_INTEGER;
const FLOAT32_BITS = 23;

/** Rounding that the running mean may have gathered, against the largest value, and that of m2 against itself. */
const MEAN_SLACK = 2 ** -46;
const M2_SLACK = 2 ** -42;

/** Whether `value` is a whole number of 1 ÷ scale that gives it back bit for bit. */
function fits(value: number, scale: number): boolean {
  const m = Math.round(value * scale);
  // −0 is not the 0 that comes back; and what is not finite fails one of the comparisons.
  return m / scale === value && m <= INTEGER_MAX && m >= -INTEGER_MAX && (m !== 0 || 1 / value > 0);
}

function allFit(w: Float64Array, at: number, scale: number): boolean {
  return (
    fits(w[at + W.first] as number, scale) && // in bounds, here and below
    fits(w[at + W.last] as number, scale) &&
    fits(w[at + W.min] as number, scale) &&
    fits(w[at + W.max] as number, scale)
  );
}

/** @param guess of the tag's window before, kept when it fits. @returns an index into `SCALES`, or NO_SCALE. */
export function scaleOf(w: Float64Array, at: number, guess: number): number {
  if (guess !== NO_SCALE && allFit(w, at, SCALES[guess] as number)) return guess;
  const bits = DECIMALS_MAX + floatBits(w, at);
  const isBinary = bits > DECIMALS_MAX && bits < SCALES.length && allFit(w, at, SCALES[bits] as number);
  if (guess > DECIMALS_MAX && isBinary) return bits;
  for (let e = 0; e <= DECIMALS_MAX; e++) if (allFit(w, at, SCALES[e] as number)) return e;
  return isBinary ? bits : NO_SCALE;
}

/** The next finer power of ten: what lies between first, last, min and max may have more digits. */
export function finer(index: number): number {
  return index < DECIMALS_MAX ? index + 1 : NO_SCALE;
}

/** Bits behind the point of float32 values as small as the smallest here. */
function floatBits(w: Float64Array, at: number): number {
  const min = w[at + W.min] as number;
  const max = w[at + W.max] as number;
  const least = Math.min(Math.abs(min), Math.abs(max));
  return FLOAT32_BITS - Math.floor(Math.log2(least));
}

/** Sum of the values × scale. */
export function sumFor(mean: number, count: number, scale: number): number {
  return Math.round(mean * count * scale) + 0; // never −0
}

export function meanFrom(sum: number, count: number, scale: number): number {
  return count === 0 ? 0 : sum / (count * scale);
}

/** @param sum and `squares` of distances from the first value, × scale and × scale². */
export function m2From(sum: number, squares: number, count: number, scale: number): number {
  return count === 0 ? 0 : (count * squares - sum * sum) / (count * scale * scale);
}

export function squaresFor(m2: number, sum: number, count: number, scale: number): number {
  return count === 0 ? 0 : Math.round(m2 * scale * scale + (sum * sum) / count);
}

/** Products of them must stay exact. */
export function isExact(sum: number, squares: number, count: number): boolean {
  return sum * sum <= PRODUCT_MAX && count * squares <= PRODUCT_MAX && squares >= 0;
}

export function isWhole(value: number): boolean {
  return Math.floor(value) === value && value <= INTEGER_MAX && value >= -INTEGER_MAX && (value !== 0 || 1 / value > 0);
}

/** Bit for bit, but for the many forms of NaN: those are never equal. */
export function same(a: number, b: number): boolean {
  return a === b && (a !== 0 || 1 / a === 1 / b);
}

/**
 * Puts mean, m2 and area of a window on its grid, where they are within rounding of it.
 * @returns the scale, to try first on the next window of the tag.
 */
export function settleWindow(w: Float64Array, at: number, guess: number): number {
  const count = w[at + W.count] as number;
  if (count === 0) return guess;
  const largest = Math.max(Math.abs(w[at + W.min] as number), Math.abs(w[at + W.max] as number));
  const had = w[at + W.mean] as number;
  for (let index = scaleOf(w, at, guess); index !== NO_SCALE; index = finer(index)) {
    const scale = SCALES[index] as number;
    const sum = sumFor(had, count, scale);
    const mean = meanFrom(sum, count, scale);
    if (!(Math.abs(sum) <= INTEGER_MAX)) return index;
    if (Math.abs(mean - had) > largest * MEAN_SLACK) continue;
    w[at + W.mean] = mean;
    settleM2(w, at, sum, scale, largest);
    settleArea(w, at, scale, largest);
    return index;
  }
  return guess;
}

function settleArea(w: Float64Array, at: number, scale: number, largest: number): void {
  const had = w[at + W.area] as number;
  const area = (Math.round(had * scale) + 0) / scale;
  if (Math.abs(area - had) <= largest * (w[at + W.covered] as number) * MEAN_SLACK) w[at + W.area] = area;
}

function settleM2(w: Float64Array, at: number, sum: number, scale: number, largest: number): void {
  const count = w[at + W.count] as number;
  const had = w[at + W.m2] as number;
  const distance = sum - count * Math.round((w[at + W.first] as number) * scale);
  const squares = squaresFor(had, distance, count, scale);
  if (!isExact(distance, squares, count)) return;
  const m2 = m2From(distance, squares, count, scale);
  // Rounding of the values themselves counts, too: a tenth near a million is off by 10^−10.
  const slack = had * M2_SLACK + largest * MEAN_SLACK * Math.sqrt(had * count);
  if (m2 >= 0 && Math.abs(m2 - had) <= slack) w[at + W.m2] = m2;
}
