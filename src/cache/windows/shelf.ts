/**
 * Windows stand on shelves of fixed times. A window may have rows in several blocks (parts that came late, the whole that takes
 * their place); all of them are on one shelf, and shelves are removed whole. A block that holds only what corrects another,
 * older one never goes before it: what is left of a window is all that was ever written of it.
 */
import { WindowRows } from './rows.ts';
import { W, WINDOW_NUMBERS } from './window.ts';

/** What is written in a minute is on two shelves once in ten times, and a shelf is a bounded transaction to remove. */
const SHELF_MS_MIN = 600_000;
/** Of long windows, too: a block of one row is mostly overhead. */
const SHELF_WINDOWS_MIN = 16;

export function shelfMs(periodMs: number): number {
  return periodMs * Math.max(SHELF_WINDOWS_MIN, Math.ceil(SHELF_MS_MIN / periodMs));
}

/** One for each shelf; the rows themselves where they are all on one. */
export function byShelf(rows: WindowRows): WindowRows[] {
  const { periodMs, length, tag, numbers } = rows;
  const lengthMs = shelfMs(periodMs);
  const { fromMs, toMs } = rows.span();
  if (Math.floor(fromMs / lengthMs) === Math.floor((toMs - periodMs) / lengthMs)) return [rows];
  const shelves = new Map<number, WindowRows>();
  for (let row = 0; row < length; row++) {
    const at = row * WINDOW_NUMBERS;
    const shelf = Math.floor((numbers[at + W.start] as number) / lengthMs); // in bounds, here and below
    let mine = shelves.get(shelf);
    if (mine === undefined) {
      mine = new WindowRows(periodMs);
      shelves.set(shelf, mine);
    }
    mine.push(tag[row] as number, numbers, at);
  }
  return [...shelves.values()];
}

/**
 * Up to where whole shelves go: about as many blocks as may, at least the oldest shelf, nothing from `beforeMs` on.
 * @param firstMs end of the oldest block, `manyMs` of the first that is one too many; undefined where there is none.
 * @returns blocks that end then, or before, go; −∞ when none does.
 */
export function shelvesEnd(
  periodMs: number,
  beforeMs: number,
  firstMs: number | undefined,
  manyMs: number | undefined,
): number {
  if (firstMs === undefined) return Number.NEGATIVE_INFINITY;
  const lengthMs = shelfMs(periodMs);
  const oldest = Math.ceil(firstMs / lengthMs) * lengthMs;
  const most = manyMs === undefined ? Number.POSITIVE_INFINITY : Math.floor(manyMs / lengthMs) * lengthMs;
  const end = Math.min(Math.floor(beforeMs / lengthMs) * lengthMs, Math.max(oldest, most));
  return end < oldest ? Number.NEGATIVE_INFINITY : end;
}
