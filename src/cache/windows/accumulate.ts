/**
 * Tumbling windows of every tag, several lengths at once. Readings go into the shortest one; when that closes it is merged
 * into the next longer one, and so on. A window closes when a later reading of its tag arrives, or when its end has passed by
 * `CLOSE_AFTER_MS` in the tag's own time: a source may tell of yesterday, or have a clock that was never set. Windows of one
 * reading or none are not written: they would say what raw says.
 *
 * Time-weighted: a value lasts until the next one, for `HOLD_MS_MAX` at most; a bad reading ends it. Each window adds up its
 * own time, so that nothing grows with the months; a longer one has that of the shorter ones and of the gaps between them.
 *
 * A reading older than its open window goes into a part of its own, written at once and flagged; readers merge the parts,
 * and `repair.ts` counts the window again where raw still has all of it. Many late ones in a row mean that the clock was set
 * back: the open windows are then closed as they are and new ones opened, as parts while there are rows of that time already.
 */
import { type SlotKind, THINNED } from '../../reading.ts';
import type { SortedRows } from '../../wire/sort.ts';
import { asNumbers } from './integers.ts';
import { LateParts } from './late.ts';
import { WindowRows } from './rows.ts';
import { foldRun } from './run.ts';
import { NO_SCALE, settleWindow } from './scale.ts';
import { foldSingles } from './singles.ts';
import type { AccumulatorState, WindowSource } from './source.ts';
import { BAD, LATE_IN_A_ROW_MAX, R, TagTimes } from './tag-times.ts';
import { clearWindow, FLAG, foldBad, foldValue, mergeChild, moreWindows, W, WINDOW_NUMBERS } from './window.ts';

/** For readings that are in order but slow to come: polls of slow devices, batches from brokers. */
const CLOSE_AFTER_MS = 2000;

export class WindowAccumulator {
  readonly periods: readonly number[];
  readonly #base: number;
  #capacity = 0;
  #levels: Float64Array[];
  readonly #times: TagTimes;
  readonly #late: LateParts;
  #closed: WindowRows[];
  #tags = 0;

  /** @param periods ms, ascending, each a multiple of the one before; none switches windows off. */
  constructor(periods: readonly number[]) {
    this.periods = periods;
    this.#base = periods[0] ?? Number.POSITIVE_INFINITY;
    this.#levels = periods.map(() => new Float64Array(0));
    this.#times = new TagTimes(periods.length);
    this.#late = new LateParts(periods);
    this.#closed = periods.map((period) => new WindowRows(period));
  }

  /** @param kindOf by the tags' numbers; texts have no windows. @param nowMs monotonic. */
  add(rows: WindowSource, sorted: SortedRows, kindOf: (tag: number) => SlotKind, nowMs: number): void {
    if (this.periods.length === 0) return;
    const isThinned = sorted.kept < sorted.order.length;
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
      if (isThinned) this.#times.noteThinned(tag, rows, sorted.order, start, end);
      this.#times.running[this.#times.at(tag) + R.arrivedMs] = nowMs;
    }
  }

  #addTag(tag: number, rows: WindowSource, value: Float64Array, order: Uint32Array, start: number, end: number): void {
    const { timeMs, quality } = rows;
    const base = this.#levels[0] as Float64Array;
    const at = tag * WINDOW_NUMBERS;
    const times = this.#times;
    const running = times.running;
    const r = times.at(tag);
    for (let i = start; i < end; i++) {
      i = foldRun(base, at, running, r, rows, value, order, i, end, (base[at + W.start] as number) + this.#base);
      if (i < end) i = foldSingles(this.#levels, this.periods, at, running, r, rows, value, order, i, end);
      if (i >= end) break;
      const row = order[i] as number;
      const time = timeMs[row] as number;
      const q = (quality[row] as number) & ~THINNED;
      const from = base[at + W.start] as number;
      // NaN, no window, makes both comparisons false.
      if (!(time >= from && time < from + this.#base)) {
        const isLate = time < from || time < (running[r + R.closedMs] as number);
        if (isLate && (running[r + R.lateInARow] as number) < LATE_IN_A_ROW_MAX) {
          running[r + R.lateInARow] = (running[r + R.lateInARow] as number) + 1;
          this.#times.late(this.#levels, tag, time, value[row] as number, q);
          this.#late.add(this.#levels, tag, time, value[row] as number, q);
          continue;
        }
        if (isLate || !this.#next(tag, r, time)) this.#moveTo(tag, time, isLate);
        if ((running[r + R.unsure] as number) !== 0) this.#times.sureAgain(this.#levels, tag, time);
      }
      running[r + R.lateInARow] = 0;
      running[r + R.seenMs] = time;
      if (time < (running[r + R.upTo] as number)) this.#times.outOfOrder(this.#levels, tag, time);
      else {
        times.extend(base, at, r, 0, time);
        running[r + R.holdMs] = q >= BAD ? Number.NaN : time;
        running[r + R.holdValue] = value[row] as number;
      }
      if (q >= BAD) foldBad(base, at);
      else foldValue(base, at, time, value[row] as number, q === 0);
    }
  }

  /** The common case of `#moveTo`: the shortest window ended, the next longer one goes on. @returns whether it is this. */
  #next(tag: number, r: number, time: number): boolean {
    const [base, longer] = this.#levels;
    const at = tag * WINDOW_NUMBERS;
    if (longer === undefined || base === undefined) return false;
    const { running } = this.#times;
    // NaN, no window, makes it false.
    if (!(time < (longer[at + W.start] as number) + (this.periods[1] as number))) return false;
    if (!Number.isNaN(base[at + W.start] as number)) this.#close(tag, 0, 0);
    const from = Math.floor(time / this.#base) * this.#base;
    this.#times.extend(longer, at, r, 1, from);
    clearWindow(base, at, from);
    this.#times.open(r, 0, from);
    if (from < (running[r + R.knownMs] as number)) base[at + W.flags] = FLAG.part | FLAG.time;
    return true;
  }

  /** Closes what ended before `time` (all of it, when the clock was set back) and opens the windows around it. */
  #moveTo(tag: number, time: number, back: boolean): void {
    const at = tag * WINDOW_NUMBERS;
    const r = this.#times.at(tag);
    const { running } = this.#times;
    if (back) {
      this.#late.moveTo(this.#closed); // they came before what follows
      this.#closeUpTo(tag, this.periods.length - 1, FLAG.part | FLAG.time);
      running[r + R.holdMs] = Number.NaN;
      running[r + R.closedMs] = Number.NEGATIVE_INFINITY;
      running[r + R.seenMs] = Number.NEGATIVE_INFINITY;
    } else this.#closeEnded(tag, time);
    for (let level = 0, inner = Number.NaN; level < this.periods.length; level++) {
      const w = this.#levels[level] as Float64Array;
      const period = this.periods[level] as number;
      const isOpen = !Number.isNaN(w[at + W.start] as number);
      const from = Math.floor(time / period) * period;
      if (!isOpen) {
        clearWindow(w, at, from);
        this.#times.open(r, level, from);
        if (from < (running[r + R.knownMs] as number)) w[at + W.flags] = FLAG.part | FLAG.time;
      }
      // What lasted until the shorter window in it begins.
      if (level > 0) this.#times.extend(w, at, r, level, inner);
      if (isOpen) break; // longer ones hold this time as well
      inner = from;
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

  #closeUpTo(tag: number, highest: number, flags: number): void {
    for (let level = 0; level <= highest; level++) {
      if (!Number.isNaN(this.#levels[level]?.[tag * WINDOW_NUMBERS + W.start] as number))
        this.#close(tag, level, flags);
    }
  }

  #close(tag: number, level: number, flags: number): void {
    const w = this.#levels[level] as Float64Array;
    const at = tag * WINDOW_NUMBERS;
    const r = this.#times.at(tag);
    const { running } = this.#times;
    const end = (w[at + W.start] as number) + (this.periods[level] as number);
    this.#times.extend(w, at, r, level, end);
    if (flags !== 0) w[at + W.flags] = (w[at + W.flags] as number) | flags;
    const longer = this.#levels[level + 1];
    if (longer !== undefined && !Number.isNaN(longer[at + W.start] as number)) {
      mergeChild(longer, at, w);
      running[r + R.upTo + level + 1] = end;
    }
    if ((w[at + W.total] as number) > 1 || ((w[at + W.flags] as number) & FLAG.part) !== 0) {
      running[r + R.scale] = settleWindow(w, at, running[r + R.scale] as number);
      this.#closed[level]?.push(tag, w, at);
    }
    w[at + W.start] = Number.NaN;
    if (level === 0) running[r + R.closedMs] = end;
    if (end > (running[r + R.knownMs] as number)) running[r + R.knownMs] = end;
  }

  /** Closes what has passed in each tag's own time: its last reading's, and what went by since that arrived. */
  closePassed(nowMs: number): void {
    const [shortest] = this.#levels;
    const { running } = this.#times;
    for (let tag = 0; tag < this.#tags; tag++) {
      const r = this.#times.at(tag);
      const from = shortest?.[tag * WINDOW_NUMBERS + W.start] as number;
      const time = (running[r + R.seenMs] as number) + nowMs - (running[r + R.arrivedMs] as number) - CLOSE_AFTER_MS;
      if (time >= from + this.#base) this.#closeEnded(tag, time);
      else if (Number.isNaN(from)) this.#closeLonger(tag, time);
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
      this.#closed = this.#closed.map((rows) => (rows.length > 0 ? new WindowRows(rows.periodMs, rows.length) : rows));
    return taken;
  }

  /** NaN: none is open. */
  openMs(tag: number, level: number): number {
    return tag < this.#tags ? (this.#levels[level]?.[tag * WINDOW_NUMBERS + W.start] ?? Number.NaN) : Number.NaN;
  }

  isOpen(tag: number, level: number, startMs: number): boolean {
    return tag < this.#tags && this.#levels[level]?.[tag * WINDOW_NUMBERS + W.start] === startMs;
  }

  /** Closes open windows that were written before, and the shorter ones in them, as that did. */
  closeWritten(isWritten: (tag: number, level: number, startMs: number) => boolean): void {
    for (let tag = 0; tag < this.#tags; tag++) {
      for (let level = 0; level < this.periods.length; level++) {
        const start = this.#levels[level]?.[tag * WINDOW_NUMBERS + W.start] as number;
        if (!Number.isNaN(start) && isWritten(tag, level, start)) this.#closeUpTo(tag, level, 0);
      }
    }
  }

  /** Readings of the tags that are meant may be missing: in their open windows, and last of all. */
  lost(isMeant: (tag: number) => boolean): void {
    for (let tag = 0; tag < this.#tags; tag++) {
      if (!isMeant(tag)) continue;
      this.#times.running[this.#times.at(tag) + R.unsure] = 1;
      const at = tag * WINDOW_NUMBERS + W.flags;
      for (const w of this.#levels) w[at] = (w[at] as number) | FLAG.thin;
    }
  }

  /** Up to that time windows of the tag are written, whether or not they were seen here. */
  known(tag: number, endMs: number): void {
    this.#makeRoom(tag + 1);
    this.#times.known(tag, endMs);
  }

  /** Up to that time the journal has not all that its windows saw; −∞: it has. */
  missingMs(tag: number): number {
    return tag < this.#tags
      ? (this.#times.running[this.#times.at(tag) + R.missingMs] as number)
      : Number.NEGATIVE_INFINITY;
  }

  /** As if nothing of the tag had ever come. */
  forget(tag: number): void {
    if (tag >= this.#tags) return;
    for (const w of this.#levels) w[tag * WINDOW_NUMBERS + W.start] = Number.NaN;
    this.#times.clear(tag, NO_SCALE);
    this.#late.forget(tag);
  }

  /** For a checkpoint: all open windows and running numbers. */
  state(): AccumulatorState {
    const levels = this.#levels.map((w) => w.slice(0, this.#tags * WINDOW_NUMBERS));
    return { tags: this.#tags, levels, running: this.#times.running.slice(0, this.#times.at(this.#tags)) };
  }

  /** @param nowMs monotonic: what went by while nobody counted does not close anything. */
  restore(state: AccumulatorState, nowMs: number): void {
    this.#makeRoom(state.tags);
    state.levels.forEach((numbers, level) => {
      this.#levels[level]?.set(numbers);
    });
    this.#times.running.set(state.running);
    for (let tag = 0; tag < state.tags; tag++) this.#times.running[this.#times.at(tag) + R.arrivedMs] = nowMs;
  }

  #makeRoom(tags: number): void {
    this.#tags = Math.max(this.#tags, tags);
    if (tags <= this.#capacity) return;
    const capacity = Math.max(tags, this.#capacity * 2, 64);
    this.#levels = this.#levels.map((old) => moreWindows(old, this.#capacity, capacity));
    this.#times.grow(this.#capacity, capacity, NO_SCALE);
    this.#capacity = capacity;
  }
}
