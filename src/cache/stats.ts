/** Figures of the cache: its account, what waits, how full it is, what it wrote. */
import type { AtRestKeyUse } from './at-rest-rows.ts';
import type { DamageNote } from './recover/notes.ts';
import type { WearStats } from './wear.ts';
import type { WriteBudgetStats } from './write-budget.ts';

/** Readings of one source. `received = rejected + duplicate + thinned + accepted`, and `accepted = committed`. */
export interface SourceLedger {
  readonly received: number;
  readonly rejected: number;
  readonly duplicate: number;
  readonly thinned: number;
  /** Told by what came in: it got a number, in the transaction that counts it. */
  readonly accepted: number;
  /** Told by what was written: readings of the blocks that are durable, or were before they were removed. */
  readonly committed: number;
}

export const WRITE_OFF_REASONS = ['aggregated', 'dropped', 'damaged', 'refused', 'forgotten', 'cloud_lost'] as const;
export type WriteOffReason = (typeof WRITE_OFF_REASONS)[number];

/** `accepted = delivered + pending + written off`; `pending` is what follows from that. */
export type TargetLedger = { readonly delivered: number; readonly pending: number } & Readonly<
  Record<WriteOffReason, number>
>;

export interface Ledger {
  /** When it began, ms since the epoch: a lost one starts anew and says so. */
  readonly sinceMs: number;
  readonly sources: Readonly<Record<string, SourceLedger>>;
  /** Target → source → account. */
  readonly targets: Readonly<Record<string, Readonly<Record<string, TargetLedger>>>>;
  /** Source → reason → readings; what was `rejected`, told apart. */
  readonly rejections: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** Target → source → reason → readings; what was `dropped`, told apart. */
  readonly drops: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, number>>>>>>;
}

export interface Backlog {
  /** Rows of every class. */
  readonly pendingRows: number;
  /** Of them readings. */
  readonly pendingReadings: number;
  /** As on disk; sealed they are about half. */
  readonly pendingBytes: number;
  /** Commit time of the oldest pending block. */
  readonly oldestMs: number | undefined;
  readonly perClass: Readonly<Record<'alarm' | 'control' | 'aggregate' | 'normal' | 'low', number>>;
}

/** What may drive the ladder; `free_disk` when the disk has less than the limit, `full` when a write found no room. */
export const LADDER_CAUSES = ['disk', 'free_disk', 'memory', 'age', 'full'] as const;
export type LadderCause = (typeof LADDER_CAUSES)[number];
export type LadderLevel = 0 | 1 | 2 | 3 | 4 | 5;

/** Where the degradation ladder stands. The shares are 0 to 1 and may pass 1. */
export interface LadderState {
  readonly level: LadderLevel;
  /** What drives it most, also at level 0. */
  readonly cause: LadderCause;
  /** Unacknowledged bytes ÷ what the cache may use. */
  readonly disk: number;
  /** Uncommitted bytes ÷ `uncommittedBytesMax`, the most of the last seconds. */
  readonly memory: number;
  /** Age of the oldest pending reading ÷ `ageMax`. */
  readonly age: number;
}

export interface CacheStats {
  readonly ladder: LadderState;
  /** 32 hex digits; undefined until the first commit with rows. */
  readonly run: string;
  readonly ledger: Ledger;
  readonly commits: number;
  readonly readingsCommitted: number;
  readonly bytesUsed: number;
  readonly bytesMax: number;
  /** Of the log beside the file: some MB. */
  readonly walBytes: number;
  /** A process that reads the cache's file holds its snapshot for so long that the log grows: it has to end. */
  readonly walPinned: boolean;
  readonly blocks: number;
  readonly windowBlocks: number;
  readonly tags: number;
  readonly deadLetters: number;
  readonly damagedBlocks: number;
  /** The key of encryption at rest, and how much it has sealed; undefined where nothing is. */
  readonly atRestKey?: AtRestKeyUse | undefined;
  /** Files and logs found damaged, at this start and at earlier ones, oldest first; the newest eight. */
  readonly damage: readonly DamageNote[];
  /** The file system takes no writes: nothing is kept, see `standing-in.ts`. */
  readonly readOnly?: boolean | undefined;
  /** Uncommitted because the disk is full: tried again at every commit. */
  readonly full: boolean;
  readonly lastCommitMs: number | undefined;
  readonly commitSeconds: number;
  /** Of the device; undefined where nobody counts. */
  readonly wear?: WearStats | undefined;
  /** How close together hurried commits may be; undefined where nothing hurries. */
  readonly writeBudget?: WriteBudgetStats | undefined;
}
