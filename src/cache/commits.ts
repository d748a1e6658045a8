/**
 * The line of commits: what was added waits in memory, is prepared, and is written in order. While readings find no room
 * their fronts (see `commit.ts`) go ahead. Whatever else writes goes through `transact`, behind the fronts before it.
 */
import { codeOf, SluiceError } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';
import { CLASS_NUMBERS } from '../wire/classes.ts';
import type { RunBook, TagBook } from './books.ts';
import { lastPlace } from './checkpoint.ts';
import { Checkpoints } from './checkpoints.ts';
import { ClockRows } from './clock-rows.ts';
import { CommitMaker, type PreparedCommit, type Taken } from './commit.ts';
import type { Journal, Stamp } from './journal.ts';
import { AlarmQuota } from './ladder/alarm-quota.ts';
import { costOf } from './ladder/pressure.ts';
import type { Room } from './ladder/room.ts';
import { RejectionReasons } from './ledger-reasons.ts';
import type { Retention } from './retention.ts';
import { HOT, HOT_AFTER, type HotMark } from './state.ts';
import type { BlockStore } from './store.ts';
import type { Append } from './types.ts';
import type { Wear } from './wear.ts';
import { addAll, type WindowBook } from './windows/book.ts';
import type { WindowRows } from './windows/rows.ts';
import { isOnlyFront, writeFront, writeReadings } from './write-commit.ts';

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

interface Parts {
  readonly store: BlockStore;
  readonly runs: RunBook;
  readonly tags: TagBook;
  readonly journal: Journal;
  readonly windows: WindowBook;
  readonly retention: Retention;
  readonly room: Room;
  /** What joins the transaction of a commit, and hears when that is durable. */
  readonly onWrite: { write(): void; written(): void };
  /** A commit's readings were written. @param cost as `costOf` */
  readonly onGrown: (cost: number) => void;
}

interface Waiting {
  readonly commit: PreparedCommit;
  isFrontWritten: boolean;
}

export class Commits {
  readonly #parts: Parts;
  readonly #options: CommitOptions;
  readonly #maker: CommitMaker;
  #taken: Taken[] = [];
  #prepared: Waiting[] = [];
  readonly quota = new AlarmQuota();
  #hot: Uint8Array | undefined;
  #full: 'limit' | 'disk' | undefined;
  #commits = 0;
  #commitSeconds = 0;
  #readings = 0;
  #lastCommitMs: number | undefined;
  readonly #checkpoints: Checkpoints;
  readonly #clockRows: ClockRows;
  readonly #reasons: RejectionReasons;

  constructor(parts: Parts, options: CommitOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#maker = new CommitMaker(parts.tags, parts.journal, parts.windows);
    this.#clockRows = new ClockRows(options.boot);
    this.#reasons = new RejectionReasons(parts.store);
    this.#checkpoints = new Checkpoints(parts.store, parts.windows, options, options.clock.monoMs());
  }

  /** There is no room even for alarms and control rows: nothing can get a number. */
  get stuck(): boolean {
    return this.#prepared.some(({ isFrontWritten }) => !isFrontWritten);
  }

  /** Why the last commit did not write its readings: no room within the limit, or none on the disk. */
  get full(): 'limit' | 'disk' | undefined {
    return this.#full;
  }

  /** Readings prepared and not written, for want of room; at the end, those that are lost. */
  get readingsStuck(): number {
    return this.#prepared.reduce((sum, { commit }) => sum + commit.readings, 0);
  }

  /** Whether something waits for room: rows with numbers, windows that closed. It will come to lie behind all that is on disk. */
  get unwritten(): boolean {
    return this.#prepared.length > 0;
  }

  stats() {
    return {
      commits: this.#commits,
      readingsCommitted: this.#readings,
      full: this.#full !== undefined,
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
   * Everything added before is on disk when this returns `done`. Otherwise there is no room: readings are kept and written
   * by a later call; alarms, control rows and counts are written all the same, as long as there is room for these.
   * @throws cache.disk, cache.corrupt (stop): nothing may be acknowledged any more.
   */
  commit(): { readonly done: boolean; readonly windows: readonly WindowRows[] } {
    const started = performance.now();
    const now = this.now();
    this.#prepare(now);
    const windows: WindowRows[] = [];
    this.#full = undefined;
    try {
      for (let next = this.#prepared[0]; next !== undefined; next = this.#prepared[0]) {
        if (!this.#write(next, now)) {
          this.#full = 'limit';
          break;
        }
        this.#prepared.shift();
        windows.push(...next.commit.windows);
      }
    } catch (thrown) {
      if (codeOf(thrown) !== 'cache.full') throw thrown;
      this.#full = 'disk';
      this.#parts.room.giveUpBallast();
    }
    if (this.#full !== undefined) this.#writeFronts();
    this.#numbersWritten();
    this.#commitSeconds += (performance.now() - started) / 1000;
    return { done: this.#full === undefined, windows };
  }

  #prepare(now: Stamp): void {
    if (this.#taken.length === 0 && this.#hot === undefined && !this.#clockRows.due(now) && !this.quota.due) return;
    const taken = this.#taken;
    this.#taken = [];
    const commit = this.#maker.prepare(taken, now, this.#clockRows.take(now), (alarms) => this.quota.take(alarms));
    this.#prepared.push({ commit, isFrontWritten: false });
  }

  /** @returns false when the limit leaves no room. @throws cache.full when the disk does not. */
  #write(waiting: Waiting, now: Stamp): boolean {
    const { commit } = waiting;
    const bytes = commit.blocks.reduce((sum, { row }) => sum + row.bytes, 0);
    const isLast = this.#prepared.length === 1;
    const { room, retention } = this.#parts;
    if (!retention.makeRoom(bytes, now, bytes > 0 ? room.margin(now.monoMs) : 0) && bytes > 0) return false;
    const checkpoint = isLast && this.#checkpoints.isDue(now.monoMs, commit.readings);
    const before = this.#hot === undefined ? undefined : this.#hotMark();
    // All of them, and only once all that they have seen is on disk.
    const windows = isLast && this.#parts.windows.isDue(now.monoMs) ? this.#parts.windows.waiting() : undefined;
    this.#parts.store.transaction(() => {
      if (!waiting.isFrontWritten) this.#writeFront(commit);
      writeReadings(this.#parts.store, commit, this.#parts.tags);
      addAll(this.#parts.store, windows ?? []);
      this.#parts.store.trimDeadLetters(this.#options.deadLettersMax);
      if (this.#hot !== undefined && before !== undefined) this.#writeHot(this.#hot, before);
      this.#parts.onWrite.write();
      if (checkpoint) this.checkpoint(windows !== undefined);
    });
    if (windows !== undefined) this.#parts.windows.written();
    this.#parts.onWrite.written();
    this.#hot = undefined;
    this.#parts.onGrown(costOf(bytes, commit.blocks.length));
    this.#commits++;
    this.#readings += commit.readings;
    this.#lastCommitMs = now.wallMs;
    this.#checkpoints.written(now.monoMs, commit.readings, checkpoint);
    return true;
  }

  #writeHot(hot: Uint8Array, before: HotMark): void {
    this.#parts.store.setBlob(HOT, hot);
    this.#parts.store.setMeta(HOT_AFTER, JSON.stringify(before));
  }

  /** What is on disk now. */
  #hotMark(): HotMark {
    const { store, runs } = this.#parts;
    const last = CLASS_NUMBERS.map((classNumber) => runs.last(classNumber));
    for (const { commit } of this.#prepared)
      for (const { row } of commit.blocks) last[row.class] = Math.min(last[row.class] ?? 0, row.n0 - 1);
    return { block: lastPlace(store), run: runs.current.seq, last };
  }

  /** Inside a transaction. */
  #writeFront(commit: PreparedCommit): void {
    const { store, tags, journal } = this.#parts;
    writeFront(store, commit, { tags, journal, reasons: this.#reasons });
  }

  /** @returns whether all of them are on disk. */
  #writeFronts(): boolean {
    const { store } = this.#parts;
    try {
      for (const waiting of this.#prepared) {
        if (waiting.isFrontWritten) continue;
        store.transaction(() => this.#writeFront(waiting.commit));
        waiting.isFrontWritten = true;
      }
      // For hours of a full disk nothing may pile up but readings.
      this.#prepared = this.#prepared.filter(({ commit }) => !isOnlyFront(commit));
      return true;
    } catch (thrown) {
      if (codeOf(thrown) !== 'cache.full') throw thrown;
      this.#parts.room.giveUpBallast();
      return false;
    }
  }

  #numbersWritten(): void {
    const waiting = new Map<number, number>();
    for (const { commit, isFrontWritten } of this.#prepared) {
      for (const { row } of [...(isFrontWritten ? [] : commit.front), ...commit.blocks])
        waiting.set(row.class, Math.min(waiting.get(row.class) ?? row.n0, row.n0));
    }
    this.#parts.runs.written(waiting);
  }

  /** Inside a transaction: what lives in memory and is expensive to lose. @param isWritten the windows that waited. */
  checkpoint(isWritten = false): void {
    this.#checkpoints.save(isWritten);
    this.#options.wear?.save(this.#parts.store, this.#readings);
  }

  /** At the end of a transaction that may have removed raw. */
  readonly rawWent = (): void => this.#checkpoints.rawWent(this.#prepared.map(({ commit }) => commit));

  /** Numbers of a class reach the disk in order: what is written here is of the classes of fronts, and comes after them. */
  transact<T>(work: (now: Stamp) => T): T {
    if (this.stuck && !this.#writeFronts()) throw noRoom();
    const restore = this.#parts.runs.snapshot();
    try {
      const now = this.now();
      const result = this.#parts.store.transaction(() => {
        const done = work(now);
        this.rawWent();
        return done;
      });
      this.#numbersWritten();
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
