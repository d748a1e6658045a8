/** The windows on a disk against a recount of every reading that was ever committed to it, as far as they say they are exact. */
import { restoreWindows } from '../cache/checkpoint.ts';
import type { BlockStore } from '../cache/store.ts';
import { decodeWindows } from '../cache/windows/block.ts';
import type { WindowRows } from '../cache/windows/rows.ts';
import { HOLD_MS_MAX } from '../cache/windows/tag-times.ts';
import { emptyWindow, FLAG, joinRow, W, WINDOW_NUMBERS } from '../cache/windows/window.ts';
import { isBad, slotKind } from '../reading.ts';
import { hex } from '../wire/bytes.ts';
import type { RangeSet } from '../wire/ranges.ts';
import { parseTagContent } from '../wire/tag.ts';
import type { History, HistoryRow } from './history.ts';

/** Of the largest value: sums in another order round differently. */
const ROUNDING = 1e-12;
const SQUARES_ROUNDING = 1e-9;
const PAGE = 256;

interface Reading {
  readonly timeMs: number;
  readonly value: number;
  readonly bad: boolean;
  readonly good: boolean;
}

export interface WindowsOf {
  readonly history: History;
  /** `run/class` → numbers on this disk. */
  readonly committed: ReadonlyMap<string, RangeSet>;
  /** Tags of which windows see more than is committed, or less. */
  readonly isThinned: (name: string) => boolean;
  /** Windows that were removed from this disk, as `windowKey`. */
  readonly removed: ReadonlySet<string>;
}

export interface WindowsFound {
  readonly wrong: readonly string[];
  /** Windows that are settled, and of tags that are not thinned. */
  readonly seen: number;
  /** Of them those that say that nothing in them is sure, and those of which only the time-weighted mean is not. */
  readonly doubtful: number;
  readonly untimed: number;
}

export function windowKey(periodMs: number, tag: number, startMs: number): string {
  return `${periodMs} ${tag} ${startMs}`;
}

export function windowProblems(
  store: BlockStore,
  periods: readonly number[],
  { history, committed, isThinned, removed }: WindowsOf,
): WindowsFound {
  const readings = readingsOf(store, history, committed);
  const tags = new Map(store.tags().map(({ seq, content }) => [seq, parseTagContent(content)]));
  // As the next process would: what is open, and what is yet to be counted again.
  const next = restoreWindows(store, periods, (tag) => slotKind(tags.get(tag)?.type ?? 'text'), 0);
  const waiting = next.repairs.state();
  const found = windowsOf(store);
  // What closed and was not written yet, as a crash leaves it.
  for (const { block, periodMs } of next.waiting()) joinAll(found, periodMs, decodeWindows(block));
  const isUnsettled = (periodMs: number, tag: number, startMs: number) =>
    next.open.isOpen(tag, periods.indexOf(periodMs), startMs) || next.repairs.has(tag, periodMs, startMs);
  let [seen, doubtful, untimed] = [0, 0, 0];
  const wrong = [...found].flatMap(([key, window]) => {
    const [periodMs = 0, tag = 0] = key.split(' ').map(Number);
    const startMs = window[W.start] ?? 0;
    const name = tags.get(tag)?.name ?? '?';
    const mine = waiting.filter((repair) => repair.tag === tag && repair.periodMs === periodMs);
    if (isThinned(name) || isUnsettled(periodMs, tag, startMs)) return [];
    const flags = window[W.flags] ?? 0;
    seen++;
    if ((flags & FLAG.thin) !== 0) doubtful++;
    else if ((flags & (FLAG.part | FLAG.time)) !== 0) untimed++;
    // What came late into a window before may last into this one.
    const reach = HOLD_MS_MAX + periodMs;
    const isTimeOpen = mine.some(({ fromMs, toMs }) => fromMs < startMs && toMs > startMs - reach);
    const difference = differenceOf(window, periodMs, readings.get(name) ?? [], isTimeOpen);
    return difference === undefined ? [] : [`${text(name, periodMs, startMs)}: ${difference}`];
  });
  const numbers = new Map<string, number>(
    [...tags].flatMap(([seq, { name, type }]) => (slotKind(type) === 'text' ? [] : [[name, seq] as const])),
  );
  const isThere = (periodMs: number, tag: number, startMs: number) => {
    const key = windowKey(periodMs, tag, startMs);
    return found.has(key) || removed.has(key) || isUnsettled(periodMs, tag, startMs);
  };
  for (const [name, mine] of readings) {
    const tag = numbers.get(name);
    if (tag === undefined || isThinned(name)) continue;
    for (const periodMs of periods)
      for (const startMs of startsOf(mine, periodMs))
        if (!isThere(periodMs, tag, startMs)) wrong.push(`${text(name, periodMs, startMs)} is lost`);
  }
  return { wrong, seen, doubtful, untimed };
}

function text(name: string, periodMs: number, startMs: number): string {
  return `the window of ${name} of ${periodMs} ms at ${new Date(startMs).toISOString()}`;
}

/** Of windows that are written: one reading is none. */
function startsOf(readings: readonly Reading[], periodMs: number): number[] {
  const starts = readings.map(({ timeMs }) => Math.floor(timeMs / periodMs) * periodMs);
  return [...new Set(starts.filter((start, at) => starts[at - 1] === start))];
}

/** By tag, in order of time, then of arrival. */
function readingsOf(store: BlockStore, history: History, committed: ReadonlyMap<string, RangeSet>) {
  const found = new Map<string, Reading[]>();
  const lists = store.runs().flatMap(({ run }) => [3, 4].map((classNumber) => `${hex(run)}/${classNumber}`));
  for (const list of lists) {
    for (const { from, to } of committed.get(list) ?? []) {
      for (const row of history.rows.get(list)?.slice(from - 1, to) ?? []) {
        const [name, reading] = readingOf(row) ?? [];
        if (name !== undefined && reading !== undefined) found.set(name, [...(found.get(name) ?? []), reading]);
      }
    }
  }
  for (const readings of found.values()) readings.sort((a, b) => a.timeMs - b.timeMs);
  return found;
}

function readingOf({ digest }: HistoryRow): [string, Reading] | undefined {
  if (digest === undefined) return undefined;
  const [name, timeMs, kind, low, high, quality] = digest;
  const words = Uint32Array.of(low, high);
  const [float = 0] = new Float64Array(words.buffer);
  const [signed = 0n] = new BigInt64Array(words.buffer);
  const [unsigned = 0n] = new BigUint64Array(words.buffer);
  const value = kind === 'int64' ? Number(signed) : kind === 'uint64' ? Number(unsigned) : float;
  return [name, { timeMs, value, bad: isBad(quality), good: quality === 0 }];
}

function windowsOf(store: BlockStore): Map<string, Float64Array> {
  const found = new Map<string, Float64Array>();
  for (let id = 0; ; ) {
    const page = store.windowsAfter(id, PAGE);
    for (const { block, periodMs } of page) {
      joinAll(found, periodMs, decodeWindows(block));
    }
    const end = page.at(-1);
    if (end === undefined || page.length < PAGE) return found;
    id = end.id;
  }
}

function joinAll(found: Map<string, Float64Array>, periodMs: number, { length, tag, numbers }: WindowRows): void {
  for (let row = 0; row < length; row++) {
    const start = numbers[row * WINDOW_NUMBERS + W.start] ?? 0;
    const key = windowKey(periodMs, tag[row] ?? -1, start);
    const window = found.get(key) ?? emptyWindow(start);
    found.set(key, window);
    joinRow(window, numbers, row * WINDOW_NUMBERS);
  }
}

function differenceOf(
  window: Float64Array,
  periodMs: number,
  readings: readonly Reading[],
  isTimeOpen: boolean,
): string | undefined {
  const flags = window[W.flags] ?? 0;
  const startMs = window[W.start] ?? 0;
  const inside = readings.filter(({ timeMs }) => timeMs >= startMs && timeMs < startMs + periodMs);
  const values = inside.filter(({ bad }) => !bad).map(({ value }) => value);
  const total = window[W.total] ?? 0;
  if ((flags & FLAG.thin) !== 0) return undefined;
  // A part may stand beside a window of one reading, which was not written, or was open when its disk was copied.
  if ((flags & FLAG.part) !== 0 && total < inside.length) return undefined;
  if (total !== inside.length) return `${total} readings, and there were ${inside.length} (flags ${flags})`;
  const good = inside.filter((reading) => reading.good).length;
  if (window[W.good] !== good) return `${window[W.good]} good ones, and there were ${good}`;
  if (window[W.count] !== values.length) return `${window[W.count]} values, and there were ${values.length}`;
  if (values.length === 0) return undefined;
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const mean = values.reduce((sum, value) => sum + value / values.length, 0);
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const facts: [string, number | undefined, number, number][] = [
    ['min', window[W.min], values.reduce((a, b) => Math.min(a, b)), 0],
    ['max', window[W.max], values.reduce((a, b) => Math.max(a, b)), 0],
    ['first', window[W.first], values[0] ?? 0, 0],
    ['last', window[W.last], values.at(-1) ?? 0, 0],
    ['mean', window[W.mean], mean, largest * ROUNDING],
    // The mean it was counted with is off by as much.
    ['squares', window[W.m2], squares, squares * SQUARES_ROUNDING + values.length * (largest * ROUNDING) ** 2],
  ];
  if ((flags & (FLAG.part | FLAG.time)) === 0 && !isTimeOpen) {
    const { area, covered, held } = lasted(readings, startMs, startMs + periodMs);
    facts.push(['covered ms', window[W.covered], covered, periodMs * ROUNDING]);
    facts.push(['area', window[W.area], area, held * covered * ROUNDING]);
  }
  const wrong = facts.find(
    ([, found, expected, slack]) => found !== expected && !(Math.abs((found ?? Number.NaN) - expected) <= slack),
  );
  return wrong && `${wrong[0]} ${wrong[1]}, not ${wrong[2]} (flags ${flags})`;
}

/** Value × ms, the ms, and the largest value that lasted. */
function lasted(readings: readonly Reading[], startMs: number, endMs: number) {
  let [area, covered, held] = [0, 0, 0];
  readings.forEach(({ timeMs, value, bad }, at) => {
    const next = readings[at + 1]?.timeMs ?? Number.POSITIVE_INFINITY;
    const ms = Math.min(endMs, next, timeMs + HOLD_MS_MAX) - Math.max(timeMs, startMs);
    if (bad || ms <= 0) return;
    area += value * ms;
    covered += ms;
    held = Math.max(held, Math.abs(value));
  });
  return { area, covered, held };
}
