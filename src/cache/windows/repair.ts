/**
 * Windows whose readings came late are counted again from raw, in steps, and written as whole ones, which take the place of
 * their parts. Only where raw has all that the windows saw: the deadband thins raw, retention removes it. Then the parts stay:
 * merged, everything in them is exact but the time-weighted mean (and a reading that was alone in its window), as flags say.
 *
 * A late value also lasts into the window of the reading after it, which is therefore looked at as well. Nothing is kept of a
 * repair that a crash interrupts: what is to be repaired is in the checkpoint, and in the flags of what was written since.
 */
import { codeOf } from '../../errors.ts';
import type { Stamp } from '../journal.ts';
import { rawRemoved } from '../raw-removed.ts';
import type { BlockRow, BlockStore } from '../store.ts';
import { decodeWindows } from './block.ts';
import { addAll, newWindows, type WindowBook } from './book.ts';
import { RawReadings } from './raw.ts';
import type { Repair } from './repair-queue.ts';
import { WindowRows } from './rows.ts';
import { HOLD_MS_MAX } from './tag-times.ts';
import { emptyWindow, FLAG, joinRow, W, WINDOW_NUMBERS } from './window.ts';

/** Windows this far apart are repaired from one pass over the journal. */
const SPAN_MS = 3_600_000;
const REPAIRS_AT_ONCE = 1000;
/** Of 10,000 readings each: some 15 ms. */
const BLOCKS_A_STEP = 8;
const PAGE = 1024;
/** Some 30 MB. Half of the tags wait for their turn when there are more; a single tag with more stays as it is. */
const ROWS_MAX = 500_000;
/** Roll-up and acknowledgements move rows to other blocks meanwhile; then the pass begins anew. */
const TRIES_MAX = 5;
const INEXACT = FLAG.part | FLAG.time;

interface Job {
  readonly repairs: readonly Repair[];
  readonly fromMs: number;
  readonly toMs: number;
  readonly blocks: readonly BlockRow[];
  readonly raw: RawReadings;
  readonly tries: number;
  at: number;
}

export interface RepairParts {
  readonly store: BlockStore;
  readonly windows: WindowBook;
  /** In a transaction. */
  readonly transact: (work: () => void) => void;
}

export class WindowRepair {
  readonly #parts: RepairParts;
  #job: Job | undefined;

  constructor(parts: RepairParts) {
    this.#parts = parts;
  }

  /**
   * One bounded step, while all that the windows have seen is on disk: what waits for room is in no window yet that could be
   * counted again. @returns whether there may be more to do; not while the disk has no room for it.
   */
  step(now: Stamp): boolean {
    try {
      return this.#step(now);
    } catch (thrown) {
      if (codeOf(thrown) !== 'cache.full') throw thrown;
      return false;
    }
  }

  #step(now: Stamp): boolean {
    if (this.#job === undefined) return this.#begin(now);
    const job = this.#job;
    for (const end = Math.min(job.at + BLOCKS_A_STEP, job.blocks.length); job.at < end; job.at++) {
      const row = job.blocks[job.at];
      if (row === undefined) break;
      try {
        job.raw.addBlock(this.#parts.store, row);
      } catch {
        // Damaged, or gone: what is missing shows in the counts.
      }
      if (job.raw.rows > ROWS_MAX) return this.#halve(job);
    }
    if (job.at < job.blocks.length) return true;
    this.#job = undefined;
    const blocks = this.#blocks(job.fromMs, job.toMs);
    if (isUnchanged(job.blocks, blocks)) this.#finish(job);
    else if (job.tries < TRIES_MAX) this.#job = this.#makeJob(job.repairs, job.tries + 1);
    else for (const repair of job.repairs) this.#parts.windows.repairs.add(repair, now.monoMs);
    return true;
  }

  #begin(now: Stamp): boolean {
    const { windows } = this.#parts;
    const due = windows.repairs.due(now.monoMs, SPAN_MS, REPAIRS_AT_ONCE);
    const isOpen = ({ tag, periodMs, startMs }: Repair) =>
      windows.open.isOpen(tag, windows.periods.indexOf(periodMs), startMs);
    // One that is open again comes back when it closes; look later.
    for (const repair of due.filter(isOpen)) windows.repairs.add(repair, now.monoMs);
    const repairs = due.filter((repair) => !isOpen(repair));
    if (repairs.length === 0) return due.length > 0;
    this.#job = this.#makeJob(repairs, 0);
    return true;
  }

  #makeJob(repairs: readonly Repair[], tries: number): Job {
    let fromMs = Number.POSITIVE_INFINITY;
    let toMs = Number.NEGATIVE_INFINITY;
    for (const { startMs, periodMs } of repairs) {
      fromMs = Math.min(fromMs, startMs - HOLD_MS_MAX);
      // A value lasts into the window of the next reading, and that window ends a period later.
      toMs = Math.max(toMs, startMs + 2 * periodMs + HOLD_MS_MAX);
    }
    const tags = new Set(repairs.map(({ tag }) => tag));
    const raw = new RawReadings(tags, fromMs, toMs);
    return { repairs, fromMs, toMs, blocks: this.#blocks(fromMs, toMs), raw, tries, at: 0 };
  }

  #blocks(fromMs: number, toMs: number): BlockRow[] {
    const found: BlockRow[] = [];
    for (let id = 0; ; ) {
      const page = this.#parts.store.blocksBetween(fromMs, toMs, id, PAGE);
      found.push(...page);
      const end = page.at(-1);
      if (end === undefined || page.length < PAGE) return found;
      id = end.id + 1;
    }
  }

  #halve({ repairs, tries }: Job): boolean {
    const tags = [...new Set(repairs.map(({ tag }) => tag))];
    const mine = new Set(tags.slice(0, tags.length >> 1));
    if (mine.size > 0)
      this.#job = this.#makeJob(
        repairs.filter(({ tag }) => mine.has(tag)),
        tries,
      );
    else {
      this.#job = undefined;
      for (const repair of repairs) this.#parts.windows.repairs.remove(repair);
    }
    return true;
  }

  #finish({ repairs, raw }: Job): void {
    const { store, windows, transact } = this.#parts;
    raw.sort();
    // A tag may have been forgotten meanwhile.
    const wanted = repairs.filter((repair) => windows.repairs.has(repair));
    const waiting = windows.waiting();
    transact(() => {
      addAll(store, waiting);
      for (const periodMs of windows.periods) {
        const mine = wanted.filter((repair) => repair.periodMs === periodMs);
        if (mine.length > 0) this.#repair(mine, periodMs, raw);
      }
    });
    windows.written();
    for (const repair of wanted) windows.repairs.remove(repair);
  }

  #repair(repairs: readonly Repair[], periodMs: number, raw: RawReadings): void {
    const rows = new WindowRows(periodMs);
    const stored = this.#stored(repairs, periodMs);
    const targets = new Set(repairs.flatMap((repair) => reached(repair, raw, stored)));
    const { open, periods } = this.#parts.windows;
    const removedMs = rawRemoved(this.#parts.store).lastMs;
    for (const key of targets) {
      const [tag = 0, startMs = 0] = key.split(' ').map(Number);
      const before = stored.get(key)?.window;
      if (before === undefined || open.isOpen(tag, periods.indexOf(periodMs), startMs)) continue;
      const counted = raw.window(tag, startMs, periodMs);
      const isThere = removedMs < Math.max(raw.lastBefore(tag, startMs), startMs - HOLD_MS_MAX);
      if (isThere && hasAll(before, counted)) {
        if (isSame(before, counted)) continue;
        counted[W.flags] = FLAG.whole;
        rows.push(tag, counted, 0);
      } else if (((before[W.flags] ?? 0) & INEXACT) === 0) rows.push(tag, doubt(startMs), 0);
    }
    addAll(this.#parts.store, newWindows(rows));
  }

  /** `tag start` → the window as its rows say, of the tags to be repaired and the time that a value of theirs may last. */
  #stored(repairs: readonly Repair[], periodMs: number): Map<string, Stored> {
    const tags = new Set(repairs.map(({ tag }) => tag));
    const found = new Map<string, Stored>();
    const starts = repairs.map(({ startMs }) => startMs);
    const fromMs = starts.reduce((a, b) => Math.min(a, b));
    const toMs = starts.reduce((a, b) => Math.max(a, b)) + periodMs + HOLD_MS_MAX;
    for (let id = 0; ; ) {
      const page = this.#parts.store.windowsBetween(periodMs, fromMs, toMs, id, PAGE);
      for (const { block } of page) joinBlock(found, tags, block);
      const end = page.at(-1);
      if (end === undefined || page.length < PAGE) return found;
      id = end.id;
    }
  }
}

interface Stored {
  readonly window: Float64Array;
  /** Of the last value that came in time, and of the last that came late; a bad one that came late may be anywhere. */
  inTimeMs: number;
  lateMs: number;
}

function joinBlock(found: Map<string, Stored>, tags: ReadonlySet<number>, block: Uint8Array): void {
  let rows: WindowRows;
  try {
    rows = decodeWindows(block);
  } catch {
    return;
  }
  for (let row = 0; row < rows.length; row++) {
    const at = row * WINDOW_NUMBERS;
    if (!tags.has(rows.tag[row] as number)) continue; // in bounds
    joinStored(found, `${rows.tag[row]} ${rows.numbers[at + W.start]}`, rows.numbers, at);
  }
}

function joinStored(found: Map<string, Stored>, key: string, numbers: Float64Array, at: number): void {
  const number = (column: number) => numbers[at + column] as number; // in bounds
  const none = Number.NEGATIVE_INFINITY;
  const stored = found.get(key) ?? { window: emptyWindow(number(W.start)), inTimeMs: none, lateMs: none };
  found.set(key, stored);
  joinRow(stored.window, numbers, at);
  const lastMs = number(W.count) < number(W.total) ? Number.POSITIVE_INFINITY : number(W.lastMs);
  if ((number(W.flags) & FLAG.whole) !== 0) {
    // Counted again as the next of another: any of its values may have come late, and may last into the next window yet.
    stored.inTimeMs = none;
    stored.lateMs = lastMs;
  } else if ((number(W.flags) & FLAG.part) !== 0) stored.lateMs = Math.max(stored.lateMs, lastMs);
  else if (number(W.count) > 0) stored.inTimeMs = Math.max(stored.inTimeMs, number(W.lastMs));
}

/**
 * The window itself, and that of the next reading, when a late value lasts until then: `tag start` each. Where raw is gone,
 * the next window there is says where that reading is.
 */
function reached({ tag, periodMs, startMs }: Repair, raw: RawReadings, stored: ReadonlyMap<string, Stored>): string[] {
  const endMs = startMs + periodMs;
  const nextMs = raw.firstFrom(tag, endMs) ?? Number.POSITIVE_INFINITY;
  const own = `${tag} ${startMs}`;
  const found = new Set([own]);
  const known = stored.get(own);
  // One that is whole already was so as the next of another: how far its own late values reach is not known any more.
  const isPart = ((known?.window[W.flags] ?? 0) & INEXACT) !== 0;
  if (known !== undefined && isPart && known.lateMs < known.inTimeMs) return [own];
  if (nextMs < endMs + HOLD_MS_MAX) found.add(`${tag} ${Math.floor(nextMs / periodMs) * periodMs}`);
  for (let after = endMs; after < Math.min(endMs + HOLD_MS_MAX, nextMs); after += periodMs) {
    if (!stored.has(`${tag} ${after}`)) continue;
    found.add(`${tag} ${after}`);
    break;
  }
  return [...found];
}

/** Whether raw has all that the window saw. More, where one reading alone was not written, or its block is damaged. */
function hasAll(before: Float64Array, counted: Float64Array): boolean {
  return ((before[W.flags] ?? 0) & FLAG.thin) === 0 && (counted[W.total] ?? 0) >= (before[W.total] ?? 0);
}

function isSame(before: Float64Array, counted: Float64Array): boolean {
  if (((before[W.flags] ?? 0) & INEXACT) !== 0) return false;
  return before.every((number, column) => column === W.flags || number === counted[column]);
}

/** A row that adds nothing but that the time-weighted mean is an estimate. */
function doubt(startMs: number): Float64Array {
  const window = emptyWindow(startMs);
  window[W.flags] = FLAG.part | FLAG.time;
  return window;
}

function isUnchanged(before: readonly BlockRow[], after: readonly BlockRow[]): boolean {
  if (before.length !== after.length) return false;
  return before.every(({ id, n0, rows }, at) => {
    const other = after[at];
    return other !== undefined && other.id === id && other.n0 === n0 && other.rows === rows;
  });
}
