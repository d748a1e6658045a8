/** How long to wait before the next attempt to connect: 1 s … 30 s, doubled each time, with full jitter, for ever. */

const FIRST_MS = 1_000;
const MAX_MS = 30_000;
/** Full jitter may draw zero; nobody is served by a connection storm of one. */
const LEAST_MS = 100;

export class Reconnect {
  readonly #random: () => number;
  #ceilingMs = FIRST_MS;

  constructor(random: () => number) {
    this.#random = random;
  }

  nextMs(): number {
    const waitMs = Math.max(LEAST_MS, this.#random() * this.#ceilingMs);
    this.#ceilingMs = Math.min(this.#ceilingMs * 2, MAX_MS);
    return waitMs;
  }

  /** Something useful came over the connection: not before, or a door that opens and slams is tried without end. */
  proven(): void {
    this.#ceilingMs = FIRST_MS;
  }
}
