/** What was forgotten for whom: kept in the cache, for as long as it has room for. While it is under way also how far it is. */
import type { RangeSet } from '../../wire/ranges.ts';
import type { BlockStore } from '../store.ts';

export interface ForgetRequest {
  /** 32 hex digits, new for each request. */
  readonly id: string;
  readonly tag: string;
  readonly reason: string | null;
  /** Who asked: `name (uid 1000)`, with `sudo by name` where that is known. */
  readonly by: string;
  /** Wall clock. */
  readonly atMs: number;
}

/** What was removed. Readings `pending` were still owed to a target and are written off as `forgotten`; `kept` were history. */
export interface Forgotten {
  readonly pending: number;
  readonly kept: number;
  /** One-minute aggregates that stood for readings. */
  readonly aggregates: number;
  readonly windows: number;
  readonly deadLetters: number;
  /** Damaged blocks that had been set aside: whose readings they hold cannot be known. */
  readonly damaged: number;
}

export const NOTHING: Forgotten = { pending: 0, kept: 0, aggregates: 0, windows: 0, deadLetters: 0, damaged: 0 };

export function sum(a: Forgotten, b: Forgotten): Forgotten {
  return {
    pending: a.pending + b.pending,
    kept: a.kept + b.kept,
    aggregates: a.aggregates + b.aggregates,
    windows: a.windows + b.windows,
    deadLetters: a.deadLetters + b.deadLetters,
    damaged: a.damaged + b.damaged,
  };
}

/** In this order. `flying`: all else is gone, and the rest waits for answers of a target. */
export type ForgetPhase = 'journal' | 'windows' | 'rest' | 'wipe' | 'done';

export interface ForgetReport extends ForgetRequest {
  readonly phase: ForgetPhase;
  readonly removed: Forgotten;
  /** Blocks with rows in flight. */
  readonly inFlight: number;
  /** Wall clock; null while it is under way. */
  readonly doneMs: number | null;
}

export interface ForgetJob extends ForgetRequest {
  readonly phase: ForgetPhase;
  /** Everything up to this block, or block of windows, was looked at. */
  readonly cursor: number;
  /** Ids of blocks behind it that have rows in flight: `from` to `to` when they are split meanwhile. */
  readonly waiting: RangeSet;
  readonly removed: Forgotten;
  readonly doneMs: number | null;
}

/** Of those that are done; the oldest go. */
const KEPT_MAX = 1000;

export function readJobs(store: Pick<BlockStore, 'audit'>): ForgetJob[] {
  return store.audit().map((row): ForgetJob => JSON.parse(row)); // written below
}

/** Inside a transaction. */
export function writeJob(store: BlockStore, job: ForgetJob): void {
  store.putAudit(job.id, job.atMs, JSON.stringify(job));
  if (job.phase === 'done') store.trimAudit(KEPT_MAX);
}

/** Of rows of the table `audit`. */
export function forgetReports(rows: readonly { readonly row: string }[]): ForgetReport[] {
  return rows.map(({ row }) => reportOf(JSON.parse(row))); // written by writeJob
}

export function reportOf({ cursor: _, waiting, ...job }: ForgetJob): ForgetReport {
  return { ...job, inFlight: waiting.length };
}
