/**
 * The line of commits: what was added waits in memory, is prepared, and is written in order. Whatever else writes goes
 * through `transact`, behind what was prepared before it.
 */
import { codeOf, SluiceError } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';
import type { RunBook, TagBook } from './books.ts';
import { saveWindows } from './checkpoint.ts';
import { ClockRows } from './clock-rows.ts';
import { CommitMaker, type PreparedCommit, type Taken, writeCommit } from './commit.ts';
import type { Journal, Stamp } from './journal.ts';
import type { Retention } from './retention.ts';
import { HOT } from './state.ts';
import type { BlockStore } from './store.ts';
import type { Append } from './types.ts';
import type { Wear } from './wear.ts';
import type { WindowAccumulator } from './windows/accumulate.ts';
import type { WindowRows } from './windows/rows.ts';

export interface CommitOptions {
  /** `monoMs` counts from the boot, so that it can be compared across restarts. */
  readonly clock: Pick<Clock, 'wallMs' | 'monoMs' | 'synced'>;
  readonly boot: Uint8Array;
  readonly checkpointInterval: number;
  readonly deadLettersMax: number;
  /** Readings between checkpoints, whatever the time: counting them again after a crash takes seconds. */
  readonly checkpointReadings?: number;
  /** What is written to the device; undefined where nobody counts. */
  readonly wear?: Pick<Wear, 'save' | 'stats'> | undefined;
}

const CHECKPOINT_READINGS = 5_000_000;

interface Parts {
  readonly store: BlockStore;
  readonly runs: RunBook;
  readonly tags: TagBook;
  readonly journal: Journal;
  readonly windows: WindowAccumulator;
  readonly retention: Retention;
}

export class Commits {
  readonly #parts: Parts;
  readonly #options: CommitOptions;
  readonly #maker: CommitMaker;
  #taken: Taken[] = [];
  #prepared: PreparedCommit[] = [];
  #hot: Uint8Array | undefined;
  #full = false;
  #commits = 0;
  #commitSeconds = 0;
  #readings = 0;
  #lastCommitMs: number | undefined;
  #checkpointMs: number;
  #checkpointReadings = 0;
  readonly #clockRows: ClockRows;

  constructor(parts: Parts, options: CommitOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#maker = new CommitMaker(parts.tags, parts.journal, parts.windows);
    this.#clockRows = new ClockRows(options.boot);
    this.#checkpointMs = options.clock.monoMs();
  }

  /** Prepared and not written, because there is no room. */
  get stuck(): boolean {
    return this.#prepared.length > 0;
  }

  /** Readings prepared and not written, for want of room; at the end, those that are lost. */
  get readingsStuck(): number {
    return this.#prepared.reduce((sum, { readings }) => sum + readings, 0);
  }

  stats() {
    return {
      commits: this.#commits,
      readingsCommitted: this.#readings,
      full: this.#full,
      lastCommitMs: this.#lastCommitMs,
      commitSeconds: this.#commitSeconds,
      wear: this.#options.wear?.stats(this.#readings),
    };
  }

  /** Written with the next commit. @param hot as `packState` makes it. */
  saveHot(hot: Uint8Array): void {
    this.#hot = hot;
  }

  get hot(): Uint8Array | undefined {
    return this.#hot;
  }

  /** Into memory, for the next commit. */
  add(append: Append): void {
    const stamp = this.now();
    if (append.chunk !== undefined) this.#clockRows.readingsTaken(stamp);
    this.#taken.push({ append, stamp });
  }

  /**
   * Everything added before is on disk when this returns `done`. Otherwise there is no room: it is kept and written by a
   * later call.
   * @throws cache.disk, cache.corrupt (stop): nothing may be acknowledged any more.
   */
  commit(): { readonly done: boolean; readonly windows: readonly WindowRows[] } {
    const started = performance.now();
    const now = this.now();
    this.#prepare(now);
    const windows: WindowRows[] = [];
    try {
      for (let next = this.#prepared[0]; next !== undefined; next = this.#prepared[0]) {
        this.#write(next, now);
        this.#prepared.shift();
        if (this.#prepared.length === 0) this.#parts.runs.written();
        windows.push(...next.windows);
      }
      this.#full = false;
    } catch (thrown) {
      if (codeOf(thrown) !== 'cache.full') throw thrown;
      this.#full = true;
    }
    this.#commitSeconds += (performance.now() - started) / 1000;
    return { done: !this.#full, windows };
  }

  #prepare(now: Stamp): void {
    if (this.#taken.length === 0 && this.#hot === undefined && !this.#clockRows.due(now)) return;
    const taken = this.#taken;
    this.#taken = [];
    this.#prepared.push(this.#maker.prepare(taken, now, this.#clockRows.take(now)));
  }

  #write(commit: PreparedCommit, now: Stamp): void {
    const bytes = commit.blocks.reduce((sum, { row }) => sum + row.bytes, 0);
    const isLast = this.#prepared.length === 1;
    const checkpoint = isLast && this.#checkpointDue(now, commit.readings);
    if (!this.#parts.retention.makeRoom(bytes, now)) throw noRoom();
    this.#parts.store.transaction(() => {
      writeCommit(this.#parts.store, commit, this.#parts.tags, this.#parts.journal);
      this.#parts.store.trimDeadLetters(this.#options.deadLettersMax);
      if (this.#hot !== undefined) this.#parts.store.setBlob(HOT, this.#hot);
      if (checkpoint) this.checkpoint();
    });
    this.#hot = undefined;
    this.#commits++;
    this.#readings += commit.readings;
    this.#lastCommitMs = now.wallMs;
    this.#checkpointReadings += commit.readings;
    if (!checkpoint) return;
    this.#checkpointMs = now.monoMs;
    this.#checkpointReadings = 0;
  }

  /** Inside a transaction: what lives in memory and is expensive to lose. */
  checkpoint(): void {
    saveWindows(this.#parts.store, this.#parts.windows);
    this.#options.wear?.save(this.#parts.store, this.#readings);
  }

  #checkpointDue(now: Stamp, coming: number): boolean {
    const readingsMax = this.#options.checkpointReadings ?? CHECKPOINT_READINGS;
    return (
      now.monoMs - this.#checkpointMs >= this.#options.checkpointInterval ||
      this.#checkpointReadings + coming >= readingsMax
    );
  }

  /** Numbers given to prepared commits must reach the disk before any later number does. */
  transact<T>(work: (now: Stamp) => T): T {
    if (this.#prepared.length > 0 && !this.commit().done) throw noRoom();
    const restore = this.#parts.runs.snapshot();
    try {
      const now = this.now();
      const result = this.#parts.store.transaction(() => work(now));
      this.#parts.runs.written();
      return result;
    } catch (thrown) {
      restore();
      throw thrown;
    }
  }

  now(): Stamp {
    const { clock } = this.#options;
    return { wallMs: clock.wallMs(), monoMs: clock.monoMs(), synced: clock.synced() };
  }
}

function noRoom(): SluiceError {
  return new SluiceError('cache.full', 'retry', 'the cache is full of readings that were not delivered yet', {
    hint: 'Bring the connection to the cloud back, or raise cache.bytesMax.',
  });
}
