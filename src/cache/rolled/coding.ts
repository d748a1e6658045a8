/**
 * One stream of one tag. Residuals of a hundred rows are small numbers in bytes, and a Huffman table for them would take
 * as much room as they do: a Rice code needs none (Golomb 1966, Rice 1979). Byte b is b ≫ k ones, a zero, and the k low
 * bits, most significant bit first. What is not small (mantissas, texts) is left to brotli, or stored.
 *
 *     coding 0 stored | 1…7 Rice with k = coding − 1 | 8 brotli: packed length varint, bytes
 */

import { Cursor, malformedBlock, type Stream } from '../../wire/block/streams.ts';
import { CODEC, compress, decompress } from '../../wire/compress.ts';

const STORED = 0;
const BROTLI = 8;
const RICE_K_MAX = 6;
/** Brotli is tried where the Rice code saves less than this: elsewhere it never wins, and it costs more time. */
const RICE_SHARE_ENOUGH = 0.6;
/** Below this brotli's own tables take what it saves. */
const BROTLI_BYTES_MIN = 64;
const BROTLI_QUALITY = 4;
/** Texts of a block, before compression. */
const STREAM_BYTES_MAX = 256 * 1024 * 1024;

/** Appends the coded bytes to `out`. @returns the coding. */
export function writeCoded(out: Stream, bytes: Uint8Array): number {
  const { k, bits } = bestRice(bytes);
  const riceBytes = (bits + 7) >>> 3;
  const best = Math.min(riceBytes, bytes.length);
  if (best > bytes.length * RICE_SHARE_ENOUGH && bytes.length >= BROTLI_BYTES_MIN) {
    const packed = compress(bytes, CODEC.brotli, BROTLI_QUALITY);
    // Its length takes up to three bytes more.
    if (packed.length + 3 < best) {
      out.varint(packed.length);
      out.append(packed);
      return BROTLI;
    }
  }
  if (best === bytes.length) {
    out.append(bytes);
    return STORED;
  }
  writeRice(out, bytes, k, riceBytes);
  return k + 1;
}

/** The `length` bytes that were coded; the cursor stands behind them. @throws block.malformed, compress.… (discard) */
export function readCoded(cursor: Cursor, coding: number, length: number): Cursor {
  if (coding === STORED) {
    if (length > cursor.remaining) throw malformedBlock('a stream longer than its section');
    const { bytes, at } = cursor;
    cursor.at += length;
    return new Cursor(bytes, at, at + length);
  }
  if (coding === BROTLI) {
    const packedLength = cursor.varint();
    if (packedLength > cursor.remaining) throw malformedBlock('a stream longer than its section');
    const packed = cursor.bytes.subarray(cursor.at, cursor.at + packedLength);
    cursor.at += packedLength;
    return new Cursor(decompress(packed, CODEC.brotli, length, STREAM_BYTES_MAX), 0, length);
  }
  if (coding > RICE_K_MAX + 1) throw malformedBlock(`coding ${coding}`);
  // A byte takes a bit at least: more than that cannot be there.
  if (length > cursor.remaining * 8) throw malformedBlock('a stream longer than its section');
  return new Cursor(readRice(cursor, coding - 1, length), 0, length);
}

function bestRice(bytes: Uint8Array): { k: number; bits: number } {
  const sums = [0, 0, 0, 0, 0, 0, 0];
  // Indexes here and below are in bounds, so `as number` only drops an `undefined` that cannot be.
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    for (let k = 0; k <= RICE_K_MAX; k++) sums[k] = (sums[k] as number) + (byte >>> k);
  }
  let best = { k: 0, bits: Number.POSITIVE_INFINITY };
  for (let k = 0; k <= RICE_K_MAX; k++) {
    const bits = (sums[k] as number) + bytes.length * (k + 1);
    if (bits < best.bits) best = { k, bits };
  }
  return best;
}

function writeRice(out: Stream, bytes: Uint8Array, k: number, byteCount: number): void {
  const to = out.reserve(byteCount);
  let at = out.length;
  let hold = 0;
  let held = 0;
  const put = (bits: number, length: number): void => {
    hold = (hold << length) | bits;
    held += length;
    while (held >= 8) {
      held -= 8;
      to[at++] = hold >>> held;
    }
    hold &= (1 << held) - 1;
  };
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    let ones = byte >>> k;
    for (; ones >= 16; ones -= 16) put(0xffff, 16);
    // At most 15 ones, the zero, and six bits: with the seven that may be held they stay below 32.
    put((((1 << ones) - 1) << (k + 1)) | (byte & ((1 << k) - 1)), ones + 1 + k);
  }
  if (held > 0) to[at++] = hold << (8 - held);
  out.length = at;
}

function readRice(cursor: Cursor, k: number, length: number): Uint8Array {
  const out = new Uint8Array(length);
  const { bytes, end } = cursor;
  let at = cursor.at;
  let hold = 0;
  let held = 0;
  for (let i = 0; i < length; i++) {
    let ones = 0;
    for (;;) {
      if (held === 0) {
        if (at >= end) throw malformedBlock('a stream ends too early');
        hold = bytes[at++] as number;
        held = 8;
      }
      // Leading ones of what is held.
      const run = Math.min(held, Math.clz32(~(hold << (32 - held))));
      ones += run;
      held -= run;
      if (held > 0) break;
    }
    held--;
    if (held < k) {
      if (at >= end) throw malformedBlock('a stream ends too early');
      hold = ((hold & ((1 << held) - 1)) << 8) | (bytes[at++] as number);
      held += 8;
    }
    held -= k;
    if (ones > 0xff >>> k) throw malformedBlock('a code for more than a byte');
    out[i] = (ones << k) | ((hold >>> held) & ((1 << k) - 1));
  }
  cursor.at = at;
  return out;
}
