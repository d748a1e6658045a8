/**
 * What the cache's thread does with its core: takes messages in, commits by the clock, works in the background. Without the
 * thread and the file, so that the simulation runs the very same.
 */
import { asError, codeOf } from '../errors.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import { Background } from './background.ts';
import type { CacheCore } from './core.ts';
import { ForgetDesk } from './forget/desk.ts';
import type { ForgetSpool } from './forget/spool.ts';
import { type Closed, errorFacts, type FromWorker, type ToWorker } from './protocol.ts';
import type { CacheStats } from './types.ts';
import { closedWindows, type Transferable } from './windows/closed.ts';
import type { WriteBudget } from './write-budget.ts';

export interface LoopParts {
  readonly core: CacheCore;
  /** Timers. */
  readonly clock: Pick<Clock, 'monoMs' | 'after'>;
  readonly commitIntervalMs: number;
  readonly budget: WriteBudget;
  /** For the budget: time in suspend counts. */
  readonly budgetMs: () => number;
  /** Bytes since the process started, where the system counts them. */
  readonly written: () => number | undefined;
  readonly spool: ForgetSpool;
  readonly post: (message: FromWorker, transfer?: readonly Transferable[]) => void;
  /** The core is closed, in order or for want of room; nothing was said yet. */
  readonly onClosed: () => void;
  /** Nothing may be committed any more; called once, and nothing more happens here. */
  readonly onFailed: (thrown: unknown) => void;
  /** A question was answered with an error. */
  readonly onRefused?: (thrown: unknown) => void;
}

/** More readings than this are committed at once: the thread must come back to its questions. */
const COMMIT_ROWS_MAX = 200_000;
/** After these the disk cannot be trusted any more. */
const STOPPING = new Set(['cache.disk', 'cache.corrupt']);

export class CacheLoop {
  readonly #parts: LoopParts;
  readonly #background: Background;
  readonly #forgetDesk: ForgetDesk;
  #seq = 0;
  #rows = 0;
  #timer: { readonly timer: Timer; readonly dueMs: number } | undefined;
  #lastCommitMs = Number.NEGATIVE_INFINITY;
  #watchWindows = false;
  #isOver = false;

  constructor(parts: LoopParts) {
    this.#parts = parts;
    const { core, spool, post } = parts;
    const clock: Pick<Clock, 'monoMs' | 'after'> = {
      monoMs: () => parts.clock.monoMs(),
      after: (delayMs, callback) => parts.clock.after(delayMs, () => this.#turn(callback)),
    };
    const others = [{ step: () => core.rollUp() }, { step: () => core.repairWindows() }];
    const steps = [{ urgent: true, step: () => core.ladderStep() }, ...others];
    // Nobody waits for its answer: as a commit by the clock, what it throws is the end.
    this.#background = new Background(clock, steps, (thrown) => this.#fail(thrown));
    const { forgetting } = core;
    const onDone = (done: Extract<FromWorker, { type: 'forgotten' }>['done']) => post({ type: 'forgotten', done });
    this.#forgetDesk = new ForgetDesk({ spool, forgetting, clock, commit: () => this.#commit(), onDone });
  }

  receive(message: ToWorker): void {
    this.#turn(() => this.#take(message));
  }

  #turn(work: () => void): void {
    if (this.#isOver) return;
    try {
      work();
    } catch (thrown) {
      this.#fail(thrown);
    }
  }

  /** After a failed fsync nothing may be written: what is in the system's memory may be less than what it says. */
  #fail(thrown: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#rest();
    this.#parts.onFailed(thrown);
  }

  /** Nothing happens by itself any more. */
  #rest(): void {
    this.#timer?.timer.cancel();
    this.#background.stop();
    this.#forgetDesk.stop();
  }

  #take(message: ToWorker): void {
    const { core } = this.#parts;
    switch (message.type) {
      case 'tag':
        core.registerTag(message.tag);
        break;
      case 'append':
        this.#append(message);
        break;
      case 'hurry':
        this.#schedule(this.#hurriedMs());
        break;
      case 'heard':
        core.forgetting.heard(message.request);
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
    const { core, clock, commitIntervalMs } = this.#parts;
    for (const append of appends) {
      core.add(append);
      this.#rows += append.chunk?.length ?? 0;
    }
    this.#seq = seq;
    core.uncommitted(uncommittedBytes);
    if (this.#rows >= COMMIT_ROWS_MAX) this.#commit();
    else this.#schedule(hurry ? this.#hurriedMs() : clock.monoMs() + commitIntervalMs);
  }

  /** When a commit that somebody waits for may be. */
  #hurriedMs(): number {
    const { budget, budgetMs } = this.#parts;
    return this.#lastCommitMs + budget.apartMs(budgetMs());
  }

  #schedule(dueMs: number): void {
    if (this.#timer !== undefined && this.#timer.dueMs <= dueMs) return;
    this.#timer?.timer.cancel();
    const { clock } = this.#parts;
    const commit = () => this.#turn(() => this.#commit());
    this.#timer = { timer: clock.after(dueMs - clock.monoMs(), commit), dueMs };
  }

  #commit(): void {
    const { core, clock, commitIntervalMs, budget, budgetMs, written, post } = this.#parts;
    this.#timer?.timer.cancel();
    this.#timer = undefined;
    const { done, windows } = core.commit();
    this.#lastCommitMs = clock.monoMs();
    budget.committed(budgetMs(), written());
    this.#rows = 0;
    if (done) post({ type: 'committed', seq: this.#seq });
    // The ladder looks again although nothing comes: it has to find its way down.
    if (!done || core.ladder.level > 0) this.#schedule(this.#lastCommitMs + commitIntervalMs);
    this.#background.wake();
    if (!this.#watchWindows || windows.length === 0) return;
    const { columns, transfer } = closedWindows(windows, core.tags);
    post({ type: 'windows', windows: columns }, transfer);
  }

  #call({ call, args }: Extract<ToWorker, { type: 'call' }>): unknown {
    const { core, clock, commitIntervalMs, budget, budgetMs } = this.#parts;
    // The client's types pair each call with its arguments.
    const method = core[call] as (...args: unknown[]) => unknown;
    const value = method.apply(core, [...args]);
    if (call === 'saveHot' || call === 'acknowledge') this.#schedule(clock.monoMs() + commitIntervalMs);
    if (call === 'stats') return { ...(value as CacheStats), writeBudget: budget.stats(budgetMs()) };
    return value;
  }

  #answer(id: number, work: () => unknown): void {
    const { post, onRefused } = this.#parts;
    try {
      post({ type: 'result', id, value: work() });
    } catch (thrown) {
      const error = errorFacts(thrown);
      post({ type: 'error', id, error });
      onRefused?.(asError(thrown));
      if (error.recovery === 'stop' && STOPPING.has(codeOf(thrown))) throw thrown;
    }
  }

  #close(id: number): void {
    const { core, post, onClosed } = this.#parts;
    this.#answer(id, () => {
      this.#rest();
      const done = core.close();
      onClosed();
      if (done) post({ type: 'committed', seq: this.#seq });
      const closed: Closed = { done, readings: core.readingsStuck() };
      return closed;
    });
    this.#isOver = true;
  }
}
