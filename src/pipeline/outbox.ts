/**
 * The way to the cache. Small chunks (a poll of a few tags) are joined, because a message to the worker costs as much as
 * copying a thousand rows; big ones go as they come. The order of readings stays what it was.
 *
 * Full: while the cache has no room a chunk is refused as a whole, before anything of it was taken (`hasRoom`). What was
 * taken stays here until the cache takes it: at most `ROWS_JOINED_MAX` rows and one big chunk.
 */
import type { AlarmRow, Append, CacheClient, Receipt } from '../cache/types.ts';
import { codeOf } from '../errors.ts';
import type { Chunk } from '../reading.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import type { Accounts, Outcome, Rejections } from './accounts.ts';
import type { DeadLetters } from './dead-letters.ts';
import { JoinedChunks } from './joined.ts';
import type { TagRegistry } from './registry.ts';

/** A chunk from here on is worth a message of its own. */
const ROWS_JOINED_MAX = 4096;
const ROWS_SMALL_MAX = 1024;
/** Far below the commit interval, so that joining delays nothing. */
const JOIN_MS = 50;
/** tag 4, time 8, value 8, quality 1. */
const ROW_BYTES = 21;
/** From here on repeats are dropped, each time the list has doubled: each alarm is moved twice at most, on the average. */
const ALARMS_WAITING_MAX = 10_000;

type Counts = Readonly<Partial<Record<Outcome, number>>> & { readonly reasons?: Rejections | undefined };

export class Outbox {
  readonly #cache: Pick<CacheClient, 'append' | 'uncommittedBytes' | 'uncommittedBytesMax'>;
  readonly #accounts: Accounts;
  readonly #letters: DeadLetters;
  readonly #clock: Clock;
  readonly #joined: JoinedChunks;
  /** A chunk by itself, with what must be committed with it and not before. */
  #held: { source: string; chunk: Chunk; counts: Counts; receipts: readonly Receipt[]; isCounted: boolean } | undefined;
  #receipts: Receipt[] = [];
  #released = new Map<string, number[]>();
  #cleared = new Set<string>();
  #alarms: AlarmRow[] = [];
  #alarmsMax = ALARMS_WAITING_MAX;
  #timer: Timer | undefined;
  #waiters: { resolve: () => void; reject: (error: unknown) => void }[] = [];
  /** Why the cache takes nothing any more. */
  #failure: { readonly error: unknown } | undefined;

  constructor(
    cache: Pick<CacheClient, 'append' | 'uncommittedBytes' | 'uncommittedBytesMax'>,
    accounts: Accounts,
    letters: DeadLetters,
    clock: Clock,
    registry: Pick<TagRegistry, 'kindOf'>,
  ) {
    this.#cache = cache;
    this.#accounts = accounts;
    this.#letters = letters;
    this.#clock = clock;
    this.#joined = new JoinedChunks(ROWS_JOINED_MAX, (index) => registry.kindOf(index) === 'text');
  }

  /** Readings that the cache has not taken yet. */
  get rows(): number {
    return this.#joined.length + (this.#held?.chunk.length ?? 0);
  }

  /** Whether a chunk of so many rows would be taken now. */
  hasRoom(rows: number): boolean {
    if (this.#held !== undefined || this.#failure !== undefined) return false;
    const waiting = (this.#joined.length + rows) * ROW_BYTES;
    return this.#cache.uncommittedBytes() + waiting <= this.#cache.uncommittedBytesMax;
  }

  /**
   * After `hasRoom` said yes. The chunk is gone for the caller.
   * @param counts what goes into the ledger in the same commit.
   * @param receipts kept in the same commit.
   */
  readings(source: string, chunk: Chunk, counts: Counts, receipts: readonly Receipt[]): void {
    const isSmall = chunk.length <= ROWS_SMALL_MAX;
    if (!isSmall || !this.#joined.fits(chunk)) this.flush();
    if (isSmall && this.#joined.fits(chunk)) {
      this.#joined.add(chunk);
      this.#count(source, counts, receipts);
      this.flushSoon();
    } else {
      this.#held = { source, chunk, counts, receipts, isCounted: false };
      this.flush();
    }
  }

  alarm(row: AlarmRow): void {
    // A flapping alarm on a full disk: of each alarm only its last change is kept.
    if (this.#alarms.length >= this.#alarmsMax) {
      this.#alarms = [...new Map(this.#alarms.map((each) => [each.id, each])).values()];
      this.#alarmsMax = Math.max(ALARMS_WAITING_MAX, 2 * this.#alarms.length);
    }
    this.#alarms.push(row);
    this.flushSoon();
  }

  /** Receipts of an earlier append, in the order of the calls: what waits here goes first. */
  release(source: string, packetIds: readonly number[]): void {
    if (this.#receipts.length > 0) this.flush();
    this.#released.set(source, [...(this.#released.get(source) ?? []), ...packetIds]);
    this.flushSoon();
  }

  clear(source: string): void {
    if (this.#receipts.length > 0 || this.#released.size > 0) this.flush();
    this.#cleared.add(source);
    this.flushSoon();
  }

  /** Hands over all that waits, in order. What the cache does not take now is tried again soon. */
  flush(): void {
    this.stop();
    if (this.#failure !== undefined || !this.#sendAll()) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const { resolve } of waiters) resolve();
  }

  /** Resolves when the cache has taken all that waits; rejects when it takes nothing any more. */
  emptied(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure.error);
      this.#waiters.push({ resolve, reject });
      this.flush();
    });
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #sendAll(): boolean {
    // What is joined came before what is held: `readings` holds a chunk only after it flushed the joined ones, or could not.
    if (this.#joined.length > 0) {
      if (!this.#send(this.#joined.copy())) return false;
      this.#joined.reset();
    }
    const held = this.#held;
    if (held !== undefined) {
      if (!held.isCounted) this.#count(held.source, held.counts, held.receipts);
      held.isCounted = true;
      if (!this.#send(held.chunk)) return false;
      this.#held = undefined;
    }
    return this.#send(undefined);
  }

  #count(source: string, counts: Counts, receipts: readonly Receipt[]): void {
    this.#accounts.add(source, counts, counts.reasons);
    this.#receipts.push(...receipts);
  }

  #send(chunk: Chunk | undefined): boolean {
    const counts = this.#accounts.takeDeltas();
    const deadLetters = this.#letters.take();
    const append: Append = {
      ...(chunk === undefined ? {} : { chunk }),
      ...(counts.length === 0 ? {} : { counts }),
      ...(deadLetters.length === 0 ? {} : { deadLetters }),
      ...(this.#alarms.length === 0 ? {} : { alarms: this.#alarms }),
      ...this.#receiptChanges(),
    };
    if (Object.keys(append).length === 0) return true;
    try {
      this.#cache.append(append);
    } catch (thrown) {
      this.#accounts.giveBack(counts);
      this.#letters.giveBack(deadLetters);
      if (codeOf(thrown) === 'cache.busy') this.flushSoon();
      else this.#fail(thrown);
      return false;
    }
    this.#alarms = [];
    this.#alarmsMax = ALARMS_WAITING_MAX;
    this.#receipts = [];
    this.#released = new Map();
    this.#cleared = new Set();
    return true;
  }

  /** The cache is closed, or its disk is broken: the daemon ends by that. Here nobody may be told that anything is safe. */
  #fail(error: unknown): void {
    this.#failure = { error };
    for (const { reject } of this.#waiters) reject(error);
    this.#waiters = [];
  }

  #receiptChanges(): Pick<Append, 'receipts'> {
    if (this.#receipts.length + this.#released.size + this.#cleared.size === 0) return {};
    const release = [...this.#released].map(([source, packetIds]) => ({ source, packetIds }));
    return { receipts: { add: this.#receipts, release, clear: [...this.#cleared] } };
  }

  /** For what is no reading and shall not wait for one: dead letters, counts. */
  flushSoon(): void {
    this.#timer ??= this.#clock.after(JOIN_MS, () => {
      this.#timer = undefined;
      this.flush();
    });
  }
}
