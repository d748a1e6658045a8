/** Does what was asked to be forgotten, a step at a time, from the start of the receiver to its end. */
import type { Logger } from 'pino';
import { asError } from '../../errors.ts';
import type { Clock, Timer } from '../../runtime/clock.ts';
import type { Forgetting } from './forgetting.ts';

/** Between two steps batches and queries have their turn. */
const REST_MS = 5;
/** After a step that failed (a full disk): it changed nothing, and is tried again. */
const FAILED_MS = 10_000;

export class ForgetDesk {
  readonly #forgetting: Forgetting;
  readonly #clock: Pick<Clock, 'after'>;
  readonly #logger: Pick<Logger, 'error'>;
  #timer: Timer | undefined;

  constructor(forgetting: Forgetting, clock: Pick<Clock, 'after'>, logger: Pick<Logger, 'error'>) {
    this.#forgetting = forgetting;
    this.#clock = clock;
    this.#logger = logger;
    this.wake();
  }

  /** There is something new to do. */
  wake(): void {
    this.#timer ??= this.#clock.after(REST_MS, () => this.#step());
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #step(): void {
    this.#timer = undefined;
    let restMs = REST_MS;
    try {
      if (!this.#forgetting.step()) return;
    } catch (error) {
      this.#logger.error({ err: asError(error) }, 'a step of forgetting failed; it is tried again');
      restMs = FAILED_MS;
    }
    this.#timer = this.#clock.after(restMs, () => this.#step());
  }
}
