/**
 * An MQTT 3.1.1 broker at the level of bytes, for what no well-behaved broker would do on demand: it says exactly what the test
 * tells it to, keeps every packet it got, and has no opinion.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { readFrame, writeFrame } from '../../drivers/mqtt/frames.ts';

export interface Packet {
  readonly type: number;
  readonly bytes: Buffer;
  /** Of PUBACK and SUBSCRIBE. */
  readonly id: number;
}

export interface Message {
  readonly topic: string;
  readonly payload: string | Buffer;
  readonly qos?: 0 | 1;
  readonly id?: number;
  readonly dup?: boolean;
  readonly retain?: boolean;
}

export const [CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT] = [1, 3, 4, 8, 12, 14];

export class WireBroker {
  sessionPresent = false;
  connackCode = 0;
  /** The code granted to each filter of a SUBSCRIBE; by default what was asked. */
  grant: ((at: number, asked: number) => number) | undefined;
  /** Takes bytes and answers nothing, not even pings. */
  silent = false;
  /** Answers a CONNECT with these packets right after the CONNACK. */
  afterConnack: Buffer[] = [];
  readonly packets: Packet[] = [];
  readonly #server: Server;
  #sockets = new Set<Socket>();
  #watchers = new Set<() => void>();

  private constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket) => this.#accept(socket));
  }

  static async start(): Promise<WireBroker> {
    const server = createServer({ noDelay: true });
    const broker = new WireBroker(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return broker;
  }

  get url(): string {
    return `mqtt://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  publish(message: Message): void {
    this.send(publishPacket(message));
  }

  send(bytes: Buffer): void {
    for (const socket of this.#sockets) socket.write(bytes);
  }

  hangUp(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  ofType(type: number | undefined): Packet[] {
    return this.packets.filter((packet) => packet.type === type);
  }

  acked(): number[] {
    return this.ofType(PUBACK).map((packet) => packet.id);
  }

  /** Resolves as soon as the packets received so far make it true. */
  until(holds: () => boolean): Promise<void> {
    if (holds()) return Promise.resolve();
    return new Promise((resolve) => {
      const watcher = () => {
        if (!holds()) return;
        this.#watchers.delete(watcher);
        resolve();
      };
      this.#watchers.add(watcher);
    });
  }

  async stop(): Promise<void> {
    this.hangUp();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    let kept: Buffer = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#sockets.delete(socket);
      for (const watcher of this.#watchers) watcher();
    });
    socket.on('data', (bytes: Buffer) => {
      kept = Buffer.concat([kept, bytes]);
      for (;;) {
        const frame = readFrame(kept, 0);
        if (frame === undefined || kept.length < frame.headerBytes + frame.bodyBytes) break;
        const end = frame.headerBytes + frame.bodyBytes;
        this.#onPacket(socket, frame.type, kept.subarray(0, end), frame.headerBytes);
        kept = kept.subarray(end);
      }
      for (const watcher of this.#watchers) watcher();
    });
  }

  #onPacket(socket: Socket, type: number, bytes: Buffer, bodyAt: number): void {
    const id = type === PUBACK || type === SUBSCRIBE ? bytes.readUInt16BE(bodyAt) : 0;
    this.packets.push({ type, bytes, id });
    if (this.silent) return;
    if (type === CONNECT) {
      socket.write(Buffer.from([0x20, 2, this.sessionPresent ? 1 : 0, this.connackCode]));
      for (const packet of this.afterConnack) socket.write(packet);
    } else if (type === SUBSCRIBE) {
      const granted = askedQos(bytes.subarray(bodyAt + 2)).map((qos, at) => this.grant?.(at, qos) ?? qos);
      socket.write(Buffer.from([0x90, 2 + granted.length, id >> 8, id & 0xff, ...granted]));
    } else if (type === PINGREQ) {
      socket.write(Buffer.from([0xd0, 0]));
    } else if (type === DISCONNECT) {
      socket.end();
    }
  }
}

export function publishPacket({ topic, payload, qos = 0, id = 1, dup = false, retain = false }: Message): Buffer {
  const name = Buffer.from(topic);
  const body = Buffer.concat([
    Buffer.from([name.length >> 8, name.length & 0xff]),
    name,
    qos === 0 ? Buffer.alloc(0) : Buffer.from([id >> 8, id & 0xff]),
    Buffer.from(payload),
  ]);
  return Buffer.concat([writeFrame(0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0), body.length), body]);
}

function askedQos(body: Buffer): number[] {
  const asked: number[] = [];
  for (let at = 0; at < body.length; ) {
    at += 2 + body.readUInt16BE(at);
    asked.push(body[at++] ?? 0);
  }
  return asked;
}
