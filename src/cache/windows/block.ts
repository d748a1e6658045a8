/**
 * Windows on disk, by column:
 *
 *     packed (`packing.ts`): version u8 | body | CRC-32C u32 over all before
 *     body: period ms varint | rows varint | index of the first start zigzag | length varint × streams | streams
 *
 * Rows are by tag and start. Starts are numbers of periods; values are integers on the grid of their tag (`scale.ts`), told
 * from the window before; of mean and m2 the sums are kept that they follow from. What fits no short form is kept as float64,
 * transposed: every number comes back bit for bit.
 */
import { SluiceError } from '../../errors.ts';
import { Cursor } from '../../wire/block/streams.ts';
import { ByteReader, ByteWriter } from '../../wire/bytes.ts';
import { crc32c } from '../../wire/crc32c.ts';
import { pack, unpack } from '../packing.ts';
import { type Cursors, STREAMS } from './columns.ts';
import { WindowsDecoder } from './decode.ts';
import { WindowsWriter } from './encode.ts';
import { WindowRows } from './rows.ts';
import { W, WINDOW_NUMBERS } from './window.ts';

const VERSION = 2;
const CRC_BYTES = 4;
/** Of every row at least its mode is there. */
const ROW_BYTES_MIN = 1;
/** A count for each tag up to the highest: 256 kB. */
const COUNTED_TAGS_MAX = 65_536;

/** One for the thread: its streams keep their room. */
const windowsWriter = new WindowsWriter();

export function encodeWindows(rows: WindowRows): Uint8Array {
  const base = windowsWriter.write(rows, sortedRows(rows));
  const { streams } = windowsWriter;
  const bytes = STREAMS.reduce((sum, name) => sum + streams[name].length, 0);
  const writer = new ByteWriter(64 + STREAMS.length * 4 + bytes);
  writer.u8(VERSION).varint(rows.periodMs).varint(rows.length).zigzag(base);
  for (const name of STREAMS) writer.varint(streams[name].length);
  for (const name of STREAMS) writer.bytes(streams[name].bytes.subarray(0, streams[name].length));
  const body = writer.take();
  return pack(new ByteWriter(body.length + CRC_BYTES).bytes(body).u32(crc32c(body)).take());
}

/** Rows by tag and start. @throws windows.damaged, windows.version_unknown, block.…, wire.…, compress.… (discard) */
export function decodeWindows(stored: Uint8Array): WindowRows {
  const bytes = unpack(stored);
  const end = bytes.length - CRC_BYTES;
  if (end < 1 || new ByteReader(bytes.subarray(end)).u32() !== crc32c(bytes, 0, end)) {
    throw new SluiceError('windows.damaged', 'discard', 'a block of windows does not match its checksum');
  }
  const body = new ByteReader(bytes.subarray(0, end));
  const version = body.u8();
  if (version !== VERSION) throw new SluiceError('windows.version_unknown', 'discard', `windows of version ${version}`);
  const rows = new WindowRows(body.varint());
  rows.reserve(body.count(ROW_BYTES_MIN, Number.MAX_SAFE_INTEGER));
  const base = body.zigzag();
  const lengths = STREAMS.map(() => body.varint());
  let at = body.offset;
  const cursors = STREAMS.map((name, i) => {
    const length = lengths[i] ?? 0;
    if (length > end - at) throw new SluiceError('windows.damaged', 'discard', 'a column of windows ends too early');
    const cursor = new Cursor(bytes, at, at + length);
    at += length;
    return [name, cursor] as const;
  });
  if (at !== end) throw new SluiceError('windows.damaged', 'discard', 'bytes behind the windows');
  new WindowsDecoder(Object.fromEntries(cursors) as Cursors, rows.periodMs).read(rows, base); // made of the names
  return rows;
}

/** By tag and start; rows of one window in the order they came. */
function sortedRows(rows: WindowRows): Uint32Array {
  const order = byTag(rows);
  const { tag, numbers } = rows;
  const start = (row: number) => numbers[row * WINDOW_NUMBERS + W.start] as number; // in bounds, here and below
  const isInOrder = (a: number, b: number) =>
    (tag[a] as number) < (tag[b] as number) || (tag[a] === tag[b] && start(a) <= start(b));
  for (let i = 1; i < order.length; i++) {
    if (isInOrder(order[i - 1] as number, order[i] as number)) continue;
    return order.sort((a, b) => (tag[a] as number) - (tag[b] as number) || start(a) - start(b) || a - b);
  }
  return order;
}

/** A counting sort where it is cheap: within a tag windows come in order, nearly always, and nothing is left to sort. */
function byTag({ length, tag }: WindowRows): Uint32Array {
  const order = new Uint32Array(length);
  let highest = 0;
  for (let row = 0; row < length; row++) {
    highest = Math.max(highest, tag[row] as number); // in bounds, here and below
    order[row] = row;
  }
  if (highest >= COUNTED_TAGS_MAX) return order;
  const next = new Uint32Array(highest + 2);
  for (let row = 0; row < length; row++) {
    const t = (tag[row] as number) + 1;
    next[t] = (next[t] as number) + 1;
  }
  for (let t = 1; t < next.length; t++) next[t] = (next[t] as number) + (next[t - 1] as number);
  for (let row = 0; row < length; row++) {
    const t = tag[row] as number;
    const to = next[t] as number;
    order[to] = row;
    next[t] = to + 1;
  }
  return order;
}
