/**
 * Keeps a dead unit from costing its neighbours their time: after three failed cycles in a row the unit is left alone, but
 * for one cheap probe (its smallest group) after 5 s, then 10 s, 20 s, 40 s, 60 s. One answer, and it is back.
 */

const FAILURES_MAX = 3;
const PROBE_FIRST_MS = 5_000;
const PROBE_MAX_MS = 60_000;
/** Probes of many dead units must not fall on the same moment: each comes up to a fifth earlier. */
const JITTER = 0.2;

export type Permission = 'all' | 'probe' | 'none';

export class Breaker {
  readonly #random: () => number;
  #failures = 0;
  #probeAtMs: number | undefined;
  #waitMs = PROBE_FIRST_MS;

  constructor(random: () => number) {
    this.#random = random;
  }

  get isOpen(): boolean {
    return this.#probeAtMs !== undefined;
  }

  /** When the next probe may go; infinity while the unit is read as usual. */
  get probeAtMs(): number {
    return this.#probeAtMs ?? Number.POSITIVE_INFINITY;
  }

  permits(nowMs: number): Permission {
    if (this.#probeAtMs === undefined) return 'all';
    return nowMs >= this.#probeAtMs ? 'probe' : 'none';
  }

  /** The unit answered, be it "no". True when it had been given up. */
  answered(): boolean {
    const wasOpen = this.isOpen;
    this.#failures = 0;
    this.#probeAtMs = undefined;
    this.#waitMs = PROBE_FIRST_MS;
    return wasOpen;
  }

  /** A whole cycle without any answer. True when it is given up by this. */
  failed(nowMs: number): boolean {
    const wasOpen = this.isOpen;
    this.#failures++;
    if (this.#failures < FAILURES_MAX) return false;
    this.#probeAtMs = nowMs + this.#waitMs * (1 - JITTER * this.#random());
    this.#waitMs = Math.min(this.#waitMs * 2, PROBE_MAX_MS);
    return !wasOpen;
  }
}
