/**
 * Readings by column. One block is one class of one run: what the journal keeps as one BLOB and what travels.
 *
 *     version u8 | rows varint | length of each stream, varints | the streams | CRC-32C u32 over all before
 *
 * Streams hold one kind of thing for all tags (`STREAMS`), because a compressor's tables fit one kind of thing at a time.
 * Rows are ordered by tag, then chunk, then position; the number of a row is its chunk's n0 plus its place among the
 * chunk's rows in that order. Values of rows of bad quality are not stored: their slots are zero bits.
 *
 * What is decoded is believed in nothing: every stream must hold exactly its rows, all counts add up, and nothing is
 * allocated beyond `rowsMax` rows, however long a run claims to be.
 */
import type { Chunk, SlotKind } from '../reading.ts';
import { openStreams } from './block/decoder.ts';
import { readChunks, readTags } from './block/directory.ts';
import { BlockEncoder } from './block/encoder.ts';
import { type BlockChunk, type BlockColumns, type BlockTag, cellsMax } from './columns.ts';
import { type SortedRows, sortByTag, tagCountOf } from './sort.ts';

export { type BlockLimits, decodeBlock } from './block/decoder.ts';
export { BLOCK_VERSION } from './block/layout.ts';
export type { BlockChunk, BlockColumns, BlockTag } from './columns.ts';
export { rangesOf, rowNumbers, selectRows, sliceBlock } from './columns.ts';
export { fitBlocks, joinBlocks, mergeBlocks } from './join.ts';
export { type SortedRows, sortByTag, tagCountOf } from './sort.ts';

/** Of an envelope, and so of a block that shall travel. */
export const ROWS_MAX = 100_000;

const encoder = new BlockEncoder();
/** Rows of the chunk at hand in the block's order; grows to the largest chunk. */
const gathered = { capacity: 0, timeMs: new Float64Array(0), value: new Float64Array(0), quality: new Uint8Array(0) };

/**
 * Sorts a chunk by tag and encodes the rows without the THINNED bit: row k of them gets the number n0 + k.
 * @param n0 from 1; the caller's next free number is n0 + sorted.kept.
 * @param sorted when it exists already (`sortByTag` of this very chunk).
 * @throws RangeError when no row is left, for a time that is not finite, or a quality or text that does not exist.
 */
export function encodeChunk(
  chunk: Chunk,
  n0: number,
  kindOf: (tag: number) => SlotKind,
  sorted: SortedRows = sortByTag(chunk, tagCountOf(chunk)),
): Uint8Array {
  return encoder.encode(gather(chunk, n0, kindOf, sorted));
}

function gather(chunk: Chunk, n0: number, kindOf: (tag: number) => SlotKind, sorted: SortedRows): BlockColumns {
  const { order, tags, starts, kept } = sorted;
  if (gathered.capacity < kept) {
    gathered.capacity = kept * 2;
    gathered.timeMs = new Float64Array(gathered.capacity);
    gathered.value = new Float64Array(gathered.capacity);
    gathered.quality = new Uint8Array(gathered.capacity);
  }
  const { timeMs, value, quality } = gathered;
  // Slots as words: neither a 64-bit integer nor the payload of a NaN may pass through a float register.
  const from = new Uint32Array(chunk.value.buffer, chunk.value.byteOffset, chunk.value.length * 2);
  const to = new Uint32Array(value.buffer);
  const out: BlockTag[] = [];
  let last: BlockTag | undefined;
  let at = 0;
  for (let t = 0; t < tags.length; t++) {
    const first = at;
    for (let i = starts[t] as number, end = starts[t + 1] as number; i < end; i++) {
      const row = order[i] as number;
      const q = chunk.quality[row] as number;
      if (q >= 0x80) continue;
      timeMs[at] = chunk.timeMs[row] as number;
      quality[at] = q;
      to[at * 2] = from[row * 2] as number;
      to[at * 2 + 1] = from[row * 2 + 1] as number;
      at++;
    }
    if (at === first) continue;
    const tag = tags[t] as number;
    const count = at - first;
    last = { tag, kind: kindOf(tag), counts: last?.counts[0] === count ? last.counts : [count] };
    out.push(last);
  }
  return { rows: at, chunks: [{ n0, count: at }], tags: out, timeMs, value, quality, texts: chunk.texts };
}

/** @throws RangeError for columns that contradict themselves, or hold what a block cannot; too sparse ones: `fitBlocks`. */
export function encodeBlock(columns: BlockColumns): Uint8Array {
  return encoder.encode(columns);
}

export interface BlockDirectory {
  readonly rows: number;
  readonly chunks: readonly BlockChunk[];
  readonly tags: readonly { readonly tag: number; readonly kind: SlotKind; readonly count: number }[];
}

/**
 * Who is in a block, without its rows and without its checksum: for blocks of one's own.
 * @throws block.version_unknown, block.malformed
 */
export function blockDirectory(bytes: Uint8Array): BlockDirectory {
  const { rows, streams } = openStreams(bytes);
  const chunks = readChunks(streams.chunks, rows);
  const tags = readTags(streams.tags, streams.kinds, streams.counts, chunks, rows, cellsMax(rows));
  return {
    rows,
    chunks,
    tags: tags.map(({ tag, kind, counts }) => ({ tag, kind, count: counts.reduce((sum, count) => sum + count, 0) })),
  };
}
