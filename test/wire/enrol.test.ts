// Enrolment and new keys, byte by byte: what is not whole, not signed, not made with the token, or weak is refused by name.
import { createHmac } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import nacl from 'tweetnacl';
import {
  answerEnrolment,
  ENROL_BYTES,
  formatToken,
  macKeyOf,
  makeToken,
  openEnrolment,
  parseToken,
  signEnrolment,
  verifyEnrolAnswer,
} from '../../src/wire/enrol.ts';
import { sha512 } from '../../src/wire/hash.ts';
import { KEY_CHANGE_BYTES, openKeyChange, signKeyChange } from '../../src/wire/key-change.ts';
import {
  formatKeyList,
  openKeyList,
  parseKeyList,
  rootHash,
  signKeyList,
  verifyKeyList,
} from '../../src/wire/keylist.ts';
import {
  type CloudPublic,
  type DeviceKey,
  formatRootPublic,
  generateCloudKey,
  generateDeviceKey,
  generateRootKey,
  parseRootPublic,
  retirePrevious,
  toPublic,
} from '../../src/wire/keys.ts';
import { codeOfThrown } from './arbitrary.ts';
import { fill } from './fixtures.ts';

const root = generateRootKey();
const cloud = generateCloudKey();
const list = signKeyList(toPublic(cloud), root);
const key = generateDeviceKey();
const token = makeToken(rootHash(root.publicKey));
const nonce = fill(32, 7);
const macKey = macKeyOf(token);
const body = signEnrolment(token, key, nonce);
/** y = 1: the neutral point, of which every signature is one. */
const WEAK = Uint8Array.from({ length: 32 }, (_, i) => (i === 0 ? 1 : 0));

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

function eachFlip(message: Uint8Array, check: (flipped: Uint8Array, at: number) => void): void {
  for (let at = 0; at < message.length; at++) {
    const flipped = message.slice();
    flipped[at] = (flipped[at] ?? 0) ^ 0x10;
    check(flipped, at);
  }
}

/** As somebody with the token would: the MAC is right whatever it is over. */
function withMac(signed: Uint8Array): Uint8Array {
  const mac = createHmac('sha512', macKey).update('SLC1-enr\0').update(signed).digest().subarray(0, 32);
  return new Uint8Array(Buffer.concat([signed, mac]));
}

describe('a token', () => {
  test('comes back as it was, with and without a device', () => {
    fc.assert(
      fc.property(
        bytes(32),
        bytes(8),
        bytes(32),
        fc.option(bytes(16), { nil: undefined }),
        (hash, id, secret, device) => {
          const made = { rootHash: hash, id, secret, ...(device && { device }) };
          expect(parseToken(` ${formatToken(made)}\n`)).toEqual(made);
        },
      ),
    );
  });

  test('that is cut off, mistyped or none is refused, and never shown', () => {
    const text = formatToken(token);
    for (let at = 0; at < text.length; at++) {
      expect(codeOfThrown(() => parseToken(text.slice(0, at)))).toBe('enrol.token_malformed');
      const typo = text.slice(0, at) + (text[at] === 'A' ? 'B' : 'A') + text.slice(at + 1);
      expect(codeOfThrown(() => parseToken(typo))).toBe('enrol.token_malformed');
    }
    for (const none of ['', 'sluice-', `sluice-${'A'.repeat(500)}`, `${text}A`]) {
      expect(codeOfThrown(() => parseToken(none))).toBe('enrol.token_malformed');
      try {
        parseToken(none);
      } catch (error) {
        expect(String(error)).not.toContain('AAAA');
      }
    }
  });

  test('never sends its secret, nor what the cloud keeps of it', () => {
    const answer = answerEnrolment({ device: key.device, nonce }, { name: 'line3', list }, macKey);
    for (const message of [body, answer].map((each) => Buffer.from(each))) {
      expect(message.includes(Buffer.from(token.secret))).toBe(false);
      expect(message.includes(Buffer.from(macKey))).toBe(false);
    }
    expect(Buffer.from(macKey).equals(Buffer.from(token.secret))).toBe(false);
  });
});

describe('a request', () => {
  test('is opened by who knows the token', () => {
    expect(body).toHaveLength(ENROL_BYTES);
    const request = { tokenId: token.id, device: key.device, publicKey: key.publicKey, nonce };
    expect(openEnrolment(body, () => macKey)).toEqual(request);
  });

  test('with any byte flipped is refused by its MAC, before anything else of it is believed', () => {
    eachFlip(body, (flipped, at) => {
      expect(codeOfThrown(() => openEnrolment(flipped, () => macKey))).toBe(
        at < 4 ? 'enrol.malformed' : 'enrol.mac_invalid',
      );
    });
  });

  test('of another length, or of random bytes, is refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (noise) => {
        expect(codeOfThrown(() => openEnrolment(noise, () => macKey))).toBe('enrol.malformed');
      }),
    );
  });

  test('is refused by name: no such token; another secret; no proof of the key; a weak key', () => {
    expect(codeOfThrown(() => openEnrolment(body, () => undefined))).toBe('enrol.token_unknown');
    const other = { ...token, secret: fill(32, 1) };
    expect(codeOfThrown(() => openEnrolment(signEnrolment(other, key, nonce), () => macKey))).toBe('enrol.mac_invalid');
    // The public key of somebody else: the token is right, the signature cannot be.
    const stolen: DeviceKey = { ...key, publicKey: generateDeviceKey().publicKey };
    expect(codeOfThrown(() => openEnrolment(signEnrolment(token, stolen, nonce), () => macKey))).toBe(
      'enrol.signature_invalid',
    );
    // A signature that any message has under a key of small order: R neutral, S zero.
    const signed = new Uint8Array([
      ...body.subarray(0, 28),
      ...WEAK,
      ...body.subarray(60, 92),
      ...WEAK,
      ...fill(32, 0),
    ]);
    expect(codeOfThrown(() => openEnrolment(withMac(signed), () => macKey))).toBe('enrol.key_weak');
    const nonCanonical = new Uint8Array([...body.subarray(0, 28), ...fill(32, 0xff), ...body.subarray(60, 156)]);
    expect(codeOfThrown(() => openEnrolment(withMac(nonCanonical), () => macKey))).toBe('enrol.key_weak');
  });
});

describe('an answer', () => {
  const asked = { device: key.device, nonce };
  const answer = answerEnrolment(asked, { name: 'line3', list }, macKey);

  test('brings the name and the keys of the cloud whose root the token names', () => {
    const expected = { name: 'line3', list, keys: toPublic(cloud), root: root.publicKey };
    expect(verifyEnrolAnswer(answer, token, asked)).toEqual(expected);
  });

  test('with any byte flipped, cut off, or made without the token is refused', () => {
    eachFlip(answer, (flipped) => {
      expect(codeOfThrown(() => verifyEnrolAnswer(flipped, token, asked))).toMatch(
        /^enrol\.answer_(malformed|mac_invalid)$/,
      );
    });
    for (let length = 0; length < answer.length; length++) {
      expect(codeOfThrown(() => verifyEnrolAnswer(answer.slice(0, length), token, asked))).toMatch(/^enrol\.answer_/);
    }
    const forged = answerEnrolment(asked, { name: 'line3', list }, fill(32, 1));
    expect(codeOfThrown(() => verifyEnrolAnswer(forged, token, asked))).toBe('enrol.answer_mac_invalid');
  });

  test('to another enrolment is refused', () => {
    for (const other of [
      { ...asked, nonce: fill(32, 8) },
      { ...asked, device: fill(16, 8) },
    ]) {
      expect(codeOfThrown(() => verifyEnrolAnswer(answer, token, other))).toBe('enrol.answer_foreign');
    }
  });

  test('with the list of another root is refused although it knows the token', () => {
    const foreign = signKeyList(toPublic(cloud), generateRootKey());
    const said = answerEnrolment(asked, { name: 'line3', list: foreign }, macKey);
    expect(codeOfThrown(() => verifyEnrolAnswer(said, token, asked))).toBe('keylist.root_unknown');
  });

  test('is never a request, nor the other way round', () => {
    expect(codeOfThrown(() => verifyEnrolAnswer(body, token, asked))).toBe('enrol.answer_malformed');
    expect(codeOfThrown(() => openEnrolment(answer.slice(0, ENROL_BYTES), () => macKey))).toBe('enrol.malformed');
  });
});

describe('a new key of a device', () => {
  const next = generateDeviceKey(key.device);
  const change = signKeyChange(key, next);
  const signer = () => key.publicKey;

  test('is signed by both', () => {
    expect(change).toHaveLength(KEY_CHANGE_BYTES);
    expect(openKeyChange(change, signer)).toEqual({ device: key.device, oldKid: key.kid, publicKey: next.publicKey });
  });

  test('with any byte flipped is refused', () => {
    eachFlip(change, (flipped, at) => {
      const expected = at < 4 ? 'keychange.malformed' : 'keychange.signature_invalid';
      expect(codeOfThrown(() => openKeyChange(flipped, signer))).toBe(expected);
    });
  });

  test('is refused by name: an unknown signer; another signer; a key that is not had; a weak one', () => {
    expect(codeOfThrown(() => openKeyChange(change, () => undefined))).toBe('keychange.signer_unknown');
    expect(codeOfThrown(() => openKeyChange(change, () => next.publicKey))).toBe('keychange.signature_invalid');
    const notHad = signKeyChange(key, { ...next, publicKey: generateDeviceKey().publicKey });
    expect(codeOfThrown(() => openKeyChange(notHad, signer))).toBe('keychange.signature_invalid');
    const weak = signKeyChange(key, { ...next, publicKey: WEAK });
    expect(codeOfThrown(() => openKeyChange(weak, signer))).toBe('keychange.key_weak');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (noise) => {
        expect(codeOfThrown(() => openKeyChange(noise, signer))).toBe('keychange.malformed');
      }),
    );
  });
});

describe('a key list', () => {
  test('comes back from its file, and with any byte changed is none', () => {
    const text = formatKeyList(list);
    expect(parseKeyList(text)).toEqual(list);
    expect(openKeyList(parseKeyList(text))).toEqual({ root: root.publicKey, keys: toPublic(cloud) });
    for (const wrong of [
      '',
      '{}',
      text.replace('list"', 'liste"'),
      text.replace('sluice-key-list', 'sluice-root-public'),
    ]) {
      expect(codeOfThrown(() => parseKeyList(wrong))).toBe('key.malformed');
    }
  });

  test('of any keys comes back as it was, and a lower version is refused', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 53 - 1 }), fc.integer({ min: 1, max: 4 }), (version, signers) => {
        const answer = Array.from({ length: signers }, () => toPublic(generateCloudKey()).answer).flat();
        const keys: CloudPublic = { ...toPublic(cloud), answer, version };
        const signed = signKeyList(keys, root);
        expect(verifyKeyList(signed, rootHash(root.publicKey), version)).toEqual(keys);
        expect(codeOfThrown(() => verifyKeyList(signed, rootHash(root.publicKey), version + 1))).toBe(
          'keylist.outdated',
        );
      }),
      { numRuns: 20 },
    );
  });

  test('by a root of small order is none, whoever names that as theirs', () => {
    // Of the neutral point, R neutral and S zero sign everything.
    const message = new Uint8Array([...list.subarray(0, 4), ...WEAK, ...list.subarray(36, list.length - 64)]);
    const forged = new Uint8Array([...message, ...WEAK, ...fill(32, 0)]);
    expect(nacl.sign.detached.verify(new Uint8Array([1]), forged.slice(-64), WEAK)).toBe(true);
    expect(codeOfThrown(() => verifyKeyList(forged, sha512(WEAK).slice(0, 32), 1))).toBe('key.weak');
    expect(codeOfThrown(() => parseRootPublic(formatRootPublic(WEAK)))).toBe('key.weak');
    expect(parseRootPublic(formatRootPublic(root.publicKey))).toEqual(root.publicKey);
  });

  test('of the next version has the keys before it until they are retired', () => {
    const next = generateCloudKey(cloud);
    expect(toPublic(next).answer.map(({ kid }) => kid)).toEqual([next.answer.kid, cloud.answer.kid]);
    const retired = retirePrevious(next);
    expect(toPublic(retired)).toEqual({ ...toPublic(next), answer: [toPublic(next).answer[0]], version: 3 });
    expect(retired.previousRecipient).toBeUndefined();
  });
});
