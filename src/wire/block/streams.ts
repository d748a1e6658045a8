/**
 * The byte streams of a block. Writers hand out their array for hot loops (`reserve`, then write, then set `length`);
 * cursors read with bounds checks. Indexes in the loops of this folder are in bounds by construction, so `as number`
 * only drops an `undefined` that cannot be.
 */
import { SluiceError } from '../../errors.ts';

/** Seven bits a byte: the longest varint below 2^53 has eight bytes, a 64-bit one ten. */
export const VARINT_BYTES_MAX = 10;
/** 2^28: below it a varint needs integer operations only. */
const SMALL = 0x1000_0000;

export class Stream {
  bytes: Uint8Array;
  length = 0;

  constructor(capacityBytes = 1024) {
    this.bytes = new Uint8Array(capacityBytes);
  }

  /** Makes room for `byteCount` more and returns the array to write to, from `length` on. */
  reserve(byteCount: number): Uint8Array {
    const needed = this.length + byteCount;
    if (needed > this.bytes.length) {
      const grown = new Uint8Array(Math.max(needed, this.bytes.length * 2));
      grown.set(this.bytes.subarray(0, this.length));
      this.bytes = grown;
    }
    return this.bytes;
  }

  u8(value: number): void {
    const bytes = this.reserve(1);
    bytes[this.length++] = value;
  }

  append(bytes: Uint8Array): void {
    this.reserve(bytes.length).set(bytes, this.length);
    this.length += bytes.length;
  }

  varint(value: number): void {
    const bytes = this.reserve(VARINT_BYTES_MAX);
    this.length = putVarint(bytes, this.length, value);
  }

  zigzag(value: number): void {
    this.varint(value < 0 ? -2 * value - 1 : 2 * value);
  }
}

/**
 * A column of numbers such as first values: the two lowest bytes in streams of their own, zigzag, the rest as a varint. In
 * one stream the nearly random low bytes would spoil the compressor's table for the others.
 */
export class SplitWriter {
  readonly #low: Stream;
  readonly #middle: Stream;
  readonly #rest: Stream;

  constructor(low: Stream, middle: Stream, rest: Stream) {
    this.#low = low;
    this.#middle = middle;
    this.#rest = rest;
  }

  /** @param value |value| < 2^52. */
  zigzag(value: number): void {
    const unsigned = value < 0 ? -2 * value - 1 : 2 * value;
    const rest = Math.floor(unsigned / 0x1_0000);
    const word = unsigned - rest * 0x1_0000;
    this.#low.u8(word & 0xff);
    this.#middle.u8(word >>> 8);
    this.#rest.varint(rest);
  }
}

/** Writes a varint below 2^53 where there is room for it; returns the position behind it. */
export function putVarint(bytes: Uint8Array, at: number, value: number): number {
  if (value < 0x80) {
    bytes[at] = value;
    return at + 1;
  }
  return putLongVarint(bytes, at, value);
}

function putLongVarint(bytes: Uint8Array, start: number, value: number): number {
  let at = start;
  let rest = value;
  while (rest >= SMALL) {
    bytes[at++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  while (rest >= 0x80) {
    bytes[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  bytes[at++] = rest;
  return at;
}

/** Reads one stream. Everything it throws is `block.malformed`, recovery `discard`. */
export class Cursor {
  readonly bytes: Uint8Array;
  at: number;
  readonly end: number;

  constructor(bytes: Uint8Array, at: number, end: number) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get remaining(): number {
    return this.end - this.at;
  }

  u8(): number {
    if (this.at >= this.end) throw malformedBlock('a stream ends too early');
    return this.bytes[this.at++] as number;
  }

  varint(): number {
    const at = this.at;
    if (at < this.end) {
      const byte = this.bytes[at] as number;
      if (byte < 0x80) {
        this.at = at + 1;
        return byte;
      }
    }
    return this.#longVarint();
  }

  zigzag(): number {
    const value = this.varint();
    if (value < SMALL) return (value >>> 1) ^ -(value & 1);
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  /** A stream that holds more than its rows is as wrong as one that holds less. */
  finish(): void {
    if (this.at !== this.end) throw malformedBlock('a stream holds more than its rows');
  }

  #longVarint(): number {
    let value = 0;
    let factor = 1;
    for (let i = 0; i < 8; i++) {
      const byte = this.u8();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      factor *= 0x80;
    }
    throw malformedBlock('a number of 2^53 or more');
  }
}

/** Reads what `SplitWriter` writes. */
export class SplitReader {
  readonly #low: Cursor;
  readonly #middle: Cursor;
  readonly #rest: Cursor;

  constructor(low: Cursor, middle: Cursor, rest: Cursor) {
    this.#low = low;
    this.#middle = middle;
    this.#rest = rest;
  }

  zigzag(): number {
    const word = this.#low.u8() | (this.#middle.u8() << 8);
    const value = this.#rest.varint() * 0x1_0000 + word;
    if (value > Number.MAX_SAFE_INTEGER) throw malformedBlock('a number of 2^53 or more');
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }
}

export function malformedBlock(message: string): SluiceError {
  return new SluiceError('block.malformed', 'discard', message);
}
