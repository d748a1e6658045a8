/**
 * What the cache does when nobody waits for it: a bounded step (< 50 ms) at a time, with room for messages and commits in
 * between. The worker and the simulation run the same.
 *
 * Urgent steps (making room) go first and at once. The others take turns, at most half of the time, and hold back while
 * the thread is late: then it has work that somebody waits for. They are not put off for ever.
 */
import type { Clock, Timer } from '../runtime/clock.ts';

export interface BackgroundStep {
  readonly urgent?: boolean;
  /** One bounded step. @returns whether there may be more. */
  step(): boolean;
}

/** Between two steps: messages that came meanwhile go first. */
const PAUSE_MS = 10;
/** A timer that comes later than this finds a busy thread. */
const LATE_MS = 15;
const BUSY_PAUSE_MS = 250;
/** Then it goes on all the same: small blocks cost a busy box more than rolling them. */
const PUT_OFF_MAX = 40;

export class Background {
  readonly #clock: Pick<Clock, 'monoMs' | 'after'>;
  readonly #urgent: readonly BackgroundStep[];
  readonly #others: readonly BackgroundStep[];
  readonly #onError: (thrown: unknown) => void;
  #timer: Timer | undefined;
  #turn = 0;
  /** Steps in a row that found nothing to do. */
  #idle = 0;
  #putOff = 0;
  #stopped = false;

  /** @param onError a step threw; nothing runs any more. */
  constructor(
    clock: Pick<Clock, 'monoMs' | 'after'>,
    steps: readonly BackgroundStep[],
    onError: (thrown: unknown) => void,
  ) {
    this.#clock = clock;
    this.#urgent = steps.filter(({ urgent }) => urgent === true);
    this.#others = steps.filter(({ urgent }) => urgent !== true);
    this.#onError = onError;
  }

  /** After a commit: there may be something to do again. */
  wake(): void {
    this.#idle = 0;
    this.#schedule(0);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #schedule(delayMs: number): void {
    if (this.#stopped || this.#timer !== undefined) return;
    const dueMs = this.#clock.monoMs() + delayMs;
    this.#timer = this.#clock.after(delayMs, () => this.#run(dueMs));
  }

  #run(dueMs: number): void {
    this.#timer = undefined;
    const startMs = this.#clock.monoMs();
    try {
      let more = false;
      for (const each of this.#urgent) more = each.step() || more;
      if (more) this.#schedule(0);
      else this.#takeTurn(startMs, startMs - dueMs > LATE_MS);
    } catch (thrown) {
      this.#stopped = true;
      this.#onError(thrown);
    }
  }

  #takeTurn(startMs: number, isLate: boolean): void {
    if (this.#others.length === 0) return;
    if (isLate && this.#putOff++ < PUT_OFF_MAX) {
      this.#schedule(BUSY_PAUSE_MS);
      return;
    }
    this.#putOff = 0;
    const found = this.#others[this.#turn++ % this.#others.length]?.step() ?? false;
    this.#idle = found ? 0 : this.#idle + 1;
    if (this.#idle < this.#others.length) this.#schedule(Math.max(PAUSE_MS, this.#clock.monoMs() - startMs));
  }
}
