/**
 * Bytes in and out, big-endian. Everything that comes from outside is read through `ByteReader`: it never reads past its
 * end, and nothing is allocated on the word of a length that the remaining bytes do not bear out.
 */
import { SluiceError } from '../errors.ts';

const FIRST_CAPACITY_BYTES = 256;
const TWO_POW_32 = 0x1_0000_0000;
/** Seven bits a byte: the longest varint below 2^53 has eight bytes. */
const VARINT_BYTES_MAX = 8;

const encoder = new TextEncoder();
/** Throws on malformed UTF-8, keeps a leading byte order mark as the character that was sent. */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

export function ascii(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Lower-case hex. */
export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

/** @throws wire.hex_malformed unless `text` is exactly `length` bytes in hex. */
export function fromHex(text: string, length: number): Uint8Array {
  if (text.length !== length * 2 || !/^[0-9a-fA-F]*$/.test(text)) {
    throw new SluiceError('wire.hex_malformed', 'discard', `expected ${length} bytes in hex`);
  }
  return new Uint8Array(Buffer.from(text, 'hex'));
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** For public bytes (ids, digests): not constant time. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Grows by doubling. Numbers out of range throw a RangeError: a fault of the caller, not of any input. */
export class ByteWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;

  constructor(capacityBytes = FIRST_CAPACITY_BYTES) {
    this.#bytes = new Uint8Array(capacityBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    requireInteger(value, 0xff);
    const at = this.#room(1);
    this.#view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    requireInteger(value, 0xffff);
    const at = this.#room(2);
    this.#view.setUint16(at, value);
    return this;
  }

  u32(value: number): this {
    requireInteger(value, 0xffff_ffff);
    const at = this.#room(4);
    this.#view.setUint32(at, value);
    return this;
  }

  /** @param value an integer below 2^53, or any unsigned 64-bit bigint. */
  u64(value: number | bigint): this {
    if (typeof value === 'bigint') {
      if (value < 0n || value >= 1n << 64n) throw new RangeError(`${value} is no unsigned 64-bit integer`);
      const at = this.#room(8);
      this.#view.setBigUint64(at, value);
      return this;
    }
    requireInteger(value, Number.MAX_SAFE_INTEGER);
    const at = this.#room(8);
    this.#view.setUint32(at, Math.floor(value / TWO_POW_32));
    this.#view.setUint32(at + 4, value % TWO_POW_32);
    return this;
  }

  f64(value: number): this {
    const at = this.#room(8);
    this.#view.setFloat64(at, value);
    return this;
  }

  /** Unsigned, below 2^53: seven bits a byte, lowest first, bit 7 set on all but the last (as in Protocol Buffers). */
  varint(value: number): this {
    requireInteger(value, Number.MAX_SAFE_INTEGER);
    let rest = value;
    while (rest >= 0x80) {
      const at = this.#room(1);
      this.#view.setUint8(at, (rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    const at = this.#room(1);
    this.#view.setUint8(at, rest);
    return this;
  }

  /** Signed, |value| < 2^52, as a varint of 2v or −2v − 1. */
  zigzag(value: number): this {
    return this.varint(value < 0 ? -2 * value - 1 : 2 * value);
  }

  bytes(bytes: Uint8Array): this {
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  /** Length in bytes as a varint, then the text. */
  utf8(text: string): this {
    const bytes = encoder.encode(text);
    return this.varint(bytes.length).bytes(bytes);
  }

  /** A copy of what was written. */
  take(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** May replace the view: call it before `#view` is read. */
  #room(byteCount: number): number {
    const at = this.#length;
    const needed = at + byteCount;
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    this.#length = needed;
    return at;
  }
}

function requireInteger(value: number, max: number): void {
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw new RangeError(`${value} is no integer from 0 to ${max}`);
  }
}

/** Reads what `ByteWriter` writes. Its errors are `wire.…` with recovery `discard`. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get offset(): number {
    return this.#at;
  }

  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2));
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4));
  }

  /** @throws wire.number_too_large from 2^53 on. */
  u64(): number {
    const at = this.#take(8);
    return safe(this.#view.getUint32(at) * TWO_POW_32 + this.#view.getUint32(at + 4));
  }

  u64Big(): bigint {
    return this.#view.getBigUint64(this.#take(8));
  }

  f64(): number {
    return this.#view.getFloat64(this.#take(8));
  }

  /** @throws wire.number_too_large from 2^53 on, wire.malformed when a shorter form exists. */
  varint(): number {
    let value = 0;
    let factor = 1;
    for (let i = 0; i < VARINT_BYTES_MAX; i++) {
      const byte = this.u8();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) {
        // One number has one form, or equal contents would have different hashes.
        if (byte === 0 && i > 0) throw malformed('a number in more bytes than it needs');
        return safe(value);
      }
      factor *= 0x80;
    }
    throw tooLarge();
  }

  zigzag(): number {
    const value = this.varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  /** A count of things that take at least `bytesEach` of what remains, so that it can be allocated for. */
  count(bytesEach: number, max: number): number {
    const count = this.varint();
    if (count > max) throw new SluiceError('wire.count_too_large', 'discard', `${count} items, at most ${max} allowed`);
    if (count * bytesEach > this.remaining) throw truncated();
    return count;
  }

  /** A view, not a copy. */
  bytes(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** @throws wire.malformed for bytes that are no UTF-8, wire.text_too_long past `bytesMax`. */
  utf8(bytesMax: number): string {
    const length = this.varint();
    if (length > bytesMax)
      throw new SluiceError('wire.text_too_long', 'discard', `${length} bytes, at most ${bytesMax}`);
    return decodeUtf8(this.bytes(length));
  }

  /** @throws wire.trailing_bytes unless everything was read. */
  end(): void {
    if (this.remaining > 0) throw new SluiceError('wire.trailing_bytes', 'discard', `${this.remaining} bytes too many`);
  }

  #take(length: number): number {
    const at = this.#at;
    if (length > this.#bytes.length - at) throw truncated();
    this.#at = at + length;
    return at;
  }
}

/** @throws wire.malformed for bytes that are no UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw malformed('text that is not UTF-8', cause);
  }
}

function safe(value: number): number {
  if (value > Number.MAX_SAFE_INTEGER) throw tooLarge();
  return value;
}

function truncated(): SluiceError {
  return new SluiceError('wire.truncated', 'discard', 'the bytes end too early');
}

function tooLarge(): SluiceError {
  return new SluiceError('wire.number_too_large', 'discard', 'a number of 2^53 or more');
}

export function malformed(message: string, cause?: unknown): SluiceError {
  return new SluiceError('wire.malformed', 'discard', message, { cause });
}
