/**
 * Time, passed in wherever it is used: the daemon runs on the system's clock, tests and the simulation on one they drive.
 * Timers are monotonic: a step of the wall clock moves none of them.
 */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall clock, milliseconds since 1970-01-01 UTC, with sub-millisecond digits where the system has them. */
  wallMs(): number;
  /** Monotonic milliseconds since an arbitrary start. */
  monoMs(): number;
  /** Whether the wall clock can be believed. */
  synced(): boolean;
  /** Calls back once after at least `delayMs` (clamped to 0 and to Node's timer limit of 2^31−1). */
  after(delayMs: number, callback: () => void): Timer;
}

const TIMER_MS_MAX = 2 ** 31 - 1;
/** Before this no Sluice existed: a clock that shows less was never set (2026-01-01). */
export const EARLIEST_PLAUSIBLE_MS = 1_767_225_600_000;

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monoMs: () => performance.now(),
  synced: () => Date.now() >= EARLIEST_PLAUSIBLE_MS,
  after(delayMs, callback) {
    const handle = setTimeout(callback, Math.min(Math.max(0, delayMs), TIMER_MS_MAX));
    return { cancel: () => clearTimeout(handle) };
  },
};

/** Resolves after `delayMs`, or rejects with the signal's reason as soon as it is aborted. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** A clock that only moves when told to: `advance` runs the timers that fall due, in order. */
export class ManualClock implements Clock {
  #wallMs: number;
  #monoMs = 0;
  #synced = true;
  #timers: { dueMs: number; order: number; callback: () => void }[] = [];
  #order = 0;

  constructor(wallMs = EARLIEST_PLAUSIBLE_MS) {
    this.#wallMs = wallMs;
  }

  wallMs(): number {
    return this.#wallMs;
  }
  monoMs(): number {
    return this.#monoMs;
  }
  synced(): boolean {
    return this.#synced;
  }
  after(delayMs: number, callback: () => void): Timer {
    const timer = { dueMs: this.#monoMs + Math.max(0, delayMs), order: this.#order++, callback };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  /** Moves the wall clock alone, as NTP or an operator would. */
  step(byMs: number, synced = true): void {
    this.#wallMs += byMs;
    this.#synced = synced;
  }

  advance(byMs: number): void {
    const endMs = this.#monoMs + byMs;
    for (;;) {
      const next = this.#timers
        .filter((timer) => timer.dueMs <= endMs)
        .sort((a, b) => a.dueMs - b.dueMs || a.order - b.order)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#moveTo(Math.max(this.#monoMs, next.dueMs));
      next.callback();
    }
    this.#moveTo(endMs);
  }

  #moveTo(monoMs: number): void {
    this.#wallMs += monoMs - this.#monoMs;
    this.#monoMs = monoMs;
  }
}
