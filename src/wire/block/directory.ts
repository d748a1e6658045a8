/**
 * Who is in a block: its chunks and its tags with their rows a chunk.
 *
 *     chunks  count, then for each: distance of n0 to the end of the one before, rows
 *     tags    distance of each tag number to the one before, less one
 *     kinds   a byte a tag
 *     counts  a tag: 0 for the same rows a chunk as the tag before, else 1 and a number for each chunk
 *
 * All numbers are varints.
 */
import { SluiceError } from '../../errors.ts';
import type { SlotKind } from '../../reading.ts';
import type { BlockChunk, BlockTag } from '../columns.ts';
import { type Cursor, malformedBlock, type Stream } from './streams.ts';

/** Positions are on disk and on the wire: appended to, never reordered. */
const KINDS: readonly SlotKind[] = ['number', 'int64', 'uint64', 'bool', 'text'];
/** Above any registry; keeps numbers in 32 bits. */
export const TAG_NUMBER_MAX = 2 ** 31 - 1;
/** Of all (tag, chunk) counts together that are not shared: each takes at least a byte, and eight in memory. */
const COUNTS_MAX = 2 ** 21;

export class DirectoryWriter {
  readonly #tags: Stream;
  readonly #kinds: Stream;
  readonly #counts: Stream;
  #lastTag = -1;
  #lastCounts: readonly number[] | undefined;

  constructor(tags: Stream, kinds: Stream, counts: Stream) {
    this.#tags = tags;
    this.#kinds = kinds;
    this.#counts = counts;
  }

  tag(tag: number, kind: SlotKind, counts: readonly number[]): void {
    this.#tags.varint(tag - this.#lastTag - 1);
    this.#lastTag = tag;
    this.#kinds.u8(KINDS.indexOf(kind));
    if (this.#lastCounts !== undefined && sameCounts(this.#lastCounts, counts)) {
      this.#counts.u8(0);
      return;
    }
    this.#counts.u8(1);
    for (const count of counts) this.#counts.varint(count);
    this.#lastCounts = counts;
  }

  clear(): void {
    this.#lastTag = -1;
    this.#lastCounts = undefined;
  }
}

function sameCounts(a: readonly number[], b: readonly number[]): boolean {
  if (a === b) return true;
  for (let i = 0; i < b.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** @throws RangeError for chunks that are empty, overlap or do not ascend. */
export function writeChunks(stream: Stream, chunks: readonly BlockChunk[]): void {
  stream.varint(chunks.length);
  let end = 0;
  for (const { n0, count } of chunks) {
    const last = n0 + count - 1;
    if (!Number.isSafeInteger(n0) || n0 <= end || !(count >= 1) || !Number.isSafeInteger(last)) {
      throw new RangeError(`a chunk of ${count} rows from ${n0} after ${end}`);
    }
    stream.varint(n0 - end - 1);
    stream.varint(count);
    end = last;
  }
}

/** @throws block.number_too_large for a row number of 2^53 or more. */
export function readChunks(cursor: Cursor, rows: number): BlockChunk[] {
  const length = cursor.varint();
  if (length === 0 || length > rows || length * 2 > cursor.remaining)
    throw malformedBlock('more chunks than rows or bytes');
  const chunks: BlockChunk[] = [];
  let end = 0;
  let sum = 0;
  for (let i = 0; i < length; i++) {
    const n0 = end + 1 + cursor.varint();
    const count = cursor.varint();
    end = n0 + count - 1;
    sum += count;
    if (count === 0 || sum > rows) throw malformedBlock('chunks that do not add up to the rows');
    if (!Number.isSafeInteger(end))
      throw new SluiceError('block.number_too_large', 'discard', 'a row number of 2^53 or more');
    chunks.push({ n0, count });
  }
  if (sum !== rows) throw malformedBlock('chunks that do not add up to the rows');
  cursor.finish();
  return chunks;
}

export function readTags(
  tags: Cursor,
  kinds: Cursor,
  counts: Cursor,
  chunks: readonly BlockChunk[],
  rows: number,
): BlockTag[] {
  // A kind is one byte: their stream says how many tags there are.
  const length = kinds.remaining;
  if (length > rows) throw malformedBlock('more tags than rows');
  const out: BlockTag[] = [];
  const left = chunks.map(({ count }) => count);
  const spans = { last: undefined as readonly number[] | undefined, budget: COUNTS_MAX };
  let tag = -1;
  for (let i = 0; i < length; i++) {
    tag += 1 + tags.varint();
    if (tag > TAG_NUMBER_MAX) throw malformedBlock('a tag number of 2^31 or more');
    const kind = KINDS[kinds.u8()];
    if (kind === undefined) throw malformedBlock('an unknown kind of tag');
    const rowsOfTag = readCounts(counts, chunks.length, spans);
    for (let c = 0; c < rowsOfTag.length; c++) left[c] = (left[c] as number) - (rowsOfTag[c] as number);
    out.push({ tag, kind, counts: rowsOfTag });
  }
  if (left.some((count) => count !== 0)) throw malformedBlock('tags that do not add up to the chunks');
  tags.finish();
  counts.finish();
  return out;
}

function readCounts(
  cursor: Cursor,
  length: number,
  spans: { last: readonly number[] | undefined; budget: number },
): readonly number[] {
  const form = cursor.u8();
  if (form === 0 && spans.last !== undefined) {
    // Shared counts cost nothing in the block, but adding them up costs time: on the same budget.
    spans.budget -= length >> 3;
    if (spans.budget < 0) throw malformedBlock('too many counts');
    return spans.last;
  }
  spans.budget -= length;
  if (form !== 1 || length > cursor.remaining || spans.budget < 0) throw malformedBlock('counts of rows');
  const out: number[] = [];
  let sum = 0;
  for (let c = 0; c < length; c++) {
    const count = cursor.varint();
    sum += count;
    out.push(count);
  }
  if (sum === 0) throw malformedBlock('a tag without rows');
  spans.last = out;
  return out;
}
