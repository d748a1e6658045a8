/**
 * Small committed blocks become large ones in which each tag opens alone (`rolled/`): less disk, fewer rows of the journal,
 * and a query for one tag reads only that tag. In the background, a bounded step at a time.
 *
 * Numbers, marks and the ledger stay what they are. Left alone are: blocks that may still be sent as live, blocks with rows
 * in flight (what was cut is found again by its place), and groups of which only a part is in the saved windows.
 */
import { codeOf } from '../errors.ts';
import { CLASS_NUMBERS, type ClassNumber } from '../wire/classes.ts';
import type { RunBook } from './books.ts';
import { checkpointBlock, notePlace } from './checkpoint.ts';
import type { Flight } from './flight.ts';
import type { Stamp } from './journal.ts';
import { Group, isSmallEnough, ROLL_UP_LIMITS, type RollUpLimits } from './rolled/groups.ts';
import { Rolling } from './rolled/rolling.ts';
import { type BlockRow, type BlockStore, spanOf } from './store.ts';

/** Rows of the journal looked at in one step: 2 ms. */
const PAGE = 512;
/** Between looks while there was nothing to do. */
const REST_MS = 5_000;
/** From the beginning again: marks change, and with them what belongs together. */
const AGAIN_MS = 10 * 60_000;
/** While the disk has no room. */
const FULL_REST_MS = 60_000;
const ALONE_MAX = 1000;

interface Parts {
  readonly store: BlockStore;
  readonly runs: RunBook;
  readonly flight: Flight;
}

export class RollUp {
  readonly #parts: Parts;
  readonly #limits: RollUpLimits;
  #groups = new Map<ClassNumber, Group>();
  #rolling: Rolling | undefined;
  /** The next block to look at. */
  #at = 0;
  #restUntilMs = Number.NEGATIVE_INFINITY;
  #beganMs = Number.NEGATIVE_INFINITY;
  /** Left as they are: too sparse to be joined to others, or damaged, for whoever reads them to send. */
  readonly #alone = new Set<number>();

  constructor(parts: Parts, limits: Partial<RollUpLimits> = {}) {
    this.#parts = parts;
    this.#limits = { ...ROLL_UP_LIMITS, ...limits };
  }

  /** Between transactions. @returns whether there is more to do. @throws cache.disk, cache.corrupt (stop) */
  step(now: Stamp): boolean {
    if (this.#rolling !== undefined) return this.#roll(this.#rolling, now);
    if (now.monoMs < this.#restUntilMs) return false;
    if (now.monoMs - this.#beganMs >= AGAIN_MS) {
      this.#beganMs = now.monoMs;
      this.#at = 0;
      this.#groups.clear();
    }
    return this.#look(now);
  }

  #look(now: Stamp): boolean {
    const checkpointId = checkpointBlock(this.#parts.store);
    const page = this.#parts.store.blocks(this.#at, PAGE);
    for (const row of page) {
      if (this.#isYoung(row, now)) return this.#end(now);
      if (!this.#place(row, checkpointId, now)) return true;
      this.#at = row.id + 1;
    }
    return page.length < PAGE ? this.#end(now) : true;
  }

  /** Puts a block where it belongs. @returns false when a group before it is complete: that one first. */
  #place(row: BlockRow, checkpointId: number, now: Stamp): boolean {
    const group = this.#groups.get(row.class);
    const isFree =
      isSmallEnough(row, this.#limits) &&
      !this.#alone.has(row.id) &&
      !this.#parts.flight.touches(row.run, row.class, spanOf(row));
    if (group !== undefined && isFree && group.fits(row, checkpointId)) {
      group.add(row);
      return true;
    }
    if (group !== undefined && this.#begin(group, now)) return false;
    this.#groups.delete(row.class);
    if (!isFree) return true;
    const next = new Group();
    next.add(row);
    this.#groups.set(row.class, next);
    return true;
  }

  /** Where what is old enough ends. */
  #end(now: Stamp): boolean {
    for (const classNumber of CLASS_NUMBERS) {
      const group = this.#groups.get(classNumber);
      if (group !== undefined && this.#begin(group, now)) return true;
    }
    // Next time from the first block that still waits for others.
    this.#at = this.#firstWaiting(this.#at);
    this.#groups.clear();
    this.#restUntilMs = now.monoMs + REST_MS;
    return false;
  }

  #firstWaiting(otherwise: number): number {
    return [...this.#groups.values()].reduce((first, { fromId }) => Math.min(first, fromId), otherwise);
  }

  #begin(group: Group, now: Stamp): boolean {
    const rows = group.enough((row) => this.#ageMs(row, now), this.#limits);
    if (rows === undefined) return false;
    this.#rolling = new Rolling(this.#parts.store, rows);
    this.#at = this.#firstWaiting(this.#at);
    this.#groups.clear();
    return true;
  }

  #roll(rolling: Rolling, now: Stamp): boolean {
    const progress = rolling.step();
    if (progress === 'more') return true;
    this.#rolling = undefined;
    if (progress === 'ready') return this.#write(rolling, now);
    if (this.#alone.size >= ALONE_MAX) this.#alone.clear();
    this.#alone.add(progress.alone);
    return true;
  }

  #write(rolling: Rolling, now: Stamp): boolean {
    const { store, flight } = this.#parts;
    const { rows } = rolling;
    if (rows.some((row) => flight.touches(row.run, row.class, spanOf(row)))) return true;
    const checkpointId = checkpointBlock(store);
    if (rows.some(({ id }) => id <= checkpointId !== (rows[0]?.id ?? 0) <= checkpointId)) return true;
    try {
      store.transaction(() => {
        if (rolling.write()) notePlace(store, rows.at(-1)?.id ?? 0);
      });
      return true;
    } catch (thrown) {
      if (codeOf(thrown) !== 'cache.full') throw thrown;
      this.#restUntilMs = now.monoMs + FULL_REST_MS;
      return false;
    }
  }

  #isYoung(row: BlockRow, now: Stamp): boolean {
    return this.#ageMs(row, now) < this.#limits.ageMinMs;
  }

  #ageMs({ run, monoMs }: BlockRow, now: Stamp): number {
    return run === this.#parts.runs.current.seq ? now.monoMs - monoMs : Number.POSITIVE_INFINITY;
  }
}
