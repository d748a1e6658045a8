/**
 * What levels 3 and 4 do, one bounded step at a time: thin out the oldest readings of low priority, then give the oldest
 * up, low before normal, AGG rows when nothing else is left. Alarms and control rows are never touched, nor rows in flight.
 *
 * Memory is no reason for any of this: what is removed from the disk makes nothing in memory smaller. Where memory fills
 * because the disk has no room, the disk presses as well.
 */
import { CLASS, type ClassNumber } from '../../wire/classes.ts';
import { intersect, type RangeSet } from '../../wire/ranges.ts';
import { rangeOf } from '../content.ts';
import type { Flight } from '../flight.ts';
import type { Stamp } from '../journal.ts';
import type { DropReason } from '../ledger-reasons.ts';
import type { BlockRow } from '../store.ts';
import type { LadderState } from '../types.ts';
import { ageMs } from './age.ts';
import { AGGREGATE_FROM, DROP_FROM, FULL_FROM } from './ladder.ts';
import { costOf } from './pressure.ts';
import { WriteOff, type WriteOffParts } from './write-off.ts';

/** One step takes less than 50 ms: rows to decode and sum up (60,000 took 16 to 40 ms on a PC), or blocks to delete. */
const THINNED_ROWS_MAX = 30_000;
const THINNED_BLOCKS_MAX = 256;
const DROPPED_BLOCKS_MAX = 512;
const DROPPED_BYTES_MAX = 2_000_000;
const PAGE = 256;
/** Once begun it goes on to this much below the threshold: not a few rows with every commit. */
const BELOW = 0.02;
/** From level 5, to where it ends. */
const BELOW_FULL = 0.11;

export interface Step {
  readonly blocks: readonly BlockRow[];
  /** What the pending blocks cost less, as `costOf`. */
  readonly freed: number;
}

export class Relief {
  readonly #parts: WriteOffParts & { readonly flight: Flight; readonly ageMax: number };
  readonly #writeOff: WriteOff;
  #thinning = false;
  #dropping = false;
  /** Blocks below are thinned out, or not worth it. */
  #thinFrom = 0;

  constructor(parts: WriteOffParts & { readonly flight: Flight; readonly ageMax: number }) {
    this.#parts = parts;
    this.#writeOff = new WriteOff(parts);
  }

  /** Whether `step` would have anything to try. */
  wanted({ level, disk, age }: LadderState): boolean {
    this.#thinning = level >= 3 && disk >= (this.#thinning ? AGGREGATE_FROM - BELOW : AGGREGATE_FROM);
    this.#dropping = level >= 4 && disk > (this.#dropping || level === 5 ? goalOf(level) : DROP_FROM);
    if (level < 3) this.#thinFrom = 0;
    return this.#thinning || this.#dropping || (level >= 3 && age > AGGREGATE_FROM);
  }

  /** Inside a transaction. @param disk share of it in use. @returns undefined when there is nothing that may go. */
  step(state: LadderState, limit: number, now: Stamp): Step | undefined {
    // At level 5 there is no time for sums.
    const thinned = state.level < 5 || !this.#dropping ? this.#thin(now) : undefined;
    return thinned ?? this.#drop(state, limit, now);
  }

  #thin(now: Stamp): Step | undefined {
    for (;;) {
      const group = this.#group(now);
      if (group.length === 0) return undefined;
      const { blocks: count, bytes: written } = this.#writeOff.aggregate(group, now);
      const blocks = group.slice(0, count);
      this.#thinFrom = (blocks.at(-1)?.id ?? 0) + 1;
      if (written === undefined) return { blocks: [], freed: 0 };
      const cost = blocks.reduce((sum, { bytes }) => sum + costOf(bytes), 0);
      return { blocks, freed: cost - costOf(written) };
    }
  }

  /** The oldest blocks of low priority that can be summed up together: one run, and lacking at the same targets. */
  #group(now: Stamp): BlockRow[] {
    const group: BlockRow[] = [];
    let rows = 0;
    for (const row of this.#candidates(CLASS.low, this.#thinFrom)) {
      const [first] = group;
      if (!this.#thinning && !this.#isOld(row, 3, now)) break;
      // Their times are wrong by years, and the cloud corrects readings only.
      if (!row.synced) continue;
      if (first !== undefined && (first.run !== row.run || first.pending !== row.pending)) break;
      if (group.length >= THINNED_BLOCKS_MAX) break;
      if (first !== undefined && rows + row.rows > THINNED_ROWS_MAX) break;
      group.push(row);
      rows += row.rows;
    }
    return group;
  }

  #drop({ level, disk, cause }: LadderState, limit: number, now: Stamp): Step | undefined {
    if (level < 4) return undefined;
    const excess = this.#dropping ? Math.max(0, disk - goalOf(level)) * limit : 0;
    for (const classNumber of [CLASS.low, CLASS.normal, CLASS.aggregate] as const) {
      const blocks: BlockRow[] = [];
      const old = new Set<number>();
      let freed = 0;
      let bytes = 0;
      for (const row of this.#candidates(classNumber, 0)) {
        if (blocks.length >= DROPPED_BLOCKS_MAX || bytes >= DROPPED_BYTES_MAX) break;
        if (freed >= excess) {
          if (classNumber === CLASS.aggregate || !this.#isOld(row, 4, now)) break;
          old.add(row.id);
        }
        blocks.push(row);
        bytes += row.bytes;
        freed += costOf(row.bytes);
      }
      if (blocks.length === 0) continue;
      this.#writeOff.drop(blocks, now, ({ id }) => (old.has(id) ? 'age' : spaceOf(cause)));
      return { blocks, freed };
    }
    return undefined;
  }

  #isOld(row: BlockRow, level: 3 | 4, now: Stamp): boolean {
    return ageMs(row, this.#parts.runs, now) > (level === 3 ? AGGREGATE_FROM : DROP_FROM) * this.#parts.ageMax;
  }

  /** What a required target lacks, oldest first, without what is on its way to anybody. */
  *#candidates(classNumber: ClassNumber, fromId: number): Generator<BlockRow> {
    const { store, targets, flight } = this.#parts;
    const onTheWay = new Map<number, RangeSet[]>();
    for (let id = fromId; ; ) {
      const page = store.pendingBlocks(targets.mask(true), classNumber, id, PAGE);
      for (const row of page) {
        let flying = onTheWay.get(row.run);
        if (flying === undefined) {
          flying = targets.active().map(({ name }) => flight.ranges(name, row.run, classNumber));
          onTheWay.set(row.run, flying);
        }
        if (flying.every((ranges) => intersect(ranges, rangeOf(row)).length === 0)) yield row;
      }
      const end = page.at(-1);
      if (end === undefined || page.length < PAGE) return;
      id = end.id + 1;
    }
  }
}

/** What the disk lacks; when something else presses most at this moment, it is the cache's own limit. */
function spaceOf(cause: LadderState['cause']): DropReason {
  return cause === 'free_disk' || cause === 'full' ? cause : 'bytes';
}

function goalOf(level: number): number {
  return level === 5 ? FULL_FROM - BELOW_FULL : DROP_FROM - BELOW;
}
