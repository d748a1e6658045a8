/**
 * Ed25519 and X25519 by node:crypto with raw keys as tweetnacl makes them: 100 and 13 times as fast as
 * tweetnacl's own. Node wants keys in DER, which here is a fixed prefix before the 32 raw bytes (RFC 8410).
 */
import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  sign,
  timingSafeEqual,
  verify,
} from 'node:crypto';
import { SluiceError } from '../errors.ts';
import { fromHex, hex } from './bytes.ts';
import { hasCanonicalS, KEY_BYTES, refuseWeakX25519 } from './curve.ts';

export const SIGNATURE_BYTES = 64;
export const MAC_BYTES = 32;
const ED25519_PRIVATE = Buffer.from('302e020100300506032b657004220420', 'hex');
const ED25519_PUBLIC = Buffer.from('302a300506032b6570032100', 'hex');
const X25519_PRIVATE = Buffer.from('302e020100300506032b656e04220420', 'hex');
const X25519_PUBLIC = Buffer.from('302a300506032b656e032100', 'hex');
/** Parsed public keys kept; a cloud with more devices parses some again (30 µs each). */
const SIGNER_KEYS_CACHED_MAX = 4096;

/** Every kind of message signs under its own string, so that none can stand for another. */
export type SignLabel =
  | 'SLC1-sig\0'
  | 'SLC1-ans\0'
  | 'SLC1-inc\0'
  | 'SLC1-hel\0'
  | 'SLC1-hla\0'
  | 'SLC1-kls\0'
  | 'SLC1-rot\0'
  | 'SLC1-rop\0'
  | 'SLC1-enr\0'
  | 'SLC1-ena\0';

const privateKeys = new WeakMap<Uint8Array, KeyObject>();
const signerKeys = new Map<string, KeyObject>();

function privateKey(prefix: Buffer, secret: Uint8Array): KeyObject {
  let key = privateKeys.get(secret);
  if (key === undefined) {
    // A nacl signing key is seed ‖ public key; node wants the seed.
    const der = Buffer.concat([prefix, secret.subarray(0, KEY_BYTES)]);
    key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    privateKeys.set(secret, key);
  }
  return key;
}

function signerKeyObject(raw: Uint8Array): KeyObject {
  const name = hex(raw);
  let key = signerKeys.get(name);
  if (key === undefined) {
    key = createPublicKey({ key: Buffer.concat([ED25519_PUBLIC, raw]), format: 'der', type: 'spki' });
    const oldest = signerKeys.keys().next().value;
    if (signerKeys.size >= SIGNER_KEYS_CACHED_MAX && oldest !== undefined) signerKeys.delete(oldest);
    signerKeys.set(name, key);
  }
  return key;
}

function labelledMessage(label: SignLabel, message: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(label, 'latin1'), message]);
}

/** Ed25519(label ‖ message). @param secretKey as nacl keeps it: 32 bytes of seed first. */
export function signMessage(label: SignLabel, message: Uint8Array, secretKey: Uint8Array): Uint8Array {
  return new Uint8Array(sign(null, labelledMessage(label, message), privateKey(ED25519_PRIVATE, secretKey)));
}

/** False for anything but the one valid form of a signature. The key must have passed `refuseWeakEd25519`. */
export function verifyMessage(
  label: SignLabel,
  message: Uint8Array,
  signature: Uint8Array,
  signer: Uint8Array,
): boolean {
  if (!hasCanonicalS(signature)) return false;
  return verify(null, labelledMessage(label, message), signerKeyObject(signer), signature);
}

/** HMAC-SHA512(key, label ‖ message)[0..32]. */
export function mac(key: Uint8Array, label: SignLabel, message: Uint8Array): Uint8Array {
  const digest = createHmac('sha512', key).update(label, 'latin1').update(message).digest();
  return new Uint8Array(digest.subarray(0, MAC_BYTES));
}

/** In constant time. */
export function sameSecret(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** @throws key.weak for a bad public key or a result of zero bytes. */
export function sharedSecret(secretKey: Uint8Array, otherPublicKey: Uint8Array): Uint8Array {
  refuseWeakX25519(otherPublicKey);
  return dh(privateKey(X25519_PRIVATE, secretKey), otherPublicKey);
}

function dh(own: KeyObject, otherPublicKey: Uint8Array): Uint8Array {
  let secret: Uint8Array;
  try {
    // Ephemeral keys come once each: they would only push others out of the cache.
    const other = createPublicKey({ key: Buffer.concat([X25519_PUBLIC, otherPublicKey]), format: 'der', type: 'spki' });
    secret = diffieHellman({ privateKey: own, publicKey: other });
  } catch (cause) {
    // OpenSSL refuses an all-zero result by itself.
    throw new SluiceError('key.weak', 'discard', 'a key that agrees on nothing', { cause });
  }
  let bits = 0;
  for (const byte of secret) bits |= byte;
  if (bits === 0) throw new SluiceError('key.weak', 'discard', 'a key that agrees on zero');
  return secret;
}

export interface Agreement {
  readonly ephemeralPublicKey: Uint8Array;
  readonly secret: Uint8Array;
}

/** A fresh ephemeral key pair, used once and forgotten. @throws key.weak */
export function agreeOnce(recipientPublicKey: Uint8Array): Agreement {
  refuseWeakX25519(recipientPublicKey);
  const pair = generateKeyPairSync('x25519');
  return { ephemeralPublicKey: rawPublicKey(pair.publicKey), secret: dh(pair.privateKey, recipientPublicKey) };
}

const x25519PublicKeys = new WeakMap<Uint8Array, Uint8Array>();

/** The public half of an X25519 secret key. */
export function x25519PublicKey(secretKey: Uint8Array): Uint8Array {
  let known = x25519PublicKeys.get(secretKey);
  if (known === undefined) {
    known = rawPublicKey(createPublicKey(privateKey(X25519_PRIVATE, secretKey)));
    x25519PublicKeys.set(secretKey, known);
  }
  return known;
}

function rawPublicKey(key: KeyObject): Uint8Array {
  return fromHex(
    key
      .export({ format: 'der', type: 'spki' })
      .toString('hex')
      .slice(-2 * KEY_BYTES),
    KEY_BYTES,
  );
}
