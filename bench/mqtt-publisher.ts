/** QoS 1 at the level of bytes, cheap enough to keep a gateway busy from one core. */
import type { Socket } from 'node:net';
import { PUBACK, readFrame } from '../drivers/mqtt/frames.ts';
import type { MqttLoad } from './mqtt-load.ts';

/** Packet ids are 1 to 65,535. */
const PACKET_ID_MAX = 65_535;
const WRITE_BYTES = 65_536;
const REFILL_SHARE = 0.75;

/** Publishes with QoS 1 over a connection, with at most `window` messages unacknowledged. */
export class Publisher {
  readonly #socket: Socket;
  readonly #load: MqttLoad;
  readonly #window: number;
  #left = 0;
  #inFlight = 0;
  #packetId = 0;
  #done = () => {};

  constructor(socket: Socket, load: MqttLoad, window: number) {
    this.#socket = socket;
    this.#load = load;
    this.#window = window;
    socket.on('drain', () => this.#pump());
  }

  /** Resolves when all are acknowledged. */
  publish(count: number): Promise<void> {
    this.#load.begin();
    this.#left = count;
    return new Promise((resolve) => {
      this.#done = resolve;
      this.#pump();
    });
  }

  acknowledged(count: number): void {
    this.#inFlight -= count;
    if (this.#left === 0 && this.#inFlight === 0) this.#done();
    // Many at a time: a write a message would cost more than all the rest.
    else if (this.#inFlight < this.#window * REFILL_SHARE) this.#pump();
  }

  #pump(): void {
    while (this.#left > 0 && this.#inFlight < this.#window && !this.#socket.writableNeedDrain) {
      const buffer = Buffer.allocUnsafe(WRITE_BYTES);
      let end = 0;
      while (this.#left > 0 && this.#inFlight < this.#window && end + this.#load.longest < WRITE_BYTES) {
        this.#packetId = (this.#packetId % PACKET_ID_MAX) + 1;
        end = this.#load.write(buffer, end, this.#packetId);
        this.#left--;
        this.#inFlight++;
      }
      this.#socket.write(buffer.subarray(0, end));
    }
  }
}

/** Reads packets as TCP brings them. @returns to be called with each piece. */
export function packetReader(onPackets: (packets: readonly Packet[]) => void): (bytes: Buffer) => void {
  let held: Buffer = Buffer.alloc(0);
  return (bytes) => {
    const all = held.length === 0 ? bytes : Buffer.concat([held, bytes]);
    const packets: Packet[] = [];
    let at = 0;
    for (let frame = readFrame(all, at); frame !== undefined; frame = readFrame(all, at)) {
      const end = at + frame.headerBytes + frame.bodyBytes;
      if (end > all.length) break;
      packets.push({ type: frame.type, body: all.subarray(at + frame.headerBytes, end) });
      at = end;
    }
    held = all.subarray(at);
    if (packets.length > 0) onPackets(packets);
  };
}

export interface Packet {
  readonly type: number;
  readonly body: Buffer;
}

export function countAcks(packets: readonly Packet[]): number {
  return packets.filter(({ type }) => type === PUBACK).length;
}
