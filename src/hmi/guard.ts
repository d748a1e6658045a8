/**
 * The stream between a client's socket and the broker, which has no limits of its own. Inwards it lets no packet pass whose
 * stated length is over the cap, before any of it is kept. Outwards it never makes the broker wait for one client: a client
 * that asks (pings, subscribes) without reading the answers is dropped when these reach a cap.
 */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

/** Commands and subscriptions are short; a CONNECT with the longest names is too. */
export const PACKET_BYTES_MAX = 16_384;
const HEADER_BYTES_MAX = 5;

export type Offence = 'oversize' | 'slow';

export class GuardedSocket extends Duplex {
  readonly #socket: Socket;
  readonly #queueBytesMax: number;
  readonly #onOffence: (offence: Offence) => void;
  /** Header bytes of the current packet that came; 0 once the header is complete. */
  #headerBytes = 0;
  /** Bytes of its body that are still to come. */
  #bodyBytes = 0;

  constructor(socket: Socket, queueBytesMax: number, onOffence: (offence: Offence) => void) {
    // What is corked here is bounded by the check below, not by a high-water mark that would make the broker wait.
    super({ writableHighWaterMark: queueBytesMax });
    this.#socket = socket;
    this.#queueBytesMax = queueBytesMax;
    this.#onOffence = onOffence;
    socket.on('data', (bytes: Buffer) => {
      if (!this.#allows(bytes)) this.offend('oversize');
      else if (!this.push(bytes)) socket.pause();
    });
    socket.on('end', () => this.push(null));
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.destroy());
  }

  /** The client reads so little that nothing should be added without need. */
  get full(): boolean {
    return this.destroyed || this.#socket.writableLength > this.#queueBytesMax / 2;
  }

  /** Resolves when the socket takes more, or is gone; in a later turn of the loop at the earliest. */
  taken(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.destroyed || !this.#socket.writableNeedDrain) {
        setImmediate(resolve);
        return;
      }
      const done = () => {
        this.#socket.off('drain', done);
        this.#socket.off('close', done);
        resolve();
      };
      this.#socket.on('drain', done);
      this.#socket.on('close', done);
    });
  }

  /** Drops the client at once: what it has not read is what must go. */
  offend(offence: Offence): void {
    if (this.destroyed) return;
    this.#onOffence(offence);
    this.#socket.destroy();
    this.destroy();
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#send(chunk);
    done();
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)));
    done();
  }

  override _final(done: () => void): void {
    this.#socket.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroySoon();
    done(error);
  }

  #send(bytes: Buffer): void {
    if (this.#socket.destroyed) return;
    this.#socket.write(bytes);
    if (this.#socket.writableLength > this.#queueBytesMax) this.offend('slow');
  }

  /** Follows the frames (MQTT 3.1.1, section 2.2): one byte, the length in one to four bytes, the body. */
  #allows(bytes: Buffer): boolean {
    let at = 0;
    while (at < bytes.length) {
      if (this.#headerBytes === 0 && this.#bodyBytes > 0) {
        const passed = Math.min(this.#bodyBytes, bytes.length - at);
        this.#bodyBytes -= passed;
        at += passed;
        continue;
      }
      const byte = bytes[at++] ?? 0;
      if (this.#headerBytes++ === 0) continue;
      this.#bodyBytes += (byte & 0x7f) * 128 ** (this.#headerBytes - 2);
      if (this.#bodyBytes > PACKET_BYTES_MAX) return false;
      if (byte < 0x80) this.#headerBytes = 0;
      else if (this.#headerBytes === HEADER_BYTES_MAX) return false;
    }
    return true;
  }
}
