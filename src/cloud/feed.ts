/**
 * Feeds a tier beside the embedded one: every stored block once in order of its arrival, with a mark of its own, so that a kill
 * repeats at most the block that was under way. It reads from the store: a tier that is slow or away costs disk, never memory. When it
 * lags by more than it may, the receiver takes no batches until it is below three quarters of that again, and gateways wait.
 */
import type { Statement } from 'better-sqlite3';
import type { Logger } from 'pino';
import { describe } from '../errors.ts';
import { type Clock, sleep } from '../runtime/clock.ts';
import type { Db } from './database.ts';

/** A place that is given what the store has already. */
export interface OuterTier {
  readonly name: string;
  /** Keeps a block, for good when it returns; the same one may come again. @throws when it cannot: it is asked again, for ever */
  take(block: number, signal: AbortSignal): Promise<void>;
}

export interface FeedOptions {
  readonly db: Db;
  readonly tier: OuterTier;
  readonly clock: Clock;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  /** Readings that may wait for it. */
  readonly lagReadingsMax: number;
}

const RETRY_MS_MIN = 1000;
const RETRY_MS_MAX = 60_000;
/** With nothing to do; a batch that comes is a reason to look at once. */
const IDLE_MS = 60_000;
const RELIEVED_SHARE = 0.75;

export class TierFeed {
  readonly #options: FeedOptions;
  readonly #abort = new AbortController();
  readonly #next: Statement<[number], { id: number; rows: number }>;
  readonly #put: Statement<[string, number]>;
  #mark: number;
  #waiting: number;
  #holding = false;
  #wake: AbortController | undefined;
  readonly #ended: Promise<void>;

  constructor(options: FeedOptions) {
    this.#options = options;
    const { db, tier } = options;
    this.#next = db.prepare('SELECT id, rows FROM block WHERE id > ? ORDER BY id LIMIT 1');
    this.#put = db.prepare(
      'INSERT INTO fed (tier, block) VALUES (?, ?) ON CONFLICT DO UPDATE SET block = excluded.block',
    );
    const known = db.prepare<[string], { block: number }>('SELECT block FROM fed WHERE tier = ?').get(tier.name);
    this.#mark = known?.block ?? 0;
    const count = db.prepare<[number], { rows: number }>(
      'SELECT coalesce(sum(rows), 0) AS rows FROM block WHERE id > ?',
    );
    this.#waiting = count.get(this.#mark)?.rows ?? 0;
    this.#ended = this.#run();
  }

  get name(): string {
    return this.#options.tier.name;
  }

  /** Readings that wait for it. */
  get lag(): number {
    return this.#waiting;
  }

  /** Readings were stored. */
  added(readings: number): void {
    this.#waiting += readings;
    this.#wake?.abort();
  }

  /** Whether nothing more should be taken. */
  get holds(): boolean {
    const { lagReadingsMax, tier, logger } = this.#options;
    const holds = this.#waiting > lagReadingsMax * (this.#holding ? RELIEVED_SHARE : 1);
    if (holds !== this.#holding) {
      this.#holding = holds;
      const facts = { tier: tier.name, lag: this.#waiting };
      if (holds) logger.warn(facts, 'a tier lags; gateways are told to wait');
      else logger.info(facts, 'the tier is back; batches are taken again');
    }
    return holds;
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { tier, clock, logger } = this.#options;
    const { signal } = this.#abort;
    for (let failures = 0; !signal.aborted; ) {
      const block = this.#next.get(this.#mark);
      if (block === undefined) {
        this.#waiting = 0;
        await this.#idle();
        continue;
      }
      try {
        await tier.take(block.id, signal);
        this.#put.run(tier.name, block.id);
        this.#mark = block.id;
        this.#waiting = Math.max(0, this.#waiting - block.rows);
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        if (failures++ === 0)
          logger.warn({ tier: tier.name, reason: describe(error) }, 'a tier takes nothing; tried again');
        await sleep(clock, Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** (failures - 1)), signal).catch(nothing);
      }
    }
  }

  async #idle(): Promise<void> {
    this.#wake = new AbortController();
    const either = AbortSignal.any([this.#wake.signal, this.#abort.signal]);
    await sleep(this.#options.clock, IDLE_MS, either).catch(nothing);
    this.#wake = undefined;
  }
}

function nothing(): void {}
