/** How much the backlog may take, and how large batches are: both learn from what the link does. */

/** A batch is never cut smaller than this for slowness alone: below it the envelope's 184 bytes start to weigh. */
export const ROWS_MIN = 100;
/** Between two backlog batches when even one at a time makes live wait. */
const GAP_MS_FIRST = 250;
const GAP_MS_LONGEST = 5000;

/** Rows a batch of one lane. A time-out halves it, each success doubles it again, up to what fits through. */
export class BatchRows {
  #rowsMax: number;
  #rows: number;
  /** Learned from "too large"; a hello forgets it, since limits change. */
  #ceiling: number;

  constructor(rowsMax: number) {
    this.#rowsMax = rowsMax;
    this.#rows = rowsMax;
    this.#ceiling = rowsMax;
  }

  get rows(): number {
    return Math.min(this.#rows, this.#ceiling);
  }

  passed(): void {
    this.#rows = Math.min(this.#rowsMax, this.rows * 2);
  }

  timedOut(): void {
    this.#rows = Math.max(Math.min(ROWS_MIN, this.#rowsMax), Math.floor(this.rows / 2));
  }

  /** @param rows of the batch that was too large */
  tooLarge(rows: number): void {
    this.#ceiling = Math.max(1, Math.min(this.#ceiling, Math.floor(rows / 2)));
  }

  /** Another maximum, while the disk fills and afterwards. What the link has taught stays: slow ones grow step by step. */
  limit(rowsMax: number): void {
    if (this.#rows === this.#rowsMax) this.#rows = rowsMax;
    if (this.#ceiling === this.#rowsMax) this.#ceiling = rowsMax;
    this.#rowsMax = rowsMax;
    this.#rows = Math.min(this.#rows, rowsMax);
  }

  forgetCeiling(): void {
    this.#ceiling = this.#rowsMax;
  }
}

/**
 * Keeps live fresh while the backlog drains: a live batch that took longer than the live interval halves the backlog's
 * parallel batches (then opens a gap between them), each quick one gives one back. Halve fast, grow slowly: what TCP
 * does for the same reason.
 */
export class BacklogPace {
  readonly #parallel: number;
  readonly #slowMs: number;
  #slots: number;
  #gapMs = 0;

  constructor(parallel: number, slowMs: number) {
    this.#parallel = parallel;
    this.#slowMs = slowMs;
    this.#slots = parallel;
  }

  get slots(): number {
    return this.#slots;
  }

  get gapMs(): number {
    return this.#gapMs;
  }

  /** @param tookMs from sending a live batch to its answer */
  live(tookMs: number): void {
    if (tookMs > this.#slowMs) {
      if (this.#slots > 1) this.#slots = Math.floor(this.#slots / 2);
      else this.#gapMs = Math.min(GAP_MS_LONGEST, Math.max(GAP_MS_FIRST, this.#gapMs * 2));
      return;
    }
    if (this.#gapMs > 0) this.#gapMs = this.#gapMs > GAP_MS_FIRST ? this.#gapMs / 2 : 0;
    else this.#slots = Math.min(this.#parallel, this.#slots + 1);
  }
}
