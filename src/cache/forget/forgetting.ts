/**
 * `sluice forget`: removes what the cache holds of a tag, in bounded steps of background work, each a transaction with the
 * place where the next one goes on. A crash at any moment costs the step it hit.
 *
 *     journal   every block: rows that no target is about to get go; what a target lacks is written off as `forgotten`,
 *               with a GAP. Blocks with rows of it in flight wait for their answer, and go then.
 *     windows   the open ones, and every block of windows.
 *     rest      the last value, dead letters, damaged blocks that were set aside.
 *     wipe      free pages and the log: SQLite leaves there what was deleted.
 *
 * What comes of the tag while this goes on is forgotten, too; what comes later is kept.
 */
import { codeOf } from '../../errors.ts';
import { hex } from '../../wire/bytes.ts';
import { type Range, type RangeSet, union } from '../../wire/ranges.ts';
import { parseTagContent } from '../../wire/tag.ts';
import type { Commits } from '../commits.ts';
import type { Stamp } from '../journal.ts';
import { HOT } from '../state.ts';
import { allBlocks, type BlockRow, firstId, lastNumber, pieceId } from '../store.ts';
import type { WindowBook } from '../windows/book.ts';
import {
  type ForgetJob,
  type ForgetReport,
  type ForgetRequest,
  NOTHING,
  readJobs,
  reportOf,
  sum,
  writeJob,
} from './audit.ts';
import { saveEdited, withoutValues } from './hot-values.ts';
import { type JournalParts, JournalStepper, type TagNumbers } from './journal-step.ts';
import { withoutWindows } from './windows-step.ts';

const BLOCKS_AT_ONCE = 12;
/** Of blocks that are opened, and written again when they hold the tag; what is more goes alone. */
const OPENED_ROWS_AT_ONCE = 4_000;
/** Of other classes and sources, which are not opened. */
const ROWS_AT_ONCE = 256;
const WINDOW_BLOCKS_AT_ONCE = 32;

interface Parts extends JournalParts {
  readonly commits: Pick<Commits, 'transact' | 'unwritten' | 'checkpoint' | 'hot' | 'saveHot'>;
  readonly windows: Pick<WindowBook, 'forget'>;
}

export interface ForgetDone {
  readonly report: ForgetReport;
  /** Of the tag, 32 hex digits each: whoever still has values of it in memory knows it by these. */
  readonly ids: readonly string[];
}

export class Forgetting {
  readonly #parts: Parts;
  readonly #stepper: JournalStepper;
  #jobs: ForgetJob[];
  #done: ForgetDone[] = [];
  /** Request → ids of what was forgotten, until `heard`. */
  readonly #unheard = new Map<string, ReadonlySet<string>>();
  #known: { readonly job: string; readonly tags: number; readonly tag: TagNumbers } | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#stepper = new JournalStepper(parts);
    this.#jobs = readJobs(parts.store).filter(({ phase }) => phase !== 'done');
  }

  /** Something is to be forgotten, or waits for an answer. */
  get active(): boolean {
    return this.#jobs.length > 0;
  }

  /** The journal is being looked through: nothing may move rows to where it was looked already. */
  get searching(): boolean {
    return this.#jobs.some(({ phase }) => phase === 'journal');
  }

  /** Last values that are to be saved, without those that would come back: whoever sent them did not know yet. */
  withoutForgotten(hot: Uint8Array): Uint8Array {
    const forgotten = [...this.#jobs.map((job) => this.#tag(job).ids), ...this.#unheard.values()];
    return forgotten.reduce((left, ids) => this.#withoutValues(left, ids) ?? left, hot);
  }

  /** Whoever keeps values in memory knows of it now: what comes from there after this is of later readings. */
  heard(id: string): void {
    this.#unheard.delete(id);
  }

  /** @returns whether it is on disk; otherwise there is no room. One that is known already, from before a crash, is not taken twice. */
  request({ id, tag, reason, by, atMs }: ForgetRequest): boolean {
    const { store, commits } = this.#parts;
    if (readJobs(store).some((job) => job.id === id)) return true;
    const request = { id, tag, reason, by, atMs };
    const job: ForgetJob = { ...request, phase: 'journal', cursor: -1, waiting: [], removed: NOTHING, doneMs: null };
    const isWritten = unlessFull(() => {
      commits.transact(() => writeJob(store, job));
      return true;
    });
    if (isWritten === true) this.#jobs.push(job);
    return isWritten === true;
  }

  /** One bounded step. @returns whether there is more to do now; what waits for an answer is asked about again later. */
  step(): boolean {
    const [job] = this.#jobs;
    if (job === undefined) return false;
    // Without room for GAP rows, or for the log, it waits as well.
    const next = unlessFull(() => this.#next(job));
    if (next === undefined) return false;
    this.#jobs[0] = next;
    if (next.phase === 'done') {
      this.#jobs.shift();
      const { ids } = this.#tag(job);
      this.#unheard.set(next.id, ids);
      this.#done.push({ report: reportOf(next), ids: [...ids] });
    }
    return this.active;
  }

  /** Those that were finished since the last call. */
  takeDone(): ForgetDone[] {
    const done = this.#done;
    this.#done = [];
    return done;
  }

  /** Undefined: it has to wait. */
  #next(job: ForgetJob): ForgetJob | undefined {
    switch (job.phase) {
      case 'journal':
        return this.#journal(job);
      case 'windows':
        return this.#windowBlocks(job);
      case 'rest':
        return this.#rest(job);
      default:
        return this.#wipe(job);
    }
  }

  #journal(job: ForgetJob): ForgetJob | undefined {
    const { commits } = this.#parts;
    const tag = this.#tag(job);
    const { rows, cursor } = this.#page(job.cursor, tag);
    if (cursor !== job.cursor) {
      return this.#write((now) => {
        const { removed, waiting } = this.#stepper.take(rows, tag, now);
        return { ...job, cursor, removed: sum(job.removed, removed), waiting: union(job.waiting, idsOf(waiting)) };
      });
    }
    // Readings that wait for room have numbers, come after the last block yet, and are in the windows already.
    if (commits.unwritten) return undefined;
    if (job.waiting.length === 0) return this.#toWindows(job);
    const landed = job.waiting.flatMap((ids) => this.#blocksIn(ids));
    const ready = firstRows(landed.filter((row) => !this.#stepper.isFlying(row)));
    const done = new Set(ready.map(({ id }) => id));
    const left = idsOf(landed.filter(({ id }) => !done.has(id)));
    // Split by an answer, or removed: ids that no block has any more need no waiting.
    if (ready.length === 0)
      return left.length === job.waiting.length ? undefined : this.#write(() => ({ ...job, waiting: left }));
    return this.#write((now) => {
      const { removed, waiting } = this.#stepper.take(ready, tag, now);
      return { ...job, removed: sum(job.removed, removed), waiting: union(left, idsOf(waiting)) };
    });
  }

  /** First those in memory, and those that would be counted again: nothing may come behind what is looked at now. */
  #toWindows(job: ForgetJob): ForgetJob {
    const { windows, commits } = this.#parts;
    const { numbers } = this.#tag(job);
    return this.#write(() => {
      for (const number of numbers) windows.forget(number);
      commits.checkpoint();
      return { ...job, phase: 'windows', cursor: 0 };
    });
  }

  /** The next blocks that may hold it, and how far that is. */
  #page(after: number, tag: TagNumbers): { rows: BlockRow[]; cursor: number } {
    const rows: BlockRow[] = [];
    let opened = 0;
    let cursor = after;
    for (const row of this.#parts.store.blocks(after + 1, ROWS_AT_ONCE)) {
      const isMaybe =
        row.content !== undefined || row.counts.length === 0 || row.counts.some(([source]) => tag.sources.has(source));
      if (isMaybe && opened > 0 && opened + row.rows > OPENED_ROWS_AT_ONCE) break;
      if (isMaybe) opened += row.rows;
      if (isMaybe) rows.push(row);
      cursor = row.id;
      if (rows.length === BLOCKS_AT_ONCE) break;
    }
    return { rows, cursor };
  }

  /** A block that waited, or what it was split into. */
  #blocksIn({ from, to }: Range): BlockRow[] {
    const found: BlockRow[] = [];
    for (const row of allBlocks(this.#parts.store, from)) {
      if (row.id > to) break;
      found.push(row);
    }
    return found;
  }

  #windowBlocks(job: ForgetJob): ForgetJob | undefined {
    const { store, commits } = this.#parts;
    if (commits.unwritten) return undefined;
    const { numbers } = this.#tag(job);
    const page = store.windowsAfter(job.cursor, WINDOW_BLOCKS_AT_ONCE);
    const end = page.at(-1);
    if (end === undefined) return this.#write(() => ({ ...job, phase: 'rest', cursor: 0 }));
    return this.#write(() => {
      const windows = page.reduce((total, block) => total + withoutWindows(store, block, numbers), 0);
      return { ...job, cursor: end.id, removed: sum(job.removed, { ...NOTHING, windows }) };
    });
  }

  #rest(job: ForgetJob): ForgetJob {
    const { store, commits } = this.#parts;
    const { ids } = this.#tag(job);
    const waiting = this.#withoutValues(commits.hot, ids);
    if (waiting !== undefined) commits.saveHot(waiting);
    return this.#write(() => {
      const hot = this.#withoutValues(store.blob(HOT), ids);
      if (hot !== undefined) saveEdited(store, hot, job.id);
      const rest = { deadLetters: store.removeDeadLetters(job.tag), damaged: store.removeDamaged() };
      return { ...job, phase: 'wipe', removed: sum(job.removed, { ...NOTHING, ...rest }) };
    });
  }

  #wipe(job: ForgetJob): ForgetJob | undefined {
    const state = this.#parts.store.wipeStep();
    if (state !== 'done') return state === 'more' ? job : undefined;
    return this.#write(({ wallMs }) => ({ ...job, phase: 'done', doneMs: wallMs }));
  }

  #write(work: (now: Stamp) => ForgetJob): ForgetJob {
    const { store, commits } = this.#parts;
    return commits.transact((now) => {
      const next = work(now);
      writeJob(store, next);
      return next;
    });
  }

  #tag(job: ForgetJob): TagNumbers {
    const { tags } = this.#parts;
    if (this.#known?.job === job.id && this.#known.tags === tags.size) return this.#known.tag;
    const numbers = Array.from({ length: tags.size }, (_, number) => number).filter(
      (number) => parseTagContent(tags.row(number)?.content ?? '{}').name === job.tag,
    );
    const tag = {
      numbers: new Set(numbers),
      ids: new Set(numbers.map((number) => hex(tags.row(number)?.id ?? new Uint8Array()))),
      sources: new Set(numbers.map((number) => tags.sourceOf(number))),
    };
    this.#known = { job: job.id, tags: tags.size, tag };
    return tag;
  }

  #withoutValues(hot: Uint8Array | undefined, ids: ReadonlySet<string>): Uint8Array | undefined {
    return withoutValues(hot, ids, (id) => this.#typeOf(id));
  }

  #typeOf(id: string): string {
    const { tags } = this.#parts;
    return parseTagContent(tags.row(tags.seqOf(id) ?? -1)?.content ?? '{}').type;
  }
}

function unlessFull<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (thrown) {
    if (codeOf(thrown) !== 'cache.full') throw thrown;
    return undefined;
  }
}

/** As many of the first as one step opens; one at least. */
function firstRows(rows: readonly BlockRow[]): BlockRow[] {
  let opened = 0;
  const end = rows.findIndex((row, at) => {
    opened += row.rows;
    return at === BLOCKS_AT_ONCE || (at > 0 && opened > OPENED_ROWS_AT_ONCE);
  });
  return end === -1 ? [...rows] : rows.slice(0, end);
}

/** Of blocks, and of what they are split into meanwhile or become again. */
function idsOf(rows: readonly BlockRow[]): RangeSet {
  const spanOf = (row: BlockRow) => ({ from: Math.max(0, firstId(row)), to: pieceId(row, lastNumber(row)) });
  return rows.reduce<RangeSet>((all, row) => union(all, [spanOf(row)]), []);
}
