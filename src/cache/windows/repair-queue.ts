/**
 * Windows that readings came late into: to be counted again from raw, a while after the first such reading. Late readings
 * touch windows side by side (a source sends what it stored, a clock was set back), so runs of windows are kept, not windows.
 */
import type { WindowRows } from './rows.ts';
import { FLAG, W, WINDOW_NUMBERS } from './window.ts';

/** Late readings come in bursts: each window is counted once for all that came of it until then. */
const REPAIR_AFTER_MS = 10_000;
/** Some 10 MB. Windows beyond stay flagged as they are. */
const RUNS_MAX = 100_000;

/** Windows of one tag and length side by side. */
export interface Repair {
  readonly tag: number;
  readonly periodMs: number;
  /** Start of the first. */
  readonly fromMs: number;
  /** End of the last. */
  readonly toMs: number;
  /** After a crash: of what came late, rows may never have been written. */
  readonly unsure: boolean;
}

export type RepairState = readonly Repair[];

interface Run {
  fromMs: number;
  toMs: number;
  dueMs: number;
  unsure: boolean;
  /** Being counted: it does not grow any more. */
  taken: boolean;
}

export class RepairQueue {
  readonly #periods: readonly number[];
  /** By tag × lengths + length; each in order of time, none over another. */
  readonly #runs = new Map<number, Run[]>();
  #size = 0;
  /** No run is due before it. */
  #nextMs = Number.POSITIVE_INFINITY;

  constructor(periods: readonly number[]) {
    this.#periods = periods;
  }

  /** Runs of windows. */
  get size(): number {
    return this.#size;
  }

  /** @param nowMs monotonic. */
  note({ periodMs, length, tag, numbers }: WindowRows, nowMs: number): void {
    const level = this.#periods.indexOf(periodMs);
    for (let row = 0; row < length; row++) {
      const flags = numbers[row * WINDOW_NUMBERS + W.flags] as number; // in bounds, here and below
      if ((flags & (FLAG.part | FLAG.time)) === 0 || (flags & FLAG.whole) !== 0) continue;
      const startMs = numbers[row * WINDOW_NUMBERS + W.start] as number;
      this.#add(tag[row] as number, level, startMs, startMs + periodMs, nowMs, false);
    }
  }

  add({ tag, periodMs, fromMs, toMs, unsure }: Repair, nowMs: number): void {
    const level = this.#periods.indexOf(periodMs);
    if (level >= 0) this.#add(tag, level, fromMs, toMs, nowMs, unsure);
  }

  #add(tag: number, level: number, fromMs: number, toMs: number, nowMs: number, unsure: boolean): void {
    const runs = this.#runsOf(tag, level);
    let at = firstEnding(runs, fromMs);
    if (runs[at]?.taken === true && runs[at]?.toMs === fromMs) at++;
    const next = runs[at];
    if (next !== undefined && (next.taken ? next.fromMs < toMs : next.fromMs <= toMs)) {
      // What is being counted is counted once more when its blocks change.
      if (!next.taken) this.#join(runs, at, next, fromMs, toMs, unsure);
      return;
    }
    if (this.#size >= RUNS_MAX) return;
    const dueMs = nowMs + REPAIR_AFTER_MS;
    if (at === runs.length) runs.push({ fromMs, toMs, dueMs, unsure, taken: false });
    else runs.splice(at, 0, { fromMs, toMs, dueMs, unsure, taken: false });
    this.#nextMs = Math.min(this.#nextMs, dueMs);
    this.#size++;
  }

  /** What begins where another ends, or reaches into it, makes that longer. */
  #join(runs: Run[], at: number, run: Run, fromMs: number, toMs: number, unsure: boolean): void {
    run.unsure ||= unsure;
    run.fromMs = Math.min(run.fromMs, fromMs);
    if (run.toMs >= toMs) return;
    run.toMs = toMs;
    for (let next = runs[at + 1]; next !== undefined && !next.taken && next.fromMs <= run.toMs; next = runs[at + 1]) {
      run.toMs = Math.max(run.toMs, next.toMs);
      run.dueMs = Math.min(run.dueMs, next.dueMs);
      run.unsure ||= next.unsure;
      runs.splice(at + 1, 1);
      this.#size--;
    }
  }

  #runsOf(tag: number, level: number): Run[] {
    const key = tag * this.#periods.length + level;
    const runs = this.#runs.get(key) ?? [];
    if (runs.length === 0) this.#runs.set(key, runs);
    return runs;
  }

  /** Whether the window is to be counted again. */
  has(tag: number, periodMs: number, startMs: number): boolean {
    const runs = this.#runs.get(tag * this.#periods.length + this.#periods.indexOf(periodMs)) ?? [];
    const run = runs[firstEnding(runs, startMs + periodMs)];
    return run !== undefined && run.fromMs <= startMs;
  }

  /** What is left of it waits on. */
  remove({ tag, periodMs, fromMs, toMs }: Repair): void {
    const key = tag * this.#periods.length + this.#periods.indexOf(periodMs);
    const before = this.#runs.get(key);
    if (before === undefined) return;
    const left = before.flatMap((run) => {
      if (run.toMs <= fromMs || run.fromMs >= toMs) return [run];
      return [
        { ...run, toMs: Math.min(run.toMs, fromMs) },
        { ...run, fromMs: Math.max(run.fromMs, toMs) },
      ].filter((part) => part.fromMs < part.toMs);
    });
    this.#size += left.length - before.length;
    if (left.length === 0) this.#runs.delete(key);
    else this.#runs.set(key, left);
  }

  forget(tag: number): void {
    for (let level = 0; level < this.#periods.length; level++) {
      const key = tag * this.#periods.length + level;
      this.#size -= this.#runs.get(key)?.length ?? 0;
      this.#runs.delete(key);
    }
  }

  /** Takes the first that is due and all others that are, as far as they lie within `spanMs` from its start. */
  take(nowMs: number, spanMs: number, most: number): Repair[] {
    if (nowMs < this.#nextMs) return [];
    let nextMs = Number.POSITIVE_INFINITY;
    let startMs: number | undefined;
    const found: Repair[] = [];
    for (const [key, runs] of this.#runs) {
      const tag = Math.floor(key / this.#periods.length);
      const periodMs = this.#periods[key % this.#periods.length] ?? 1;
      for (const { dueMs, fromMs, toMs, unsure } of runs) {
        if (dueMs > nowMs) nextMs = Math.min(nextMs, dueMs);
        if (dueMs > nowMs || found.length >= most) continue;
        startMs ??= fromMs;
        const from = Math.max(fromMs, Math.floor(startMs / periodMs) * periodMs);
        const end = Math.max(Math.floor((startMs + spanMs) / periodMs) * periodMs, from + periodMs);
        if (from < toMs && from < startMs + spanMs)
          found.push({ tag, periodMs, fromMs: from, toMs: Math.min(toMs, end), unsure });
      }
    }
    if (found.length === 0) this.#nextMs = nextMs;
    for (const repair of found) this.#mark(repair);
    return found;
  }

  #mark(repair: Repair): void {
    this.remove(repair);
    const runs = this.#runsOf(repair.tag, this.#periods.indexOf(repair.periodMs));
    const at = firstEnding(runs, repair.toMs);
    const { fromMs, toMs, unsure } = repair;
    runs.splice(at, 0, { fromMs, toMs, unsure, dueMs: Number.POSITIVE_INFINITY, taken: true });
    this.#size++;
  }

  state(): RepairState {
    return [...this.#runs].flatMap(([key, runs]) => {
      const tag = Math.floor(key / this.#periods.length);
      const periodMs = this.#periods[key % this.#periods.length] ?? 1;
      return runs.map(({ fromMs, toMs, unsure }) => ({ tag, periodMs, fromMs, toMs, unsure }));
    });
  }

  restore(state: RepairState, nowMs: number): void {
    for (const repair of state) this.add(repair, nowMs);
  }
}

/** The first run that ends at that time or later; most often it is the last, or behind it. */
function firstEnding(runs: readonly Run[], timeMs: number): number {
  let high = runs.length;
  if (high === 0 || (runs[high - 1] as Run).toMs < timeMs) return high; // in bounds, here and below
  let low = 0;
  if (high > 1 && (runs[high - 2] as Run).toMs < timeMs) return high - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((runs[middle] as Run).toMs < timeMs) low = middle + 1;
    else high = middle;
  }
  return low;
}
