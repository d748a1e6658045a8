/**
 * Readings of one tag that each begin the next window of the shortest length: all there are where that is no longer than the
 * tag's own period. A window of one reading is not written, so it goes to the longer one around it from registers, and only
 * the last is put down.
 */
import { THINNED } from '../../reading.ts';
import type { WindowSource } from './source.ts';
import { BAD, HOLD_MS_MAX, R } from './tag-times.ts';
import { clearWindow, foldValue, W } from './window.ts';

/**
 * Closes the tag's shortest window, of one reading, and opens the next, for as long as time goes forwards within the longer
 * one, nothing is bad and nothing is to be flagged.
 * @param periods ms, ascending, as `levels`. @param at of the tag's window in each of them, `r` in `running`.
 * @returns the first position in `order` that is left to the caller.
 */
export function foldSingles(
  levels: readonly Float64Array[],
  periods: readonly number[],
  at: number,
  running: Float64Array,
  r: number,
  { timeMs, quality }: WindowSource,
  value: Float64Array,
  order: Uint32Array,
  start: number,
  end: number,
): number {
  const [base, longer] = levels;
  if (base === undefined || longer === undefined) return start;
  // In bounds by construction, here and below, so `as number` only drops an `undefined` that cannot be.
  const periodMs = periods[0] as number;
  let from = base[at + W.start] as number;
  const toMs = (longer[at + W.start] as number) + (periods[1] as number);
  // NaN, no window, makes it false.
  if (!((timeMs[order[start] as number] as number) >= from + periodMs && from < toMs)) return start;
  if (base[at + W.total] !== 1 || base[at + W.count] !== 1 || base[at + W.flags] !== 0) return start;
  if (running[r + R.unsure] !== 0) return start;
  const knownMs = running[r + R.knownMs] as number;
  let x = base[at + W.first] as number;
  let xMs = base[at + W.firstMs] as number;
  let isGood = base[at + W.good] === 1;
  let area = base[at + W.area] as number;
  let covered = base[at + W.covered] as number;
  let held = running[r + R.holdValue] as number;
  let heldToMs = (running[r + R.holdMs] as number) + HOLD_MS_MAX;
  let upTo = running[r + R.upTo] as number;
  let seenMs = running[r + R.seenMs] as number;
  let beforeMs = seenMs;
  let endMs = from + periodMs;
  let closedMs = endMs;
  let longerArea = longer[at + W.area] as number;
  let longerCovered = longer[at + W.covered] as number;
  let i = start;
  for (; i < end; i++) {
    const row = order[i] as number;
    const time = timeMs[row] as number;
    const q = (quality[row] as number) & ~THINNED;
    const next = Math.floor(time / periodMs) * periodMs;
    if (!(time >= endMs && time < toMs && next >= knownMs) || q >= BAD) break;
    // What is held lasts to the end of the window, through those without a reading, and to this one. NaN where nothing is.
    const rest = Math.min(endMs, heldToMs) - upTo;
    const gap = Math.min(next, heldToMs) - endMs;
    const lead = Math.min(time, heldToMs) - next;
    if (rest > 0) {
      area += held * rest;
      covered += rest;
    }
    foldValue(longer, at, xMs, x, isGood);
    longerArea += area;
    longerCovered += covered;
    if (gap > 0) {
      longerArea += held * gap;
      longerCovered += gap;
    }
    area = 0;
    covered = 0;
    if (lead > 0) {
      area += held * lead;
      covered += lead;
    }
    x = value[row] as number;
    xMs = time;
    isGood = q === 0;
    held = x;
    heldToMs = time + HOLD_MS_MAX;
    upTo = time;
    beforeMs = seenMs;
    seenMs = time;
    from = next;
    closedMs = endMs;
    endMs = next + periodMs;
  }
  if (i === start) return i;
  longer[at + W.area] = longerArea;
  longer[at + W.covered] = longerCovered;
  clearWindow(base, at, from);
  foldValue(base, at, xMs, x, isGood);
  base[at + W.area] = area;
  base[at + W.covered] = covered;
  running[r + R.upTo] = xMs;
  running[r + R.upTo + 1] = from;
  running[r + R.upTo + levels.length] = beforeMs;
  running[r + R.seenMs] = xMs;
  running[r + R.lateInARow] = 0;
  running[r + R.holdMs] = xMs;
  running[r + R.holdValue] = x;
  running[r + R.closedMs] = closedMs;
  running[r + R.knownMs] = Math.max(knownMs, closedMs);
  return i;
}
