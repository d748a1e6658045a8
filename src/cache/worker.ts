/** The cache's thread: opens the store, commits by the clock, does what it is asked. Everything else is in `core.ts`. */
import { parentPort, workerData } from 'node:worker_threads';
import { codeOf } from '../errors.ts';
import { systemClock, type Timer } from '../runtime/clock.ts';
import { parseDeviceKey } from '../wire/keys.ts';
import { Background } from './background.ts';
import { bootClock, bootId } from './boot.ts';
import { CacheCore } from './core.ts';
import { logBytesMax } from './file-bytes.ts';
import { isReadOnly, makeFolder, readOnly } from './folder.ts';
import { ForgetDesk } from './forget/desk.ts';
import { BallastFile, ballastBytes } from './ladder/ballast.ts';
import { diskOf } from './ladder/room.ts';
import { lockFolder } from './lock.ts';
import { type Closed, errorFacts, type FromWorker, type ToWorker, type WorkerOptions } from './protocol.ts';
import type { DamageNote } from './recover/notes.ts';
import { isSuspicious, openingReason, openRecovering } from './recover/open.ts';
import { clearSuspect, markSuspect, markUnsynced } from './recover/suspect.ts';
import { SqliteStore } from './store-sqlite.ts';
import type { CacheStats, LadderState } from './types.ts';
import { processWritten, Wear } from './wear.ts';
import { closedWindows, type Transferable } from './windows/closed.ts';
import { WriteBudget } from './write-budget.ts';

/** More readings than this are committed at once: the thread must come back to its questions. */
const COMMIT_ROWS_MAX = 200_000;

const port = parentPort;
if (port === null) throw new Error('worker.ts is started by client.ts');
const post = (message: FromWorker, transfer: readonly Transferable[] = []) => port.postMessage(message, transfer);

class CacheWorker {
  readonly core: CacheCore;
  readonly damage: readonly DamageNote[];
  readonly #folder: string;
  readonly #commitIntervalMs: number;
  readonly #release: () => void;
  readonly #budget: WriteBudget;
  #seq = 0;
  #rows = 0;
  #timer: { timer: Timer; dueMs: number } | undefined;
  #lastCommitMs = Number.NEGATIVE_INFINITY;
  #watchWindows = false;
  readonly #background: Background;
  readonly #forgetDesk: ForgetDesk;

  constructor({ config, targets, keys, device, version, reason }: WorkerOptions) {
    this.#folder = config.path;
    makeFolder(config.path);
    const lock = lockFolder(config.path);
    this.#release = () => lock.release();
    this.#commitIntervalMs = config.commitInterval;
    const { bytesMax, ageMax, windowsAgeMax, windowsKept, windows, checkpointInterval } = config;
    const { deadLettersMax, unsyncedWait } = config;
    const kept = { bytesMax, ageMax, windowsAgeMax, windowsKept, windows };
    const limits = { ...kept, checkpointInterval, deadLettersMax, unsyncedWait };
    const ladder = {
      diskFreeMin: config.diskFreeMin,
      disk: diskOf(config.path),
      ballast: new BallastFile(config.path, ballastBytes(bytesMax)),
      uncommittedBytesMax: config.uncommittedBytesMax,
      onLadder: (state: LadderState) => post({ type: 'ladder', state }),
    };
    const onDamage = (note: DamageNote) => post({ type: 'damage', note });
    const key = device === undefined ? undefined : parseDeviceKey(device);
    try {
      const makeRoom = () => ladder.ballast.release();
      const place = { folder: config.path, bytesMax, clock: bootClock, makeRoom };
      const { value, notes } = openRecovering(place, (db, found) => {
        const store = new SqliteStore(db, keys, logBytesMax(bytesMax));
        const wear = new Wear(store, { clock: bootClock, written: processWritten, endurance: config.endurance });
        const core = new CacheCore(store, {
          ...limits,
          ...ladder,
          onDamage,
          wear,
          clock: bootClock,
          boot: bootId(),
          targets,
          device: key,
          version,
          reason: openingReason(reason, found),
        });
        return { core, wear };
      });
      this.core = value.core;
      this.damage = notes;
      this.#budget = new WriteBudget(config.writeBudget, bootClock.monoMs(), value.wear.lastDay, processWritten());
    } catch (thrown) {
      lock.release();
      throw thrown;
    }
    const { core } = this;
    const others = [{ step: () => core.rollUp() }, { step: () => core.repairWindows() }];
    const steps = [{ urgent: true, step: () => core.ladderStep() }, ...others];
    // Nobody waits for its answer: as a commit by the clock, what it throws is the end.
    this.#background = new Background(systemClock, steps, fail);
    this.#forgetDesk = new ForgetDesk({
      folder: config.path,
      forgetting: this.core.forgetting,
      clock: systemClock,
      commit: () => this.#commit(),
      onDone: (done) => post({ type: 'forgotten', done }),
    });
  }

  receive(message: ToWorker): void {
    switch (message.type) {
      case 'tag':
        this.core.registerTag(message.tag);
        break;
      case 'append':
        this.#append(message);
        break;
      case 'hurry':
        this.#schedule(this.#hurriedMs());
        break;
      case 'heard':
        this.core.forgetting.heard(message.request);
        break;
      case 'watchWindows':
        this.#watchWindows = true;
        break;
      case 'call':
        this.#answer(message.id, () => this.#call(message));
        break;
      case 'close':
        this.#close(message.id);
        break;
    }
  }

  #append({ seq, appends, hurry, uncommittedBytes }: Extract<ToWorker, { type: 'append' }>): void {
    for (const append of appends) {
      this.core.add(append);
      this.#rows += append.chunk?.length ?? 0;
    }
    this.#seq = seq;
    this.core.uncommitted(uncommittedBytes);
    if (this.#rows >= COMMIT_ROWS_MAX) this.#commit();
    else this.#schedule(hurry ? this.#hurriedMs() : systemClock.monoMs() + this.#commitIntervalMs);
  }

  /** When a commit that somebody waits for may be. */
  #hurriedMs(): number {
    return this.#lastCommitMs + this.#budget.apartMs(bootClock.monoMs());
  }

  #schedule(dueMs: number): void {
    if (this.#timer !== undefined && this.#timer.dueMs <= dueMs) return;
    this.#timer?.timer.cancel();
    this.#timer = { timer: systemClock.after(dueMs - systemClock.monoMs(), () => this.#commit()), dueMs };
  }

  #commit(): void {
    this.#timer?.timer.cancel();
    this.#timer = undefined;
    const { done, windows } = this.core.commit();
    this.#lastCommitMs = systemClock.monoMs();
    this.#budget.committed(bootClock.monoMs(), processWritten());
    this.#rows = 0;
    if (done) post({ type: 'committed', seq: this.#seq });
    // The ladder looks again although nothing comes: it has to find its way down.
    if (!done || this.core.ladder.level > 0) this.#schedule(this.#lastCommitMs + this.#commitIntervalMs);
    this.#background.wake();
    if (!this.#watchWindows || windows.length === 0) return;
    const { columns, transfer } = closedWindows(windows, this.core.tags);
    post({ type: 'windows', windows: columns }, transfer);
  }

  #call({ call, args }: Extract<ToWorker, { type: 'call' }>): unknown {
    // The client's types pair each call with its arguments.
    const method = this.core[call] as (...args: unknown[]) => unknown;
    const value = method.apply(this.core, [...args]);
    if (call === 'saveHot' || call === 'acknowledge') this.#schedule(systemClock.monoMs() + this.#commitIntervalMs);
    if (call === 'stats') return { ...(value as CacheStats), writeBudget: this.#budget.stats(bootClock.monoMs()) };
    return value;
  }

  #answer(id: number, work: () => unknown): void {
    try {
      post({ type: 'result', id, value: work() });
    } catch (thrown) {
      const error = errorFacts(thrown);
      post({ type: 'error', id, error });
      if (error.recovery === 'stop' && STOPPING.has(error.code)) throw thrown;
    }
  }

  #close(id: number): void {
    this.#timer?.timer.cancel();
    this.#background.stop();
    this.#forgetDesk.stop();
    this.#answer(id, () => {
      const done = this.core.close();
      clearSuspect(this.#folder);
      if (done) post({ type: 'committed', seq: this.#seq });
      this.#release();
      const closed: Closed = { done, readings: this.core.readingsStuck() };
      return closed;
    });
    port?.close();
  }
}

/** After these the disk cannot be trusted any more. */
const STOPPING = new Set(['cache.disk', 'cache.corrupt']);

// Given by client.ts.
const options = workerData as WorkerOptions;

function fail(thrown: unknown): void {
  const { path } = options.config;
  const isStopped = isReadOnly(path);
  if (!isStopped && isSuspicious(thrown)) markSuspect(path);
  if (codeOf(thrown) === 'cache.disk') markUnsynced(path);
  const isSaid = codeOf(thrown) === 'cache.read_only';
  post({ type: 'failed', error: errorFacts(isStopped && !isSaid ? readOnly(path, thrown) : thrown) });
  port?.close();
}

try {
  const worker = new CacheWorker(options);
  port.on('message', (message: ToWorker) => {
    try {
      worker.receive(message);
    } catch (thrown) {
      fail(thrown);
    }
  });
  // The timer's commits throw here.
  process.on('uncaughtException', fail);
  const { run, boot } = worker.core.runs.current;
  post({ type: 'ready', run, boot, damage: worker.damage });
} catch (thrown) {
  fail(thrown);
}
