/** What presses: bytes that nobody has acknowledged, memory that is not committed, age of the oldest reading that waits. */
import { CLASS, type ClassNumber } from '../../wire/classes.ts';
import type { RunBook, TargetBook } from '../books.ts';
import type { Stamp } from '../journal.ts';
import type { BlockStore } from '../store.ts';
import { ageMs } from './age.ts';
import type { Pressure } from './ladder.ts';
import type { Room } from './room.ts';

/** Counting what is pending looks at every row of it. */
const COUNT_EVERY_MS = 2000;
/** So many blocks are counted in a millisecond, at worst; it may cost a hundredth of the time. */
const BLOCKS_COUNTED_A_MS = 2000;
const COUNT_TIME_SHARE = 0.01;
/** What a block takes of the file besides its bytes, measured with 100 B to 60 kB a block: 95 B and a hundredth, a tenth at 1 kB. */
export const BLOCK_COST_BYTES = 120;
export const PAGE_WASTE = 1.1;
/** A commit makes the figure fall to nothing; a level that came and went with each of them would help nobody. */
const MEMORY_HOLD_MS = 10_000;

interface Parts {
  readonly store: BlockStore;
  readonly runs: RunBook;
  readonly targets: TargetBook;
  readonly room: Room;
}

export interface PressureOptions {
  readonly ageMax: number;
  /** Default: no limit, and no pressure. */
  readonly uncommittedBytesMax?: number;
}

export function costOf(bytes: number, blocks = 1): number {
  return bytes * PAGE_WASTE + blocks * BLOCK_COST_BYTES;
}

export class Pressures {
  readonly #parts: Parts;
  readonly #options: PressureOptions;
  #countedMs = Number.NEGATIVE_INFINITY;
  #countEveryMs = COUNT_EVERY_MS;
  /** Class → no block before it is pending for a required target, as of the last count: what others lack is not passed at each look. */
  readonly #oldest = new Map<ClassNumber, number>();
  #pendingBytes = 0;
  /** What the file really takes for each byte reckoned, learned whenever nothing is left in it but what is pending. */
  #scale = 1;
  #uncommitted = 0;
  #peak = { share: 0, atMs: Number.NEGATIVE_INFINITY };

  constructor(parts: Parts, options: PressureOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /** @param bytes what is in memory and not committed. */
  uncommitted(bytes: number, now: Stamp): void {
    this.#uncommitted = bytes;
    this.#memory(now);
  }

  /** Blocks came or went since the last count. @param cost as `costOf`, negative for what went. */
  changed(cost: number): void {
    this.#pendingBytes = Math.max(0, this.#pendingBytes + cost);
  }

  /** Whatever may be removed was: what is in use is what waits. */
  nothingRemovable(now: Stamp): void {
    this.#count(now);
    if (this.#pendingBytes > 0) this.#scale = Math.max(1, this.#parts.store.bytesUsed() / this.#pendingBytes);
  }

  now(now: Stamp, full: boolean): Pressure {
    if (now.monoMs - this.#countedMs >= this.#countEveryMs) this.#count(now);
    const { room } = this.#parts;
    const limit = room.limit(now.monoMs);
    return {
      disk: Math.min(this.#pendingBytes * this.#scale, this.#parts.store.bytesUsed()) / Math.max(1, limit),
      isFreeDisk: room.isFreeDisk,
      memory: this.#memory(now),
      age: this.#age(now),
      full,
    };
  }

  #count(now: Stamp): void {
    this.#countedMs = now.monoMs;
    this.#oldest.clear();
    const { store, targets } = this.#parts;
    const [all, required] = [targets.mask(), targets.mask(true)];
    const sums = store.pendingSums(required);
    // Those that are passed over take as long.
    const passed = all === required ? sums : store.pendingSums(all);
    const blocks = passed.reduce((sum, each) => sum + each.blocks, 0);
    this.#pendingBytes = sums.reduce((sum, each) => sum + costOf(each.bytes, each.blocks), 0);
    this.#countEveryMs = Math.max(COUNT_EVERY_MS, blocks / BLOCKS_COUNTED_A_MS / COUNT_TIME_SHARE);
  }

  #memory({ monoMs }: Stamp): number {
    const share = this.#uncommitted / (this.#options.uncommittedBytesMax ?? Number.POSITIVE_INFINITY);
    if (share >= this.#peak.share || monoMs - this.#peak.atMs >= MEMORY_HOLD_MS) this.#peak = { share, atMs: monoMs };
    return this.#peak.share;
  }

  /** Readings only: nothing else is ever given up for its age. */
  #age(now: Stamp): number {
    const { store, runs, targets } = this.#parts;
    let oldest = 0;
    for (const classNumber of [CLASS.normal, CLASS.low]) {
      const [first] = store.pendingBlocks(targets.mask(true), classNumber, this.#oldest.get(classNumber) ?? 0, 1);
      // New blocks come behind all that are there.
      this.#oldest.set(classNumber, first?.id ?? store.lastBlockId() + 1);
      const age = first === undefined ? 0 : ageMs(first, runs, now);
      if (age > oldest) oldest = age;
    }
    return oldest / this.#options.ageMax;
  }
}
