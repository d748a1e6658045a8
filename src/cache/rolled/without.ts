/**
 * A rolled block without some of its tags, written again without opening any other: sections are moved as they are. For tags
 * that are forgotten, and for those that are damaged. All other rows keep their numbers: chunks begin later, or end sooner.
 */
import type { BlockChunk, BlockTag } from '../../wire/columns.ts';
import type { Range } from '../../wire/ranges.ts';
import { DirectoryBuilder } from './directory.ts';
import { assemble } from './encode.ts';
import { packPart, TAG_STREAMS, TIME_STREAMS } from './layout.ts';
import type { Numbers, RolledBlock } from './open.ts';

/** Counts (a tag and chunk each): what is cut out of it later must be a block as well. Each tag taken out may split all chunks. */
const CELLS_MAX = 2 ** 20;

export interface Without extends Numbers {
  readonly bytes: Uint8Array;
}

/** @returns undefined where no tag is left. @throws RangeError where the rest is too sparse for a block; as `RolledBlock.numbers` */
export function withoutTags(block: RolledBlock, gone: ReadonlySet<number>): Without | undefined {
  const { directory } = block;
  const places = directory.entries.flatMap(({ tag }, at) => (gone.has(tag) ? [] : [at]));
  if (places.length === 0) return undefined;
  const numbers = numbersWithout(block.numbers(), gone);
  if (numbers.chunks.length * numbers.tags.length > CELLS_MAX) throw new RangeError('too sparse to be a block');
  const builder = new DirectoryBuilder();
  const sections: Uint8Array[] = [];
  /** Where times were → where they are now. */
  const moved = new Map<number, number>();
  for (const at of places) {
    const entry = directory.entries[at];
    if (entry === undefined) continue;
    const known = moved.get(entry.timesAt);
    const timesAt = known ?? builder.length;
    moved.set(entry.timesAt, timesAt);
    // The first tag that is left of those with these times has them now.
    const lender = known === undefined ? directory.entries[entry.timesAt] : undefined;
    TAG_STREAMS.forEach((_, stream) => {
      if (stream >= TIME_STREAMS) builder.copy(stream, directory, at);
      else if (lender !== undefined) builder.copy(stream, directory, entry.timesAt);
      else builder.stream(stream, NOTHING);
    });
    if (lender !== undefined) sections.push(block.section(entry.timesAt, 'times'));
    sections.push(block.section(at, 'values'));
    builder.add({ ...entry, timesAt, times: lender?.times ?? { bytes: 0, crc: 0 } });
  }
  const rows = numbers.chunks.reduce((sum, { count }) => sum + count, 0);
  const plain = builder.finish(rows);
  return { ...numbers, bytes: assemble({ plain, packed: packPart(plain) }, { rows, ...numbers }, sections) };
}

const NOTHING = new Uint8Array(0);

/** Rows of each tag in each of some spans, which are disjoint and ascend. */
export function rowsWithin({ chunks, tags }: Numbers, spans: readonly Range[]): number[][] {
  const found = spans.map(() => new Array<number>(tags.length).fill(0));
  chunks.forEach(({ n0, count }, chunk) => {
    const end = n0 + count;
    spans.forEach(({ from, to }, at) => {
      const mine = found[at];
      if (mine === undefined || from >= end || to < n0) return;
      for (let tag = 0, n = n0; tag < tags.length && n <= to; tag++) {
        const next = n + (tags[tag]?.counts[chunk] ?? 0);
        const rows = Math.min(next - 1, to) - Math.max(n, from) + 1;
        if (rows > 0) mine[tag] = (mine[tag] ?? 0) + rows;
        n = next;
      }
    });
  });
  return found;
}

/** In a chunk the rows of a tag stand together, so those of the others before and behind become a chunk each. */
function numbersWithout({ chunks, tags }: Numbers, gone: ReadonlySet<number>): Numbers {
  const left: BlockChunk[] = [];
  /** Of each tag and chunk: which of the new chunks it is in. */
  const places = new Int32Array(tags.length * chunks.length);
  const isGone = tags.map(({ tag }) => gone.has(tag));
  for (let chunk = 0; chunk < chunks.length; chunk++) {
    let n = chunks[chunk]?.n0 ?? 0;
    let from = n;
    for (let at = 0; at < tags.length; at++) {
      const rows = tags[at]?.counts[chunk] ?? 0;
      if (isGone[at] && rows > 0) {
        if (n > from) left.push({ n0: from, count: n - from });
        from = n + rows;
      }
      places[at * chunks.length + chunk] = left.length;
      n += rows;
    }
    if (n > from) left.push({ n0: from, count: n - from });
  }
  const kept = tags.flatMap(({ tag, kind, counts }, at): BlockTag[] => {
    if (isGone[at]) return [];
    const mine = new Array<number>(left.length).fill(0);
    counts.forEach((rows, chunk) => {
      if (rows > 0) mine[places[at * chunks.length + chunk] ?? 0] = rows;
    });
    return [{ tag, kind, counts: mine }];
  });
  return { chunks: left, tags: kept };
}
