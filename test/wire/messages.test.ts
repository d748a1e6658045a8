import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import nacl from 'tweetnacl';
import { ANSWER_CODES, type AnswerInput, answerCode, signAnswer, verifyAnswer } from '../../src/wire/answer.ts';
import { type HelloAnswer, openHello, signHello, signHelloAnswer, verifyHelloAnswer } from '../../src/wire/hello.ts';
import { rootHash, signKeyList, verifyKeyList } from '../../src/wire/keylist.ts';
import { generateCloudKey, generateRootKey, toPublic } from '../../src/wire/keys.ts';
import { codeOfThrown } from './arbitrary.ts';
import { cloud, device, digest, fill, run } from './fixtures.ts';

const pub = toPublic(cloud);

function eachFlip(bytes: Uint8Array, check: (flipped: Uint8Array, at: number) => void): void {
  for (let at = 0; at < bytes.length; at++) {
    const flipped = bytes.slice();
    flipped[at] = (flipped[at] ?? 0) ^ 1;
    check(flipped, at);
  }
}

describe('an answer', () => {
  const input: AnswerInput = {
    code: ANSWER_CODES.ok,
    rows: 42,
    duplicates: 2,
    incarnation: fill(16, 5),
    heldGaps: [{ run, class: 3, held: [{ from: 4, to: 9 }] }],
  };
  const body = signAnswer(input, device.device, digest, cloud.answer);

  test('comes back with everything that was signed', () => {
    expect(verifyAnswer(body, device.device, digest, pub)).toEqual({ ...input, kid: cloud.answer.kid });
    const refusal = signAnswer(
      { ...input, code: ANSWER_CODES.too_large, heldGaps: [] },
      device.device,
      digest,
      cloud.answer,
    );
    expect(verifyAnswer(refusal, device.device, digest, pub).code).toBe(10);
  });

  test('is not believed when any byte is flipped, cut off or added', () => {
    eachFlip(body, (flipped) => {
      expect(codeOfThrown(() => verifyAnswer(flipped, device.device, digest, pub))).toMatch(
        /^answer\.(malformed|key_unknown|unsigned)$/,
      );
    });
    for (let length = 0; length < body.length; length += 3) {
      expect(codeOfThrown(() => verifyAnswer(body.subarray(0, length), device.device, digest, pub))).toMatch(
        /^answer\.(malformed|unsigned)$/,
      );
    }
  });

  test('to other bytes, to another device or by another key changes nothing', () => {
    const code = (...args: Parameters<typeof verifyAnswer>) => codeOfThrown(() => verifyAnswer(...args));
    expect(code(body, device.device, fill(32, 8), pub)).toBe('answer.foreign');
    expect(code(body, fill(16, 8), digest, pub)).toBe('answer.foreign');
    expect(code(body, device.device, digest, toPublic(generateCloudKey()))).toBe('answer.key_unknown');
    expect(code(new TextEncoder().encode('<html>Please log in</html>'.repeat(20)), device.device, digest, pub)).toBe(
      'answer.malformed',
    );
  });

  test('is still believed by the previous key while a new one is rolled out', () => {
    const next = generateCloudKey(cloud);
    expect(verifyAnswer(body, device.device, digest, toPublic(next)).rows).toBe(42);
    expect(next.version).toBe(2);
  });

  test('has codes that do not change', () => {
    expect(ANSWER_CODES).toMatchObject({
      ok: 0,
      too_large: 10,
      signer_revoked: 21,
      recipient_unknown: 30,
      dictionary_unknown: 70,
      busy: 91,
    });
    expect(answerCode(10)).toEqual({ code: 10, name: 'too_large', http: 413, systemic: false });
    expect(answerCode(21)?.systemic).toBe(true);
    expect(answerCode(9999)).toBeUndefined();
    expect(new Set(Object.values(ANSWER_CODES)).size).toBe(Object.keys(ANSWER_CODES).length);
  });
});

describe('HELLO', () => {
  const nonce = fill(32, 6);
  const hello = {
    nonce,
    sentMs: 1_760_000_000_000,
    runs: [{ run, classes: [{ class: 3 as const, ranges: [{ from: 1, to: 99 }] }] }],
  };
  const body = signHello(hello, device);
  const signer = () => device.publicKey;
  const answer: HelloAnswer = {
    device: device.device,
    nonce,
    cloudMs: 1_760_000_000_500,
    incarnation: fill(16, 7),
    sizeMax: 8 << 20,
    codecs: [1, 2],
    keyListVersion: 3,
    held: [{ run, classes: [{ class: 3, held: [{ from: 1, to: 50 }], explained: [{ from: 52, to: 52 }] }] }],
  };
  const answerBody = signHelloAnswer(answer, cloud.answer);

  test('comes back on both sides', () => {
    expect(openHello(body, signer)).toEqual({ ...hello, device: device.device, kid: device.kid });
    expect(verifyHelloAnswer(answerBody, { nonce, device: device.device }, pub)).toEqual(answer);
  });

  test('is refused on both sides when any byte is flipped', () => {
    eachFlip(body, (flipped) => {
      expect(codeOfThrown(() => openHello(flipped, signer))).toMatch(/^hello\.(malformed|signature_invalid)$/);
    });
    eachFlip(answerBody, (flipped) => {
      expect(codeOfThrown(() => verifyHelloAnswer(flipped, { nonce, device: device.device }, pub))).toMatch(
        /^hello\.(malformed|signature_invalid|key_unknown)$/,
      );
    });
  });

  test('answered with another nonce or for another device is foreign', () => {
    expect(codeOfThrown(() => verifyHelloAnswer(answerBody, { nonce: fill(32, 1), device: device.device }, pub))).toBe(
      'hello.foreign',
    );
    expect(codeOfThrown(() => verifyHelloAnswer(answerBody, { nonce, device: fill(16, 1) }, pub))).toBe(
      'hello.foreign',
    );
    expect(codeOfThrown(() => openHello(body, () => undefined))).toBe('hello.signer_unknown');
  });

  test('names at most 64 runs', () => {
    const runs = Array.from({ length: 65 }, () => ({ run, classes: [] }));
    expect(() => signHello({ ...hello, runs }, device)).toThrow(RangeError);
    expect(openHello(signHello({ ...hello, runs: runs.slice(1) }, device), signer).runs).toHaveLength(64);
  });

  test('one kind of message never stands for another', () => {
    expect(codeOfThrown(() => openHello(answerBody, () => cloud.answer.publicKey))).toBe('hello.malformed');
    const signature = nacl.sign.detached(body.subarray(0, body.length - 64), device.secretKey);
    const forged = new Uint8Array([...body.subarray(0, body.length - 64), ...signature]);
    expect(codeOfThrown(() => openHello(forged, signer))).toBe('hello.signature_invalid');
  });
});

describe('a key list', () => {
  const root = generateRootKey();
  const list = signKeyList(pub, root);

  test('is accepted from the enrolled root, in the same version or a newer one', () => {
    expect(verifyKeyList(list, rootHash(root.publicKey), 1)).toEqual(pub);
    expect(codeOfThrown(() => verifyKeyList(list, rootHash(root.publicKey), 2))).toBe('keylist.outdated');
    expect(codeOfThrown(() => verifyKeyList(list, rootHash(generateRootKey().publicKey), 1))).toBe(
      'keylist.root_unknown',
    );
  });

  test('is refused when any byte is flipped', () => {
    eachFlip(list, (flipped) => {
      expect(codeOfThrown(() => verifyKeyList(flipped, rootHash(root.publicKey), 1))).toMatch(/^keylist\./);
    });
  });

  test('with a weak key in it is refused although the root signed it', () => {
    const weak = { ...pub, recipient: { kid: fill(8, 0), publicKey: fill(32, 0) } };
    expect(codeOfThrown(() => verifyKeyList(signKeyList(weak, root), rootHash(root.publicKey), 1))).toBe('key.weak');
  });
});

test('random bytes are an error of ours for every kind of message', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (noise) => {
      expect(codeOfThrown(() => verifyAnswer(noise, device.device, digest, pub))).toMatch(/^answer\./);
      expect(codeOfThrown(() => openHello(noise, () => device.publicKey))).toMatch(/^hello\./);
      expect(codeOfThrown(() => verifyHelloAnswer(noise, { nonce: fill(32, 1), device: device.device }, pub))).toMatch(
        /^hello\./,
      );
      expect(codeOfThrown(() => verifyKeyList(noise, fill(32, 1), 1))).toMatch(/^keylist\./);
    }),
    { numRuns: 300 },
  );
});
