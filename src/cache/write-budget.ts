/**
 * How close together hurried commits may be. Each writes some pages and the WAL's index whatever it holds; a sensor that
 * asks for an acknowledgement fifty times a second all year would wear a card out. So there is a budget of bytes a day: a
 * bucket that holds one day and is refilled all the time. While something is in it, hurried commits are 20 ms apart; when
 * it is empty 250 ms, until a hundredth of it is there again. Commits by the interval are never held back: what the
 * interval costs is the configuration's decision.
 */
import { DAY_MS } from './wear.ts';

/** Commits are at least this far apart however much they are hurried: each is an fsync. */
export const HURRY_APART_MS = 20;
/** Beyond the budget. What waits for an acknowledgement (MQTT QoS 1) waits this long at most; no protocol minds. */
export const STRETCHED_APART_MS = 250;
/** So that it does not change with every commit. */
const RELAXED_SHARE = 0.01;
/** What a commit of a few readings writes, measured; for systems that do not count. */
const COMMIT_BYTES = 10_000;

export interface WriteBudgetStats {
  readonly bytesADay: number;
  readonly leftBytes: number;
  /** Hurried commits are 250 ms apart. */
  readonly isStretched: boolean;
}

export class WriteBudget {
  readonly #bytesADay: number;
  #left: number;
  #atMs: number;
  #written: number | undefined;
  #isStretched = false;

  /**
   * @param nowMs monotonic, as everywhere here.
   * @param spent bytes in the last 24 hours: a restart gives no new budget.
   * @param written bytes since the process started, where the system counts them.
   */
  constructor(bytesADay: number, nowMs: number, spent: number, written: number | undefined) {
    this.#bytesADay = bytesADay;
    this.#left = Math.max(0, bytesADay - spent);
    this.#atMs = nowMs;
    this.#written = written;
    this.#isStretched = this.#left === 0;
  }

  /** After each commit. @param written bytes since the process started, all of its writes counted. */
  committed(nowMs: number, written: number | undefined): void {
    const bytes = written === undefined || this.#written === undefined ? COMMIT_BYTES : written - this.#written;
    this.#written = written;
    this.#refill(nowMs);
    this.#left = Math.max(0, this.#left - bytes);
    if (this.#left === 0) this.#isStretched = true;
  }

  /** How far apart hurried commits are now. */
  apartMs(nowMs: number): number {
    this.#refill(nowMs);
    return this.#isStretched ? STRETCHED_APART_MS : HURRY_APART_MS;
  }

  stats(nowMs: number): WriteBudgetStats {
    this.#refill(nowMs);
    return { bytesADay: this.#bytesADay, leftBytes: this.#left, isStretched: this.#isStretched };
  }

  #refill(nowMs: number): void {
    this.#left = Math.min(this.#bytesADay, this.#left + ((nowMs - this.#atMs) / DAY_MS) * this.#bytesADay);
    this.#atMs = nowMs;
    if (this.#left >= this.#bytesADay * RELAXED_SHARE) this.#isStretched = false;
  }
}
