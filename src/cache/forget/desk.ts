/** In the cache's thread: takes what `sluice forget` asks for, and does it a step at a time, between everything else. */
import type { Clock, Timer } from '../../runtime/clock.ts';
import type { ForgetDone, Forgetting } from './forgetting.ts';
import type { ForgetSpool } from './spool.ts';

/** How long a person waits for a gateway to begin; a look costs one system call. */
const LOOK_MS = 2000;
/** Whether an answer has come for what waits in flight. */
const WAIT_MS = 500;
/** Between steps of a few ten milliseconds others have their turn. */
const REST_MS = 5;

interface Parts {
  readonly spool: ForgetSpool;
  readonly forgetting: Forgetting;
  readonly clock: Pick<Clock, 'after'>;
  /** What was taken in before the request shall be on disk, to be forgotten with the rest. */
  readonly commit: () => void;
  readonly onDone: (done: ForgetDone) => void;
}

export class ForgetDesk {
  readonly #parts: Parts;
  #timer: Timer | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#after(0);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #after(delayMs: number): void {
    this.#timer = this.#parts.clock.after(delayMs, () => this.#look());
  }

  #look(): void {
    const { spool, forgetting, commit, onDone } = this.#parts;
    for (const posted of spool.posted()) {
      if (posted.request !== undefined) {
        commit();
        if (!forgetting.request(posted.request)) break;
      }
      spool.remove(posted);
    }
    const more = forgetting.step();
    for (const done of forgetting.takeDone()) onDone(done);
    this.#after(more ? REST_MS : forgetting.active ? WAIT_MS : LOOK_MS);
  }
}
