/**
 * The cache of one simulated process: the real core, outbox and count of what is uncommitted, with messages between main
 * thread and worker that take their time, and the worker's rules of when to commit.
 */
import { Background } from '../cache/background.ts';
import type { CacheCore } from '../cache/core.ts';
import { bytesOf, isUrgent, Outbox } from '../cache/outbox.ts';
import type { Append, CacheClient, CacheTag, CutRequest, HotState, LadderState } from '../cache/types.ts';
import { Uncommitted } from '../cache/uncommitted.ts';
import { asError, codeOf, isSluiceError, SluiceError } from '../errors.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import type { Random } from './random.ts';

const HURRY_APART_MS = 20;
const ACCEPTING_SHARE = 0.75;
const STOPPING = new Set(['cache.disk', 'cache.corrupt']);

export interface LocalCacheOptions {
  readonly core: CacheCore;
  readonly clock: Clock;
  readonly random: Random;
  readonly commitIntervalMs: number;
  readonly uncommittedBytesMax: number;
  /** What no disk explains. The process starts again, and all may look well in the end. */
  readonly onDefect: (error: Error) => void;
  /** The disk failed: the process must end. */
  readonly onFailed: (error: Error) => void;
  /** Something was marked as delivered. */
  readonly onMarked: () => void;
}

type Method = (...args: never[]) => unknown;

export class LocalCache implements CacheClient {
  readonly run: Uint8Array;
  readonly boot: Uint8Array;
  readonly damage = [];
  readonly uncommittedBytesMax: number;
  readonly failed: Promise<never> = new Promise(() => {});
  readonly #options: LocalCacheOptions;
  readonly #outbox = new Outbox();
  readonly #uncommitted = new Uncommitted();
  readonly #toWorker: Post;
  readonly #fromWorker: Post;
  readonly #pending = new Set<(error: Error) => void>();
  readonly #background: Background;
  readonly #ladderListeners: ((state: LadderState) => void)[] = [];
  readonly #forgotten = new Map<string, () => void>();
  #hurry = false;
  #flushing = false;
  #closing = false;
  #ended: Error | undefined;
  #workerSeq = 0;
  #timer: { readonly timer: Timer; readonly dueMs: number } | undefined;
  #lastCommitMs = Number.NEGATIVE_INFINITY;

  constructor(options: LocalCacheOptions) {
    this.#options = options;
    const { run, boot } = options.core.runs.current;
    this.run = run;
    this.boot = boot;
    this.uncommittedBytesMax = options.uncommittedBytesMax;
    this.#toWorker = new Post(options.clock, options.random);
    this.#fromWorker = new Post(options.clock, options.random);
    const { core } = options;
    const others = [{ step: () => core.rollUp() }, { step: () => core.repairWindows() }];
    const steps = [{ urgent: true, step: () => core.ladderStep() }, ...others];
    this.#background = new Background(options.clock, steps, (thrown) => this.#end(asError(thrown)));
  }

  registerTag({ index, source, definition, fields, periodMs }: CacheTag): void {
    this.#work(() => this.#options.core.registerTag({ index, source, definition, fields, periodMs }));
  }

  append(append: Append): void {
    if (this.#closing) throw new SluiceError('cache.closed', 'stop', 'the cache is closed');
    if (this.#ended !== undefined) throw this.#ended;
    const bytes = bytesOf(append);
    const isOver = this.#uncommitted.bytes + bytes > this.uncommittedBytesMax;
    if (isOver && this.#uncommitted.bytes > 0 && !isUrgent(append))
      throw new SluiceError('cache.busy', 'retry', 'too many readings wait to be committed');
    this.#outbox.add(append);
    this.#uncommitted.add(bytes);
    this.#flushSoon();
  }

  committed(): Promise<void> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const { promise, isNew } = this.#uncommitted.wait();
    if (!isNew) return promise;
    this.#hurry = true;
    this.#flushSoon();
    return promise;
  }

  uncommittedBytes = (): number => this.#uncommitted.bytes;
  accepting = (): boolean =>
    this.#ended === undefined && !this.#closing && this.#uncommitted.bytes < this.uncommittedBytesMax * ACCEPTING_SHARE;

  receipts = (source: string) => this.#call((core) => core.receipts(source));
  saveHot(state: HotState): void {
    const saved = structuredClone(state);
    this.#call((core) => {
      core.saveHot(saved);
      this.#schedule(this.#options.clock.monoMs() + this.#options.commitIntervalMs);
    }).catch(() => {});
  }
  loadHot = () => this.#call((core) => core.loadHot());
  lastWindows = (periods: readonly number[]) => this.#call((core) => core.lastWindows(periods));
  cut = (request: CutRequest) => this.#call((core) => core.cut(request));
  acknowledge: CacheClient['acknowledge'] = (id, answer) =>
    this.#marking((core) => {
      core.acknowledge(id, answer);
      this.#schedule(this.#options.clock.monoMs() + this.#options.commitIntervalMs);
    });
  release: CacheClient['release'] = (id) => this.#call((core) => core.release(id));
  refuse: CacheClient['refuse'] = (id, reason) => this.#call((core) => core.refuse(id, reason));
  helloRuns: CacheClient['helloRuns'] = (target, page) => this.#call((core) => core.helloRuns(target, page));
  hello: CacheClient['hello'] = ({ id, target }, answer) => this.#marking((core) => core.hello({ id, target }, answer));
  forgetDictionary = (target: string) => this.#call((core) => core.forgetDictionary(target));
  alarms = () => this.#call((core) => core.alarms());
  backlog = (target: string) => this.#call((core) => core.backlog(target));
  stats = () => this.#call((core) => core.stats());
  setRecipient(...args: Parameters<CacheClient['setRecipient']>): void {
    this.#call((core) => core.setRecipient(...args)).catch(() => {});
  }
  onWindows(): void {}
  onDamage(): void {}
  onLadder(listener: (state: LadderState) => void): void {
    this.#ladderListeners.push(listener);
  }

  /** In the worker: a step of the ladder. */
  stepped(state: LadderState): void {
    this.#fromWorker.send(() => {
      for (const listener of this.#ladderListeners) listener(state);
    });
  }

  /** As `sluice forget`. @param onDone called in the worker, at the moment it is done. */
  forget(tag: string, id: string, onDone: () => void): void {
    this.#call((core) => {
      core.commit();
      this.#forgotten.set(id, onDone);
      if (core.forgetting.request({ id, tag, reason: null, by: 'simulation', atMs: 0 })) this.#forgetOn();
    }).catch(() => {});
  }

  #forgetOn = (): void =>
    this.#work(() => {
      const { forgetting } = this.#options.core;
      const more = forgetting.step();
      for (const { report } of forgetting.takeDone()) {
        this.#forgotten.get(report.id)?.();
        forgetting.heard(report.id);
      }
      if (forgetting.active && !this.#closing) this.#options.clock.after(more ? 5 : 500, this.#forgetOn);
    });

  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    this.#flush();
    const done = await this.#call((core) => {
      this.#timer?.timer.cancel();
      this.#background.stop();
      const written = core.close();
      if (written) this.#uncommitted.committedUpTo(this.#workerSeq);
      return written;
    });
    this.#ended = new SluiceError('cache.closed', 'stop', 'the cache has stopped');
    if (!done) throw new SluiceError('cache.full', 'retry', 'not all was committed');
  }

  #marking<T>(work: (core: CacheCore) => T): Promise<T> {
    return this.#call((core) => {
      const done = work(core);
      this.#options.onMarked();
      return done;
    });
  }

  #call<T>(work: (core: CacheCore) => T): Promise<T> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      const answer = (settle: () => void) =>
        this.#fromWorker.send(() => {
          this.#pending.delete(reject);
          settle();
        });
      this.#pending.add(reject);
      this.#work(() => {
        try {
          const value = work(this.#options.core);
          answer(() => resolve(value));
        } catch (thrown) {
          answer(() => reject(asError(thrown)));
          if (!isSluiceError(thrown)) this.#options.onDefect(asError(thrown));
          if (isSluiceError(thrown) && STOPPING.has(thrown.code)) throw thrown;
        }
      });
    });
  }

  /** In the worker, in its turn. */
  #work(work: Method): void {
    this.#toWorker.send(() => {
      if (this.#ended !== undefined) return;
      try {
        work();
      } catch (thrown) {
        this.#end(asError(thrown));
      }
    });
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    this.#options.clock.after(0, () => this.#flush());
  }

  #flush(): void {
    this.#flushing = false;
    if (this.#ended !== undefined) return;
    const hurry = this.#hurry;
    this.#hurry = false;
    if (this.#outbox.empty) {
      if (hurry) this.#work(() => this.#schedule(this.#lastCommitMs + HURRY_APART_MS));
      return;
    }
    const { appends, transfer } = this.#outbox.take();
    const { seq, bytes } = this.#uncommitted;
    // As a message does: the buffers are gone for the sender.
    const moved = structuredClone(appends, { transfer });
    const { clock, core, commitIntervalMs } = this.#options;
    this.#work(() => {
      for (const append of moved) core.add(append);
      core.uncommitted(bytes);
      this.#workerSeq = seq;
      this.#schedule(hurry ? this.#lastCommitMs + HURRY_APART_MS : clock.monoMs() + commitIntervalMs);
    });
  }

  #schedule(dueMs: number): void {
    if (this.#timer !== undefined && this.#timer.dueMs <= dueMs) return;
    this.#timer?.timer.cancel();
    const { clock } = this.#options;
    this.#timer = { timer: clock.after(dueMs - clock.monoMs(), () => this.#commit()), dueMs };
  }

  #commit(): void {
    const { clock, core, commitIntervalMs } = this.#options;
    this.#timer = undefined;
    if (this.#ended !== undefined) return;
    try {
      const { done } = core.commit();
      this.#lastCommitMs = clock.monoMs();
      const seq = this.#workerSeq;
      if (done) this.#fromWorker.send(() => this.#uncommitted.committedUpTo(seq));
      // The ladder looks again although nothing comes: it has to find its way down.
      if (!done || core.ladder.level > 0) this.#schedule(this.#lastCommitMs + commitIntervalMs);
      this.#background.wake();
    } catch (thrown) {
      this.#end(asError(thrown));
    }
  }

  #end(error: Error): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    if (codeOf(error) !== 'cache.disk') this.#options.onDefect(error);
    this.#background.stop();
    this.#fromWorker.send(() => {
      this.#uncommitted.fail(error);
      for (const reject of this.#pending) reject(error);
      this.#options.onFailed(error);
    });
  }
}

/** Messages one way: each takes a while, none overtakes another. */
class Post {
  readonly #clock: Clock;
  readonly #random: Random;
  #lastMs = 0;

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  send(receive: () => void): void {
    const nowMs = this.#clock.monoMs();
    const tookMs = this.#random.chance(0.02) ? this.#random.between(1, 200) : this.#random.between(0, 0.5);
    this.#lastMs = Math.max(this.#lastMs, nowMs + tookMs);
    this.#clock.after(this.#lastMs - nowMs, receive);
  }
}
