/**
 * Removes the oldest blocks when they are older than the receiver shall keep, or when all together take more room than it may. Off
 * unless asked for. Numbers of rows stay held, so nothing that went comes back; the last value of a tag stays, too.
 *
 * A step is a transaction of some dozens of blocks; between two others have their turn. Freed pages are used again: the file stays as
 * large as it ever was, and counted is what is in use of it.
 */
import type { Logger } from 'pino';
import { asError } from '../errors.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import type { BlockStore } from './block-store.ts';
import type { Catalog } from './catalog.ts';
import type { Db } from './database.ts';

export interface RetentionLimits {
  /** By the time of the reading. */
  readonly keepMs?: number | undefined;
  /** Of the file in use. */
  readonly keepBytes?: number | undefined;
}

export interface RetentionParts {
  readonly db: Db;
  readonly catalog: Pick<Catalog, 'devices'>;
  readonly blocks: BlockStore;
  readonly clock: Clock;
  readonly logger: Pick<Logger, 'info' | 'error'>;
}

const BLOCKS_A_STEP = 50;
/** Between two looks. */
const LOOK_MS = 60_000;
const REST_MS = 5;

export class Retention {
  readonly #limits: RetentionLimits;
  readonly #parts: RetentionParts;
  #timer: Timer | undefined;
  /** Since the last look at which there was nothing to do. */
  #gone = 0;

  constructor(limits: RetentionLimits, parts: RetentionParts) {
    this.#limits = limits;
    this.#parts = parts;
    if (limits.keepMs !== undefined || limits.keepBytes !== undefined) this.#after(REST_MS);
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** @returns blocks that went */
  step(): number {
    const { db } = this.#parts;
    return db.transaction(() => this.#byAge() || this.#byBytes()).immediate();
  }

  #byAge(): number {
    const { keepMs } = this.#limits;
    if (keepMs === undefined) return 0;
    const { blocks, catalog, clock, db } = this.#parts;
    const beforeMs = clock.wallMs() - keepMs;
    db.prepare('DELETE FROM aggregate WHERE start_ms + 86400000 < ?').run(beforeMs);
    let gone = 0;
    for (const { id } of catalog.devices()) gone += blocks.removeBefore(id, beforeMs, BLOCKS_A_STEP - gone);
    return gone;
  }

  #byBytes(): number {
    const { keepBytes } = this.#limits;
    if (keepBytes === undefined) return 0;
    let gone = 0;
    while (gone < BLOCKS_A_STEP && this.#bytesUsed() > keepBytes && this.#removeOldest()) gone++;
    return gone;
  }

  #removeOldest(): boolean {
    const { blocks, catalog } = this.#parts;
    let oldest: { device: number; ms: number } | undefined;
    for (const { id: device } of catalog.devices()) {
      const ms = blocks.firstMs(device);
      if (ms !== undefined && (oldest === undefined || ms < oldest.ms)) oldest = { device, ms };
    }
    return oldest !== undefined && blocks.removeOldest(oldest.device) > 0;
  }

  #bytesUsed(): number {
    const { db } = this.#parts;
    const read = (name: string) => Number(db.pragma(name, { simple: true }));
    return (read('page_count') - read('freelist_count')) * read('page_size');
  }

  #after(delayMs: number): void {
    this.#timer = this.#parts.clock.after(delayMs, () => this.#look());
  }

  #look(): void {
    const { logger, catalog, blocks } = this.#parts;
    let delayMs = LOOK_MS;
    try {
      const gone = this.step();
      this.#gone += gone;
      if (gone > 0) delayMs = REST_MS;
      else if (this.#gone > 0) {
        for (const { id } of catalog.devices()) blocks.directories.removeUnused(id);
        logger.info({ blocks: this.#gone }, 'removed what is older, or more, than is kept');
        this.#gone = 0;
      }
    } catch (error) {
      logger.error({ err: asError(error) }, 'retention failed; it is tried again');
    }
    this.#after(delayMs);
  }
}
