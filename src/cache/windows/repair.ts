/**
 * Windows whose readings came late are counted again from raw, in steps, and written as whole ones, which take the place of
 * their parts. Only where raw has all that the windows saw: the deadband thins raw, retention removes it. Then the parts stay:
 * merged, everything in them is exact but the time-weighted mean, as flags say; where not even that is sure, they say so.
 *
 * A late value also lasts into the window of the reading after it, which is therefore looked at as well. Nothing is kept of a
 * repair that a crash interrupts: what is to be repaired is in the checkpoint, and in the flags of what was written since.
 */
import { codeOf } from '../../errors.ts';
import type { Stamp } from '../journal.ts';
import type { BlockRow, BlockStore } from '../store.ts';
import { addAll, type WindowBook } from './book.ts';
import { RawReadings } from './raw.ts';
import { Recount } from './recount.ts';
import type { Repair } from './repair-queue.ts';
import { HOLD_MS_MAX } from './tag-times.ts';

/** Windows this far apart are repaired from one pass over the journal. */
const SPAN_MS = 3_600_000;
/** Runs of windows side by side. */
const REPAIRS_AT_ONCE = 1000;
/** Of 10,000 readings each: some 15 ms. */
const BLOCKS_A_STEP = 8;
const PAGE = 1024;
/** Some 10 MB. Half of the tags, or of the time, waits for its turn when there are more. */
const ROWS_MAX = 500_000;
/** Roll-up and acknowledgements move rows to other blocks meanwhile; then the pass begins anew. */
const TRIES_MAX = 5;

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
  /** Of what was taken, for later. */
  #others: (readonly Repair[])[] = [];

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
      if (job.raw.rows > ROWS_MAX && this.#halve(job)) return true;
    }
    if (job.at < job.blocks.length) return true;
    this.#job = undefined;
    const isUnchanged = same(job.blocks, this.#blocks(job.fromMs, job.toMs));
    if (!isUnchanged && job.tries < TRIES_MAX) this.#job = this.#makeJob(job.repairs, job.tries + 1);
    else {
      // Whatever comes between, also a disk without room: they are due again later.
      const { repairs } = this.#parts.windows;
      const wanted = job.repairs.filter(({ tag, periodMs, fromMs }) => repairs.has(tag, periodMs, fromMs));
      for (const repair of wanted) this.#later(repair, now);
      if (isUnchanged) this.#finish(wanted, job.raw);
    }
    return true;
  }

  #begin(now: Stamp): boolean {
    const other = this.#others.pop();
    if (other !== undefined) {
      this.#job = this.#makeJob(other, 0);
      return true;
    }
    const taken = this.#parts.windows.repairs.take(now.monoMs, SPAN_MS, REPAIRS_AT_ONCE);
    const repairs = taken.flatMap((repair) => this.#withoutOpen(repair, now));
    if (repairs.length > 0) this.#job = this.#makeJob(repairs, 0);
    return taken.length > 0;
  }

  /** A window that is open again comes back when it closes; until then it is looked at later. */
  #withoutOpen(repair: Repair, now: Stamp): Repair[] {
    const { open, periods } = this.#parts.windows;
    const { tag, periodMs, fromMs, toMs } = repair;
    const openMs = open.openMs(tag, periods.indexOf(periodMs));
    if (!(openMs >= fromMs && openMs < toMs)) return [repair];
    this.#later({ ...repair, fromMs: openMs, toMs: openMs + periodMs }, now);
    const parts = [
      { ...repair, toMs: openMs },
      { ...repair, fromMs: openMs + periodMs },
    ];
    return parts.filter((part) => part.fromMs < part.toMs);
  }

  #later(repair: Repair, now: Stamp): void {
    this.#parts.windows.repairs.remove(repair);
    this.#parts.windows.repairs.add(repair, now.monoMs);
  }

  #makeJob(repairs: readonly Repair[], tries: number): Job {
    let fromMs = Number.POSITIVE_INFINITY;
    let toMs = Number.NEGATIVE_INFINITY;
    for (const repair of repairs) {
      fromMs = Math.min(fromMs, repair.fromMs - HOLD_MS_MAX);
      // A value lasts into the window of the next reading, and that window ends a period later.
      toMs = Math.max(toMs, repair.toMs + repair.periodMs + HOLD_MS_MAX);
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

  /** @returns false for a single window, which is counted however many readings it has. */
  #halve({ repairs, tries }: Job): boolean {
    const halves = halved(repairs);
    if (halves === undefined) return false;
    this.#job = this.#makeJob(halves[0], tries);
    this.#others.push(halves[1]);
    return true;
  }

  /** @param wanted a tag may have been forgotten meanwhile. */
  #finish(wanted: readonly Repair[], raw: RawReadings): void {
    const { store, windows, transact } = this.#parts;
    raw.sort();
    const waiting = windows.waiting();
    transact(() => {
      addAll(store, waiting);
      for (const periodMs of windows.periods) {
        const mine = wanted.filter((repair) => repair.periodMs === periodMs);
        if (mine.length > 0) new Recount(store, windows, raw, periodMs).write(mine);
      }
    });
    windows.written();
    for (const repair of wanted) windows.repairs.remove(repair);
  }
}

/** By tags, else by time; undefined for one window. */
function halved(repairs: readonly Repair[]): [Repair[], Repair[]] | undefined {
  const tags = [...new Set(repairs.map(({ tag }) => tag))];
  if (tags.length > 1) {
    const mine = new Set(tags.slice(0, tags.length >> 1));
    return [repairs.filter(({ tag }) => mine.has(tag)), repairs.filter(({ tag }) => !mine.has(tag))];
  }
  if (repairs.length > 1) return [repairs.slice(0, repairs.length >> 1), repairs.slice(repairs.length >> 1)];
  const [repair] = repairs;
  const windows = repair === undefined ? 0 : (repair.toMs - repair.fromMs) / repair.periodMs;
  if (repair === undefined || windows <= 1) return undefined;
  const middle = repair.fromMs + (windows >> 1) * repair.periodMs;
  return [[{ ...repair, toMs: middle }], [{ ...repair, fromMs: middle }]];
}

function same(before: readonly BlockRow[], after: readonly BlockRow[]): boolean {
  if (before.length !== after.length) return false;
  return before.every(({ id, n0, rows }, at) => {
    const other = after[at];
    return other !== undefined && other.id === id && other.n0 === n0 && other.rows === rows;
  });
}
