/**
 * The frame of MQTT control packets (MQTT 3.1.1, section 2.2): one byte of type and flags, then the Remaining Length in one to
 * four bytes of seven bits.
 */
import { SluiceError } from '../../src/errors.ts';

export const CONNACK = 2;
export const PUBLISH = 3;
export const PUBACK = 4;
export const PINGREQ = 12;

export interface Frame {
  readonly type: number;
  readonly headerBytes: number;
  readonly bodyBytes: number;
}

const LENGTH_BYTES_MAX = 4;

/** @returns undefined when the header is not complete yet. */
export function readFrame(bytes: Uint8Array, at: number): Frame | undefined {
  let bodyBytes = 0;
  for (let i = 0; i < LENGTH_BYTES_MAX; i++) {
    const byte = bytes[at + 1 + i];
    if (byte === undefined) return undefined;
    bodyBytes += (byte & 0x7f) * 128 ** i;
    if (byte < 0x80) return { type: (bytes[at] ?? 0) >> 4, headerBytes: i + 2, bodyBytes };
  }
  throw new SluiceError('mqtt.malformed', 'retry', 'the broker sent a packet with a malformed Remaining Length');
}

export function writeFrame(firstByte: number, bodyBytes: number): Buffer {
  const bytes = [firstByte];
  let rest = bodyBytes;
  do {
    bytes.push((rest % 128) | (rest >= 128 ? 0x80 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return Buffer.from(bytes);
}

/**
 * Passes a stream of packets on, byte for byte, except that a PUBLISH over the limit arrives cut off at the limit: whoever
 * reads it sees that it is too long, can acknowledge it (else a broker would send it again for ever), and no memory was spent
 * on the rest. Any other packet over the limit is an error.
 */
export class PacketLimiter {
  readonly #bodyBytesMax: number;
  #carry: Buffer = Buffer.alloc(0);
  #pass = 0;
  #drop = 0;

  constructor(bodyBytesMax: number) {
    this.#bodyBytesMax = bodyBytesMax;
  }

  /** @returns the pieces to pass on, in order. */
  feed(received: Buffer): Buffer[] {
    const bytes = this.#carry.length === 0 ? received : Buffer.concat([this.#carry, received]);
    this.#carry = Buffer.alloc(0);
    const pieces: Buffer[] = [];
    let start = 0;
    let at = 0;
    for (;;) {
      const passed = Math.min(this.#pass, bytes.length - at);
      this.#pass -= passed;
      at += passed;
      if (this.#drop > 0) {
        if (this.#pass > 0) break;
        pieces.push(bytes.subarray(start, at));
        const dropped = Math.min(this.#drop, bytes.length - at);
        this.#drop -= dropped;
        at += dropped;
        start = at;
      }
      if (at === bytes.length) break;
      const frame = readFrame(bytes, at);
      if (frame === undefined) {
        this.#carry = Buffer.from(bytes.subarray(at));
        break;
      }
      if (frame.bodyBytes > this.#bodyBytesMax) {
        pieces.push(bytes.subarray(start, at), this.#cutOff(frame, bytes[at] ?? 0));
        start = at + frame.headerBytes;
      } else {
        this.#pass = frame.bodyBytes;
      }
      at += frame.headerBytes;
    }
    pieces.push(bytes.subarray(start, at));
    return pieces.filter((piece) => piece.length > 0);
  }

  #cutOff(frame: Frame, firstByte: number): Buffer {
    if (frame.type !== PUBLISH) {
      throw new SluiceError(
        'mqtt.packet_too_large',
        'retry',
        `the broker sent a packet of type ${frame.type} with ${frame.bodyBytes} bytes`,
      );
    }
    this.#pass = this.#bodyBytesMax;
    this.#drop = frame.bodyBytes - this.#bodyBytesMax;
    return writeFrame(firstByte, this.#bodyBytesMax);
  }
}
