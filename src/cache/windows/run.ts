/** Readings of one tag that follow one another within its open window: nearly all there are, so their numbers stay in registers. */
import { THINNED } from '../../reading.ts';
import type { WindowSource } from './source.ts';
import { BAD, HOLD_MS_MAX, R } from './tag-times.ts';
import { SUM_LOW_MAX, W } from './window.ts';

/**
 * Does what `TagTimes.extend` and `foldValue` do, for as long as time goes forwards.
 * @param at of the window in `w`, `r` of the tag in `running`; the window is of the shortest length.
 * @param toMs its end; NaN, no window, takes none.
 * @returns the first position in `order` that is left to the caller.
 */
export function foldRun(
  w: Float64Array,
  at: number,
  running: Float64Array,
  r: number,
  { timeMs, quality }: WindowSource,
  value: Float64Array,
  order: Uint32Array,
  start: number,
  end: number,
  toMs: number,
): number {
  // In bounds by construction, here and below, so `as number` only drops an `undefined` that cannot be.
  if (!((timeMs[order[start] as number] as number) < toMs)) return start;
  let upTo = running[r + R.upTo] as number;
  let holdMs = running[r + R.holdMs] as number;
  let held = running[r + R.holdValue] as number;
  let count = w[at + W.count] as number;
  let mean = w[at + W.mean] as number;
  let m2 = w[at + W.m2] as number;
  let min = w[at + W.min] as number;
  let max = w[at + W.max] as number;
  let first = w[at + W.first] as number;
  let firstMs = w[at + W.firstMs] as number;
  let last = w[at + W.last] as number;
  let lastMs = w[at + W.lastMs] as number;
  let good = w[at + W.good] as number;
  let sumHigh = w[at + W.sumHigh] as number;
  let sumLow = w[at + W.sumLow] as number;
  let fractions = w[at + W.fractions] as number;
  let area = w[at + W.area] as number;
  let covered = w[at + W.covered] as number;
  let i = start;
  for (; i < end; i++) {
    const row = order[i] as number;
    const time = timeMs[row] as number;
    if (!(time >= upTo && time < toMs) || (count > 0 && time < lastMs)) break;
    const x = value[row] as number;
    const q = (quality[row] as number) & ~THINNED;
    if (q < BAD && fractions === 0) {
      if (Math.floor(x) !== x || x > SUM_LOW_MAX || x < -SUM_LOW_MAX) {
        fractions = 1;
        sumHigh = 0;
        sumLow = 0;
      } else {
        const low = sumLow + x;
        if (low > SUM_LOW_MAX || low < -SUM_LOW_MAX) break; // to be carried over
        sumLow = low;
      }
    }
    const lasted = Math.min(time, holdMs + HOLD_MS_MAX) - upTo;
    // NaN where nothing is held.
    if (lasted > 0) {
      area += held * lasted;
      covered += lasted;
    }
    upTo = time;
    held = x;
    if (q >= BAD) {
      holdMs = Number.NaN;
      continue;
    }
    holdMs = time;
    if (q === 0) good++;
    count++;
    if (count === 1) {
      mean = x;
      min = x;
      max = x;
      first = x;
      firstMs = time;
    } else {
      const delta = x - mean;
      mean += delta / count;
      m2 += delta * (x - mean);
      if (x < min) min = x;
      if (x > max) max = x;
    }
    last = x;
    lastMs = time;
  }
  if (i === start) return i;
  running[r + R.upTo] = upTo;
  running[r + R.seenMs] = upTo;
  running[r + R.lateInARow] = 0;
  running[r + R.holdMs] = holdMs;
  running[r + R.holdValue] = held;
  w[at + W.count] = count;
  w[at + W.mean] = mean;
  w[at + W.m2] = m2;
  w[at + W.min] = min;
  w[at + W.max] = max;
  w[at + W.first] = first;
  w[at + W.firstMs] = firstMs;
  w[at + W.last] = last;
  w[at + W.lastMs] = lastMs;
  w[at + W.good] = good;
  w[at + W.total] = (w[at + W.total] as number) + (i - start);
  w[at + W.sumHigh] = sumHigh;
  w[at + W.sumLow] = sumLow;
  w[at + W.fractions] = fractions;
  w[at + W.area] = area;
  w[at + W.covered] = covered;
  return i;
}
