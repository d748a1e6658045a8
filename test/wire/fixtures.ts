/** Keys and a small payload for the tests of sealed messages. */
import nacl from 'tweetnacl';
import { encodeChunk } from '../../src/wire/block.ts';
import { CODEC, type Codec, compress } from '../../src/wire/compress.ts';
import { type OpenKeys, seal } from '../../src/wire/envelope.ts';
import { type CloudKey, type DeviceKey, kidOf, recipientSecret } from '../../src/wire/keys.ts';
import { encodePayload, type Payload } from '../../src/wire/payload.ts';
import { encodeRecords } from '../../src/wire/records.ts';

export const fill = (length: number, byte: number) => new Uint8Array(length).fill(byte);

export function signing(seed: number) {
  const { publicKey, secretKey } = nacl.sign.keyPair.fromSeed(fill(32, seed));
  return { kid: kidOf(publicKey), publicKey, secretKey };
}

const box = nacl.box.keyPair.fromSecretKey(fill(32, 2));

export const device: DeviceKey = { device: fill(16, 0x44), ...signing(1) };
export const cloud: CloudKey = {
  recipient: { kid: kidOf(box.publicKey), publicKey: box.publicKey, secretKey: box.secretKey },
  answer: signing(3),
  version: 1,
};
export const run = fill(16, 0x52);
export const digest = fill(32, 9);

export const keys: OpenKeys = {
  signer: (kid) => (Buffer.from(kid).equals(device.kid) ? device.publicKey : undefined),
  recipient: (kid) => recipientSecret(cloud, kid),
};

/** 40 readings of two tags, from number 1, and two control rows. */
export function payload(): Payload {
  const rows = 40;
  const block = encodeChunk(
    {
      length: rows,
      tag: Uint32Array.from({ length: rows }, (_, i) => i % 2),
      timeMs: Float64Array.from({ length: rows }, (_, i) => 1.76e12 + i * 500),
      value: Float64Array.from({ length: rows }, (_, i) => 20 + (i % 7) / 10),
      quality: new Uint8Array(rows),
      texts: [],
    },
    1,
    () => 'number',
  );
  return {
    dictionary: { base: undefined, baseCount: 0, added: [fill(16, 1), fill(16, 2)] },
    sections: [
      {
        run,
        class: 1,
        body: { kind: 'records', n0: 1, count: 2, bytes: encodeRecords([{ type: 'A' }, { type: 'B' }]) },
      },
      { run, class: 3, body: { kind: 'readings', block } },
    ],
  };
}
export const payloadRows = 42;

export interface SealOptions {
  readonly plain?: Uint8Array;
  readonly compressed?: Uint8Array;
  readonly plainLen?: number;
  readonly rows?: number;
  readonly codec?: Codec;
}

export function sealed(options: SealOptions = {}): Uint8Array {
  const codec = options.codec ?? CODEC.brotli;
  const plain = options.plain ?? encodePayload(payload());
  return seal({
    payload: options.compressed ?? compress(plain, codec),
    plainLen: options.plainLen ?? plain.length,
    rows: options.rows ?? payloadRows,
    codec,
    lane: 'live',
    batchId: fill(16, 0x42),
    cutMs: 1_760_000_001_234.5,
    device,
    recipient: cloud.recipient,
  });
}
