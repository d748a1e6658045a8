import { createPrivateKey, sign as nodeSign } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import nacl from 'tweetnacl';
import { agreeOnce, sharedSecret, signMessage, verifyMessage, x25519PublicKey } from '../../src/wire/crypto.ts';
import { hasCanonicalS, refuseWeakEd25519, refuseWeakX25519 } from '../../src/wire/curve.ts';
import {
  formatCloudKey,
  formatCloudPublic,
  formatDeviceKey,
  formatRootKey,
  generateCloudKey,
  generateDeviceKey,
  generateRootKey,
  kidOf,
  parseCloudKey,
  parseCloudPublic,
  parseDeviceKey,
  parseRootKey,
  recipientSecret,
  toPublic,
} from '../../src/wire/keys.ts';
import { codeOfThrown } from './arbitrary.ts';

const P = (1n << 255n) - 19n;
const TOP = 1n << 255n;
const bytesOf = (value: bigint) => Uint8Array.from({ length: 32 }, (_, i) => Number((value >> BigInt(8 * i)) & 255n));

describe('keys as text', () => {
  test('come back as they were', () => {
    const device = generateDeviceKey();
    const cloud = generateCloudKey();
    const next = generateCloudKey(cloud);
    const root = generateRootKey();
    expect(parseDeviceKey(formatDeviceKey(device))).toEqual(device);
    expect(parseCloudKey(formatCloudKey(cloud))).toEqual(cloud);
    expect(parseCloudKey(formatCloudKey(next))).toEqual(next);
    expect(parseRootKey(formatRootKey(root))).toEqual(root);
    expect(parseCloudPublic(formatCloudPublic(toPublic(next)))).toEqual(toPublic(next));
    expect(recipientSecret(next, cloud.recipient.kid)).toEqual(cloud.recipient.secretKey);
    expect(recipientSecret(next, kidOf(root.publicKey))).toBeUndefined();
  });

  test('are refused when they are of another kind, version or shape, without showing a secret', () => {
    const text = formatDeviceKey(generateDeviceKey());
    const { secret } = JSON.parse(text);
    const wrong = [
      text.replace('sluice-device-key', 'sluice-root-key'),
      text.replace('"v": 1', '"v": 2'),
      text.replace(secret, secret.slice(2)),
      text.replace(secret, `${secret.slice(0, -2)}zz`),
      text.replace('"device"', '"devise"'),
      text.replace('{', '{"more":1,'),
      '',
      '[]',
      '['.repeat(10_000),
    ];
    for (const candidate of wrong) {
      expect(codeOfThrown(() => parseDeviceKey(candidate))).toBe('key.malformed');
      try {
        parseDeviceKey(candidate);
      } catch (error) {
        expect(String((error as Error).message)).not.toContain(secret.slice(0, 16));
      }
    }
  });

  test('are refused when the halves of two keys were mixed up', () => {
    const [a, b] = [generateDeviceKey(), generateDeviceKey()];
    expect(codeOfThrown(() => parseDeviceKey(formatDeviceKey({ ...a, publicKey: b.publicKey })))).toBe('key.malformed');
    const swapped = new Uint8Array([...a.secretKey.subarray(0, 32), ...b.secretKey.subarray(32)]);
    expect(codeOfThrown(() => parseDeviceKey(formatDeviceKey({ ...a, secretKey: swapped })))).toBe('key.malformed');
  });

  test('with a weak recipient are refused', () => {
    const text = formatCloudPublic(toPublic(generateCloudKey()));
    const recipient: string = JSON.parse(text).recipient;
    expect(codeOfThrown(() => parseCloudPublic(text.replace(recipient, '00'.repeat(32))))).toBe('key.weak');
  });
});

describe('weak public keys', () => {
  test('of X25519 are refused: small order, and encodings that are not canonical', () => {
    const small = [
      0n,
      1n,
      325606250916557431795983626356110631294008115727848805560023387167927233504n,
      39382357235489614581723060781553021112529911719440698176882885853963445705823n,
      P - 1n,
    ];
    const nonCanonical = [P, P + 1n, P + 9n, P + 18n, 9n + TOP, P - 2n + TOP];
    for (const u of [...small, ...small.map((v) => v + TOP), ...nonCanonical]) {
      expect(codeOfThrown(() => refuseWeakX25519(bytesOf(u)))).toBe('key.weak');
    }
    expect(codeOfThrown(() => refuseWeakX25519(bytesOf(9n)))).toBeUndefined();
    expect(codeOfThrown(() => refuseWeakX25519(new Uint8Array(31)))).toBe('key.weak');
  });

  test('of small order are those that agree on zero with every secret', () => {
    for (const u of [0n, 1n, 325606250916557431795983626356110631294008115727848805560023387167927233504n, P - 1n]) {
      expect(nacl.scalarMult(nacl.randomBytes(32), bytesOf(u)).every((byte) => byte === 0)).toBe(true);
      expect(codeOfThrown(() => sharedSecret(nacl.randomBytes(32), bytesOf(u)))).toBe('key.weak');
      expect(codeOfThrown(() => agreeOnce(bytesOf(u)))).toBe('key.weak');
    }
  });

  test('of Ed25519 are refused: all eight points, either sign, and encodings that are not canonical', () => {
    const y8 = 2707385501144840649318225287225658788936804267575313519463743609750303402022n;
    for (const y of [0n, 1n, P - 1n, y8, P - y8, P, P + 1n]) {
      expect(codeOfThrown(() => refuseWeakEd25519(bytesOf(y)))).toBe('key.weak');
      expect(codeOfThrown(() => refuseWeakEd25519(bytesOf(y + TOP)))).toBe('key.weak');
    }
    for (let i = 0; i < 4; i++) {
      expect(codeOfThrown(() => refuseWeakEd25519(nacl.sign.keyPair().publicKey))).toBeUndefined();
      expect(codeOfThrown(() => refuseWeakX25519(nacl.box.keyPair().publicKey))).toBeUndefined();
    }
  });
});

describe('node:crypto and tweetnacl', () => {
  const message = new TextEncoder().encode('reading');

  test('agree on signatures, shared secrets and public keys', () => {
    const key = nacl.sign.keyPair();
    const signature = signMessage('SLC1-sig\0', message, key.secretKey);
    const labelled = new TextEncoder().encode('SLC1-sig\0reading');
    expect(new Uint8Array(nacl.sign.detached(labelled, key.secretKey))).toEqual(signature);
    expect(verifyMessage('SLC1-sig\0', message, signature, key.publicKey)).toBe(true);
    const [a, b] = [nacl.box.keyPair(), nacl.box.keyPair()];
    expect(new Uint8Array(sharedSecret(a.secretKey, b.publicKey))).toEqual(nacl.scalarMult(b.secretKey, a.publicKey));
    expect(x25519PublicKey(a.secretKey)).toEqual(a.publicKey);
    const { ephemeralPublicKey, secret } = agreeOnce(b.publicKey);
    expect(new Uint8Array(secret)).toEqual(nacl.scalarMult(b.secretKey, ephemeralPublicKey));
  });

  test('a signature under one label is none under another', () => {
    const key = nacl.sign.keyPair();
    const signature = signMessage('SLC1-ans\0', message, key.secretKey);
    expect(verifyMessage('SLC1-sig\0', message, signature, key.publicKey)).toBe(false);
  });

  test('a signature whose S is not reduced is none', () => {
    const key = nacl.sign.keyPair();
    const signature = signMessage('SLC1-sig\0', message, key.secretKey);
    expect(hasCanonicalS(signature)).toBe(true);
    const order = (1n << 252n) + 27742317777372353535851937790883648493n;
    let s = order;
    for (let i = 0; i < 32; i++) s += BigInt(signature[32 + i] ?? 0) << BigInt(8 * i);
    const malleable = new Uint8Array([...signature.subarray(0, 32), ...bytesOf(s)]);
    expect(hasCanonicalS(malleable)).toBe(false);
    expect(verifyMessage('SLC1-sig\0', message, malleable, key.publicKey)).toBe(false);
  });

  test('a key made elsewhere works here: RFC 8032 test 1', () => {
    const seed = Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex');
    const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
    const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    expect(nodeSign(null, Buffer.alloc(0), key).toString('hex')).toMatch(/^e5564300c360ac729086e2cc806e828a/);
    expect(Buffer.from(nacl.sign.keyPair.fromSeed(new Uint8Array(seed)).publicKey).toString('hex')).toBe(
      'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    );
  });
});
