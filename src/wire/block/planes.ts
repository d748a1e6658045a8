/**
 * Floats as they are, of all tags of a block together, their bytes transposed: all highest bytes, then all second ones,
 * and so on. Sign, exponent and first digits of neighbours look alike and compress; the last digits are noise apart.
 */
import { type Cursor, malformedBlock, type Stream } from './streams.ts';

const DOUBLE_BYTES = 8;
const FLOAT_BYTES = 4;

/** Bits of float64 values, as pairs of words. */
export class Planes {
  #words = new Uint32Array(256);
  #length = 0;

  add(values: Float64Array, start: number, end: number): void {
    const from = new Uint32Array(values.buffer, values.byteOffset, values.length * 2);
    const words = this.#reserve((end - start) * 2);
    words.set(from.subarray(start * 2, end * 2), this.#length);
    this.#length += (end - start) * 2;
  }

  #reserve(count: number): Uint32Array {
    const needed = this.#length + count;
    if (needed > this.#words.length) {
      const grown = new Uint32Array(Math.max(needed, this.#words.length * 2));
      grown.set(this.#words.subarray(0, this.#length));
      this.#words = grown;
    }
    return this.#words;
  }

  clear(): void {
    this.#length = 0;
  }

  writeTo(out: Stream): void {
    const rows = this.#length / 2;
    const bytes = out.reserve(rows * DOUBLE_BYTES);
    const words = this.#words;
    let at = out.length;
    for (const [word, shift] of DOUBLE_PLANES) {
      for (let i = word, end = this.#length; i < end; i += 2) bytes[at++] = (words[i] as number) >>> shift;
    }
    out.length = at;
  }
}

/** Which word of a pair (little-endian machines: the second is the high one) and which byte of it, highest first. */
const DOUBLE_PLANES = [
  [1, 24],
  [1, 16],
  [1, 8],
  [1, 0],
  [0, 24],
  [0, 16],
  [0, 8],
  [0, 0],
] as const;

export class PlanesCursor {
  readonly #bytes: Uint8Array;
  readonly #start: number;
  readonly #rows: number;
  #row = 0;

  constructor(cursor: Cursor) {
    if (cursor.remaining % DOUBLE_BYTES !== 0) throw malformedBlock('float64 bytes that are no whole rows');
    this.#bytes = cursor.bytes;
    this.#start = cursor.at;
    this.#rows = cursor.remaining / DOUBLE_BYTES;
  }

  take(out: Float64Array, start: number, end: number): void {
    const rows = this.#rows;
    if (end - start > rows - this.#row) throw malformedBlock('float64 bytes end too early');
    const words = new Uint32Array(out.buffer, out.byteOffset, out.length * 2);
    const bytes = this.#bytes;
    for (let i = start, at = this.#start + this.#row; i < end; i++, at++) {
      words[2 * i + 1] =
        ((bytes[at] as number) << 24) |
        ((bytes[at + rows] as number) << 16) |
        ((bytes[at + 2 * rows] as number) << 8) |
        (bytes[at + 3 * rows] as number);
      words[2 * i] =
        ((bytes[at + 4 * rows] as number) << 24) |
        ((bytes[at + 5 * rows] as number) << 16) |
        ((bytes[at + 6 * rows] as number) << 8) |
        (bytes[at + 7 * rows] as number);
    }
    this.#row += end - start;
  }

  finish(): void {
    if (this.#row !== this.#rows) throw malformedBlock('more float64 bytes than rows');
  }
}

/** Values that a float32 holds exactly. */
export class FloatPlanes {
  #floats = new Float32Array(256);
  #length = 0;

  add(values: Float64Array, start: number, end: number): void {
    const needed = this.#length + end - start;
    if (needed > this.#floats.length) {
      const grown = new Float32Array(Math.max(needed, this.#floats.length * 2));
      grown.set(this.#floats.subarray(0, this.#length));
      this.#floats = grown;
    }
    for (let i = start, at = this.#length; i < end; i++, at++) this.#floats[at] = values[i] as number;
    this.#length = needed;
  }

  clear(): void {
    this.#length = 0;
  }

  writeTo(out: Stream): void {
    const rows = this.#length;
    const bytes = out.reserve(rows * FLOAT_BYTES);
    const words = new Uint32Array(this.#floats.buffer);
    const at = out.length;
    for (let i = 0; i < rows; i++) {
      const word = words[i] as number;
      bytes[at + i] = word >>> 24;
      bytes[at + rows + i] = word >>> 16;
      bytes[at + 2 * rows + i] = word >>> 8;
      bytes[at + 3 * rows + i] = word;
    }
    out.length = at + rows * FLOAT_BYTES;
  }
}

export class FloatPlanesCursor {
  readonly #bytes: Uint8Array;
  readonly #start: number;
  readonly #rows: number;
  #row = 0;

  constructor(cursor: Cursor) {
    if (cursor.remaining % FLOAT_BYTES !== 0) throw malformedBlock('float32 bytes that are no whole rows');
    this.#bytes = cursor.bytes;
    this.#start = cursor.at;
    this.#rows = cursor.remaining / FLOAT_BYTES;
  }

  take(out: Float64Array, start: number, end: number): void {
    const rows = this.#rows;
    if (end - start > rows - this.#row) throw malformedBlock('float32 bytes end too early');
    const word = new Uint32Array(1);
    const float = new Float32Array(word.buffer);
    const bytes = this.#bytes;
    for (let i = start, at = this.#start + this.#row; i < end; i++, at++) {
      word[0] =
        ((bytes[at] as number) << 24) |
        ((bytes[at + rows] as number) << 16) |
        ((bytes[at + 2 * rows] as number) << 8) |
        (bytes[at + 3 * rows] as number);
      out[i] = float[0] as number;
    }
    this.#row += end - start;
  }

  finish(): void {
    if (this.#row !== this.#rows) throw malformedBlock('more float32 bytes than rows');
  }
}
