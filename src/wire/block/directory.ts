/**
 * Who is in a block: its chunks and its tags with their rows a chunk.
 *
 *     chunks  count, then for each: distance of n0 to the end of the one before, rows
 *     tags    distance of each tag number to the one before, less one
 *     kinds   a byte a tag
 *     counts  a tag: 0 for the same rows a chunk as the tag before; 1 and a number for each chunk; or, where most are none,
 *             2, how many are not, and for each: distance to the chunk before, less one, and its rows
 *
 * All numbers are varints.
 */
import { SluiceError } from '../../errors.ts';
import type { SlotKind } from '../../reading.ts';
import { type BlockChunk, type BlockTag, cellsMax } from '../columns.ts';
import { type Cursor, malformedBlock, type Stream } from './streams.ts';

/** Positions are on disk and on the wire: appended to, never reordered. */
export const KINDS: readonly SlotKind[] = ['number', 'int64', 'uint64', 'bool', 'text'];
/** Above any registry; keeps numbers in 32 bits. */
export const TAG_NUMBER_MAX = 2 ** 31 - 1;

const FORM = { same: 0, each: 1, sparse: 2 } as const;

export class DirectoryWriter {
  readonly #tags: Stream;
  readonly #kinds: Stream;
  readonly #counts: Stream;
  #cells = 0;
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
    this.#cells += counts.length;
    if (this.#lastCounts !== undefined && sameCounts(this.#lastCounts, counts)) {
      this.#counts.u8(FORM.same);
      return;
    }
    this.#lastCounts = counts;
    let used = 0;
    for (const count of counts) if (count > 0) used++;
    if (used * 2 < counts.length) {
      this.#sparse(counts, used);
      return;
    }
    this.#counts.u8(FORM.each);
    for (const count of counts) this.#counts.varint(count);
  }

  #sparse(counts: readonly number[], used: number): void {
    this.#counts.u8(FORM.sparse);
    this.#counts.varint(used);
    let last = -1;
    for (let c = 0; c < counts.length; c++) {
      const count = counts[c] as number;
      if (count === 0) continue;
      this.#counts.varint(c - last - 1);
      this.#counts.varint(count);
      last = c;
    }
  }

  /** @throws RangeError for more counts than a reader accepts: `fitBlocks` prevents that. */
  finish(rows: number): void {
    if (this.#cells > cellsMax(rows)) throw new RangeError(`${this.#cells} counts in a block of ${rows} rows`);
  }

  clear(): void {
    this.#cells = 0;
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
    // Compared this way round: n0 + count may be rounded.
    if (!Number.isSafeInteger(n0) || n0 <= end || !(count >= 1) || n0 > Number.MAX_SAFE_INTEGER - count + 1) {
      throw new RangeError(`a chunk of ${count} rows from ${n0} after ${end}`);
    }
    stream.varint(n0 - end - 1);
    stream.varint(count);
    end = n0 + count - 1;
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
    sum += count;
    if (count === 0 || sum > rows) throw malformedBlock('chunks that do not add up to the rows');
    if (n0 > Number.MAX_SAFE_INTEGER - count + 1) {
      throw new SluiceError('block.number_too_large', 'discard', 'a row number of 2^53 or more');
    }
    end = n0 + count - 1;
    chunks.push({ n0, count });
  }
  if (sum !== rows) throw malformedBlock('chunks that do not add up to the rows');
  cursor.finish();
  return chunks;
}

/** @param cells at most so many counts. */
export function readTags(
  tags: Cursor,
  kinds: Cursor,
  counts: Cursor,
  chunks: readonly BlockChunk[],
  rows: number,
  cells: number,
): BlockTag[] {
  // A kind is one byte: their stream says how many tags there are.
  const length = kinds.remaining;
  if (length > rows) throw malformedBlock('more tags than rows');
  const out: BlockTag[] = [];
  const left = chunks.map(({ count }) => count);
  const state: CountsState = { last: undefined, budget: cells };
  let tag = -1;
  for (let i = 0; i < length; i++) {
    tag += 1 + tags.varint();
    if (tag > TAG_NUMBER_MAX) throw malformedBlock('a tag number of 2^31 or more');
    const kind = KINDS[kinds.u8()];
    if (kind === undefined) throw malformedBlock('an unknown kind of tag');
    const rowsOfTag = readCounts(counts, chunks.length, state);
    for (let c = 0; c < rowsOfTag.length; c++) left[c] = (left[c] as number) - (rowsOfTag[c] as number);
    out.push({ tag, kind, counts: rowsOfTag });
  }
  if (left.some((count) => count !== 0)) throw malformedBlock('tags that do not add up to the chunks');
  tags.finish();
  counts.finish();
  return out;
}

interface CountsState {
  last: readonly number[] | undefined;
  /** Counts that may still come; repeated ones take no memory, but the same time to add up. */
  budget: number;
}

function readCounts(cursor: Cursor, length: number, state: CountsState): readonly number[] {
  const form = cursor.u8();
  state.budget -= length;
  if (state.budget < 0) throw malformedBlock('too many counts of rows');
  if (form === FORM.same) {
    if (state.last === undefined) throw malformedBlock('counts of rows repeated from nothing');
    return state.last;
  }
  const out = form === FORM.each ? readEach(cursor, length) : form === FORM.sparse ? readSparse(cursor, length) : [];
  let sum = 0;
  for (const count of out) sum += count;
  if (sum === 0) throw malformedBlock('a tag without rows');
  state.last = out;
  return out;
}

function readEach(cursor: Cursor, length: number): number[] {
  if (length > cursor.remaining) throw malformedBlock('counts of rows end too early');
  const out: number[] = [];
  for (let c = 0; c < length; c++) out.push(cursor.varint());
  return out;
}

function readSparse(cursor: Cursor, length: number): number[] {
  const used = cursor.varint();
  const out = new Array<number>(length).fill(0);
  let c = -1;
  for (let i = 0; i < used; i++) {
    c += 1 + cursor.varint();
    if (c >= length) throw malformedBlock('counts of rows for a chunk that is not there');
    out[c] = cursor.varint();
  }
  return out;
}
