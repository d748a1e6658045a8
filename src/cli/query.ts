import { request } from 'undici';
import type { WindowView } from '../cache/index.ts';
import { SluiceError } from '../errors.ts';
import { systemClock } from '../runtime/clock.ts';
import { readSecretFile } from '../runtime/credentials.ts';
import { Exit, type ExitCode } from './exit.ts';
import { type CacheChoice, openLocalCache, otherTags, shownReading } from './local-cache.ts';
import { moment } from './moment.ts';
import { type Output, table, time, value } from './output.ts';

const TIMEOUT_MS = 30_000;
const LIMIT = 1000;
/** What a terminal can be scrolled through. */
const POINTS = 500;
/** What the receiver answers at most, and lengths of windows that people think in. */
const CLOUD_READINGS_MAX = 100_000;
const CLOUD_PERIODS: readonly number[] = [1, 10, 60, 600, 3600, 86_400].map((seconds) => seconds * 1000);

export interface QueryCommand extends CacheChoice {
  readonly from: string;
  readonly to: string;
  /** Milliseconds. */
  readonly window?: number;
  /** Readings, the newest; 1000 by default. */
  readonly limit?: number;
  /** At most so many points: readings where they fit, else windows. */
  readonly points?: number;
  readonly url?: string;
  readonly tokenFile?: string;
  readonly json?: boolean;
}

type Cell = number | boolean | string | null;

interface Line {
  readonly timeMs: number;
  readonly value: Cell;
  readonly status: string;
  readonly reason: string | null;
}

interface WindowLine {
  readonly startMs: number;
  readonly count: number;
  readonly min: Cell;
  readonly max: Cell;
  readonly mean: Cell;
  readonly first: Cell;
  readonly last: Cell;
  /** The rest only from the local cache. `twa`: weighted by how long each value lasted. */
  readonly periodMs?: number;
  readonly stddev?: number;
  readonly twa?: number;
  readonly good?: number;
  /** What of it is an estimate: `time` (twa) or `all`; absent when nothing is. */
  readonly inexact?: 'time' | 'all';
}

export async function query(tag: string, options: QueryCommand, output: Output): Promise<ExitCode> {
  const nowMs = systemClock.wallMs();
  const span = { fromMs: moment(options.from, nowMs), toMs: moment(options.to, nowMs) };
  const points = options.points ?? defaultPoints(options, output);
  if (points !== undefined && options.window === undefined) return await pointsOf(tag, points, span, options, output);
  if (options.window !== undefined) {
    const windows = await windowsOf(tag, options.window, span, options);
    if (options.json === true) output.json(windows);
    else printWindows(windows, output);
    return windows.length > 0 ? Exit.fine : nothing(tag, options, output);
  }
  const readings = await readingsOf(tag, span, options);
  if (options.json === true) output.json(readings);
  else printReadings(readings, output);
  return readings.length > 0 ? Exit.fine : nothing(tag, options, output);
}

interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** On a terminal, when nobody said what to show. Scripts get readings, as they always did. */
function defaultPoints({ limit, json }: QueryCommand, output: Output): number | undefined {
  return output.terminal && limit === undefined && json !== true ? POINTS : undefined;
}

async function pointsOf(
  tag: string,
  points: number,
  span: Span,
  options: QueryCommand,
  output: Output,
): Promise<ExitCode> {
  const { periodMs, why, readings, windows } =
    options.url === undefined ? localSeries(tag, points, span, options) : await cloudSeries(tag, points, span, options);
  const resolution = periodMs === null ? 'readings' : period(periodMs);
  if (options.json === true) output.json({ resolution, periodMs, why, readings, windows });
  else {
    output.line(`${periodMs === null ? 'readings' : `windows of ${resolution}`}: ${why}`);
    if (periodMs === null) printReadings(readings, output);
    else printWindows(windows, output);
  }
  return readings.length + windows.length > 0 ? Exit.fine : nothing(tag, options, output);
}

interface ShownSeries {
  /** Null: readings. */
  readonly periodMs: number | null;
  readonly why: string;
  readonly readings: readonly Line[];
  readonly windows: readonly WindowLine[];
}

function localSeries(tag: string, points: number, span: Span, options: QueryCommand): ShownSeries {
  const { cache } = openLocalCache(options);
  try {
    const { periodMs, why, readings, windows } = cache.series(tag, span.fromMs, span.toMs, points);
    return { periodMs: periodMs ?? null, why, readings: readings.map(shownReading), windows: windows.map(windowLine) };
  } finally {
    cache.close();
  }
}

/** The cloud makes windows of any length when it is asked. */
async function cloudSeries(tag: string, points: number, span: Span, options: QueryCommand): Promise<ShownSeries> {
  const readings = await readingsOf(tag, span, { ...options, limit: Math.min(points + 1, CLOUD_READINGS_MAX) });
  if (readings.length <= points) return { periodMs: null, why: 'all of them fit', readings, windows: [] };
  const fits = (each: number) => Math.ceil(span.toMs / each) - Math.floor(span.fromMs / each) <= points;
  const last = CLOUD_PERIODS.at(-1) ?? 1;
  const fitting = CLOUD_PERIODS.find(fits) ?? last * Math.ceil((span.toMs - span.fromMs) / last / points + 1);
  const windows = await windowsOf(tag, fitting, span, { ...options, limit: points });
  return { periodMs: fitting, why: `the shortest that fit; more than ${points} readings`, readings: [], windows };
}

async function readingsOf(tag: string, span: Span, options: QueryCommand): Promise<readonly Line[]> {
  if (options.url !== undefined) {
    const asked = { tag, from: String(span.fromMs), to: String(span.toMs), limit: String(options.limit ?? LIMIT) };
    return ((await askCloud(options, '/v1/readings', asked)) as { readings: Line[] }).readings;
  }
  const { cache } = openLocalCache(options);
  try {
    return cache.range(tag, span.fromMs, span.toMs, options.limit ?? LIMIT).map(shownReading);
  } finally {
    cache.close();
  }
}

async function windowsOf(
  tag: string,
  periodMs: number,
  span: Span,
  options: QueryCommand,
): Promise<readonly WindowLine[]> {
  if (options.url !== undefined) {
    const asked = { tag, from: String(span.fromMs), to: String(span.toMs), period: String(periodMs) };
    return ((await askCloud(options, '/v1/windows', asked)) as { windows: WindowLine[] }).windows.slice(
      -(options.limit ?? LIMIT),
    );
  }
  const { cache, config } = openLocalCache(options);
  try {
    refuseUnknown(periodMs, [...(config?.cache.windows ?? []), ...cache.windowPeriods()]);
    return cache
      .endedWindows(tag, periodMs, span.fromMs, span.toMs)
      .map(windowLine)
      .slice(-(options.limit ?? LIMIT));
  } finally {
    cache.close();
  }
}

/** @throws usage.window for a length that is neither kept nor configured. */
function refuseUnknown(periodMs: number, kept: readonly number[]): void {
  if (kept.length === 0 || kept.includes(periodMs)) return;
  throw new SluiceError('usage.window', 'stop', `this cache has no windows of ${period(periodMs)}`, {
    hint: `it has windows of ${[...new Set(kept)].map(period).join(', ')}`,
  });
}

/** As `--window` takes it. */
function period(ms: number): string {
  const units = { h: 3_600_000, min: 60_000, s: 1000 };
  const [unit, unitMs] = Object.entries(units).find(([, each]) => ms % each === 0) ?? ['ms', 1];
  return `${ms / unitMs}${unit}`;
}

function windowLine(window: WindowView): WindowLine {
  const { startMs, periodMs, count, min, max, mean, first, last, deviation, timeWeightedMean, good, inexact } = window;
  const more = { periodMs, stddev: deviation, twa: timeWeightedMean, good };
  return { startMs, count, min, max, mean, first, last, ...more, ...(inexact === undefined ? {} : { inexact }) };
}

async function askCloud(options: QueryCommand, path: string, asked: Record<string, string>): Promise<unknown> {
  const url = new URL(`${path}?${new URLSearchParams(asked)}`, options.url);
  const token = options.tokenFile === undefined ? undefined : readSecretFile(options.tokenFile);
  const { statusCode, body } = await request(url, {
    headersTimeout: TIMEOUT_MS,
    bodyTimeout: TIMEOUT_MS,
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
  }).catch((cause: unknown) => {
    throw new SluiceError('query.unreachable', 'retry', `${options.url} does not answer`, {
      cause,
      hint: 'is the receiver running, and is this its address?',
    });
  });
  const text = await body.text();
  if (statusCode === 200) return JSON.parse(text);
  throw new SluiceError('query.refused', 'stop', `${options.url} answered ${statusCode}: ${text.slice(0, 300)}`, {
    hint: statusCode === 401 ? 'give the token with --token-file' : 'the answer says why',
  });
}

function printReadings(readings: readonly Line[], output: Output): void {
  const rows = readings.map((line) => [time(line.timeMs), value(line.value), quality(line)]);
  output.line(table(['time', 'value', 'quality'], rows, ['left', 'right', 'left']));
}

function printWindows(windows: readonly WindowLine[], output: Output): void {
  const rows = windows.map((window) => [
    time(window.startMs),
    String(window.count),
    ...[window.min, window.mean, window.max, window.first, window.last].map(value),
  ]);
  const right = Array.from({ length: 7 }, (_, at) => (at === 0 ? ('left' as const) : ('right' as const)));
  output.line(table(['from', 'n', 'min', 'mean', 'max', 'first', 'last'], rows, right));
}

function quality({ status, reason }: Pick<Line, 'status' | 'reason'>): string {
  return reason === null || reason === '' ? status : `${status} (${reason})`;
}

/** An empty answer is a finding: a script that asks for data wants to know. */
function nothing(tag: string, options: QueryCommand, output: Output): ExitCode {
  const what = options.window === undefined ? 'nothing' : `no window of ${period(options.window)}`;
  output.problem(
    `${what} of ${tag} ${options.window === undefined ? '' : 'ended '}in that time; ${elsewhere(tag, options)}`,
  );
  return Exit.finding;
}

function elsewhere(tag: string, options: QueryCommand): string {
  const there =
    options.window === undefined ? 'sluice tail shows what comes in' : 'without --window you get its readings';
  if (options.url !== undefined) return `${options.url}/v1/latest shows the tags there are`;
  const { cache } = openLocalCache(options);
  try {
    return otherTags(tag, cache) ?? there;
  } finally {
    cache.close();
  }
}
