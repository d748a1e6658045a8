/**
 * Tumbling windows of every tag, several lengths at once. Readings go into the shortest one; when that closes it is merged
 * into the next longer one, and so on. A window closes when a later reading of its tag arrives, or when its end has passed by
 * `CLOSE_AFTER_MS` in the tag's own time: a source may tell of yesterday, or have a clock that was never set. Windows of one reading or none are not written: they would say what raw says.
 *
 * Time-weighted: a tag has a running area (value × how long it lasted) and covered time; a window's own is what was added
 * between its start and its end. A value lasts until the next one, for `HOLD_MS_MAX` at most; a bad reading ends it.
 *
 * A reading older than its open window goes into a part of its own, written flagged `LATE`; readers merge the parts. It is
 * not recomputed from raw, because raw lacks what the deadband thinned. (Where the window had one reading in time, that one
 * was not written; the flag says that raw is the better answer.) Many late ones in a row mean that the clock was
 * set back: the open windows are then closed as they are and new ones opened.
 */
import type { SlotKind } from '../../reading.ts';
import { THINNED } from '../../reading.ts';
import type { SortedRows } from '../../wire/sort.ts';
import { asNumbers } from './integers.ts';
import { LateParts } from './late.ts';
import { WindowRows } from './rows.ts';
import { clearWindow, foldBad, foldValue, LATE, mergeWindow, W, WINDOW_NUMBERS } from './window.ts';

/** For readings that are in order but slow to come: polls of slow devices, batches from brokers. */
const CLOSE_AFTER_MS = 2000;
/** Five times the longest silence that a healthy tag keeps by default. */
export const HOLD_MS_MAX = 300_000;
const LATE_IN_A_ROW_MAX = 64;
const BAD = 0x40;

/** Positions in a tag's running numbers; readings before `closedMs`, the end of the last closed window, are late. */
const R = {
  area: 0,
  covered: 1,
  holdMs: 2,
  holdValue: 3,
  lateInARow: 4,
  closedMs: 5,
  seenMs: 6,
  arrivedMs: 7,
} as const;
export const RUNNING_NUMBERS = 8;

export interface WindowSource {
  readonly timeMs: Float64Array;
  readonly value: Float64Array;
  readonly quality: Uint8Array;
}

export class WindowAccumulator {
  readonly periods: readonly number[];
  readonly #base: number;
  #capacity = 0;
  #levels: Float64Array[];
  #running = new Float64Array(0);
  readonly #late = new LateParts();
  #closed: WindowRows[];
  #tags = 0;

  /** @param periods ms, ascending, each a multiple of the one before; none switches windows off. */
  constructor(periods: readonly number[]) {
    this.periods = periods;
    this.#base = periods[0] ?? Number.POSITIVE_INFINITY;
    this.#levels = periods.map(() => new Float64Array(0));
    this.#closed = periods.map((period) => new WindowRows(period));
  }

  /** @param kindOf by the tags' numbers; texts have no windows. @param nowMs monotonic. */
  add(rows: WindowSource, sorted: SortedRows, kindOf: (tag: number) => SlotKind, nowMs: number): void {
    if (this.periods.length === 0) return;
    const highest = sorted.tags.at(-1);
    if (highest !== undefined) this.#makeRoom(highest + 1);
    for (let t = 0; t < sorted.tags.length; t++) {
      const tag = sorted.tags[t] as number; // in bounds, here and below
      const kind = kindOf(tag);
      if (kind === 'text') continue;
      const start = sorted.starts[t] as number;
      const end = sorted.starts[t + 1] as number;
      const value =
        kind === 'int64' || kind === 'uint64' ? asNumbers(rows.value, sorted.order, start, end, kind) : rows.value;
      this.#addTag(tag, rows, value, sorted.order, start, end);
      this.#running[tag * RUNNING_NUMBERS + R.arrivedMs] = nowMs;
    }
  }

  #addTag(tag: number, rows: WindowSource, value: Float64Array, order: Uint32Array, start: number, end: number): void {
    const { timeMs, quality } = rows;
    const base = this.#levels[0] as Float64Array;
    const at = tag * WINDOW_NUMBERS;
    const running = this.#running;
    const r = tag * RUNNING_NUMBERS;
    for (let i = start; i < end; i++) {
      const row = order[i] as number;
      const time = timeMs[row] as number;
      const q = (quality[row] as number) & ~THINNED;
      const from = base[at + W.start] as number;
      // NaN, no window, makes both comparisons false.
      if (!(time >= from && time < from + this.#base)) {
        const isLate = time < from || time < (running[r + R.closedMs] as number);
        if (isLate && (running[r + R.lateInARow] as number) < LATE_IN_A_ROW_MAX) {
          running[r + R.lateInARow] = (running[r + R.lateInARow] as number) + 1;
          this.#addLate(tag, time, value[row] as number, q);
          continue;
        }
        this.#moveTo(tag, time, isLate);
      }
      running[r + R.lateInARow] = 0;
      running[r + R.seenMs] = time;
      this.#hold(r, time, value[row] as number, q);
      if (q >= BAD) foldBad(base, at);
      else foldValue(base, at, time, value[row] as number, q === 0);
    }
  }

  /** The running area up to `time`, and from there on with the new value. */
  #hold(r: number, time: number, value: number, q: number): void {
    const running = this.#running;
    const held = time - (running[r + R.holdMs] as number);
    if (held < 0) return; // within the open window, but older than the last: the area is past it
    if (held > 0) {
      const lasted = Math.min(held, HOLD_MS_MAX);
      running[r + R.area] = (running[r + R.area] as number) + (running[r + R.holdValue] as number) * lasted;
      running[r + R.covered] = (running[r + R.covered] as number) + lasted;
    }
    running[r + R.holdMs] = q >= BAD ? Number.NaN : time;
    running[r + R.holdValue] = value;
  }

  #areaAt(r: number, time: number): number {
    const held = time - (this.#running[r + R.holdMs] as number);
    const area = this.#running[r + R.area] as number;
    return held > 0 ? area + (this.#running[r + R.holdValue] as number) * Math.min(held, HOLD_MS_MAX) : area;
  }

  #coveredAt(r: number, time: number): number {
    const held = time - (this.#running[r + R.holdMs] as number);
    const covered = this.#running[r + R.covered] as number;
    return held > 0 ? covered + Math.min(held, HOLD_MS_MAX) : covered;
  }

  /** Closes what ended before `time` (all of it, when the clock was set back) and opens the windows around it. */
  #moveTo(tag: number, time: number, back: boolean): void {
    const at = tag * WINDOW_NUMBERS;
    const r = tag * RUNNING_NUMBERS;
    if (back) this.#closeAll(tag, LATE);
    else this.#closeEnded(tag, time);
    if (back) {
      this.#running[r + R.holdMs] = Number.NaN;
      this.#running[r + R.closedMs] = Number.NEGATIVE_INFINITY;
    }
    for (let level = 0; level < this.periods.length; level++) {
      const w = this.#levels[level] as Float64Array;
      if (!Number.isNaN(w[at + W.start] as number)) break; // longer ones hold this time as well
      const period = this.periods[level] as number;
      const from = Math.floor(time / period) * period;
      clearWindow(w, at, from, this.#areaAt(r, from), this.#coveredAt(r, from));
      // Late parts of these very windows may have been written: a part of one reading counts then as well.
      if (back) w[at + W.flags] = LATE;
    }
  }

  /** Shortest first: each is merged into the next, which may then end as well. */
  #closeEnded(tag: number, time: number): void {
    const at = tag * WINDOW_NUMBERS;
    for (let level = 0; level < this.periods.length; level++) {
      const from = this.#levels[level]?.[at + W.start] as number;
      if (time < from + (this.periods[level] as number)) return;
      if (!Number.isNaN(from)) this.#close(tag, level, 0);
    }
  }

  #closeAll(tag: number, flags: number): void {
    for (let level = 0; level < this.periods.length; level++) {
      if (!Number.isNaN(this.#levels[level]?.[tag * WINDOW_NUMBERS + W.start] as number))
        this.#close(tag, level, flags);
    }
  }

  #close(tag: number, level: number, flags: number): void {
    const w = this.#levels[level] as Float64Array;
    const at = tag * WINDOW_NUMBERS;
    const r = tag * RUNNING_NUMBERS;
    const end = (w[at + W.start] as number) + (this.periods[level] as number);
    w[at + W.area] = this.#areaAt(r, end) - (w[at + W.area] as number);
    w[at + W.covered] = this.#coveredAt(r, end) - (w[at + W.covered] as number);
    if (flags !== 0) w[at + W.flags] = flags;
    const longer = this.#levels[level + 1];
    if (longer !== undefined && !Number.isNaN(longer[at + W.start] as number)) mergeWindow(longer, at, w, at);
    if ((w[at + W.total] as number) > 1 || (w[at + W.flags] as number) !== 0) this.#closed[level]?.push(tag, w, at);
    w[at + W.start] = Number.NaN;
    if (level === 0) this.#running[r + R.closedMs] = end;
  }

  /** Longer windows that are still open take it as usual; the others get a part of their own. */
  #addLate(tag: number, time: number, value: number, q: number): void {
    this.periods.forEach((period, level) => {
      const open = this.#levels[level] as Float64Array;
      const at = tag * WINDOW_NUMBERS;
      const from = Math.floor(time / period) * period;
      const isOpen = from === open[at + W.start];
      const target = isOpen ? open : this.#late.part(level, tag, from);
      if (q >= BAD) foldBad(target, isOpen ? at : 0);
      else foldValue(target, isOpen ? at : 0, time, value, q === 0);
    });
  }

  /** Closes what has passed in each tag's own time: its last reading's, and what went by since that arrived. */
  closePassed(nowMs: number): void {
    const [shortest] = this.#levels;
    for (let tag = 0; tag < this.#tags; tag++) {
      const at = tag * WINDOW_NUMBERS;
      const r = tag * RUNNING_NUMBERS;
      const time =
        (this.#running[r + R.seenMs] as number) + nowMs - (this.#running[r + R.arrivedMs] as number) - CLOSE_AFTER_MS;
      if (time >= (shortest?.[at + W.start] as number) + this.#base) this.#closeEnded(tag, time);
      else if (Number.isNaN(shortest?.[at + W.start] as number)) this.#closeLonger(tag, time);
    }
  }

  /** The shortest is closed already: the longer ones end by themselves. */
  #closeLonger(tag: number, time: number): void {
    for (let level = 1; level < this.periods.length; level++) {
      const from = this.#levels[level]?.[tag * WINDOW_NUMBERS + W.start] as number;
      if (Number.isNaN(from)) continue;
      if (time < from + (this.periods[level] as number)) return;
      this.#close(tag, level, 0);
    }
  }

  /** What closed since the last call, late parts included; only lengths that have any. */
  take(): WindowRows[] {
    this.#late.moveTo(this.#closed);
    const taken = this.#closed.filter(({ length }) => length > 0);
    if (taken.length > 0)
      this.#closed = this.#closed.map((rows) => (rows.length > 0 ? new WindowRows(rows.periodMs) : rows));
    return taken;
  }

  /** Forgets an open window: it was written before. */
  drop(tag: number, level: number, startMs: number): void {
    const w = this.#levels[level];
    const at = tag * WINDOW_NUMBERS;
    if (w !== undefined && w[at + W.start] === startMs) w[at + W.start] = Number.NaN;
  }

  /** For a checkpoint: all open windows and running numbers. */
  state(): { readonly tags: number; readonly levels: readonly Float64Array[]; readonly running: Float64Array } {
    const levels = this.#levels.map((w) => w.slice(0, this.#tags * WINDOW_NUMBERS));
    return { tags: this.#tags, levels, running: this.#running.slice(0, this.#tags * RUNNING_NUMBERS) };
  }

  /** @param nowMs monotonic: what went by while nobody counted does not close anything. */
  restore(state: ReturnType<WindowAccumulator['state']>, nowMs: number): void {
    this.#makeRoom(state.tags);
    state.levels.forEach((numbers, level) => {
      this.#levels[level]?.set(numbers);
    });
    this.#running.set(state.running);
    for (let tag = 0; tag < state.tags; tag++) this.#running[tag * RUNNING_NUMBERS + R.arrivedMs] = nowMs;
  }

  #makeRoom(tags: number): void {
    this.#tags = Math.max(this.#tags, tags);
    if (tags <= this.#capacity) return;
    const capacity = Math.max(tags, this.#capacity * 2, 64);
    this.#levels = this.#levels.map((old) => grown(old, capacity * WINDOW_NUMBERS));
    this.#running = grown(this.#running, capacity * RUNNING_NUMBERS);
    for (let tag = this.#capacity; tag < capacity; tag++) {
      for (const w of this.#levels) w[tag * WINDOW_NUMBERS + W.start] = Number.NaN;
      this.#running.fill(0, tag * RUNNING_NUMBERS, (tag + 1) * RUNNING_NUMBERS);
      this.#running[tag * RUNNING_NUMBERS + R.holdMs] = Number.NaN;
      this.#running[tag * RUNNING_NUMBERS + R.closedMs] = Number.NEGATIVE_INFINITY;
    }
    this.#capacity = capacity;
  }
}

function grown(old: Float64Array, length: number): Float64Array<ArrayBuffer> {
  const next = new Float64Array(length);
  next.set(old);
  return next;
}
