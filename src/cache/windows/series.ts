/**
 * A tag's history in so many points: readings where they fit, else the shortest windows that do. Where windows are missing
 * (of one reading, not closed yet, not written yet) they are counted from raw; where the short ones were removed, longer ones
 * stand in their place. Nothing that the cache knows of that time is missing from the answer.
 */
import type { Database } from 'better-sqlite3';
import { all } from '../query.ts';
import type { ReadingView } from '../types.ts';
import { RawReadings } from './raw.ts';
import { readNumbers, type WindowView, windowView } from './read.ts';
import { HOLD_MS_MAX } from './tag-times.ts';
import { emptyWindow, FLAG, joinRow, W } from './window.ts';

/** Beyond it, one look at all of the time is cheaper than so many at parts of it. */
const SPANS_MAX = 32;

/** What closed may wait a minute before it is written (`book.ts`), and a commit comes then. */
const UNWRITTEN_MS_MAX = 120_000;

export interface Series {
  /** Undefined: readings. */
  readonly periodMs: number | undefined;
  /** In words, for people. */
  readonly why: string;
  readonly readings: readonly ReadingView[];
  /** In order of time; each says its own length, for there may be longer ones at the beginning. */
  readonly windows: readonly WindowView[];
}

export interface SeriesQuestion {
  readonly db: Database;
  /** All numbers that the tag's name had. */
  readonly numbers: readonly number[];
  /** Lengths to choose from, the shortest first; none for texts. */
  readonly periods: readonly number[];
  /** The deadband keeps some of its readings out of raw. */
  readonly isThinned: boolean;
  readonly fromMs: number;
  readonly toMs: number;
  /** In order of time; undefined when there are more than `most`. */
  readings(fromMs: number, toMs: number, most?: number): ReadingView[] | undefined;
}

export function seriesOf(question: SeriesQuestion, points: number): Series {
  const { fromMs, toMs, periods } = question;
  const raw = question.readings(fromMs, toMs, points);
  const [longest] = periods.slice(-1); // none for texts
  if (longest === undefined) {
    const readings = raw ?? question.readings(fromMs, toMs)?.slice(-points) ?? [];
    const why = raw === undefined ? `the newest ${points}: texts have no windows` : 'all of them fit';
    return { periodMs: undefined, why, readings, windows: [] };
  }
  if (raw !== undefined && !isOlderInWindows(question, longest, raw[0]?.timeMs ?? toMs))
    return { periodMs: undefined, why: 'all of them fit', readings: raw, windows: [] };
  const fits = (period: number) => Math.ceil(toMs / period) - Math.floor(fromMs / period) <= points;
  const kept = periods.find(fits) ?? longest;
  const periodMs = fits(kept) ? kept : kept * Math.ceil((toMs - fromMs) / kept / Math.max(1, points - 1));
  const reason = raw === undefined ? `more than ${points} readings` : 'older readings were removed';
  const why = periodMs === kept ? `the shortest that fit; ${reason}` : `longer than any that are kept; ${reason}`;
  return { periodMs, why, readings: [], windows: windowsOf(question, kept, periodMs) };
}

/** What is written of windows of one length, and what closed since the last were written, counted from raw. */
export function writtenWindows(question: SeriesQuestion, periodMs: number): WindowView[] {
  const { db, numbers, fromMs, toMs } = question;
  const found = readNumbers(db, numbers, periodMs, fromMs, toMs);
  const closedMs = Math.floor(Math.min(newestOf(db), toMs) / periodMs) * periodMs;
  const lastMs = Math.max(...found.keys(), Number.NEGATIVE_INFINITY) + periodMs;
  const start = Math.max(lastMs, Math.floor((closedMs - periodMs - UNWRITTEN_MS_MAX) / periodMs) * periodMs, fromMs);
  const fresh = new Map<number, Float64Array>();
  if (closedMs > start) addMissing(question, fresh, periodMs, Math.ceil(start / periodMs) * periodMs, closedMs);
  for (const [at, window] of fresh) if ((window[W.total] ?? 0) > 1) found.set(at, window);
  return joined(found, periodMs, periodMs);
}

/**
 * All windows of one length that have ended, for who asks for that length: also those that are not written because they hold
 * one reading.
 */
export function endedWindows(question: SeriesQuestion, periodMs: number): WindowView[] {
  const { db, numbers, fromMs, toMs, periods } = question;
  if (periods.length === 0) return []; // texts
  const start = Math.ceil(fromMs / periodMs) * periodMs;
  const end = Math.floor(Math.min(newestOf(db), toMs) / periodMs) * periodMs;
  const found = readNumbers(db, numbers, periodMs, start, end);
  addMissing(question, found, periodMs, start, end);
  return joined(found, periodMs, periodMs);
}

function newestOf(db: Database): number {
  const [row] = all<{ newest: number | null }>(db, 'SELECT max(last_ms) AS newest FROM journal WHERE class >= 3');
  return row?.newest ?? 0;
}

/** Whether windows tell of a time that raw no longer does. */
function isOlderInWindows(question: SeriesQuestion, longest: number, firstMs: number): boolean {
  const { db, numbers, fromMs } = question;
  const older = readNumbers(db, numbers, longest, Math.floor(fromMs / longest) * longest, firstMs);
  return [...older.values()].some(
    (w) => (w[W.count] ?? 0) > 0 && (w[W.lastMs] ?? 0) >= fromMs && (w[W.firstMs] ?? 0) < firstMs,
  );
}

function windowsOf(question: SeriesQuestion, kept: number, periodMs: number): WindowView[] {
  const { db, numbers, fromMs, toMs, periods } = question;
  // Whole windows, as the cloud answers: one that is cut off looks like a drop in the plant.
  const start = Math.floor(fromMs / periodMs) * periodMs;
  const end = Math.ceil(toMs / periodMs) * periodMs;
  const found = readNumbers(db, numbers, kept, start, end);
  addMissing(question, found, kept, start, end);
  const views = joined(found, kept, periodMs);
  // What only longer windows still know.
  let before = views[0]?.startMs ?? end;
  for (const longer of periods.filter((period) => period > kept)) {
    const older = [...readNumbers(db, numbers, longer, Math.floor(start / longer) * longer, before).values()]
      .filter((w) => (w[W.start] ?? 0) + longer <= before)
      .map((w) => windowView(w, longer))
      .sort((a, b) => a.startMs - b.startMs);
    views.unshift(...older);
    before = older[0]?.startMs ?? before;
  }
  return views;
}

/** Windows of the longer period, of those that were found; where one is missing, nobody knows what lasted through it. */
function joined(found: ReadonlyMap<number, Float64Array>, kept: number, periodMs: number): WindowView[] {
  const windows = new Map<number, { readonly window: Float64Array; parts: number }>();
  for (const [, numbers] of [...found].sort(([a], [b]) => a - b)) {
    const start = Math.floor((numbers[W.start] ?? 0) / periodMs) * periodMs;
    const longer = windows.get(start) ?? { window: emptyWindow(start), parts: 0 };
    windows.set(start, longer);
    longer.parts++;
    const part = numbers.slice();
    part[W.flags] = (numbers[W.flags] ?? 0) & ~FLAG.whole;
    joinRow(longer.window, part, 0);
  }
  return [...windows.values()].map(({ window, parts }) => {
    if (parts < periodMs / kept) window[W.flags] = (window[W.flags] ?? 0) | FLAG.time;
    return windowView(window, periodMs);
  });
}

/** Counts from raw what has no window. */
function addMissing(
  question: SeriesQuestion,
  found: Map<number, Float64Array>,
  periodMs: number,
  start: number,
  end: number,
): void {
  const tag = 0;
  for (const span of missing(found, periodMs, start, end)) {
    const readings = question.readings(span.fromMs - HOLD_MS_MAX, span.toMs) ?? [];
    const raw = new RawReadings([tag], span.fromMs - HOLD_MS_MAX, span.toMs);
    for (const { timeMs, value, quality } of readings) raw.add(tag, timeMs, Number(value), quality);
    raw.sort();
    for (let at: number | undefined = raw.firstFrom(tag, span.fromMs); at !== undefined && at < span.toMs; ) {
      const from = Math.floor(at / periodMs) * periodMs;
      if (!found.has(from)) {
        const window = raw.window(tag, from, periodMs);
        if (question.isThinned) window[W.flags] = FLAG.thin;
        found.set(from, window);
      }
      at = raw.firstFrom(tag, from + periodMs);
    }
  }
}

function missing(found: ReadonlyMap<number, unknown>, periodMs: number, start: number, end: number) {
  const spans: { fromMs: number; toMs: number }[] = [];
  for (let from = start; from < end; from += periodMs) {
    if (found.has(from)) continue;
    const last = spans.at(-1);
    if (last?.toMs === from) last.toMs = from + periodMs;
    else spans.push({ fromMs: from, toMs: from + periodMs });
  }
  const [first, last] = [spans[0], spans.at(-1)];
  if (spans.length <= SPANS_MAX || first === undefined || last === undefined) return spans;
  return [{ fromMs: first.fromMs, toMs: last.toMs }];
}
