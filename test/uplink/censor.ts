/** Stands before the real cloud with its keys: refuses, signed, every batch that holds one certain value; passes the rest on. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ANSWER_CODES, signAnswer } from '../../src/wire/answer.ts';
import { envelopeDigest, open } from '../../src/wire/envelope.ts';
import { type CloudKey, type DeviceKey, recipientSecret } from '../../src/wire/keys.ts';

export class Censor {
  refused = 0;
  readonly #key: CloudKey;
  readonly #device: DeviceKey;
  readonly #value: number;
  #cloudPort = 0;
  readonly #server = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part);
    const body = new Uint8Array(Buffer.concat(parts));
    if (request.url === '/v1/batches' && this.#holdsIt(body)) {
      this.refused++;
      const { device } = this.#device;
      const answer = { code: ANSWER_CODES.row_refused, rows: 0, duplicates: 0, incarnation: new Uint8Array(16) };
      response.writeHead(422).end(signAnswer(answer, device, envelopeDigest(body), this.#key.answer));
      return;
    }
    const passed = await fetch(`http://127.0.0.1:${this.#cloudPort}${request.url}`, { method: 'POST', body });
    response.writeHead(passed.status).end(Buffer.from(await passed.arrayBuffer()));
  });

  constructor(key: CloudKey, device: DeviceKey, value: number) {
    this.#key = key;
    this.#device = device;
    this.#value = value;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port; // a TCP listener's address is never a string
  }

  async listen(cloudPort: number): Promise<this> {
    this.#cloudPort = cloudPort;
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return this;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #holdsIt(envelope: Uint8Array): boolean {
    const { contents } = open(envelope, {
      signer: () => this.#device.publicKey,
      recipient: (kid) => recipientSecret(this.#key, kid),
    });
    return contents.some((content) => content.kind === 'readings' && content.columns.value.includes(this.#value));
  }
}
