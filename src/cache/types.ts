/** What the cache shows to the rest of the gateway. The implementation on the main thread is `client.ts`. */
import type { TagFields } from '../config/fields.ts';
import type { Chunk, PlainValue, TagDefinition } from '../reading.ts';
import type { HeldGap } from '../wire/answer.ts';
import type { ClassNumber, Lane } from '../wire/classes.ts';
import type { AlarmRow } from '../wire/control.ts';
import type { HelloAnswer, HelloRun } from '../wire/hello.ts';
import type { CloudPublic, DeviceKey } from '../wire/keys.ts';
import type { Range, RangeSet } from '../wire/ranges.ts';
import type { RecountReport } from './account.ts';
import type { DamageNote } from './recover/notes.ts';
import type { Backlog, CacheStats, LadderState } from './stats.ts';

export type {
  Backlog,
  CacheStats,
  LadderCause,
  LadderLevel,
  LadderState,
  Ledger,
  SourceLedger,
  TargetLedger,
  WriteOffReason,
} from './stats.ts';
export { LADDER_CAUSES, WRITE_OFF_REASONS } from './stats.ts';
export type { AlarmRow, ClassNumber, DamageNote, HelloAnswer, Lane, Range, RangeSet };

/** A tag of the registry (`RegisteredTag` is one). */
export interface CacheTag {
  readonly index: number;
  readonly source: string;
  readonly definition: TagDefinition;
  readonly fields: Pick<TagFields, 'priority' | 'ttl'>;
  /** Undefined for tags that tell by themselves. */
  readonly periodMs: number | undefined;
}

/** What happened to readings before they reached the cache, since the last append. */
export interface CommitCounts {
  readonly source: string;
  readonly received: number;
  readonly rejected: number;
  readonly duplicate: number;
  readonly thinned: number;
  /** Why they were rejected; together no more than `rejected`. */
  readonly reasons?: ReadonlyMap<string, number> | undefined;
}

export interface DeadLetter {
  readonly atMs: number;
  readonly source: string;
  readonly subject: string;
  readonly reason: string;
  /** At most 64 kB are kept. */
  readonly original: Uint8Array;
}

export interface Receipt {
  readonly source: string;
  readonly packetId: number;
  readonly digest: string;
}

export interface Append {
  readonly chunk?: Chunk | undefined;
  readonly counts?: readonly CommitCounts[] | undefined;
  readonly deadLetters?: readonly DeadLetter[] | undefined;
  readonly receipts?:
    | {
        readonly add?: readonly Receipt[] | undefined;
        readonly release?: readonly { readonly source: string; readonly packetIds: readonly number[] }[] | undefined;
        /** Sources whose receipts are all forgotten, before `add`. */
        readonly clear?: readonly string[] | undefined;
      }
    | undefined;
  readonly alarms?: readonly AlarmRow[] | undefined;
}

/** Last values by column, one row a tag. */
export interface HotState {
  /** Tag ids, 32 hex digits: they survive a restart, indexes do not. */
  readonly ids: readonly string[];
  readonly timeMs: Float64Array;
  readonly value: Float64Array;
  readonly quality: Uint8Array;
  readonly texts: readonly string[];
  /** What the ids stand for, as far as the cache knows; only where it was loaded. */
  readonly definitions?: readonly (TagDefinition | undefined)[];
}

export interface PartSection {
  /** 32 hex digits. */
  readonly run: string;
  readonly class: ClassNumber;
  readonly ranges: RangeSet;
}

/** Some rows of an earlier batch. */
export interface BatchPart {
  /** The batch it is a part of; while that one is in flight its rows do not stand in the part's way. */
  readonly of: string;
  readonly sections: readonly PartSection[];
}

export interface CutRequest {
  readonly target: string;
  readonly lane: Lane;
  readonly rowsMax: number;
  /** Of the sealed envelope. One row always goes, however long. */
  readonly bytesMax: number;
  /** The live lane takes what was committed less than this ago, the backlog lane the rest. */
  readonly liveMs: number;
  readonly only?: BatchPart | undefined;
  /** Default brotli. */
  readonly codec?: 'brotli' | 'deflate' | undefined;
  /** Smaller at the cost of time, for a backlog that fills the disk; with brotli only. */
  readonly stronger?: boolean | undefined;
}

export interface CutBatch {
  /** 32 hex digits. */
  readonly batchId: string;
  readonly lane: Lane;
  readonly envelope: Uint8Array;
  /** `envelopeDigest(envelope)`: what a signed answer is about. */
  readonly digest: Uint8Array;
  /** All rows, of any class. */
  readonly rows: number;
  /** Rows of the classes normal and low. */
  readonly readings: number;
  /** Readings and aggregates: what may be written off when the cloud will not have it (`refuse`). */
  readonly refusable: number;
  /** Times of the first and the last reading; commit time where there is none. */
  readonly firstMs: number;
  readonly lastMs: number;
  /** Undefined for a single row. */
  readonly halves: readonly [BatchPart, BatchPart] | undefined;
}

/** What a signed and verified answer said. */
export interface AckedAnswer {
  readonly code: number;
  readonly rows: number;
  readonly duplicates: number;
  readonly incarnation: string;
  /** Rows that a GAP in the batch wrote off and the cloud holds all the same. */
  readonly heldGaps?: readonly HeldGap[] | undefined;
}

/** A page of runs to ask the cloud about, with the marks as they are now. */
export interface HelloQuestion {
  readonly id: string;
  readonly target: string;
  readonly runs: readonly HelloRun[];
  /** Give it to `helloRuns` for the next page; undefined on the last. */
  readonly next: number | undefined;
}

export interface HelloOutcome {
  /** Rows found to be held there that were pending here. */
  readonly marked: number;
  /** Rows delivered before that the cloud no longer holds: pending again. */
  readonly reopened: number;
  /** Rows delivered before that neither holds any more: written off as cloud_lost. */
  readonly lost: number;
}

/** Closed windows of one length by column, one row a window. */
export interface ClosedWindows {
  readonly periodMs: number;
  readonly length: number;
  /** Registry indexes. */
  readonly tag: Uint32Array;
  readonly startMs: Float64Array;
  /** Values that were not bad. */
  readonly count: Float64Array;
  readonly mean: Float64Array;
  /** Sum of squared distances from the mean. */
  readonly m2: Float64Array;
  readonly min: Float64Array;
  readonly max: Float64Array;
  readonly first: Float64Array;
  readonly last: Float64Array;
  readonly firstMs: Float64Array;
  readonly lastMs: Float64Array;
  /** Each value counted for as long as it lasted; NaN where no time was covered. */
  readonly timeWeightedMean: Float64Array;
  /** Readings of good quality ÷ all readings, 0 to 1. */
  readonly good: Float64Array;
}

/** The last windows on disk, one row a tag; `tag` is an index into the names. */
export interface LastWindows {
  readonly names: readonly string[];
  readonly windows: readonly ClosedWindows[];
}

/** One reading as people and JSON see it. */
export interface ReadingView {
  readonly tag: string;
  readonly timeMs: number;
  readonly value: PlainValue;
  readonly quality: number;
}

export interface CacheClient {
  /** 16 random bytes for this life of the process. */
  readonly run: Uint8Array;
  readonly boot: Uint8Array;
  /** What was found damaged when the cache was opened, and what became of it; empty on all good days. */
  readonly damage: readonly DamageNote[];
  /** The ledger against the directory of blocks when the cache was opened; undefined where that could not be read. */
  readonly account: RecountReport | undefined;
  /** Before the first chunk that uses it. */
  registerTag(tag: CacheTag): void;
  /**
   * The chunk's buffers move to the worker: it is gone for the caller.
   * @throws cache.busy (retry) when `uncommittedBytes` would pass `uncommittedBytesMax`: nothing was taken, the chunk is
   *   still the caller's. Ask `accepting` before reading devices. cache.closed (stop) after `close` or a failure.
   */
  append(append: Append): void;
  /** Everything appended before is on disk; rejects when it never will be. Asking hurries the commit (at least 20 ms apart). */
  committed(): Promise<void>;
  /** Messages that may come again, as they were at the last commit. */
  receipts(source: string): Promise<readonly Receipt[]>;
  uncommittedBytes(): number;
  readonly uncommittedBytesMax: number;
  /** False when sources should wait or skip: three quarters of the cap are used. */
  accepting(): boolean;
  saveHot(state: HotState): void;
  /** As of the last checkpoint and the journal since. */
  loadHot(): Promise<HotState | undefined>;
  /** The last window of each tag that is on disk, not too old for its length. @param periods lengths in ms. */
  lastWindows(periods: readonly number[]): Promise<LastWindows>;
  /** The next rows of a lane, sealed; undefined when nothing waits there. They stay in flight until one of the next three. */
  cut(request: CutRequest): Promise<CutBatch | undefined>;
  /**
   * After a signed 2xx to these very bytes was verified. An unknown batch id changes nothing. Resolves when it is noted,
   * which is before it is durable: a crash within the next `commitInterval` sends these rows again, and the cloud counts
   * them as duplicates.
   */
  acknowledge(batchId: string, answer: AckedAnswer): Promise<void>;
  /** No longer in flight: its rows are pending again. */
  release(batchId: string): Promise<void>;
  /** Writes its readings off: GAP{refused}, dead letters. Rows of other classes become pending again. */
  refuse(batchId: string, reason: string): Promise<void>;
  /** What to ask the cloud about, newest run first, 64 runs a page. */
  helloRuns(target: string, page?: number): Promise<HelloQuestion>;
  /** Compares the answer with the marks as they were when the question was taken. @throws cache.question_unknown (discard) */
  hello(question: HelloQuestion, answer: HelloAnswer): Promise<HelloOutcome>;
  /** Whom batches are sealed to, and which key signs them from now on; nothing is cut before. Batches in flight stay as they are. */
  setRecipient(target: string, keys: CloudPublic, device?: DeviceKey): void;
  /** The cloud does not know the dictionary that we name: the next batches carry the whole one. */
  forgetDictionary(target: string): Promise<void>;
  /** The last row of each alarm that is active: raised, or acknowledged. */
  alarms(): Promise<readonly AlarmRow[]>;
  backlog(target: string): Promise<Backlog>;
  stats(): Promise<CacheStats>;
  /** Called in the main thread after the commit in which windows closed. */
  onWindows(listener: (windows: ClosedWindows) => void): void;
  /** Called in the main thread when blocks prove damaged while it runs; `damage` has it, too. */
  onDamage(listener: (note: DamageNote) => void): void;
  /** Called in the main thread after each step of the ladder, up or down; the state as such is in `stats`. */
  onLadder(listener: (state: LadderState) => void): void;
  /** Commits what is there, marks the end as clean. */
  close(): Promise<void>;
  /** Rejects when the worker dies or the disk fails: the daemon must exit without acknowledging anything more. */
  readonly failed: Promise<never>;
}
