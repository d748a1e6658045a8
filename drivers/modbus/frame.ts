/**
 * Modbus TCP frames (Messaging on TCP/IP V1.0b, 3.1.3): a header of 7 bytes before the function code.
 *
 *   0 transaction id2 | 2 protocol id2 = 0 | 4 length2 of what follows | 6 unit id1 | 7 function code1 | 8 data…
 *
 * The reader takes bytes as TCP delivers them, split or joined anywhere, and keeps at most one frame. A header that
 * cannot be one means that the stream is out of step: nothing after it can be trusted, so the connection has to go.
 */
import { SluiceError } from '../../src/errors.ts';

export const HEADER_BYTES = 7;
/** Length counts the unit id and a PDU of at most 253 bytes (Application Protocol V1.1b3, 4.1). */
const LENGTH_MAX = 254;
/** A unit id and a function code; what else a reply must hold is for its request to say. */
const LENGTH_MIN = 2;
const LENGTH_END = 6;
const FRAME_BYTES_MAX = LENGTH_END + LENGTH_MAX;
export const REQUEST_BYTES = 12;

/** A request for `count` bits or registers from `address` on. */
export interface ReadFrame {
  readonly unit: number;
  /** 1 coils, 2 discrete inputs, 3 holding registers, 4 input registers. */
  readonly functionCode: number;
  readonly address: number;
  readonly count: number;
}

/** Writes the 12 bytes of a read request at `at`. */
export function encodeRead(target: Uint8Array, at: number, transaction: number, request: ReadFrame): void {
  target[at] = transaction >> 8;
  target[at + 1] = transaction;
  target[at + 2] = 0;
  target[at + 3] = 0;
  target[at + 4] = 0;
  target[at + 5] = REQUEST_BYTES - LENGTH_END;
  target[at + 6] = request.unit;
  target[at + 7] = request.functionCode;
  target[at + 8] = request.address >> 8;
  target[at + 9] = request.address;
  target[at + 10] = request.count >> 8;
  target[at + 11] = request.count;
}

/** @param bytes valid during the call only; the frame is `bytes[start, end)` from its transaction id on. */
export type OnFrame = (transaction: number, bytes: Uint8Array, start: number, end: number) => void;

export class FrameReader {
  readonly #onFrame: OnFrame;
  readonly #partial = new Uint8Array(FRAME_BYTES_MAX);
  #held = 0;

  constructor(onFrame: OnFrame) {
    this.#onFrame = onFrame;
  }

  /** Bytes of a frame that is not whole yet; at most 260. */
  get held(): number {
    return this.#held;
  }

  /**
   * @param length how many of the bytes count, for a buffer that is used again and again.
   * @throws `modbus.protocol` when the stream is out of step; the reader must not be used again.
   */
  push(bytes: Uint8Array, length = bytes.length): void {
    let at = this.#held === 0 ? 0 : this.#finishHeld(bytes, length);
    while (length - at >= LENGTH_END) {
      const end = at + LENGTH_END + frameLength(bytes, at);
      if (end > length) break;
      this.#onFrame(transactionAt(bytes, at), bytes, at, end);
      at = end;
    }
    if (at < length) this.#hold(bytes, at, length - at);
  }

  /** Completes the frame begun in an earlier segment. @returns how many bytes of this one that took. */
  #finishHeld(bytes: Uint8Array, length: number): number {
    let at = this.#holdUpTo(LENGTH_END, bytes, 0, length);
    if (this.#held < LENGTH_END) return at;
    const end = LENGTH_END + frameLength(this.#partial, 0);
    at = this.#holdUpTo(end, bytes, at, length);
    if (this.#held < end) return at;
    this.#held = 0;
    this.#onFrame(transactionAt(this.#partial, 0), this.#partial, 0, end);
    return at;
  }

  #holdUpTo(target: number, bytes: Uint8Array, at: number, length: number): number {
    const count = Math.max(0, Math.min(target - this.#held, length - at));
    this.#hold(bytes, at, count);
    return at + count;
  }

  #hold(bytes: Uint8Array, at: number, count: number): void {
    this.#partial.set(bytes.subarray(at, at + count), this.#held);
    this.#held += count;
  }
}

function transactionAt(bytes: Uint8Array, at: number): number {
  return uint16At(bytes, at);
}

function frameLength(bytes: Uint8Array, at: number): number {
  const protocol = uint16At(bytes, at + 2);
  if (protocol !== 0) throw outOfStep(`protocol id ${protocol} instead of 0`, { protocol });
  const length = uint16At(bytes, at + 4);
  if (length < LENGTH_MIN || length > LENGTH_MAX) {
    throw outOfStep(`a length of ${length}, which no Modbus frame has`, { length });
  }
  return length;
}

function uint16At(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

function outOfStep(what: string, facts: Record<string, number>): SluiceError {
  return new SluiceError('modbus.protocol', 'retry', `the peer sent ${what}: the stream is out of step`, {
    hint: 'Check that the address is a Modbus TCP port and no serial-over-TCP converter or other service.',
    facts,
  });
}
