/**
 * Public keys that must not pass. A point of small order makes a Diffie–Hellman result that everyone knows, and a
 * signature that verifies for any message; a second encoding of the same point makes two key ids of one key.
 * RFC 7748 §7, RFC 8032 §5.1.3; node:crypto accepts several of them.
 */
import { SluiceError } from '../errors.ts';
import { sameBytes } from './bytes.ts';

export const KEY_BYTES = 32;

/** 2^255 − 19, little-endian. */
const FIELD_PRIME = littleEndian((1n << 255n) - 19n);
/** Order of the base point: 2^252 + 27742317777372353535851937790883648493. A signature's S is below it. */
const GROUP_ORDER = littleEndian((1n << 252n) + 27742317777372353535851937790883648493n);

/** Canonical u-coordinates of the points of order 1, 2, 4 and 8, on the curve (0, 1 and two) and on its twist (−1). */
const SMALL_ORDER_U: readonly Uint8Array[] = [
  0n,
  1n,
  325606250916557431795983626356110631294008115727848805560023387167927233504n,
  39382357235489614581723060781553021112529911719440698176882885853963445705823n,
  (1n << 255n) - 20n,
].map(littleEndian);

/** y-coordinates (sign bit cleared) of the eight Ed25519 points of order 1, 2, 4 and 8. */
const SMALL_ORDER_Y: readonly Uint8Array[] = [
  1n,
  (1n << 255n) - 20n,
  0n,
  2707385501144840649318225287225658788936804267575313519463743609750303402022n,
  55188659117513257062467267217118295137698188065244968500265048394206261417927n - 0n,
].map(littleEndian);

function littleEndian(value: bigint): Uint8Array {
  const out = new Uint8Array(KEY_BYTES);
  let rest = value;
  for (let i = 0; i < KEY_BYTES; i++) {
    out[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return out;
}

function isBelow(value: Uint8Array, bound: Uint8Array): boolean {
  for (let i = KEY_BYTES - 1; i >= 0; i--) {
    const [a, b] = [value[i] ?? 0, bound[i] ?? 0];
    if (a !== b) return a < b;
  }
  return false;
}

function weak(message: string): SluiceError {
  return new SluiceError('key.weak', 'discard', message, { hint: 'Make a new key pair; this one protects nothing.' });
}

/**
 * For every X25519 public key that enters: recipient keys and the ephemeral ones of envelopes.
 * @throws key.weak for points of small order and encodings that are not canonical (top bit set, or u ≥ 2^255 − 19).
 */
export function refuseWeakX25519(publicKey: Uint8Array): void {
  if (publicKey.length !== KEY_BYTES) throw weak(`a public key of ${publicKey.length} bytes`);
  if (!isBelow(publicKey, FIELD_PRIME)) throw weak('an X25519 key that is not canonical');
  if (SMALL_ORDER_U.some((point) => sameBytes(point, publicKey))) throw weak('an X25519 key of small order');
}

/**
 * For every Ed25519 public key that enters: device, answer and root keys.
 * @throws key.weak for points of small order and encodings that are not canonical (y ≥ 2^255 − 19).
 */
export function refuseWeakEd25519(publicKey: Uint8Array): void {
  if (publicKey.length !== KEY_BYTES) throw weak(`a public key of ${publicKey.length} bytes`);
  const y = publicKey.slice();
  y[KEY_BYTES - 1] = (y[KEY_BYTES - 1] ?? 0) & 0x7f;
  if (!isBelow(y, FIELD_PRIME)) throw weak('an Ed25519 key that is not canonical');
  if (SMALL_ORDER_Y.some((point) => sameBytes(point, y))) throw weak('an Ed25519 key of small order');
}

/** Whether S of a signature (R ‖ S) is reduced: with S + order, anyone could make a second valid signature (RFC 8032 §8.4). */
export function hasCanonicalS(signature: Uint8Array): boolean {
  return signature.length === 2 * KEY_BYTES && isBelow(signature.subarray(KEY_BYTES), GROUP_ORDER);
}
