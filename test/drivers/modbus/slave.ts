/** A Modbus TCP slave that does exactly what a test scripts, right or wrong, on a real socket. */
import { createServer, type Socket } from 'node:net';

export interface Asked {
  readonly transaction: number;
  readonly unit: number;
  readonly functionCode: number;
  readonly address: number;
  readonly count: number;
  readonly socket: Socket;
  /** How many requests came before this one, over all connections. */
  readonly nth: number;
}

/** @returns bytes to send, or nothing for silence; may also write to the socket itself. */
export type Script = (asked: Asked) => Uint8Array | undefined;

export class ScriptedSlave {
  readonly asked: Asked[] = [];
  readonly sockets = new Set<Socket>();
  script: Script;
  #server = createServer((socket) => this.#serve(socket));

  private constructor(script: Script) {
    this.script = script;
  }

  static async start(script: Script = honest): Promise<ScriptedSlave> {
    const slave = new ScriptedSlave(script);
    await new Promise<void>((resolve) => slave.#server.listen(0, '127.0.0.1', resolve));
    return slave;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the slave does not listen');
    return address.port;
  }

  get transport(): string {
    return `tcp://127.0.0.1:${this.port}`;
  }

  hangUp(how: 'fin' | 'rst' = 'fin'): void {
    for (const socket of this.sockets) {
      if (how === 'rst') socket.resetAndDestroy();
      else socket.destroy();
    }
  }

  async stop(): Promise<void> {
    this.hangUp();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(socket: Socket): void {
    this.sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('close', () => this.sockets.delete(socket));
    let bytes = Buffer.alloc(0);
    socket.on('data', (more) => {
      bytes = Buffer.concat([bytes, more]);
      while (bytes.length >= 12) {
        const asked: Asked = {
          transaction: bytes.readUInt16BE(0),
          unit: bytes.readUInt8(6),
          functionCode: bytes.readUInt8(7),
          address: bytes.readUInt16BE(8),
          count: bytes.readUInt16BE(10),
          socket,
          nth: this.asked.length,
        };
        bytes = bytes.subarray(12);
        this.asked.push(asked);
        const answer = this.script(asked);
        if (answer !== undefined) socket.write(answer);
      }
    });
  }
}

/** Every register holds its own address; every bit whose address is odd is set. */
export const honest: Script = (asked) => reply(asked);

export function reply(asked: Asked, register: (address: number) => number = (address) => address): Buffer {
  const { functionCode, address, count } = asked;
  if (functionCode <= 2) {
    const bits = Buffer.alloc((count + 7) >> 3);
    for (let i = 0; i < count; i++) if ((address + i) & 1) bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7));
    return frame(asked, Buffer.concat([Buffer.of(functionCode, bits.length), bits]));
  }
  const data = Buffer.alloc(count * 2);
  for (let i = 0; i < count; i++) data.writeUInt16BE(register(address + i) & 0xffff, i * 2);
  return frame(asked, Buffer.concat([Buffer.of(functionCode, data.length), data]));
}

export function exception(asked: Asked, code: number): Buffer {
  return frame(asked, Buffer.of(asked.functionCode | 0x80, code));
}

export function frame(asked: { transaction: number; unit: number }, pdu: Uint8Array): Buffer {
  const header = Buffer.alloc(7);
  header.writeUInt16BE(asked.transaction, 0);
  header.writeUInt16BE(pdu.length + 1, 4);
  header.writeUInt8(asked.unit, 6);
  return Buffer.concat([header, pdu]);
}
