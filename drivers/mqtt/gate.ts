/**
 * The stream between mqtt.js and the socket. It holds back the PUBACKs.
 *
 * mqtt.js acknowledges a message as soon as its listener returns, and handles the next one only then; were the listener to
 * wait for the disk, one commit would stop the stream. So messages flow, and the acknowledgements wait here:
 *
 * - Writes complete at once and keep their order among themselves. Packets come in corked pieces and are put together first.
 * - The n-th PUBACK belongs to the n-th QoS 1 message: mqtt.js emits them in order of receipt. `allow(n)` lets the first n
 *   pass. Everything else passes PUBACKs that wait: a PINGREQ keeps the connection alive while the disk is slow.
 * - A PINGRESP tells that the broker has read what was written before its PINGREQ. The ids of PUBACKs confirmed that way are
 *   handed to `confirmed`, except those that the broker has used again since.
 * - What is held dies with the connection: the broker sends those messages again.
 */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { SluiceError } from '../../src/errors.ts';
import { PacketLimiter, PINGREQ, PUBACK, readFrame, writeFrame } from './frames.ts';

/** A broker that stopped reading: all PUBACKs of a full window are a quarter of this. */
const UNREAD_BYTES_MAX = 1_048_576;
/** The largest variable header that a PUBLISH of version 3.1.1 can have: topic, its length, packet id. */
const PUBLISH_HEADER_BYTES_MAX = 65_535 + 2 + 2;

const PING = writeFrame(PINGREQ << 4, 0);
const DISCONNECT = Buffer.from([0xe0, 0]);

export interface GateOptions {
  /** A longer payload arrives cut off, one byte longer than this at least. */
  readonly payloadBytesMax: number;
  /** While so many messages wait for their acknowledgement nothing more is read. */
  readonly receiveWindow: number;
  /** An acknowledgement goes out. */
  readonly acknowledged: (packetId: number) => void;
  /** Acknowledgements that the broker has certainly read. */
  readonly confirmed: (packetIds: readonly number[]) => void;
}

export class AckGate extends Duplex {
  readonly #socket: Socket;
  readonly #options: GateOptions;
  readonly #inbound: PacketLimiter;
  #outbound: Buffer = Buffer.alloc(0);
  /** Packet ids of held PUBACKs from `#heldFrom` on, with the packets themselves. */
  #held: { readonly id: number; readonly packet: Buffer }[] = [];
  #heldFrom = 0;
  #allowed = 0;
  #received = 0;
  #passed = 0;
  /** Acknowledged packet ids, each with the number of the PINGREQ after its PUBACK: in that order. */
  readonly #unconfirmed = new Map<number, number>();
  #pingsSent = 0;
  #pingsAnswered = 0;
  /** What to call when the PINGREQ of that number is answered. */
  readonly #askers = new Map<number, () => void>();
  #reading = false;

  constructor(socket: Socket, options: GateOptions) {
    super();
    this.#socket = socket;
    this.#options = options;
    this.#inbound = new PacketLimiter(options.payloadBytesMax + 1 + PUBLISH_HEADER_BYTES_MAX);
    socket.on('data', (bytes: Buffer) => this.#onData(bytes));
    socket.on('end', () => this.push(null));
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.destroy());
  }

  /** Counts a QoS 1 message. @returns its number: `allow` it once it is on disk. */
  received(packetId: number): number {
    this.#received++;
    this.#unconfirmed.delete(packetId);
    if (this.#waiting >= this.#options.receiveWindow) this.#socket.pause();
    return this.#received;
  }

  /** Lets the acknowledgements of the first `count` messages of this connection pass. */
  allow(count: number): void {
    if (count <= this.#allowed || this.destroyed) return;
    this.#allowed = count;
    const out: Buffer[] = [];
    while (this.#passed < this.#allowed && this.#heldFrom < this.#held.length) {
      const held = this.#held[this.#heldFrom++];
      if (held === undefined) break;
      this.#acknowledge(held.id);
      out.push(held.packet);
    }
    if (this.#heldFrom === this.#held.length) {
      this.#held = [];
      this.#heldFrom = 0;
    }
    this.#send(out);
    if (this.#reading && this.#waiting < this.#options.receiveWindow) this.#socket.resume();
  }

  /** Asks the broker to confirm the acknowledgements sent so far, if there are any. */
  confirm(): void {
    if (this.#unconfirmed.size > 0) this.ping();
  }

  /** @param answered called when the broker has read everything sent before, and has answered. */
  ping(answered?: () => void): void {
    if (this.destroyed) return;
    this.#pingsSent++;
    if (answered !== undefined) this.#askers.set(this.#pingsSent, answered);
    this.#send([PING]);
  }

  /** Whoever reads the stream has come to a PINGRESP: all messages before it are received. */
  answered(): void {
    if (this.destroyed || this.#pingsAnswered >= this.#pingsSent) return;
    const number = ++this.#pingsAnswered;
    const ids: number[] = [];
    for (const [id, ping] of this.#unconfirmed) {
      if (ping > number) break;
      this.#unconfirmed.delete(id);
      ids.push(id);
    }
    if (ids.length > 0) this.#options.confirmed(ids);
    this.#askers.get(number)?.();
    this.#askers.delete(number);
  }

  /** Says goodbye (no Will is left, but a broker also likes to know) and lets the socket go. */
  disconnect(): void {
    if (!this.destroyed && !this.#socket.connecting) this.#send([DISCONNECT]);
    this.destroy();
  }

  get #waiting(): number {
    return this.#received - this.#allowed;
  }

  override _read(): void {
    this.#reading = true;
    if (this.#waiting < this.#options.receiveWindow) this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#onWrite([chunk]);
    done();
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#onWrite(chunks.map(({ chunk }) => chunk));
    done();
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#held = [];
    // What was written (a DISCONNECT) still goes out; whoever owns the socket destroys it if that takes too long.
    this.#socket.destroySoon();
    done(error);
  }

  #onData(bytes: Buffer): void {
    if (this.destroyed) return;
    try {
      for (const piece of this.#inbound.feed(bytes)) {
        if (!this.push(piece)) {
          this.#reading = false;
          this.#socket.pause();
        }
      }
    } catch (error) {
      // The limiter throws nothing but SluiceErrors.
      this.destroy(error as Error);
    }
  }

  #onWrite(pieces: Buffer[]): void {
    let bytes = this.#outbound.length === 0 && pieces.length === 1 ? pieces[0] : undefined;
    bytes ??= Buffer.concat([this.#outbound, ...pieces]);
    const out: Buffer[] = [];
    let at = 0;
    while (at < bytes.length) {
      const frame = readFrame(bytes, at);
      if (frame === undefined) break;
      const end = at + frame.headerBytes + frame.bodyBytes;
      if (end > bytes.length) break;
      this.#onPacket(frame.type, bytes.subarray(at, end), frame.headerBytes, out);
      at = end;
    }
    this.#outbound = bytes.subarray(at);
    this.#send(out);
  }

  #onPacket(type: number, packet: Buffer, headerBytes: number, out: Buffer[]): void {
    if (type === PUBACK) {
      const id = packet.readUInt16BE(headerBytes);
      if (this.#passed >= this.#allowed) {
        this.#held.push({ id, packet });
        return;
      }
      this.#acknowledge(id);
    } else if (type === PINGREQ) {
      this.#pingsSent++;
    }
    out.push(packet);
  }

  #acknowledge(id: number): void {
    this.#passed++;
    this.#unconfirmed.delete(id);
    this.#unconfirmed.set(id, this.#pingsSent + 1);
    this.#options.acknowledged(id);
  }

  #send(packets: Buffer[]): void {
    if (packets.length === 0) return;
    this.#socket.write(packets.length === 1 ? (packets[0] ?? PING) : Buffer.concat(packets));
    if (this.#socket.writableLength > UNREAD_BYTES_MAX) {
      this.destroy(new SluiceError('mqtt.lost', 'retry', 'the broker has stopped reading'));
    }
  }
}
