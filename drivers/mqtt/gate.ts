/**
 * The stream between mqtt.js and the socket. It sends the PUBACKs.
 *
 * mqtt.js acknowledges a message as soon as its listener returns, and handles the next one only then; were the listener to
 * wait for the disk, one commit would stop the stream. So messages flow, and the acknowledgements are written here:
 *
 * - Writes complete at once and keep their order. Packets come in corked pieces and are put together first. The PUBACKs of
 *   mqtt.js are dropped.
 * - `allow(n)` acknowledges the first n messages, each by its packet id, in order of receipt. A message whose id has come again
 *   since is left out: the id belongs to the later one, and a broker would take an early PUBACK for that.
 * - A PINGRESP tells that the broker has read what was written before its PINGREQ. The ids of PUBACKs confirmed that way are
 *   handed to `confirmed`, except those that the broker has used again since.
 * - While more messages wait than the receive window holds, the socket is not read: memory stays bounded with a broker that
 *   knows no such window (MQTT 3.1.1). A PINGRESP may be behind what is not read then, so `keptAlive` stands in for it. A broker
 *   that keeps to the window is always read: a full window is no reason to miss its signs of life.
 * - What was not allowed dies with the connection: the broker sends those messages again.
 */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { SluiceError } from '../../src/errors.ts';
import { ConnackFirst } from './connack.ts';
import { PacketLimiter, PINGREQ, PUBACK, readFrame, writeFrame } from './frames.ts';

/** A broker that stopped reading: all PUBACKs of a full window are a quarter of this. */
const UNREAD_BYTES_MAX = 1_048_576;
/** The largest variable header that a PUBLISH of version 3.1.1 can have: topic, its length, packet id. */
const PUBLISH_HEADER_BYTES_MAX = 65_535 + 2 + 2;

/** Type, Remaining Length 2, packet id. Success needs no reason code in MQTT 5 either (section 3.4.2.1). */
const PUBACK_BYTES = 4;
const PUBACK_HEAD = (PUBACK << 12) | 2;
const PING = writeFrame(PINGREQ << 4, 0);
const DISCONNECT = Buffer.from([0xe0, 0]);

export interface GateOptions {
  /** A longer payload arrives cut off, one byte longer than this at least. */
  readonly payloadBytesMax: number;
  /** While more messages than these wait for their acknowledgement nothing more is read. */
  readonly receiveWindow: number;
  /** The broker cannot show that it lives, because we do not read: take it as alive for another keep-alive. */
  readonly keptAlive: () => void;
  /** An acknowledgement goes out. */
  readonly acknowledged: (packetId: number) => void;
  /** Acknowledgements that the broker has certainly read. */
  readonly confirmed: (packetIds: readonly number[]) => void;
}

export class AckGate extends Duplex {
  readonly #socket: Socket;
  readonly #options: GateOptions;
  readonly #connackFirst = new ConnackFirst();
  readonly #inbound: PacketLimiter;
  #outbound: Buffer = Buffer.alloc(0);
  /** Packet ids of the messages after the first `#allowed` ones, from `#waitingFrom` on. */
  #waiting: number[] = [];
  #waitingFrom = 0;
  /** The number of the latest message with a packet id, until it is acknowledged. */
  readonly #holders = new Map<number, number>();
  #received = 0;
  #allowed = 0;
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
    this.#waiting.push(packetId);
    this.#holders.set(packetId, this.#received);
    this.#unconfirmed.delete(packetId);
    if (this.#waitingCount === this.#options.receiveWindow + 1) this.#onFull();
    return this.#received;
  }

  /** Acknowledges the first `count` messages of this connection. */
  allow(count: number): void {
    if (this.destroyed) return;
    const ids: number[] = [];
    while (this.#allowed < Math.min(count, this.#received)) {
      const id = this.#waiting[this.#waitingFrom++] ?? 0;
      if (this.#holders.get(id) === ++this.#allowed) ids.push(id);
    }
    // It may never run empty: the front half goes when it is used up.
    if (this.#waitingFrom * 2 >= this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#waitingFrom);
      this.#waitingFrom = 0;
    }
    this.#acknowledge(ids);
    if (this.#reading && !this.#isFull) this.#socket.resume();
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

  get #waitingCount(): number {
    return this.#received - this.#allowed;
  }

  get #isFull(): boolean {
    return this.#waitingCount > this.#options.receiveWindow;
  }

  override _read(): void {
    this.#reading = true;
    if (!this.#isFull) this.#socket.resume();
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
    // What was written (a DISCONNECT) still goes out; whoever owns the socket destroys it if that takes too long.
    this.#socket.destroySoon();
    done(error);
  }

  #onData(bytes: Buffer): void {
    if (this.destroyed) return;
    try {
      const pieces = this.#connackFirst.feed(bytes).flatMap((part) => this.#inbound.feed(part));
      for (const piece of pieces) {
        if (!this.push(piece)) {
          this.#reading = false;
          this.#socket.pause();
        }
      }
    } catch (error) {
      // They throw nothing but SluiceErrors.
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
      if (frame.type === PINGREQ) this.#onPing();
      if (frame.type !== PUBACK) out.push(bytes.subarray(at, end));
      at = end;
    }
    this.#outbound = bytes.subarray(at);
    this.#send(out);
  }

  #onFull(): void {
    this.#socket.pause();
    if (this.#pingsAnswered === this.#pingsSent) return;
    // Its answer will be late. The next PINGREQ of the client is now a keep-alive away, so the broker gets one from here.
    this.#options.keptAlive();
    this.ping();
  }

  #onPing(): void {
    this.#pingsSent++;
    if (this.#isFull) this.#options.keptAlive();
  }

  #acknowledge(ids: readonly number[]): void {
    const packets = Buffer.alloc(ids.length * PUBACK_BYTES);
    for (const [at, id] of ids.entries()) {
      packets.writeUInt16BE(PUBACK_HEAD, at * PUBACK_BYTES);
      packets.writeUInt16BE(id, at * PUBACK_BYTES + 2);
      this.#holders.delete(id);
      this.#unconfirmed.delete(id);
      this.#unconfirmed.set(id, this.#pingsSent + 1);
      this.#options.acknowledged(id);
    }
    if (ids.length > 0) this.#send([packets]);
  }

  #send(packets: Buffer[]): void {
    if (packets.length === 0) return;
    this.#socket.write(packets.length === 1 ? (packets[0] ?? PING) : Buffer.concat(packets));
    if (this.#socket.writableLength > UNREAD_BYTES_MAX) {
      this.destroy(new SluiceError('mqtt.lost', 'retry', 'the broker has stopped reading'));
    }
  }
}
