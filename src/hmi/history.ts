/** History for panels: what a tag did between two times, in at most so many points. */
import type { Series, WindowView } from '../cache/index.ts';
import { SluiceError } from '../errors.ts';
import { shortest, type ValueType } from '../reading.ts';
import { isoTime, readingFields } from './topics.ts';

/** A panel's trend is 300 to 2,000 pixels wide. */
const POINTS = 300;
export const POINTS_MAX = 2_000;
const SPAN_MS = 3_600_000;

export interface HistoryQuestion {
  readonly tag: string;
  /** Milliseconds since 1970. */
  readonly from: number | undefined;
  readonly to: number | undefined;
  readonly points: number;
}

/** @throws history.… (retry) */
export type HistoryDesk = (question: HistoryQuestion) => Promise<object>;

/** Where its answers come from (`HistoryReader` is one). */
export interface HistorySource {
  series(question: {
    readonly tag: string;
    readonly fromMs: number;
    readonly toMs: number;
    readonly points: number;
  }): Promise<Series>;
}

/** @param typeOf of a tag; undefined for none of that name, which is asked for all the same: it may have been one. */
export function historyDesk(
  source: HistorySource | undefined,
  typeOf: (tag: string) => ValueType | undefined,
  wallMs: () => number,
): HistoryDesk {
  return async ({ tag, from, to, points }) => {
    if (source === undefined)
      throw new SluiceError('history.none', 'retry', 'there is no history while the disk is read-only');
    // A reading of this very millisecond belongs to "now"; the end of a span is not in it.
    const toMs = to ?? wallMs() + 1;
    const fromMs = from ?? toMs - SPAN_MS;
    const { periodMs, why, readings, windows } = await source.series({ tag, fromMs, toMs, points });
    const type = typeOf(tag);
    return {
      tag,
      from: isoTime(fromMs),
      to: isoTime(toMs),
      why,
      ...(periodMs === undefined
        ? { values: readings.map((each) => readingFields(each.value, each.timeMs, each.quality, type && { type })) }
        : { period: periodMs, windows: windows.map((window) => windowFields(window, type)) }),
    };
  };
}

/** @returns what is wrong with the question, or the question. */
export function parseHistory(asked: Readonly<Record<string, unknown>>): HistoryQuestion | string {
  const { tag } = asked;
  const [from, to] = [timeOf(asked.from), timeOf(asked.to)];
  const points = asked.points === undefined ? POINTS : Number(asked.points);
  if (typeof tag !== 'string') return 'expected {"tag": "<its name>"}';
  if (from === 'no time' || to === 'no time')
    return 'from and to are times: 2026-01-31T10:00:00Z, or milliseconds since 1970';
  if (from !== undefined && to !== undefined && from > to) return 'from is later than to';
  if (!Number.isInteger(points) || points < 1 || points > POINTS_MAX)
    return `points is a number from 1 to ${POINTS_MAX}`;
  return { tag, from, to, points };
}

function timeOf(given: unknown): number | undefined | 'no time' {
  if (given === undefined) return undefined;
  const ms = typeof given === 'string' && !/^\d+$/.test(given) ? Date.parse(given) : Number(given);
  return isoTime(ms) === null ? 'no time' : ms;
}

function windowFields(window: WindowView, type: ValueType | undefined): object {
  const { startMs, periodMs, count, good } = window;
  const number = (value: number) => (Number.isFinite(value) ? value : null);
  const measured = (value: number) => number(shortest(value, type));
  return {
    from: isoTime(startMs),
    to: isoTime(startMs + periodMs),
    n: count,
    mean: number(window.mean),
    twa: number(window.timeWeightedMean),
    stddev: number(window.deviation),
    min: measured(window.min),
    max: measured(window.max),
    first: measured(window.first),
    last: measured(window.last),
    good: number(good),
    ...(window.inexact === undefined ? {} : { inexact: window.inexact }),
  };
}
