/**
 * One queue of sealed batches: what is in flight, what waits for its next try, and when the next may be cut.
 * No clock, no socket: it is asked what should go next, and told what happened.
 *
 * In memory are at most the batches in flight and two more that were set aside, whole or as halves of themselves;
 * parked ones are single rows. Full means: nothing new is cut, and the rows stay where they are, on disk.
 */
import type { CutBatch } from '../cache/types.ts';
import type { Lane as LaneName } from '../wire/classes.ts';
import { firstHistory, type History } from './decide.ts';
import { BatchRows } from './pace.ts';

/** Batches set aside before the lane stops cutting: more would fill memory while every batch fails. */
export const ASIDE_MAX = 2;
/** Single rows, some hundred bytes each. */
export const PARKED_MAX = 256;

/** A sealed batch on its way: the bytes stay the same until they are answered. */
export interface Trial {
  readonly batch: CutBatch;
  /** The batch that was cut first, of which this may be a part of a part. */
  readonly root: string;
  history: History;
  /** Others go first. */
  aside: boolean;
  /** Why, and since when by the wall clock. */
  parked: string | undefined;
  parkedMs: number | undefined;
  /** Monotonic. */
  dueMs: number;
  /** The lane's sends so far when it was set aside: one other goes between. */
  yieldedAt: number;
}

export class Lane {
  readonly name: LaneName;
  readonly size: BatchRows;
  readonly #slots: () => number;
  readonly #waiting: Trial[] = [];
  readonly #inFlight = new Set<Trial>();
  #cutting = 0;
  #sends = 0;
  /** The last one sent had been set aside: the next is a new one, if there is any. */
  #newNext = false;
  /** Monotonic. */
  nextCutMs = 0;
  lastAckMs: number | undefined;
  lastError: string | undefined;

  constructor(name: LaneName, rowsMax: number, slots: () => number) {
    this.name = name;
    this.size = new BatchRows(rowsMax);
    this.#slots = slots;
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  get busy(): number {
    return this.#inFlight.size + this.#cutting;
  }

  /** Everything sealed and not in flight, in the order it would go. */
  get waiting(): readonly Trial[] {
    return this.#waiting;
  }

  get parked(): number {
    return this.#waiting.filter((trial) => trial.parked !== undefined).length;
  }

  /** What should go next: a sealed batch, or a new cut. */
  next(nowMs: number, admits: (id: string) => boolean, admitsNew: boolean): Trial | 'cut' | undefined {
    const backingOff = this.#waiting.filter((trial) => !trial.aside && trial.dueMs > nowMs).length;
    if (this.busy + backingOff >= this.#slots()) return undefined;
    const ready = this.#waiting.filter((trial) => trial.dueMs <= nowMs && admits(trial.batch.batchId));
    const inPlace = ready.find((trial) => !trial.aside);
    if (inPlace !== undefined) return inPlace;
    const yielded = this.#newNext ? undefined : ready.find((trial) => trial.yieldedAt < this.#sends);
    if (yielded !== undefined) return yielded;
    if (admitsNew && this.nextCutMs <= nowMs && this.#mayCut()) return 'cut';
    return ready[0];
  }

  /** Monotonic times at which `next` may answer differently. */
  wakes(): number[] {
    return [this.nextCutMs, ...this.#waiting.map((trial) => trial.dueMs)];
  }

  cutStarted(): void {
    this.#cutting++;
  }

  cutDone(): void {
    this.#cutting--;
  }

  sealed(batch: CutBatch, nowMs: number, dictionaryMisses: number): Trial {
    const history = firstHistory(
      { smallest: batch.halves === undefined, refusable: batch.refusable },
      dictionaryMisses,
    );
    const trial = {
      batch,
      root: batch.batchId,
      history,
      aside: false,
      parked: undefined,
      parkedMs: undefined,
      dueMs: nowMs,
      yieldedAt: 0,
    };
    this.#waiting.unshift(trial);
    return trial;
  }

  sent(trial: Trial): void {
    this.#remove(trial);
    this.#inFlight.add(trial);
    this.#sends++;
    this.#newNext = trial.aside;
  }

  /** Answered, or given up: the slot is free. */
  done(trial: Trial): void {
    this.#inFlight.delete(trial);
  }

  /** Not answered: the same bytes wait again. Those set aside queue behind the others. */
  again(trial: Trial, dueMs: number, aside: boolean): void {
    this.done(trial);
    trial.aside = aside;
    trial.dueMs = dueMs;
    trial.yieldedAt = this.#sends;
    if (aside) this.#waiting.push(trial);
    else this.#waiting.unshift(trial);
  }

  /** Halves take their whole's place in the queue, so that no more than one is ever in pieces for long. */
  halved(whole: Trial, halves: readonly Trial[]): void {
    this.done(whole);
    for (const half of halves) half.yieldedAt = this.#sends;
    this.#waiting.unshift(...halves);
  }

  /** Empties the queue, for releasing it. */
  drain(): Trial[] {
    const all = [...this.#waiting, ...this.#inFlight];
    this.#waiting.length = 0;
    this.#inFlight.clear();
    return all;
  }

  #mayCut(): boolean {
    const roots = new Set(
      [...this.#waiting, ...this.#inFlight].filter((trial) => trial.parked === undefined).map((trial) => trial.root),
    );
    return roots.size + this.#cutting < this.#slots() + ASIDE_MAX && this.parked < PARKED_MAX;
  }

  #remove(trial: Trial): void {
    const at = this.#waiting.indexOf(trial);
    if (at >= 0) this.#waiting.splice(at, 1);
  }
}
