import { setImmediate } from 'node:timers/promises';

/** About 10 ms of decoding: what arrives meanwhile waits no longer. */
const ROWS_PER_TURN = 200_000;

/** Gives way after a turn's worth of rows. */
export class Pace {
  readonly #signal: AbortSignal | undefined;
  #rows = 0;

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
  }

  async did(rows: number): Promise<void> {
    this.#rows += rows;
    if (this.#rows < ROWS_PER_TURN) return;
    this.#rows = 0;
    await setImmediate();
    this.#signal?.throwIfAborted();
  }
}
