/**
 * Rows that are no readings (control, alarm, aggregate): JSON objects in order of their numbers.
 *
 *     version u8 | count varint | count × (length varint, UTF-8 JSON) | CRC-32C u32 over all before
 */
import { SluiceError } from '../errors.ts';
import { ByteReader, ByteWriter, decodeUtf8, malformed, utf8 } from './bytes.ts';
import { crc32c } from './crc32c.ts';
import { parseJson } from './json.ts';

export const RECORDS_VERSION = 1;
/** A row of any class, so that a batch can always be cut down to one that passes. */
export const RECORD_BYTES_MAX = 64 * 1024 - 1;
/** The deepest record of ours has four. */
const RECORD_DEPTH_MAX = 8;
const CRC_BYTES = 4;

/** @throws records.too_large for one of 64 KiB or more. */
export function encodeRecords(records: readonly object[]): Uint8Array {
  const writer = new ByteWriter(1024).u8(RECORDS_VERSION).varint(records.length);
  for (const record of records) {
    const bytes = utf8(JSON.stringify(record));
    if (bytes.length > RECORD_BYTES_MAX) {
      throw new SluiceError('records.too_large', 'discard', `a record of ${bytes.length} bytes, below 64 KiB allowed`);
    }
    writer.varint(bytes.length).bytes(bytes);
  }
  const body = writer.take();
  return writer.u32(crc32c(body)).take();
}

/** @throws records.version_unknown, records.checksum, records.rows_too_many, wire.… */
export function decodeRecords(bytes: Uint8Array, { rowsMax }: { rowsMax: number }): unknown[] {
  const reader = new ByteReader(bytes);
  const version = reader.u8();
  if (version !== RECORDS_VERSION) {
    throw new SluiceError('records.version_unknown', 'discard', `records of version ${version}`);
  }
  if (bytes.length < 1 + 1 + CRC_BYTES) throw malformed('records too short for a checksum');
  const body = bytes.length - CRC_BYTES;
  if (new ByteReader(bytes.subarray(body)).u32() !== crc32c(bytes, 0, body)) {
    throw new SluiceError('records.checksum', 'discard', 'records do not match their checksum');
  }
  const count = reader.varint();
  if (count > rowsMax) throw new SluiceError('records.rows_too_many', 'discard', `${count} rows, ${rowsMax} allowed`);
  if (count > reader.remaining) throw malformed('fewer records than announced');
  const records: unknown[] = [];
  for (let i = 0; i < count; i++) {
    const length = reader.varint();
    if (length > RECORD_BYTES_MAX) throw malformed('a record of 64 KiB or more');
    const text = decodeUtf8(reader.bytes(length));
    const record = parseJson(text, { bytesMax: RECORD_BYTES_MAX, depthMax: RECORD_DEPTH_MAX });
    if (typeof record !== 'object' || record === null || Array.isArray(record))
      throw malformed('a record is an object');
    records.push(record);
  }
  reader.bytes(CRC_BYTES);
  reader.end();
  return records;
}
