/**
 * Puts the CONNACK first. It must be the first packet of a broker (MQTT 3.1.1, section 3.2); where one sends messages before it,
 * mqtt.js would stop reading at the first of them, and nobody knows yet whether our session was kept.
 */
import { SluiceError } from '../../src/errors.ts';
import { CONNACK, PUBLISH, readFrame } from './frames.ts';

/** A broker that sends more than this before its CONNACK is none. */
const EARLY_BYTES_MAX = 1_048_576;

export class ConnackFirst {
  #isThrough = false;
  /** Complete PUBLISH packets, and the packet that is not complete yet. */
  #early: Buffer[] = [];
  #earlyBytes = 0;
  #rest: Buffer = Buffer.alloc(0);

  /** @returns the pieces to pass on, in order. */
  feed(received: Buffer): readonly Buffer[] {
    if (this.#isThrough) return [received];
    let bytes = Buffer.concat([this.#rest, received]);
    const pieces: Buffer[] = [];
    for (;;) {
      const frame = readFrame(bytes, 0);
      if (frame === undefined || bytes.length < frame.headerBytes + frame.bodyBytes) break;
      const packet = bytes.subarray(0, frame.headerBytes + frame.bodyBytes);
      bytes = bytes.subarray(packet.length);
      if (frame.type === PUBLISH) {
        this.#early.push(packet);
        this.#earlyBytes += packet.length;
        continue;
      }
      pieces.push(packet);
      if (frame.type === CONNACK) return this.#open(pieces, bytes);
    }
    this.#rest = bytes;
    if (this.#earlyBytes + bytes.length > EARLY_BYTES_MAX) {
      throw new SluiceError('mqtt.malformed', 'retry', `the broker sent over ${EARLY_BYTES_MAX} bytes and no CONNACK`);
    }
    return pieces;
  }

  #open(pieces: readonly Buffer[], rest: Buffer): Buffer[] {
    this.#isThrough = true;
    const all = [...pieces, ...this.#early, rest];
    this.#early = [];
    this.#rest = Buffer.alloc(0);
    return all;
  }
}
