/**
 * The cache without its thread: synchronous, over a block store, driven from outside. The worker calls `commit` by the
 * clock; a simulation may call it whenever it likes.
 *
 * What is true after any call, and after a crash at any moment:
 * - every row has one number for ever, gapless a run and class, given in the transaction that stores it;
 * - received = rejected + duplicate + thinned + accepted, and for each target accepted = delivered + pending + written off;
 *   the ledger changes in the transaction that changes what it counts;
 * - a mark is cleared only for rows of a batch that was acknowledged, or that the cloud says it holds;
 * - what is only in memory (batches in flight, acknowledgements that wait, questions, prepared commits) can be lost without breaking any of these.
 */

import { codeOf } from '../errors.ts';
import type { CloudPublic, DeviceKey } from '../wire/keys.ts';
import { Acks } from './acks.ts';
import { RunBook, TagBook, TargetBook } from './books.ts';
import { restoreWindows } from './checkpoint.ts';
import { type CommitOptions, Commits } from './commits.ts';
import { Cutting } from './cutting.ts';
import { Damage, type DamageOptions } from './damage.ts';
import { Flight } from './flight.ts';
import { Forgetting } from './forget/forgetting.ts';
import { Gaps } from './gaps.ts';
import { Hello } from './hello.ts';
import { Journal, type Stamp } from './journal.ts';
import { type KeeperOptions, LadderKeeper } from './ladder/keeper.ts';
import { Room, type RoomOptions } from './ladder/room.ts';
import { backlogOf } from './ledger.ts';
import { beginLedger } from './ledger-anew.ts';
import { Marks } from './marks.ts';
import { Retention, type RetentionLimits } from './retention.ts';
import { RollUp } from './roll-up.ts';
import type { RollUpLimits } from './rolled/groups.ts';
import { Settled } from './settled.ts';
import { HOT, packState, unpackState } from './state.ts';
import { statsOf } from './stats-of.ts';
import type { BlockStore } from './store.ts';
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
  LadderState,
  Receipt,
} from './types.ts';
import { lastWindows, warmState } from './warm.ts';
import { addAll, type WindowBook } from './windows/book.ts';
import { WindowRepair } from './windows/repair.ts';
import type { WindowRows } from './windows/rows.ts';

export interface CoreOptions extends RetentionLimits, CommitOptions, RoomOptions, KeeperOptions, DamageOptions {
  readonly windows: readonly number[];
  readonly unsyncedWait: number;
  readonly targets: readonly TargetConfig[];
  readonly device: DeviceKey | undefined;
  readonly version: string;
  /** Why this run began, for RUN_OPEN: `start`. */
  readonly reason: string;
  /** Random bytes by default. */
  readonly run?: Uint8Array;
  readonly rollUp?: Partial<RollUpLimits>;
}

export class CacheCore {
  readonly runs: RunBook;
  readonly tags: TagBook;
  readonly targets: TargetBook;
  readonly #store: BlockStore;
  readonly #options: CoreOptions;
  readonly #journal: Journal;
  readonly #windows: WindowBook;
  readonly #repair: WindowRepair;
  readonly #commits: Commits;
  readonly #marks: Marks;
  readonly #gaps: Gaps;
  readonly #hello: Hello;
  readonly #settled: Settled;
  readonly #retention: Retention;
  readonly #damage: Damage;
  readonly #ladder: LadderKeeper;
  /** Of `sluice forget`. Its steps go before those that move rows: it has to find all of them. */
  readonly forgetting: Forgetting;
  readonly flight = new Flight();
  readonly #acks: Acks;
  readonly #rollUp: RollUp;
  readonly #cutting: Cutting;

  constructor(store: BlockStore, options: CoreOptions) {
    this.#store = store;
    this.#options = options;
    const { clock } = options;
    this.runs = new RunBook(store, options.boot, clock.wallMs(), options.run);
    this.tags = new TagBook(store);
    this.targets = new TargetBook(store);
    store.transaction(() => {
      beginLedger(store, clock.wallMs());
      followTargets(store, this.targets, this.runs, options.targets);
    });
    this.#journal = new Journal(store, this.runs, this.targets, { reason: options.reason, version: options.version });
    this.#windows = restoreWindows(store, options.windows, this.tags.kindOf, clock.monoMs());
    this.#marks = new Marks(store, this.tags, () => !this.forgetting.searching);
    this.#gaps = new Gaps(store, this.runs, this.#journal);
    this.#hello = new Hello(store, this.runs, this.#marks, this.#gaps);
    this.#settled = new Settled(store, this.runs, this.#journal);
    const room = new Room(store, options);
    const [settle, rawWent] = [() => this.#acks.flush(), () => this.#commits.rawWent()];
    this.#retention = new Retention(store, this.runs, this.targets, room, options, settle, rawWent);
    const books = { runs: this.runs, tags: this.tags, targets: this.targets };
    this.#damage = new Damage({ store, ...books, gaps: this.#gaps }, options);
    const transact: Commits['transact'] = (work) => this.#commits.transact(work);
    this.#repair = new WindowRepair({ store, windows: this.#windows, transact });
    this.#commits = new Commits(
      {
        store,
        runs: this.runs,
        tags: this.tags,
        journal: this.#journal,
        windows: this.#windows,
        retention: this.#retention,
        room,
        onWrite: { write: () => this.#acks.write(), written: () => this.#acks.written() },
        onGrown: (cost) => this.#ladder.pressures.changed(cost),
      },
      options,
    );
    this.#acks = new Acks({
      ...{ store, targets: this.targets, flight: this.flight, marks: this.#marks, hello: this.#hello },
      ...{ settled: this.#settled, commits: this.#commits, retention: this.#retention },
      isPressed: () => this.ladder.level > 0,
    });
    this.#cutting = new Cutting(
      {
        ...{ store, ...books, flight: this.flight, acks: this.#acks, marks: this.#marks, gaps: this.#gaps },
        ...{ damage: this.#damage, commits: this.#commits, retention: this.#retention },
      },
      options,
    );
    this.#rollUp = new RollUp({ store, runs: this.runs, flight: this.flight }, options.rollUp);
    this.forgetting = new Forgetting({
      ...{ store, runs: this.runs, tags: this.tags, targets: this.targets, flight: this.flight, gaps: this.#gaps },
      ...{ damage: this.#damage, commits: this.#commits, windows: this.#windows },
    });
    const ladder = { store, runs: this.runs, tags: this.tags, targets: this.targets, journal: this.#journal, room };
    this.#ladder = new LadderKeeper({ ...ladder, gaps: this.#gaps, flight: this.flight, transact }, options);
  }

  registerTag(tag: CacheTag): void {
    this.tags.register(tag);
  }

  /** Into memory, for the next commit. */
  add(append: Append): void {
    this.#commits.add(append);
  }

  /** As `Commits.commit`: when it is not `done`, a later call is. @throws cache.disk, cache.corrupt (stop) */
  commit(): { readonly done: boolean; readonly windows: readonly WindowRows[] } {
    const result = this.#commits.commit();
    this.#acks.tryFlush();
    if (result.done) this.#gaps.tellDue(this.targets, this.#commits);
    else this.#store.cutLog();
    if (result.done) this.uncommitted(0);
    else if (this.#commits.full === 'limit') this.#ladder.pressures.nothingRemovable(this.#commits.now());
    this.#look();
    return result;
  }

  #look(): void {
    this.#ladder.look(this.#commits.now(), this.#commits.full !== undefined);
    this.#commits.quota.limit(this.ladder.level === 5);
  }

  setRecipient(target: string, cloud: CloudPublic, device?: DeviceKey): void {
    this.#cutting.setRecipient(target, cloud, device);
  }

  cut(request: CutRequest): CutBatch | undefined {
    return this.#cutting.cut(request);
  }

  /** Its marks change with the next commit, see `acks.ts`. */
  acknowledge(batchId: string, answer: AckedAnswer): void {
    this.#acks.acknowledge(batchId, answer);
  }

  release(batchId: string): void {
    if (!this.#acks.has(batchId)) this.flight.remove(batchId);
  }

  refuse(batchId: string, reason: string): void {
    this.#cutting.refuse(batchId, reason);
  }

  helloRuns(target: string, page = 0): HelloQuestion {
    this.#acks.tryFlush();
    return this.#hello.ask(this.targets.get(target), page);
  }

  hello(question: Pick<HelloQuestion, 'id' | 'target'>, answer: HelloAnswer): HelloOutcome {
    this.#acks.tryFlush();
    const target = this.targets.get(question.target);
    const isStuck = this.#commits.stuck;
    const compare = (now: Stamp) => this.#hello.compare(target, question.id, answer, now, isStuck);
    // As for `acknowledge`: what the cloud holds makes room, and is noted without new numbers while there is none.
    const outcome = isStuck
      ? this.#store.transaction(() => compare(this.#commits.now()))
      : this.#commits.transact(compare);
    this.#retention.marksChanged();
    return outcome;
  }

  forgetDictionary(name: string): void {
    this.#acks.flush();
    const target = { ...this.targets.get(name), dictionary: undefined, dictionaryCount: 0 };
    this.#store.transaction(() => this.targets.put(this.#store, target));
  }

  receipts(source: string): readonly Receipt[] {
    return this.#store.receipts(source);
  }

  loadHot(): HotState | undefined {
    return warmState(this.#store, unpackState<HotState>(this.#commits.hot ?? this.#store.blob(HOT)));
  }

  /** The last row of each alarm that is active. */
  alarms(): AlarmRow[] {
    return this.#store.alarms().map((row): AlarmRow => JSON.parse(row)); // written by us
  }

  backlog(name: string): Backlog {
    return backlogOf(this.#acks.without(name, this.#store.pendingSums(1 << this.targets.get(name).bit)));
  }

  stats(): CacheStats {
    this.#acks.tryFlush();
    const { bytesMax } = this.#options;
    return statsOf(this.#store, this, { ...this.#commits.stats(), bytesMax, ladder: this.ladder });
  }

  get ladder(): LadderState {
    return this.#ladder.state;
  }

  /** What the main thread has handed over or is about to, and is not committed yet. */
  uncommitted(bytes: number): void {
    this.#ladder.pressures.uncommitted(bytes, this.#commits.now());
  }

  /** One bounded step (< 50 ms) of making large blocks of small ones. @returns whether there may be more. */
  rollUp(): boolean {
    if (this.forgetting.step()) return true;
    return !this.forgetting.searching && this.#rollUp.step(this.#commits.now());
  }

  /** One bounded step (< 50 ms) of counting windows again whose readings came late. @returns whether there may be more. */
  repairWindows(): boolean {
    return !this.#commits.unwritten && this.#repair.step(this.#commits.now());
  }

  /** One bounded step (< 50 ms) of making room as the ladder says. @returns whether there may be more. */
  ladderStep(): boolean {
    const more = this.#ladder.step(this.#commits.now(), this.#commits.full !== undefined);
    this.#commits.quota.limit(this.ladder.level === 5);
    return more;
  }

  readonly saveHot = (hot: HotState): void => this.#commits.saveHot(this.forgetting.withoutForgotten(packState(hot)));
  readonly lastWindows = (periods: readonly number[]) => lastWindows(this.#store, periods);
  readonly readingsStuck = (): number => this.#commits.readingsStuck;
  /** Commits what is there and marks the end of this run as clean. @returns whether everything was written. */
  close(): boolean {
    try {
      const { done } = this.commit();
      if (done) {
        this.#store.transaction(() => {
          addAll(this.#store, this.#windows.flush());
          this.#commits.checkpoint();
          const run = this.runs.closed();
          if (run !== undefined) this.#store.putRun(run);
        });
      }
      return done;
    } catch (thrown) {
      if (codeOf(thrown) !== 'cache.full') throw thrown;
      return false;
    } finally {
      this.#store.close();
    }
  }
}
