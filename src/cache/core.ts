/**
 * The cache without its thread: synchronous, over a block store, driven from outside. The worker calls `commit` by the
 * clock; a simulation may call it whenever it likes.
 *
 * What is true after any call, and after a crash at any moment:
 * - every row has one number for ever, gapless a run and class, given in the transaction that stores it;
 * - received = rejected + duplicate + thinned + accepted, and for each target accepted = delivered + pending + written off;
 *   the ledger changes in the transaction that changes what it counts;
 * - a mark is cleared only for rows of a batch that was acknowledged, or that the cloud says it holds;
 * - what is only in memory (batches in flight, questions, prepared commits) can be lost without breaking any of these.
 */

import { codeOf, isSluiceError, SluiceError } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';
import { hex } from '../wire/bytes.ts';
import { CLASSES, holdsReadings } from '../wire/classes.ts';
import type { ControlRow } from '../wire/control.ts';
import type { CloudPublic, DeviceKey } from '../wire/keys.ts';
import { BatchBuilder, type Built, type Sealing } from './batch.ts';
import { RunBook, TagBook, TargetBook } from './books.ts';
import { pack, restoreWindows, saveWindows, unpack } from './checkpoint.ts';
import { CommitMaker, type PreparedCommit, type Taken, writeCommit } from './commit.ts';
import { Damage } from './damage.ts';
import { Flight } from './flight.ts';
import { Gaps } from './gaps.ts';
import { Hello } from './hello.ts';
import { Journal, type Stamp } from './journal.ts';
import { ledgerOf } from './ledger.ts';
import { Marks } from './marks.ts';
import { deadLetters } from './refusal.ts';
import { Retention, type RetentionLimits } from './retention.ts';
import { Selection } from './select.ts';
import { Settled } from './settled.ts';
import type { BlockStore, TargetRow } from './store.ts';
import { followTargets, type TargetConfig } from './targets.ts';
import type {
  AckedAnswer,
  AlarmRow,
  Append,
  Backlog,
  CacheStats,
  CacheTag,
  CutBatch,
  CutRequest,
  HelloAnswer,
  HelloOutcome,
  HelloQuestion,
  HotState,
  Receipt,
} from './types.ts';
import type { WindowAccumulator } from './windows/accumulate.ts';
import type { WindowRows } from './windows/rows.ts';

export interface CoreOptions extends RetentionLimits {
  /** `monoMs` counts from the boot, so that it can be compared across restarts. */
  readonly clock: Pick<Clock, 'wallMs' | 'monoMs' | 'synced'>;
  readonly boot: Uint8Array;
  readonly windows: readonly number[];
  readonly checkpointInterval: number;
  readonly deadLettersMax: number;
  readonly unsyncedWait: number;
  readonly targets: readonly TargetConfig[];
  readonly device: DeviceKey | undefined;
  readonly version: string;
  /** Why this run began, for RUN_OPEN: `start`. */
  readonly reason: string;
  /** Random bytes by default. */
  readonly run?: Uint8Array;
  /** Readings between checkpoints, whatever the time: counting them again after a crash takes seconds. */
  readonly checkpointReadings?: number;
}

const CHECKPOINT_READINGS = 5_000_000;
const HOT = 'hot';
const SINCE = 'ledger since';
/** A record of bytes of a batch that nothing may be larger than, for cutting below a limit. */
const HALVINGS_MAX = 20;

export class CacheCore {
  readonly runs: RunBook;
  readonly tags: TagBook;
  readonly targets: TargetBook;
  readonly #store: BlockStore;
  readonly #options: CoreOptions;
  readonly #journal: Journal;
  readonly #windows: WindowAccumulator;
  readonly #maker: CommitMaker;
  readonly #marks: Marks;
  readonly #gaps: Gaps;
  readonly #hello: Hello;
  readonly #settled: Settled;
  readonly #retention: Retention;
  readonly #damage: Damage;
  readonly #flight = new Flight();
  readonly #selection: Selection;
  readonly #builder: BatchBuilder;
  readonly #clouds = new Map<string, CloudPublic>();
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
  /** Wall minus monotonic time of rows taken while the clock was not set. */
  #unsyncedOffsetMs: number | undefined;

  constructor(store: BlockStore, options: CoreOptions) {
    this.#store = store;
    this.#options = options;
    const { clock } = options;
    this.runs = new RunBook(store, options.boot, clock.wallMs(), options.run);
    this.tags = new TagBook(store);
    this.targets = new TargetBook(store);
    store.transaction(() => {
      if (store.meta(SINCE) === undefined) store.setMeta(SINCE, String(clock.wallMs()));
      followTargets(store, this.targets, options.targets);
    });
    this.#journal = new Journal(store, this.runs, this.targets, { reason: options.reason, version: options.version });
    this.#windows = restoreWindows(store, options.windows, this.tags.kindOf);
    this.#maker = new CommitMaker(this.tags, this.#journal, this.#windows);
    this.#marks = new Marks(store, this.tags);
    this.#gaps = new Gaps(store, this.runs, this.#journal);
    this.#hello = new Hello(store, this.runs, this.#marks, this.#gaps);
    this.#settled = new Settled(store, this.runs, this.#journal);
    this.#retention = new Retention(store, this.runs, this.targets, options);
    this.#damage = new Damage(store, this.targets, this.#gaps);
    const unsyncedWaitMs = options.unsyncedWait;
    this.#selection = new Selection({
      store,
      marks: this.#marks,
      runs: this.runs,
      targets: this.targets,
      flight: this.#flight,
      unsyncedWaitMs,
    });
    this.#builder = new BatchBuilder(store, this.runs, this.tags);
    this.#checkpointMs = clock.monoMs();
  }

  registerTag(tag: CacheTag): void {
    this.tags.register(tag);
  }

  /** Into memory, for the next commit. */
  add(append: Append): void {
    const stamp = this.#now();
    if (!stamp.synced && append.chunk !== undefined) this.#unsyncedOffsetMs ??= stamp.wallMs - stamp.monoMs;
    this.#taken.push({ append, stamp });
  }

  get idle(): boolean {
    return this.#taken.length === 0 && this.#prepared.length === 0 && this.#hot === undefined;
  }

  /**
   * Everything added before is on disk when this returns `done`. Otherwise there is no room: it is kept and written by a
   * later call.
   * @throws cache.disk, cache.corrupt (stop): nothing may be acknowledged any more.
   */
  commit(): { readonly done: boolean; readonly windows: readonly WindowRows[] } {
    const started = performance.now();
    const now = this.#now();
    this.#prepare(now);
    const windows: WindowRows[] = [];
    try {
      for (let next = this.#prepared[0]; next !== undefined; next = this.#prepared[0]) {
        this.#write(next, now);
        this.#prepared.shift();
        if (this.#prepared.length === 0) this.runs.written();
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
    if (this.#taken.length === 0 && this.#hot === undefined && !this.#clockWasSet(now)) return;
    const control: ControlRow[] = [];
    if (this.#clockWasSet(now)) {
      const offsetMs = now.wallMs - now.monoMs - (this.#unsyncedOffsetMs ?? 0);
      control.push({ type: 'CLOCK_OFFSET', boot: hex(this.#options.boot), offsetMs });
      this.#unsyncedOffsetMs = undefined;
    }
    const taken = this.#taken;
    this.#taken = [];
    this.#prepared.push(this.#maker.prepare(taken, now, control));
  }

  #clockWasSet(now: Stamp): boolean {
    return now.synced && this.#unsyncedOffsetMs !== undefined;
  }

  #write(commit: PreparedCommit, now: Stamp): void {
    const bytes = commit.blocks.reduce((sum, { row }) => sum + row.bytes, 0);
    const isLast = this.#prepared.length === 1;
    const checkpoint = isLast && this.#checkpointDue(now, commit.readings);
    this.#store.transaction(() => {
      if (!this.#retention.makeRoom(bytes, now)) throw noRoom();
      writeCommit(this.#store, commit, this.tags, this.#journal);
      this.#store.trimDeadLetters(this.#options.deadLettersMax);
      if (this.#hot !== undefined) this.#store.setBlob(HOT, this.#hot);
      if (checkpoint) saveWindows(this.#store, this.#windows);
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

  #checkpointDue(now: Stamp, coming: number): boolean {
    const readingsMax = this.#options.checkpointReadings ?? CHECKPOINT_READINGS;
    return (
      now.monoMs - this.#checkpointMs >= this.#options.checkpointInterval ||
      this.#checkpointReadings + coming >= readingsMax
    );
  }

  /** Numbers given to prepared commits must reach the disk before any later number does. */
  #transact<T>(work: (now: Stamp) => T): T {
    if (this.#prepared.length > 0 && !this.commit().done) throw noRoom();
    const restore = this.runs.snapshot();
    try {
      const now = this.#now();
      const result = this.#store.transaction(() => work(now));
      this.runs.written();
      return result;
    } catch (thrown) {
      restore();
      throw thrown;
    }
  }

  setRecipient(target: string, cloud: CloudPublic): void {
    this.#clouds.set(target, cloud);
  }

  cut(request: CutRequest): CutBatch | undefined {
    const target = this.targets.get(request.target);
    const cloud = this.#clouds.get(request.target);
    const { device } = this.#options;
    if (cloud === undefined || device === undefined) return undefined;
    for (let rowsMax = request.rowsMax, tries = 0; tries < HALVINGS_MAX; tries++) {
      const built = this.#build({ ...request, rowsMax }, target, { device, cloud });
      if (built === undefined) return undefined;
      if (built.batch.envelope.length > request.bytesMax && built.batch.rows > 1) {
        rowsMax = built.batch.rows >> 1;
        continue;
      }
      this.#flight.add(built.inFlight);
      return built.batch;
    }
    return undefined;
  }

  #build(request: CutRequest, target: TargetRow, sealing: Sealing): Built | undefined {
    for (;;) {
      const now = this.#now();
      const selected = this.#selection.select(request, now);
      if (selected.length === 0) return undefined;
      const built = this.#builder.build(selected, target, request, sealing, Math.max(0, Math.floor(now.wallMs)));
      if (!('damaged' in built)) return built;
      this.#transact((stamp) => this.#damage.setAside(built.damaged, stamp));
    }
  }

  acknowledge(batchId: string, answer: AckedAnswer): void {
    const flight = this.#flight.get(batchId);
    if (flight === undefined) return;
    const target = this.targets.find(flight.target);
    if (target === undefined || target.removed) return;
    const work = (now: Stamp) => {
      for (const part of flight.parts) this.#marks.settle(target, part, 'delivered');
      const { dictionary } = flight;
      if (dictionary !== undefined && dictionary.count > target.dictionaryCount) {
        this.targets.put(this.#store, { ...target, dictionary: dictionary.hash, dictionaryCount: dictionary.count });
      }
      for (const { run, class: classNumber, held } of answer.heldGaps ?? [])
        this.#hello.heldAfterAll(target, run, classNumber, held);
      if (this.#prepared.length === 0 && this.#settled.due(target, now)) this.#settled.write(target, now);
    };
    // Clearing marks needs no new numbers, so it goes on while the disk is full: it is what makes room again.
    if (this.#prepared.length > 0) this.#store.transaction(() => work(this.#now()));
    else this.#transact(work);
    this.#flight.remove(batchId);
    this.#retention.marksChanged();
  }

  release(batchId: string): void {
    this.#flight.remove(batchId);
  }

  refuse(batchId: string, reason: string): void {
    const flight = this.#flight.get(batchId);
    if (flight === undefined) return;
    const target = this.targets.get(flight.target);
    this.#transact((now) => {
      for (const part of flight.parts.filter(({ class: classNumber }) => holdsReadings(classNumber))) {
        const rows = this.#marks.pending(1 << target.bit, part);
        const { letters, fromMs, toMs } = deadLetters(this.#store, this.tags, rows, part.ranges, reason, now.wallMs);
        for (const letter of letters) this.#store.addDeadLetter(letter);
        const { ranges } = this.#marks.settle(target, part, 'refused');
        this.#gaps.write(target, 'refused', [{ run: part.run, class: part.class, ranges, fromMs, toMs }], now);
      }
      this.#store.trimDeadLetters(this.#options.deadLettersMax);
    });
    this.#flight.remove(batchId);
    this.#retention.marksChanged();
  }

  helloRuns(target: string, page = 0): HelloQuestion {
    return this.#hello.ask(this.targets.get(target), page);
  }

  hello(question: Pick<HelloQuestion, 'id' | 'target'>, answer: HelloAnswer): HelloOutcome {
    const outcome = this.#transact((now) =>
      this.#hello.compare(this.targets.get(question.target), question.id, answer, now),
    );
    this.#retention.marksChanged();
    return outcome;
  }

  forgetDictionary(name: string): void {
    const target = this.targets.get(name);
    this.#store.transaction(() =>
      this.targets.put(this.#store, { ...target, dictionary: undefined, dictionaryCount: 0 }),
    );
  }

  receipts(source: string): readonly Receipt[] {
    return this.#store.receipts(source);
  }

  saveHot(state: HotState): void {
    this.#hot = pack(state);
  }

  loadHot(): HotState | undefined {
    return unpack<HotState>(this.#hot ?? this.#store.blob(HOT));
  }

  /** The last row of each alarm that is active. */
  alarms(): AlarmRow[] {
    return this.#store.alarms().map((row): AlarmRow => JSON.parse(row)); // written by us
  }

  backlog(name: string): Backlog {
    const sums = this.#store.pendingSums(1 << this.targets.get(name).bit);
    const perClass = { alarm: 0, control: 0, aggregate: 0, normal: 0, low: 0 };
    for (const sum of sums) perClass[CLASSES[sum.class]] = sum.rows;
    return {
      pendingRows: sums.reduce((rows, sum) => rows + sum.rows, 0),
      pendingReadings: perClass.normal + perClass.low,
      pendingBytes: sums.reduce((bytes, sum) => bytes + sum.bytes, 0),
      oldestMs: sums.length === 0 ? undefined : Math.min(...sums.map(({ oldestMs }) => oldestMs)),
      perClass,
    };
  }

  stats(): CacheStats {
    const { blocks, windowBlocks, deadLetters: letters, damaged } = this.#store.totals();
    const names = this.targets.active().map(({ name }) => name);
    return {
      run: hex(this.runs.current.run),
      ledger: ledgerOf(this.#store.ledger(), this.tags.sourceNames(), names, Number(this.#store.meta(SINCE))),
      commits: this.#commits,
      readingsCommitted: this.#readings,
      bytesUsed: this.#store.bytesUsed(),
      bytesMax: this.#options.bytesMax,
      blocks,
      windowBlocks,
      tags: this.tags.size,
      deadLetters: letters,
      damagedBlocks: damaged,
      full: this.#full,
      lastCommitMs: this.#lastCommitMs,
      commitSeconds: this.#commitSeconds,
    };
  }

  /** Commits what is there and marks the end of this run as clean. @returns whether everything was written. */
  close(): boolean {
    try {
      const { done } = this.commit();
      if (done) {
        this.#store.transaction(() => {
          saveWindows(this.#store, this.#windows);
          const run = this.runs.closed();
          if (run !== undefined) this.#store.putRun(run);
        });
      }
      return done;
    } catch (thrown) {
      if (isSluiceError(thrown) && thrown.code === 'cache.full') return false;
      throw thrown;
    } finally {
      this.#store.close();
    }
  }

  #now(): Stamp {
    const { clock } = this.#options;
    return { wallMs: clock.wallMs(), monoMs: clock.monoMs(), synced: clock.synced() };
  }
}

function noRoom(): SluiceError {
  return new SluiceError('cache.full', 'retry', 'the cache is full of readings that were not delivered yet', {
    hint: 'Bring the connection to the cloud back, or raise cache.bytesMax.',
  });
}
