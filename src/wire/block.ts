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
import { SluiceError } from '../errors.ts';
import { type Chunk, isBad, type SlotKind } from '../reading.ts';
import { DirectoryWriter, readChunks, readTags, writeChunks } from './block/directory.ts';
import { readIntegers, writeIntegers } from './block/integers.ts';
import { NumbersReader, NumbersWriter } from './block/numbers.ts';
import { FloatPlanes, FloatPlanesCursor, Planes, PlanesCursor } from './block/planes.ts';
import { BoolsReader, BoolsWriter, readQualities, writeQualities } from './block/runs.ts';
import {
  Cursor,
  malformedBlock,
  putVarint,
  SplitReader,
  SplitWriter,
  Stream,
  VARINT_BYTES_MAX,
} from './block/streams.ts';
import { readDictionary, readTexts, TextsWriter } from './block/texts.ts';
import { TimesReader, TimesWriter } from './block/times.ts';
import type { BlockChunk, BlockColumns, BlockTag } from './columns.ts';
import { crc32c } from './crc32c.ts';
import { type SortedRows, sortByTag, tagCountOf } from './sort.ts';

export type { BlockChunk, BlockColumns, BlockTag } from './columns.ts';
export { joinBlocks, mergeBlocks, rangesOf, rowNumbers, selectRows, sliceBlock } from './columns.ts';
export { type SortedRows, sortByTag, tagCountOf } from './sort.ts';

export const BLOCK_VERSION = 1;
/** Of an envelope, and so of a block that shall travel. */
export const ROWS_MAX = 100_000;
const CRC_BYTES = 4;

/** In this order in the block. */
const STREAMS = [
  'chunks',
  'tags',
  'kinds',
  'counts',
  'qualities',
  'timeModes',
  'timeBases0',
  'timeBases1',
  'timeBases2',
  'timePeriods',
  'timeResiduals',
  'timeRaw',
  'valueModes',
  'valueFirsts0',
  'valueFirsts1',
  'valueFirsts2',
  'valueSlopes',
  'valueDeltas',
  'floats',
  'doubles',
  'integers',
  'bools',
  'textIndexes',
  'texts',
] as const;
type StreamName = (typeof STREAMS)[number];

function eachStream<T>(make: (name: StreamName) => T): Record<StreamName, T> {
  const streams: Partial<Record<StreamName, T>> = {};
  for (const name of STREAMS) streams[name] = make(name);
  // All keys are there now, which the compiler cannot see.
  return streams as Record<StreamName, T>;
}

/** Writes tags one after the other; its buffers serve every block of this thread. */
class BlockEncoder {
  readonly #streams = eachStream(() => new Stream());
  readonly #timeRaw = new Planes();
  readonly #floats = new FloatPlanes();
  readonly #doubles = new Planes();
  readonly #directory = new DirectoryWriter(this.#streams.tags, this.#streams.kinds, this.#streams.counts);
  readonly #texts = new TextsWriter(this.#streams.textIndexes, this.#streams.texts);
  readonly #bools = new BoolsWriter(this.#streams.bools);
  #times = this.#newTimes();
  readonly #numbers = new NumbersWriter(
    this.#streams.valueModes,
    new SplitWriter(this.#streams.valueFirsts0, this.#streams.valueFirsts1, this.#streams.valueFirsts2),
    this.#streams.valueSlopes,
    this.#streams.valueDeltas,
    this.#floats,
    this.#doubles,
  );
  #good = new Float64Array(256);

  encode({ rows, chunks, tags, timeMs, value, quality, texts }: BlockColumns): Uint8Array {
    if (rows === 0) throw new RangeError('a block needs rows');
    this.#clear();
    writeChunks(this.#streams.chunks, chunks);
    writeQualities(this.#streams.qualities, quality, rows);
    let row = 0;
    for (const { tag, kind, counts } of tags) {
      const start = row;
      for (const count of counts) row += count;
      this.#directory.tag(tag, kind, counts);
      this.#times.tag(timeMs, start, row);
      this.#values(kind, value, quality, texts, start, row);
    }
    if (row !== rows) throw new RangeError(`tags of ${row} rows in a block of ${rows}`);
    this.#directory.finish(rows);
    this.#bools.finish();
    this.#timeRaw.writeTo(this.#streams.timeRaw);
    this.#floats.writeTo(this.#streams.floats);
    this.#doubles.writeTo(this.#streams.doubles);
    return this.#assemble(rows);
  }

  #values(
    kind: SlotKind,
    value: Float64Array,
    quality: Uint8Array,
    texts: readonly string[],
    start: number,
    end: number,
  ): void {
    if (noneBad(quality, start, end)) {
      this.#goodValues(kind, value, start, end, texts);
      return;
    }
    if (this.#good.length < end - start) this.#good = new Float64Array((end - start) * 2);
    const good = this.#good;
    let length = 0;
    for (let row = start; row < end; row++) {
      // TypedArray.set moves bytes; as an element a 64-bit integer might be taken for a NaN and changed.
      if (!isBad(quality[row] as number)) good.set(value.subarray(row, row + 1), length++);
    }
    this.#goodValues(kind, good, 0, length, texts);
  }

  #goodValues(kind: SlotKind, value: Float64Array, start: number, end: number, texts: readonly string[]): void {
    if (kind === 'number') this.#numbers.tag(value, start, end);
    else if (kind === 'bool') this.#bools.tag(value, start, end);
    else if (kind === 'text') this.#texts.tag(value, start, end, texts);
    else writeIntegers(this.#streams.integers, value, start, end);
  }

  #newTimes(): TimesWriter {
    const { timeModes, timeBases0, timeBases1, timeBases2, timePeriods, timeResiduals } = this.#streams;
    const bases = new SplitWriter(timeBases0, timeBases1, timeBases2);
    return new TimesWriter(timeModes, bases, timePeriods, timeResiduals, this.#timeRaw);
  }

  #clear(): void {
    for (const name of STREAMS) this.#streams[name].length = 0;
    this.#timeRaw.clear();
    this.#floats.clear();
    this.#doubles.clear();
    this.#directory.clear();
    this.#texts.clear();
    this.#bools.clear();
    this.#times = this.#newTimes();
  }

  #assemble(rows: number): Uint8Array {
    const header = new Uint8Array(1 + (STREAMS.length + 1) * VARINT_BYTES_MAX);
    header[0] = BLOCK_VERSION;
    let at = putVarint(header, 1, rows);
    let length = 0;
    for (const name of STREAMS) {
      at = putVarint(header, at, this.#streams[name].length);
      length += this.#streams[name].length;
    }
    const out = new Uint8Array(at + length + CRC_BYTES);
    out.set(header.subarray(0, at));
    for (const name of STREAMS) {
      const stream = this.#streams[name];
      out.set(stream.bytes.subarray(0, stream.length), at);
      at += stream.length;
    }
    new DataView(out.buffer).setUint32(at, crc32c(out, 0, at));
    return out;
  }
}

function noneBad(quality: Uint8Array, start: number, end: number): boolean {
  let all = 0;
  for (let row = start; row < end; row++) all |= quality[row] as number;
  // Bit 6 is set in bad qualities only (status 2 in bits 5–6).
  return (all & 0x40) === 0;
}

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

/** @throws RangeError for columns that contradict themselves, or hold what a block cannot. */
export function encodeBlock(columns: BlockColumns): Uint8Array {
  return encoder.encode(columns);
}

function open(bytes: Uint8Array): { rows: number; streams: Record<StreamName, Cursor> } {
  if (bytes.length < 2 + STREAMS.length + CRC_BYTES) throw malformedBlock('too short for a block');
  if (bytes[0] !== BLOCK_VERSION) {
    throw new SluiceError('block.version_unknown', 'discard', `a block of version ${bytes[0]}`);
  }
  const body = bytes.length - CRC_BYTES;
  const header = new Cursor(bytes, 1, body);
  const rows = header.varint();
  const lengths = eachStream(() => header.varint());
  let at = header.at;
  const streams = eachStream((name) => {
    const length = lengths[name];
    if (length > body - at) throw malformedBlock('streams longer than the block');
    const stream = new Cursor(bytes, at, at + length);
    at += length;
    return stream;
  });
  if (at !== body) throw malformedBlock('bytes behind the streams');
  return { rows, streams };
}

function requireChecksum(bytes: Uint8Array): void {
  const body = bytes.length - CRC_BYTES;
  const stored = body < 0 ? 0 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(body);
  if (body < 1 || stored !== crc32c(bytes, 0, body)) {
    throw new SluiceError('block.checksum', 'discard', 'a block does not match its checksum');
  }
}

/**
 * @param limits.rowsMax at most this many rows are allocated for.
 * @throws block.version_unknown, block.checksum, block.rows_too_many, block.number_too_large, block.malformed,
 *   wire.malformed (text that is not UTF-8)
 */
export function decodeBlock(bytes: Uint8Array, limits: { readonly rowsMax: number }): BlockColumns {
  if (bytes[0] !== BLOCK_VERSION) {
    throw new SluiceError('block.version_unknown', 'discard', `a block of version ${bytes[0]}`);
  }
  requireChecksum(bytes);
  const { rows, streams } = open(bytes);
  if (rows > limits.rowsMax) {
    throw new SluiceError('block.rows_too_many', 'discard', `${rows} rows, ${limits.rowsMax} allowed`);
  }
  const chunks = readChunks(streams.chunks, rows);
  const tags = readTags(streams.tags, streams.kinds, streams.counts, chunks, rows);
  const timeMs = new Float64Array(rows);
  const value = new Float64Array(rows);
  const quality = new Uint8Array(rows);
  readQualities(streams.qualities, quality);
  const texts = readDictionary(streams.texts);
  readRows(streams, { rows, chunks, tags, timeMs, value, quality, texts });
  for (const name of STREAMS) if (!WITH_PLANES.has(name)) streams[name].finish();
  return { rows, chunks, tags, timeMs, value, quality, texts };
}

/** Their readers say themselves whether all was read. */
const WITH_PLANES: ReadonlySet<StreamName> = new Set(['timeRaw', 'floats', 'doubles', 'kinds']);

function readRows(streams: Record<StreamName, Cursor>, columns: BlockColumns): void {
  const { tags, timeMs, value, quality, texts } = columns;
  const timeRaw = new PlanesCursor(streams.timeRaw);
  const floats = new FloatPlanesCursor(streams.floats);
  const doubles = new PlanesCursor(streams.doubles);
  const bases = new SplitReader(streams.timeBases0, streams.timeBases1, streams.timeBases2);
  const firsts = new SplitReader(streams.valueFirsts0, streams.valueFirsts1, streams.valueFirsts2);
  const times = new TimesReader(streams.timeModes, bases, streams.timePeriods, streams.timeResiduals, timeRaw);
  const numbers = new NumbersReader(
    streams.valueModes,
    firsts,
    streams.valueSlopes,
    streams.valueDeltas,
    floats,
    doubles,
  );
  const bools = new BoolsReader(streams.bools);
  const values = (kind: SlotKind, out: Float64Array, start: number, end: number): void => {
    if (kind === 'number') numbers.tag(out, start, end);
    else if (kind === 'bool') bools.tag(out, start, end);
    else if (kind === 'text') readTexts(streams.textIndexes, out, start, end, texts);
    else readIntegers(streams.integers, out, start, end);
  };
  let row = 0;
  for (const { kind, counts } of tags) {
    const start = row;
    for (const count of counts) row += count;
    times.tag(timeMs, start, row);
    if (noneBad(quality, start, row)) values(kind, value, start, row);
    else scatter(value, quality, start, row, (out, length) => values(kind, out, 0, length));
  }
  timeRaw.finish();
  floats.finish();
  doubles.finish();
  bools.finish();
}

/** Values of good rows into their slots; those of bad rows stay zero bits. */
function scatter(
  value: Float64Array,
  quality: Uint8Array,
  start: number,
  end: number,
  read: (out: Float64Array, length: number) => void,
): void {
  let length = 0;
  for (let row = start; row < end; row++) if (!isBad(quality[row] as number)) length++;
  const good = new Float64Array(length);
  read(good, length);
  for (let row = start, from = 0; row < end; row++) {
    if (!isBad(quality[row] as number)) value.set(good.subarray(from, ++from), row);
  }
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
  const { rows, streams } = open(bytes);
  const chunks = readChunks(streams.chunks, rows);
  const tags = readTags(streams.tags, streams.kinds, streams.counts, chunks, rows);
  return {
    rows,
    chunks,
    tags: tags.map(({ tag, kind, counts }) => ({ tag, kind, count: counts.reduce((sum, count) => sum + count, 0) })),
  };
}
