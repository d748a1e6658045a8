/**
 * Windows on disk, by column:
 *
 *     packed (`packing.ts`): version u8 | body | CRC-32C u32 over all before
 *     body: period ms varint | rows varint | tag u32 × rows | each of `WINDOW_NUMBERS` columns as float64, its bytes by
 *     significance (all first bytes, then all second bytes …), because neighbours differ in the last ones only
 */
import { SluiceError } from '../../errors.ts';
import { ByteReader, ByteWriter } from '../../wire/bytes.ts';
import { crc32c } from '../../wire/crc32c.ts';
import { pack, unpack } from '../packing.ts';
import { WindowRows } from './rows.ts';
import { WINDOW_NUMBERS } from './window.ts';

const VERSION = 1;
const CRC_BYTES = 4;
const FLOAT_BYTES = 8;

export function encodeWindows(rows: WindowRows): Uint8Array {
  const writer = new ByteWriter(32 + rows.length * (4 + WINDOW_NUMBERS * FLOAT_BYTES));
  writer.u8(VERSION).varint(rows.periodMs).varint(rows.length);
  for (let i = 0; i < rows.length; i++) writer.u32(rows.tag[i] ?? 0);
  const body = writer.bytes(toPlanes(rows.numbers, rows.length)).take();
  return pack(writer.u32(crc32c(body)).take());
}

/** @throws windows.damaged, windows.version_unknown (discard) */
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
  rows.length = body.count(4 + WINDOW_NUMBERS * FLOAT_BYTES, Number.MAX_SAFE_INTEGER);
  rows.tag = Uint32Array.from({ length: rows.length }, () => body.u32());
  rows.numbers = fromPlanes(body.bytes(rows.length * WINDOW_NUMBERS * FLOAT_BYTES), rows.length);
  return rows;
}

function toPlanes(numbers: Float64Array, rows: number): Uint8Array {
  const from = new Uint8Array(numbers.buffer, numbers.byteOffset);
  const out = new Uint8Array(rows * WINDOW_NUMBERS * FLOAT_BYTES);
  let to = 0;
  for (let column = 0; column < WINDOW_NUMBERS; column++) {
    for (let byte = 0; byte < FLOAT_BYTES; byte++) {
      let at = column * FLOAT_BYTES + byte;
      for (let row = 0; row < rows; row++, at += WINDOW_NUMBERS * FLOAT_BYTES) out[to++] = from[at] as number; // in bounds
    }
  }
  return out;
}

function fromPlanes(bytes: Uint8Array, rows: number): Float64Array<ArrayBuffer> {
  const numbers = new Float64Array(rows * WINDOW_NUMBERS);
  const out = new Uint8Array(numbers.buffer);
  let from = 0;
  for (let column = 0; column < WINDOW_NUMBERS; column++) {
    for (let byte = 0; byte < FLOAT_BYTES; byte++) {
      let at = column * FLOAT_BYTES + byte;
      for (let row = 0; row < rows; row++, at += WINDOW_NUMBERS * FLOAT_BYTES) out[at] = bytes[from++] as number; // in bounds
    }
  }
  return numbers;
}
