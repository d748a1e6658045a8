/** Rows of a chunk by tag: what the journal's columns and the windows both start from, so that it is done once. */
import { type Chunk, THINNED } from '../reading.ts';

export interface SortedRows {
  /** All rows of the chunk by tag, then arrival; thinned ones included, because windows see them. */
  readonly order: Uint32Array;
  /** The tags that occur, ascending. */
  readonly tags: Uint32Array;
  /** Rows of `tags[i]` are `order[starts[i]]` to `order[starts[i + 1] - 1]`; one entry longer than `tags`. */
  readonly starts: Uint32Array;
  /** Rows without the THINNED bit: what `encodeChunk` stores, and how many numbers it takes. */
  readonly kept: number;
}

/**
 * Stable counting sort.
 * @param tagCount every tag of the chunk is below this; the cost is proportional to rows + tagCount.
 * @throws RangeError for a tag that is not.
 */
export function sortByTag(chunk: Pick<Chunk, 'length' | 'tag' | 'quality'>, tagCount: number): SortedRows {
  const { length, tag, quality } = chunk;
  // Indexes below are in bounds by construction, so `as number` only drops an `undefined` that cannot be.
  const next = new Uint32Array(tagCount + 1);
  let kept = length;
  for (let row = 0; row < length; row++) {
    const t = tag[row] as number;
    if (t >= tagCount) throw new RangeError(`tag ${t} in a chunk of ${tagCount} tags`);
    next[t] = (next[t] as number) + 1;
    kept -= (quality[row] as number) >>> 7;
  }
  let used = 0;
  for (let t = 0; t < tagCount; t++) if ((next[t] as number) > 0) used++;
  const tags = new Uint32Array(used);
  const starts = new Uint32Array(used + 1);
  let at = 0;
  let start = 0;
  for (let t = 0; t < tagCount; t++) {
    const count = next[t] as number;
    if (count === 0) continue;
    tags[at] = t;
    starts[at++] = start;
    next[t] = start;
    start += count;
  }
  starts[at] = start;
  const order = new Uint32Array(length);
  for (let row = 0; row < length; row++) {
    const t = tag[row] as number;
    const to = next[t] as number;
    order[to] = row;
    next[t] = to + 1;
  }
  return { order, tags, starts, kept };
}

/** Highest tag of a chunk plus one: a `tagCount` for `sortByTag` when the registry's size is not at hand. */
export function tagCountOf(chunk: Pick<Chunk, 'length' | 'tag'>): number {
  let highest = -1;
  for (let row = 0; row < chunk.length; row++) {
    const tag = chunk.tag[row] ?? 0;
    if (tag > highest) highest = tag;
  }
  return highest + 1;
}

export function isThinned(quality: number): boolean {
  return (quality & THINNED) !== 0;
}
