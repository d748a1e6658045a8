/**
 * Windows on disk, by column:
 *
 *     version u8 | codec u8 (0 stored, 2 raw deflate) | plain length varint | body | CRC-32C u32 over all before
 *     body: period ms varint | rows varint | tag u32 × rows | each of `WINDOW_NUMBERS` columns as float64, its bytes by
 *     significance (all first bytes, then all second bytes …), because neighbours differ in the last ones only
 */
import { deflateRawSync } from 'node:zlib';
import { SluiceError } from '../../errors.ts';
import { ByteReader, ByteWriter } from '../../wire/bytes.ts';
import { CODEC, decompress, isCodec } from '../../wire/compress.ts';
import { crc32c } from '../../wire/crc32c.ts';
import { WindowRows } from './rows.ts';
import { WINDOW_NUMBERS } from './window.ts';

const VERSION = 1;
const CRC_BYTES = 4;
const FLOAT_BYTES = 8;
/** Fastest: most of the bytes are zeros. */
const DEFLATE_LEVEL = 1;
/** Above it the commit is under load, and the disk has less to do than the processor. */
const DEFLATE_ROWS_MAX = 10_000;
const PLAIN_BYTES_MAX = 1024 * 1024 * 1024;

export function encodeWindows(rows: WindowRows): Uint8Array {
  const body = new ByteWriter(32 + rows.length * (4 + WINDOW_NUMBERS * FLOAT_BYTES));
  body.varint(rows.periodMs).varint(rows.length);
  for (let i = 0; i < rows.length; i++) body.u32(rows.tag[i] ?? 0);
  body.bytes(toPlanes(rows.numbers, rows.length));
  const plain = body.take();
  const codec = rows.length > DEFLATE_ROWS_MAX ? CODEC.stored : CODEC.deflate;
  const packed = codec === CODEC.stored ? plain : deflateRawSync(plain, { level: DEFLATE_LEVEL });
  const head = new ByteWriter(packed.length + 16).u8(VERSION).u8(codec).varint(plain.length).bytes(packed).take();
  return new ByteWriter(head.length + CRC_BYTES).bytes(head).u32(crc32c(head)).take();
}

/** @throws windows.damaged (discard), windows.version_unknown (discard) */
export function decodeWindows(bytes: Uint8Array): WindowRows {
  const end = bytes.length - CRC_BYTES;
  if (end < 3 || new ByteReader(bytes.subarray(end)).u32() !== crc32c(bytes, 0, end)) {
    throw new SluiceError('windows.damaged', 'discard', 'a block of windows does not match its checksum');
  }
  const head = new ByteReader(bytes.subarray(0, end));
  const version = head.u8();
  if (version !== VERSION) throw new SluiceError('windows.version_unknown', 'discard', `windows of version ${version}`);
  const codec = head.u8();
  if (!isCodec(codec)) throw new SluiceError('windows.damaged', 'discard', `windows in codec ${codec}`);
  const plainLength = head.varint();
  const body = new ByteReader(decompress(head.bytes(head.remaining), codec, plainLength, PLAIN_BYTES_MAX));
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
