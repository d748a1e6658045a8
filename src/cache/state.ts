/** Checkpoints of what lives in memory, as one blob: structured clone bytes with a checksum, packed. */
import { deserialize, serialize } from 'node:v8';
import { crc32c } from '../wire/crc32c.ts';
import { pack, unpack } from './packing.ts';

const CRC_BYTES = 4;
/** The store's name for the last values (`HotState`). */
export const HOT = 'hot';
/** In `meta`, as JSON: what is older than they are (`HotMark`). */
export const HOT_AFTER = 'hot after';

export function packState(value: unknown): Uint8Array {
  const body = serialize(value);
  const out = Buffer.alloc(body.length + CRC_BYTES);
  body.copy(out);
  out.writeUInt32BE(crc32c(body), body.length);
  return pack(out);
}

/** Undefined for nothing, and for anything that is not what was packed: that costs only what the checkpoint would save. */
export function unpackState<T>(bytes: Uint8Array | undefined): T | undefined {
  if (bytes === undefined) return undefined;
  try {
    const packed = Buffer.from(unpack(bytes));
    const body = packed.subarray(0, packed.length - CRC_BYTES);
    if (packed.readUInt32BE(body.length) !== crc32c(body)) return undefined;
    return deserialize(body) as T; // what packState was given: the checksum says so
  } catch {
    return undefined; // damaged, or written by another version of Node
  }
}

/** The blocks and rows before the commit that saved the last values. */
export interface HotMark {
  readonly block: number;
  readonly run: number;
  /** The last number a class. */
  readonly last: readonly number[];
  /** The request that took values out of them since, so that who has read them reads them again. */
  readonly edited?: string;
}
