/**
 * 64-bit integers without a float or BigInt a row: the first value, then differences to the previous one, modulo 2^64,
 * as zigzag varints of up to ten bytes. Signed and unsigned are the same bits.
 */
import { type Cursor, malformedBlock, type Stream, VARINT_BYTES_MAX } from './streams.ts';

/** Slots of a Float64Array as words: low first (all machines Node runs on are little-endian). */
function wordsOf(values: Float64Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length * 2);
}

export function writeIntegers(stream: Stream, values: Float64Array, start: number, end: number): void {
  const words = wordsOf(values);
  const out = stream.reserve((end - start) * VARINT_BYTES_MAX);
  let at = stream.length;
  let previousLow = 0;
  let previousHigh = 0;
  for (let i = start * 2; i < end * 2; i += 2) {
    const low = words[i] as number;
    const high = words[i + 1] as number;
    const d = (low - previousLow) >>> 0;
    const borrow = low < previousLow ? 1 : 0;
    const dHigh = (high - previousHigh - borrow) | 0;
    // Zigzag: shift left by one, all bits flipped when the sign was set.
    const sign = dHigh >> 31;
    let restLow = ((d << 1) ^ sign) >>> 0;
    let restHigh = (((dHigh << 1) | (d >>> 31)) ^ sign) >>> 0;
    while (restHigh !== 0) {
      out[at++] = (restLow & 0x7f) | 0x80;
      restLow = ((restLow >>> 7) | (restHigh << 25)) >>> 0;
      restHigh >>>= 7;
    }
    while (restLow >= 0x80) {
      out[at++] = (restLow & 0x7f) | 0x80;
      restLow >>>= 7;
    }
    out[at++] = restLow;
    previousLow = low;
    previousHigh = high;
  }
  stream.length = at;
}

export function readIntegers(cursor: Cursor, out: Float64Array, start: number, end: number): void {
  const words = wordsOf(out);
  let low = 0;
  let high = 0;
  for (let i = start * 2; i < end * 2; i += 2) {
    let zLow = 0;
    let zHigh = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = cursor.u8();
      const bits = byte & 0x7f;
      if (shift === 63 && byte > 1) throw malformedBlock('an integer of more than 64 bits');
      if (shift < 28) zLow |= bits << shift;
      else if (shift === 28) {
        zLow |= bits << 28;
        zHigh |= bits >>> 4;
      } else zHigh |= bits << (shift - 32);
      if (byte < 0x80) break;
    }
    const sign = -(zLow & 1);
    const dLow = (((zLow >>> 1) | (zHigh << 31)) ^ sign) >>> 0;
    const dHigh = (zHigh >>> 1) ^ sign;
    const sum = low + dLow;
    low = sum >>> 0;
    high = (high + dHigh + (sum > 0xffff_ffff ? 1 : 0)) >>> 0;
    words[i] = low;
    words[i + 1] = high;
  }
}
