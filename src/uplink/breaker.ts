/**
 * Guards the cloud: after several failures in a row, from whichever lane, only one trial at a time goes out, and never
 * the batch that opened the breaker (it may be what makes the cloud fall). A hold is the same gate for another reason:
 * someone said no to us as a whole, and only a person can change that; one trial every few minutes finds out when.
 */
import type { Clock } from '../runtime/clock.ts';
import { BACKOFF_MS_MAX, BACKOFF_MS_MIN, fullJitterMs } from './backoff.ts';
import type { CloudNews } from './decide.ts';

/** One lost packet is no outage; three failures with nothing between them are. */
export const FAILURES_TO_OPEN = 3;
/** The id of a trial that is no batch. */
export const HELLO_TRIAL = 'hello';
/** "Every few minutes", reached in steps: a certificate that is being renewed is back in seconds. */
const HOLD_MS_FIRST = 5000;
const HOLD_MS_LONGEST = 180_000;

export interface Hold {
  readonly reason: string;
  readonly text: string;
  readonly hint: string;
  readonly sinceMs: number;
}

export type BreakerState = 'closed' | 'open' | 'held';

export class Breaker {
  readonly #clock: Clock;
  readonly #random: () => number;
  #failures = 0;
  /** Monotonic, of the first failure in a row. */
  #failingSinceMs = 0;
  #holds = 0;
  #hold: Hold | undefined;
  #opener: string | undefined;
  #trial: string | undefined;
  /** Monotonic; no trial goes out before it. */
  #nextTrialMs = 0;
  /** Monotonic; the server asked for silence until then (Retry-After), and an answer to something sent earlier ends it not. */
  #pausedUntilMs = 0;
  #lastError: string | undefined;

  constructor(clock: Clock, random: () => number) {
    this.#clock = clock;
    this.#random = random;
  }

  get state(): BreakerState {
    if (this.#hold !== undefined) return 'held';
    return this.#failures >= FAILURES_TO_OPEN ? 'open' : 'closed';
  }

  get hold(): Hold | undefined {
    return this.#hold;
  }

  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** Monotonic time of the next trial, or of the end of a pause; undefined while a trial is out or nothing is waited for. */
  get nextMs(): number | undefined {
    if (this.state !== 'closed' && this.#trial !== undefined) return undefined;
    const nextMs = Math.max(this.#nextTrialMs, this.#pausedUntilMs);
    return nextMs > this.#clock.monoMs() ? nextMs : undefined;
  }

  get #waiting(): boolean {
    return this.#clock.monoMs() < Math.max(this.#nextTrialMs, this.#pausedUntilMs);
  }

  /** Whether a new batch may be cut, or a hello sent, now. */
  get admitsNew(): boolean {
    if (this.#waiting) return false;
    return this.state === 'closed' || this.#trial === undefined;
  }

  admits(id: string): boolean {
    if (this.#waiting) return false;
    if (this.state === 'closed') return true;
    if (this.#trial !== undefined) return this.#trial === id;
    return this.state === 'held' || id !== this.#opener;
  }

  /** This one goes out now. While the breaker is not closed it is the only one. */
  sent(id: string): void {
    if (this.state !== 'closed') this.#trial = id;
  }

  /** What was reserved does not go out after all (an empty cut), or goes under another name. */
  unsent(id: string): void {
    if (this.#trial === id) this.#trial = undefined;
  }

  /** What came of `id`. */
  tell(id: string, news: CloudNews): void {
    const wasTrial = this.#trial === id;
    if (wasTrial) this.#trial = undefined;
    switch (news.state) {
      case 'passed':
        this.#close();
        break;
      case 'alive':
        // Refusing everything is answering, too: that hold ends when something passes.
        if (this.#hold?.reason !== 'everything_refused') this.#close();
        else this.#wait(this.#holdMs());
        break;
      case 'failed':
        this.#failed(id, wasTrial, news);
        break;
      case 'held':
        this.#held(news);
        break;
    }
  }

  #failed(id: string, wasTrial: boolean, news: { text: string; pauseMs: number | undefined }): void {
    const wasClosed = this.state === 'closed';
    if (this.#failures === 0) this.#failingSinceMs = this.#clock.monoMs();
    this.#failures++;
    this.#lastError = news.text;
    if (news.pauseMs !== undefined) this.#pausedUntilMs = this.#clock.monoMs() + news.pauseMs;
    if (this.#hold !== undefined) {
      this.#wait(this.#holdMs());
      return;
    }
    if (this.state === 'open' && (wasClosed || wasTrial)) {
      // A failed hello clears no batch of suspicion.
      if (id !== HELLO_TRIAL) this.#opener = id;
      // Never longer than half of what the outage has lasted: a short one is not followed by a long silence.
      const outageMs = this.#clock.monoMs() - this.#failingSinceMs;
      const longestMs = Math.min(BACKOFF_MS_MAX, Math.max(BACKOFF_MS_MIN, outageMs / 2));
      this.#wait(fullJitterMs(this.#failures - FAILURES_TO_OPEN + 1, this.#random(), BACKOFF_MS_MIN, longestMs));
    }
  }

  #held(news: { reason: string; text: string; hint: string }): void {
    this.#lastError = news.text;
    const sinceMs = this.#hold?.reason === news.reason ? this.#hold.sinceMs : this.#clock.wallMs();
    this.#hold = { reason: news.reason, text: news.text, hint: news.hint, sinceMs };
    this.#wait(this.#holdMs());
  }

  #holdMs(): number {
    const longest = Math.min(HOLD_MS_LONGEST, HOLD_MS_FIRST * 2 ** Math.min(this.#holds++, 16));
    return longest * (0.5 + this.#random() / 2);
  }

  #wait(delayMs: number): void {
    this.#nextTrialMs = Math.max(this.#nextTrialMs, this.#clock.monoMs() + delayMs);
  }

  #close(): void {
    this.#failures = 0;
    this.#holds = 0;
    this.#hold = undefined;
    this.#opener = undefined;
    this.#trial = undefined;
    this.#nextTrialMs = 0;
    this.#lastError = undefined;
  }
}
