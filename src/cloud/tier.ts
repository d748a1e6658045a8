/**
 * A tier is one place in the cloud that keeps readings: the embedded one below, later ones an application store, a time
 * series database, an archive. The receiver has decided already which rows are new, so a tier never sees a row twice from it.
 *
 * Tags are known by device and id; what they are called is the catalog's business. All times are milliseconds since 1970 UTC;
 * ranges of time include their start and exclude their end.
 */
import type { PlainValue } from '../reading.ts';
import type { BlockColumns } from '../wire/block.ts';
import type { ClassNumber } from '../wire/classes.ts';
import type { AggregateRow } from '../wire/control.ts';
import type { TagDigest } from '../wire/digest.ts';
import type { TagId } from '../wire/tag.ts';

export interface TagKey {
  /** 32 hex digits. */
  readonly device: string;
  readonly tag: TagId;
}

/** New rows of one run and class. */
export interface TierBlock {
  readonly device: string;
  readonly run: string;
  readonly class: ClassNumber;
  readonly columns: BlockColumns;
  /** `columns` as `encodeBlock` writes it. */
  readonly bytes: Uint8Array;
  /** The id of each entry of `columns.tags`. */
  readonly tags: readonly TagId[];
  /** The boot that took these rows before its clock was set; absent when it was set. */
  readonly unsyncedBoot?: string;
  readonly receivedMs: number;
}

export interface TierReading {
  readonly timeMs: number;
  readonly value: PlainValue;
  readonly quality: number;
}

/** A reading of one of several tags. */
export interface TierRow extends TierReading {
  /** Position of its tag among the keys asked for. */
  readonly key: number;
}

export interface TimeSpan {
  readonly fromMs: number;
  readonly toMs: number;
}

export interface TierWindow {
  readonly startMs: number;
  /** Readings that have a value. */
  readonly count: number;
  /** Those of them whose quality is good. */
  readonly good: number;
  /** Null for text. 64-bit integers stay exact. */
  readonly min: PlainValue;
  readonly max: PlainValue;
  readonly mean: number | null;
  readonly first: PlainValue;
  readonly last: PlainValue;
  /** How many of `count` are known only as part of an aggregate: a longer period than asked for may be in here. */
  readonly aggregated: number;
}

export interface Tier {
  readonly name: string;
  /** Keeps the rows; those later than `receivedMs` plus five minutes never become the latest. */
  apply(blocks: readonly TierBlock[]): void | Promise<void>;
  /**
   * True time minus what the clock of that boot showed before it was set: corrects the rows of this boot that are here, and
   * those that come. The first one wins.
   */
  correctClock(device: string, boot: string, offsetMs: number): void | Promise<void>;
  /** Readings that were rolled up on the gateway because its disk was full: windows are made of them where raw is missing. */
  addAggregate(device: string, row: AggregateRow, receivedMs: number): void | Promise<void>;
  /** Newest by the time of the reading; undefined where there is none. */
  latest(keys: readonly TagKey[]): Promise<(TierReading | undefined)[]>;
  /**
   * Readings of these tags in order of time: the newest `limit` of the span, and those of the same time as the oldest of
   * them, up to twice the limit: so the next page ends, exclusively, at the time of the first. `truncated` when there are
   * older ones.
   * @param signal gives up early
   */
  range(
    keys: readonly TagKey[],
    span: TimeSpan,
    limit: number,
    signal?: AbortSignal,
  ): Promise<{ readonly readings: readonly TierRow[]; readonly truncated: boolean }>;
  /**
   * Every reading of these tags in order of time, in parts of bounded size, however long the span. A part that comes late may
   * have what arrived meanwhile.
   */
  scan(keys: readonly TagKey[], span: TimeSpan, signal?: AbortSignal): AsyncIterable<readonly TierRow[]>;
  /**
   * Windows that hold at least one value, aligned to the epoch, in order of time.
   * @param series keys that are one tag to whoever asks, and share their windows
   * @returns in the order of `series`
   */
  windows(
    series: readonly (readonly TagKey[])[],
    span: TimeSpan,
    periodMs: number,
    signal?: AbortSignal,
  ): Promise<readonly (readonly TierWindow[])[]>;
  /** Digest of the content of each tag of a device by its name, as it was sent: clock corrections are not in it. */
  digest(device: string, nameOf: (tag: TagId) => string, signal?: AbortSignal): Promise<ReadonlyMap<string, TagDigest>>;
  close(): void | Promise<void>;
}

/** A tier in the receiver's own database: what it does is part of the receiver's transaction. */
export interface TransactionalTier extends Tier {
  apply(blocks: readonly TierBlock[]): void;
  correctClock(device: string, boot: string, offsetMs: number): void;
  addAggregate(device: string, row: AggregateRow, receivedMs: number): void;
  /** The transaction was rolled back: what was remembered of it is void. */
  forget(): void;
}
