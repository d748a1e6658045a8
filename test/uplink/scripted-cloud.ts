/** A cloud on a real socket that keeps books, signs with the real keys, and misbehaves as each test says. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { ANSWER_CODES, type AnswerName, signAnswer } from '../../src/wire/answer.ts';
import { envelopeDigest } from '../../src/wire/envelope.ts';
import { openHello, signHelloAnswer } from '../../src/wire/hello.ts';
import { type CloudKey, type DeviceKey, generateCloudKey, generateDeviceKey, toPublic } from '../../src/wire/keys.ts';
import { add, type RangeSet } from '../../src/wire/ranges.ts';
import { rowsOf } from './fake-cache.ts';

export interface Exchange {
  readonly body: Buffer;
  readonly rows: readonly number[];
  readonly socket: Socket;
  readonly response: ServerResponse;
  /** Applies the rows and gives the signed answer, without sending it. */
  yes(): Uint8Array;
  /** A signed answer of this name. */
  signed(name: AnswerName): Uint8Array;
  /** Sends it. */
  answer(status: number, body: Uint8Array | string, headers?: Record<string, string>): void;
}
type Script = (exchange: Exchange) => void | Promise<void>;

export class ScriptedCloud {
  readonly device: DeviceKey = generateDeviceKey();
  readonly key: CloudKey = generateCloudKey();
  readonly held = new Set<number>();
  /** Of every request for a batch. */
  readonly bodies: Buffer[] = [];
  hellos = 0;
  connections = 0;
  incarnation = new Uint8Array(16).fill(1);
  sizeMax = 4_000_000;
  aheadMs = 0;
  /** For each batch; what is not scripted is applied and answered. */
  script: Script = ({ answer, yes }) => answer(200, yes());
  readonly #server: Server;
  readonly #scheme: string;

  constructor(tls?: { cert: string; key: string }) {
    this.#scheme = tls === undefined ? 'http' : 'https';
    const listener = (request: IncomingMessage, response: ServerResponse) => void this.#handle(request, response);
    this.#server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
    this.#server.on('connection', () => {
      this.connections++;
    });
  }

  get keys() {
    return toPublic(this.key);
  }

  get url(): string {
    // listen() on a port always gives an AddressInfo.
    const { port } = this.#server.address() as AddressInfo;
    return `${this.#scheme}://127.0.0.1:${port}`;
  }

  async listen(port = 0): Promise<this> {
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
    return this;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    request.on('error', () => {});
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts);
    if (request.url === '/v1/hello') {
      response.writeHead(200).end(this.#hello(body));
      return;
    }
    this.bodies.push(body);
    const rows = rowsOf(body);
    const { device, key, incarnation } = this;
    const signed = (name: AnswerName, duplicates = 0) =>
      signAnswer(
        { code: ANSWER_CODES[name], rows: rows.length, duplicates, incarnation },
        device.device,
        envelopeDigest(body),
        key.answer,
      );
    await this.script({
      body,
      rows,
      socket: request.socket,
      response,
      signed,
      yes: () => {
        const duplicates = rows.filter((n) => this.held.has(n)).length;
        for (const n of rows) this.held.add(n);
        return signed('ok', duplicates);
      },
      answer: (status, answer, headers = {}) => response.writeHead(status, headers).end(answer),
    });
  }

  #hello(body: Uint8Array): Uint8Array {
    this.hellos++;
    const { nonce, device, runs } = openHello(body, () => this.device.publicKey);
    const held = [...this.held].reduce<RangeSet>((set, n) => add(set, { from: n, to: n }), []);
    return signHelloAnswer(
      {
        device,
        nonce,
        cloudMs: Date.now() + this.aheadMs,
        incarnation: this.incarnation,
        sizeMax: this.sizeMax,
        codecs: [1, 2],
        keyListVersion: 1,
        held: runs.map(({ run }) => ({ run, classes: [{ class: 3, held, explained: [] }] })),
      },
      this.key.answer,
    );
  }
}
