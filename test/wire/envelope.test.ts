import { deflateRawSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { ANSWER_CODES, refusalCode } from '../../src/wire/answer.ts';
import { encodeChunk } from '../../src/wire/block.ts';
import { concat } from '../../src/wire/bytes.ts';
import { CODEC, compress } from '../../src/wire/compress.ts';
import { signMessage } from '../../src/wire/crypto.ts';
import { type EnvelopeLimits, envelopeDigest, type OpenKeys, open, readHeader, seal } from '../../src/wire/envelope.ts';
import { sha512 } from '../../src/wire/hash.ts';
import { encodePayload, type Payload } from '../../src/wire/payload.ts';
import { encodeRecords } from '../../src/wire/records.ts';
import { codeOfThrown } from './arbitrary.ts';
import { cloud, device, fill, keys, payload, payloadRows, run, sealed } from './fixtures.ts';

const refusal = (bytes: Uint8Array, with_: OpenKeys = keys, limits?: EnvelopeLimits) =>
  codeOfThrown(() => open(bytes, with_, limits));

/** Signs changed bytes again, as a device gone bad could. */
function resigned(bytes: Uint8Array): Uint8Array {
  const signed = bytes.subarray(0, bytes.length - 64);
  const message = sha512(signed);
  return concat(signed, signMessage('SLC1-sig\0', message, device.secretKey));
}

function changed(bytes: Uint8Array, at: number, ...values: number[]): Uint8Array {
  const out = bytes.slice();
  out.set(values, at);
  return out;
}

describe('an envelope', () => {
  test.each([CODEC.brotli, CODEC.deflate, CODEC.stored])('gives back header, payload and rows (codec %i)', (codec) => {
    const bytes = sealed({ codec });
    const { header, payload: opened, contents } = open(bytes, keys);
    expect(header).toMatchObject({
      suite: 1,
      codec,
      lane: 'live',
      flags: 0,
      rows: payloadRows,
      cutMs: 1_760_000_001_234,
    });
    expect(header.device).toEqual(device.device);
    expect(header.recipientKid).toEqual(cloud.recipient.kid);
    expect(opened).toEqual(payload());
    expect(contents[0]).toMatchObject({ kind: 'records', n0: 1, records: [{ type: 'A' }, { type: 'B' }] });
    expect(contents[1]).toMatchObject({ kind: 'readings', ranges: [{ from: 1, to: 40 }] });
    expect(readHeader(bytes)).toEqual(header);
  });

  test('adds 184 bytes to the compressed payload', () => {
    const compressed = compress(encodePayload(payload()), CODEC.brotli);
    expect(sealed().length - compressed.length).toBe(184);
  });

  test('never repeats a key: the same payload sealed twice has nothing in common', () => {
    const [a, b] = [sealed(), sealed()];
    expect(a.subarray(72, 104)).not.toEqual(b.subarray(72, 104));
    expect(a.subarray(104, 140)).not.toEqual(b.subarray(104, 140));
    expect(envelopeDigest(a)).not.toEqual(envelopeDigest(b));
  });

  test('is refused with a stable code whichever byte is flipped', () => {
    const bytes = sealed();
    const expected = (at: number): RegExp => {
      if (at < 4) return /^envelope\.magic_unknown$/;
      if (at === 4) return /^envelope\.suite_unknown$/;
      if (at === 5) return /^envelope\.(codec_unknown|signature_invalid)$/;
      if (at === 6) return /^envelope\.(lane_unknown|signature_invalid)$/;
      if (at === 7) return /^envelope\.flags_unknown$/;
      if (at >= 16 && at < 24) return /^envelope\.signer_unknown$/;
      if (at >= 68 && at < 72) return /^envelope\.(rows_too_many|signature_invalid)$/;
      return /^envelope\.signature_invalid$/;
    };
    for (let at = 0; at < bytes.length; at++) {
      for (const mask of [1, 0x80])
        expect(refusal(changed(bytes, at, (bytes[at] ?? 0) ^ mask)) ?? 'opened').toMatch(expected(at));
    }
  });

  test('is refused with a stable code wherever it is cut off or goes on', () => {
    const bytes = sealed();
    for (let length = 0; length < bytes.length; length += 7) {
      expect(refusal(bytes.subarray(0, length))).toMatch(/^envelope\.(truncated|signature_invalid)$/);
    }
    expect(refusal(concat(bytes, fill(1, 0)))).toBe('envelope.signature_invalid');
  });

  test('is bound to its header: whoever signs it again cannot change what the box was sealed with', () => {
    const bytes = sealed();
    const opened: string[] = [];
    for (let at = 24; at < 104; at++) {
      const code = refusal(resigned(changed(bytes, at, (bytes[at] ?? 0) ^ 1)), {
        ...keys,
        signer: () => device.publicKey,
      });
      if (code === undefined) opened.push(String(at));
      else expect(code).toMatch(/^envelope\.(not_opened|ephemeral_weak|rows_too_many)$/);
    }
    expect(opened).toEqual([]);
  });

  test('is refused by kid: signer unknown, revoked or of another device; recipient not held', () => {
    expect(refusal(sealed(), { ...keys, signer: () => undefined })).toBe('envelope.signer_unknown');
    expect(refusal(sealed(), { ...keys, signer: () => 'revoked' })).toBe('envelope.signer_revoked');
    expect(refusal(sealed(), { ...keys, signer: () => 'foreign' })).toBe('envelope.device_foreign');
    expect(refusal(sealed(), { ...keys, recipient: () => undefined })).toBe('envelope.recipient_unknown');
  });

  test('with a malleable signature (S + order) is refused', () => {
    const bytes = sealed();
    const order = (1n << 252n) + 27742317777372353535851937790883648493n;
    let s = order;
    for (let i = 31; i >= 0; i--) s += BigInt(bytes[bytes.length - 32 + i] ?? 0) << BigInt(8 * i);
    const forged = bytes.slice();
    for (let i = 0; i < 32; i++) forged[bytes.length - 32 + i] = Number((s >> BigInt(8 * i)) & 255n);
    expect(refusal(forged)).toBe('envelope.signature_invalid');
  });

  test('with a zero, small-order or non-canonical ephemeral key is refused', () => {
    const bytes = sealed();
    const p = (1n << 255n) - 19n;
    const smallOrder = [
      0n,
      1n,
      325606250916557431795983626356110631294008115727848805560023387167927233504n,
      39382357235489614581723060781553021112529911719440698176882885853963445705823n,
      p - 1n,
      p,
      p + 1n,
      p + 9n, // the base point again
      (1n << 255n) + 9n, // and with the bit that X25519 ignores
    ];
    for (const u of smallOrder) {
      const key = Array.from({ length: 32 }, (_, i) => Number((u >> BigInt(8 * i)) & 255n));
      expect(refusal(resigned(changed(bytes, 72, ...key)))).toBe('envelope.ephemeral_weak');
    }
  });

  test('is never sealed to a weak recipient key', () => {
    const recipient = { kid: fill(8, 0), publicKey: fill(32, 0) };
    const input = {
      payload: fill(1, 0),
      plainLen: 1,
      rows: 1,
      codec: CODEC.stored,
      lane: 'live',
      batchId: fill(16, 0),
      cutMs: 0,
      device,
    } as const;
    expect(codeOfThrown(() => seal({ ...input, recipient }))).toBe('key.weak');
  });
});

describe('the limits of an envelope', () => {
  test('sizes and rows are refused before the magic, and the signature before the plain length', () => {
    const junk = fill(400, 0);
    expect(refusal(junk, keys, { envelopeBytesMax: 399 })).toBe('envelope.too_large');
    expect(refusal(changed(junk, 68, 0xff, 0, 0, 0))).toBe('envelope.rows_too_many');
    expect(refusal(junk)).toBe('envelope.magic_unknown');
    const huge = sealed({ plainLen: 0xffff_ffff });
    expect(refusal(changed(huge, huge.length - 1, (huge.at(-1) ?? 0) ^ 1))).toBe('envelope.signature_invalid');
    expect(refusal(huge)).toBe('envelope.plain_too_large');
  });

  test.each([CODEC.brotli, CODEC.deflate])(
    'a decompression bomb is stopped at the length it announced (codec %i)',
    (codec) => {
      const compressed = compress(new Uint8Array(200e6), codec);
      const before = process.memoryUsage().rss;
      expect(refusal(sealed({ compressed, plainLen: 1000, codec }))).toBe('envelope.plain_length_wrong');
      expect(refusal(sealed({ compressed, plainLen: 0, codec }))).toBe('envelope.plain_length_wrong');
      expect(refusal(sealed({ compressed, plainLen: 200e6, codec }))).toBe('envelope.plain_too_large');
      expect(process.memoryUsage().rss - before).toBeLessThan(64e6);
    },
  );

  test('less or more than the announced length, and bytes behind the stream, are refused', () => {
    const plain = encodePayload(payload());
    expect(refusal(sealed({ plainLen: plain.length + 1 }))).toBe('envelope.plain_length_wrong');
    expect(refusal(sealed({ plainLen: plain.length - 1 }))).toBe('envelope.plain_length_wrong');
    expect(refusal(sealed({ plainLen: plain.length - 1, codec: CODEC.stored }))).toBe('envelope.plain_length_wrong');
    for (const codec of [CODEC.brotli, CODEC.deflate]) {
      const compressed = concat(compress(plain, codec), fill(1, 0));
      expect(refusal(sealed({ compressed, codec }))).toBe('envelope.trailing_bytes');
      expect(refusal(sealed({ compressed: fill(30, 0xff), codec }))).toBe('envelope.not_inflated');
      expect(refusal(sealed({ compressed: compressed.subarray(0, 20), codec }))).toMatch(
        /not_inflated|plain_length_wrong/,
      );
    }
    // A second stream behind the first: inflaters that go on would take it.
    const twice = concat(deflateRawSync(plain), deflateRawSync(plain));
    expect(refusal(sealed({ compressed: twice, codec: CODEC.deflate }))).toBe('envelope.trailing_bytes');
  });
});

describe('the rows of an envelope', () => {
  const sealPayload = (part: Partial<Payload>, rows = payloadRows) =>
    sealed({ plain: encodePayload({ ...payload(), ...part }), rows });
  const [records, readings] = payload().sections;
  if (records === undefined || readings === undefined) throw new Error('two sections');

  test('must be as many as announced', () => {
    expect(refusal(sealed({ rows: payloadRows - 1 }))).toBe('envelope.rows_mismatch');
    expect(refusal(sealed({ rows: payloadRows + 1 }))).toBe('envelope.rows_mismatch');
    expect(refusal(sealed({ rows: 0 }))).toBe('envelope.rows_mismatch');
  });

  test('must not be there twice', () => {
    expect(refusal(sealPayload({ sections: [readings, readings] }, 80))).toBe('envelope.ranges_overlap');
    const otherRun = { ...readings, run: fill(16, 7) };
    expect(refusal(sealPayload({ sections: [readings, otherRun] }, 80))).toBeUndefined();
  });

  test('must be of tags in the dictionary', () => {
    const dictionary = { base: undefined, baseCount: 0, added: [fill(16, 1)] };
    expect(refusal(sealPayload({ dictionary }))).toBe('envelope.tag_outside_dictionary');
    expect(refusal(sealPayload({ dictionary: { base: fill(16, 9), baseCount: 2, added: [] } }))).toBeUndefined();
  });

  test('must decode: damaged, foreign or miscounted sections are refused by name', () => {
    const block = readings.body.kind === 'readings' ? readings.body.block : fill(0, 0);
    const withBlock = (bytes: Uint8Array) =>
      sealPayload({ sections: [{ run, class: 3, body: { kind: 'readings', block: bytes } }] }, 40);
    expect(refusal(withBlock(changed(block, 9, 77)))).toBe('envelope.block_checksum');
    expect(refusal(withBlock(changed(block, 0, 9)))).toBe('envelope.block_version_unknown');
    const bytes = encodeRecords([{ a: 1 }]);
    const withRecords = (part: object) =>
      sealPayload({ sections: [{ run, class: 1, body: { kind: 'records', n0: 1, count: 1, bytes, ...part } }] }, 1);
    expect(refusal(withRecords({}))).toBeUndefined();
    expect(refusal(withRecords({ count: 2 }))).toBe('envelope.rows_mismatch');
    expect(refusal(withRecords({ bytes: changed(bytes, 4, 1) }))).toBe('envelope.records_checksum');
    expect(refusal(withRecords({ bytes: changed(bytes, 0, 3) }))).toBe('envelope.records_version_unknown');
    expect(refusal(withRecords({ n0: Number.MAX_SAFE_INTEGER }))).toBeUndefined();
    expect(refusal(sealed({ plain: changed(encodePayload(payload()), 0, 5) }))).toBe(
      'envelope.payload_version_unknown',
    );
    expect(refusal(sealed({ plain: concat(encodePayload(payload()), fill(1, 0)) }))).toBe('envelope.payload_malformed');
  });

  test('must not number past 2^53', () => {
    const chunk = {
      length: 2,
      tag: Uint32Array.of(0, 0),
      timeMs: Float64Array.of(1, 2),
      value: Float64Array.of(1, 2),
      quality: new Uint8Array(2),
      texts: [],
    };
    expect(() => encodeChunk(chunk, Number.MAX_SAFE_INTEGER, () => 'number')).toThrow(RangeError);
    const block = encodeChunk(chunk, Number.MAX_SAFE_INTEGER - 1, () => 'number');
    expect(
      refusal(sealPayload({ sections: [{ run, class: 4, body: { kind: 'readings', block } }] }, 2)),
    ).toBeUndefined();
  });
});

test('every refusal has an answer code of its own', () => {
  const seen = new Set<number>();
  for (const name of Object.keys(ANSWER_CODES)) {
    const error = Object.assign(new Error(name), { code: `envelope.${name}` });
    seen.add(refusalCode(error));
  }
  expect(seen.size).toBe(Object.keys(ANSWER_CODES).length);
  expect(refusalCode(new TypeError('a fault of our own'))).toBe(ANSWER_CODES.internal);
});
