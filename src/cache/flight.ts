/** Batches that were cut and not answered: kept in memory only, because a row cut twice is delivered once all the same. */
import type { ClassNumber } from '../wire/classes.ts';
import { intersect, type Range, type RangeSet, union } from '../wire/ranges.ts';
import type { Part } from './marks.ts';
import type { Lane } from './types.ts';

export interface InFlight {
  readonly batchId: string;
  readonly target: string;
  readonly lane: Lane;
  readonly parts: readonly Part[];
  /** What the cloud knows once it has confirmed this batch. */
  readonly dictionary: { readonly hash: Uint8Array; readonly count: number } | undefined;
}

export class Flight {
  readonly #batches = new Map<string, InFlight>();

  get size(): number {
    return this.#batches.size;
  }
  add(batch: InFlight): void {
    this.#batches.set(batch.batchId, batch);
  }
  get(batchId: string): InFlight | undefined {
    return this.#batches.get(batchId);
  }
  remove(batchId: string): void {
    this.#batches.delete(batchId);
  }
  /** Whether any row of a run and class is on its way, to whatever target. */
  touches(run: number, classNumber: ClassNumber, range: Range): boolean {
    for (const { parts } of this.#batches.values()) {
      for (const part of parts)
        if (part.run === run && part.class === classNumber && intersect(part.ranges, range).length > 0) return true;
    }
    return false;
  }
  /** Rows of a run and class on their way to a target. @param except a batch that is to be cut again in parts. */
  ranges(target: string, run: number, classNumber: ClassNumber, except?: string): RangeSet {
    let ranges: RangeSet = [];
    for (const batch of this.#batches.values()) {
      if (batch.target !== target || batch.batchId === except) continue;
      for (const part of batch.parts)
        if (part.run === run && part.class === classNumber) ranges = union(ranges, part.ranges);
    }
    return ranges;
  }
}
