/** Reads a block from outside, believing nothing in it. */
import { SluiceError } from '../../errors.ts';
import { isBad, type SlotKind } from '../../reading.ts';
import { type BlockChunk, type BlockColumns, type BlockTag, cellsMax } from '../columns.ts';
import { crc32c } from '../crc32c.ts';
import { readChunks, readTags } from './directory.ts';
import { readIntegers } from './integers.ts';
import { CRC_BYTES, eachStream, noneBad, requireVersion, STREAMS, type StreamName } from './layout.ts';
import { NumbersReader } from './numbers.ts';
import { FloatPlanesCursor, PlanesCursor } from './planes.ts';
import { BoolsReader, readQualities } from './runs.ts';
import { Cursor, malformedBlock, SplitReader } from './streams.ts';
import { readDictionary, readTexts } from './texts.ts';
import { TimesReader } from './times.ts';

/** The streams of a block, within its bounds; nothing of them has been read. */
export function openStreams(bytes: Uint8Array): { rows: number; streams: Record<StreamName, Cursor> } {
  if (bytes.length < 2 + STREAMS.length + CRC_BYTES) throw malformedBlock('too short for a block');
  requireVersion(bytes);
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

export interface BlockLimits {
  /** At most so many rows are allocated for. */
  readonly rowsMax: number;
  /** At most so many (tag, chunk) counts; `cellsMax` of the rows by default. */
  readonly cellsMax?: number;
}

/**
 * @throws block.version_unknown, block.checksum, block.rows_too_many, block.number_too_large, block.malformed,
 *   wire.malformed (text that is not UTF-8)
 */
export function decodeBlock(bytes: Uint8Array, limits: BlockLimits): BlockColumns {
  requireVersion(bytes);
  requireChecksum(bytes);
  const { rows, streams } = openStreams(bytes);
  if (rows > limits.rowsMax) {
    throw new SluiceError('block.rows_too_many', 'discard', `${rows} rows, ${limits.rowsMax} allowed`);
  }
  const chunks = readChunks(streams.chunks, rows);
  const tags = readTags(streams.tags, streams.kinds, streams.counts, chunks, rows, limits.cellsMax ?? cellsMax(rows));
  return readColumns(streams, rows, chunks, tags);
}

/**
 * The rows that the streams behind the directory hold, all of them and nothing else.
 * @param rows the sum of the tags' counts, already bounded.
 * @throws block.malformed, wire.malformed (text that is not UTF-8)
 */
export function readColumns(
  streams: Record<StreamName, Cursor>,
  rows: number,
  chunks: readonly BlockChunk[],
  tags: readonly BlockTag[],
): BlockColumns {
  const timeMs = new Float64Array(rows);
  const value = new Float64Array(rows);
  const quality = new Uint8Array(rows);
  readQualities(streams.qualities, quality);
  const texts = readDictionary(streams.texts, rows);
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
