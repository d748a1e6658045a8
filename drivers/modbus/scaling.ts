/**
 * `scale` and `offset` without digits that nobody measured. A device that counts tenths says 213; 213 × 0.1 is
 * 21.3 only by luck (3 × 0.1 is 0.30000000000000004), while 213 ÷ 10 is the float64 nearest to 21.3, always. So a scale
 * that is one over a whole number becomes a division, and an offset goes into the dividend where it is whole there.
 */

/** value = ((raw + before) × factor) ÷ divisor + after */
export interface Scaling {
  readonly before: number;
  readonly factor: number;
  readonly divisor: number;
  readonly after: number;
}

export const UNSCALED: Scaling = { before: 0, factor: 1, divisor: 1, after: 0 };

/** Past this, 1 ÷ scale is no decimal step that a person wrote. */
const DIVISOR_MAX = 1e9;
/** Relative; the error of two float64 operations is below 1e-15. */
const ROUNDING = 1e-12;

export function scalingOf(scale: number, offset: number): Scaling {
  const divisor = Math.round(1 / scale);
  const isStep = Math.abs(divisor) > 1 && Math.abs(divisor) <= DIVISOR_MAX && 1 / divisor === scale;
  if (!isStep) return { before: 0, factor: scale, divisor: 1, after: offset };
  const before = Math.round(offset * divisor);
  const isWhole = Math.abs(offset * divisor - before) <= ROUNDING * Math.abs(before);
  return isWhole ? { before, factor: 1, divisor, after: 0 } : { before: 0, factor: 1, divisor, after: offset };
}
