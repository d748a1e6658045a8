/**
 * Enrolment: a box that has a one-time token becomes known to a cloud, and learns whose key lists to believe. The token's secret
 * never travels: both messages carry a MAC under it, so that a proxy which breaks TLS on the way can neither use the token for a key
 * of its own nor pass off a root of its own.
 *
 *     token    "sluice-" ‖ base64url( 1 u8 | root hash 32 | token id 8 | secret 32 | device 16, or nothing | SHA512(before)[0..4] )
 *     request  "SLE1" | token id 8 | device 16 | device public key 32 | nonce 32 | signature 64 | mac 32
 *     answer   "SLF1" | device 16 | nonce 32 | name: length varint, UTF-8 | key list: length varint, bytes | mac 32
 *
 * mac key   = SHA512("SLC1-tok\0" ‖ token id ‖ secret)[0..32], which is all that the cloud keeps of a secret
 * signature = Ed25519("SLC1-enr\0" ‖ SHA512(all before)) by the device key: it has the secret half
 * mac       = HMAC-SHA512(mac key, "SLC1-enr\0" or "SLC1-ena\0" ‖ all before)[0..32]
 */
import { randomBytes } from 'node:crypto';
import { isSluiceError, SluiceError } from '../errors.ts';
import { ByteReader, ByteWriter, concat, sameBytes } from './bytes.ts';
import { MAC_BYTES, mac, SIGNATURE_BYTES, sameSecret, signMessage, verifyMessage } from './crypto.ts';
import { KEY_BYTES, refuseWeakEd25519 } from './curve.ts';
import { labelled, sha512 } from './hash.ts';
import { KEY_LIST_BYTES_MAX, openKeyList, ROOT_HASH_BYTES, verifyKeyList } from './keylist.ts';
import { type CloudPublic, DEVICE_BYTES, type DeviceKey } from './keys.ts';

export const ENROL_CONTENT_TYPE = 'application/vnd.sluice.enrol';
export const ENROL_ANSWER_CONTENT_TYPE = 'application/vnd.sluice.enrol-answer';
export const ENROL_NONCE_BYTES = 32;
export const TOKEN_ID_BYTES = 8;
const TOKEN_PREFIX = 'sluice-';
const TOKEN_VERSION = 1;
const SECRET_BYTES = 32;
const CHECK_BYTES = 4;
/** With a device id, in base64url: 93 bytes. */
const TOKEN_LENGTH_MAX = 200;
const REQUEST_MAGIC = 0x534c_4531;
const ANSWER_MAGIC = 0x534c_4631;
/** Of a request: it has one length. */
export const ENROL_BYTES =
  4 + TOKEN_ID_BYTES + DEVICE_BYTES + KEY_BYTES + ENROL_NONCE_BYTES + SIGNATURE_BYTES + MAC_BYTES;
/** A name has at most 128 characters of up to four bytes. */
const NAME_BYTES_MAX = 512;
export const ENROL_ANSWER_BYTES_MAX = KEY_LIST_BYTES_MAX + NAME_BYTES_MAX + 256;

export interface EnrolToken {
  /** `rootHash` of the key that signs this cloud's key lists. */
  readonly rootHash: Uint8Array;
  readonly id: Uint8Array;
  readonly secret: Uint8Array;
  /** Of a token that gives a device already known a new key. */
  readonly device?: Uint8Array;
}

export interface EnrolRequest {
  readonly tokenId: Uint8Array;
  readonly device: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly nonce: Uint8Array;
}

export interface EnrolAnswer {
  /** What the cloud calls this gateway. */
  readonly name: string;
  /** As signed by the root; `keys` are in it. */
  readonly list: Uint8Array;
  readonly keys: CloudPublic;
  readonly root: Uint8Array;
}

export function makeToken(rootHash: Uint8Array, device?: Uint8Array): EnrolToken {
  const id = new Uint8Array(randomBytes(TOKEN_ID_BYTES));
  const secret = new Uint8Array(randomBytes(SECRET_BYTES));
  return { rootHash, id, secret, ...(device && { device }) };
}

export function formatToken({ rootHash, id, secret, device }: EnrolToken): string {
  const body = new ByteWriter().u8(TOKEN_VERSION).bytes(rootHash).bytes(id).bytes(secret);
  if (device !== undefined) body.bytes(device);
  const bytes = body.take();
  return TOKEN_PREFIX + Buffer.from(concat(bytes, checkOf(bytes))).toString('base64url');
}

/** @throws enrol.token_malformed: cut off, mistyped, or no token of ours; never shows what it read. */
export function parseToken(text: string): EnrolToken {
  const trimmed = text.trim();
  const encoded = trimmed.slice(TOKEN_PREFIX.length);
  if (!trimmed.startsWith(TOKEN_PREFIX) || trimmed.length > TOKEN_LENGTH_MAX || !/^[\w-]+$/.test(encoded)) {
    throw refused('token_malformed', 'not an enrolment token');
  }
  const bytes = new Uint8Array(Buffer.from(encoded, 'base64url'));
  const body = bytes.subarray(0, Math.max(0, bytes.length - CHECK_BYTES));
  const short = 1 + ROOT_HASH_BYTES + TOKEN_ID_BYTES + SECRET_BYTES;
  const isWhole = body.length === short || body.length === short + DEVICE_BYTES;
  // A last character with spare bits has several spellings; ours is the one we write.
  const isOurs = Buffer.from(bytes).toString('base64url') === encoded;
  if (!isWhole || !isOurs || !sameBytes(checkOf(body), bytes.subarray(body.length))) {
    throw refused('token_malformed', 'the enrolment token is not whole, or mistyped');
  }
  const reader = new ByteReader(body);
  if (reader.u8() !== TOKEN_VERSION) throw refused('token_malformed', 'an enrolment token of another version');
  const rootHash = reader.bytes(ROOT_HASH_BYTES).slice();
  const id = reader.bytes(TOKEN_ID_BYTES).slice();
  const secret = reader.bytes(SECRET_BYTES).slice();
  return { rootHash, id, secret, ...(reader.remaining > 0 && { device: reader.bytes(DEVICE_BYTES).slice() }) };
}

function checkOf(bytes: Uint8Array): Uint8Array {
  return sha512(bytes).subarray(0, CHECK_BYTES);
}

/** What both sides make their MACs with, and all that the cloud keeps of a token's secret. */
export function macKeyOf({ id, secret }: Pick<EnrolToken, 'id' | 'secret'>): Uint8Array {
  return labelled('SLC1-tok\0', MAC_BYTES, id, secret);
}

/** @param nonce fresh for each message; the answer repeats it. */
export function signEnrolment(token: EnrolToken, key: DeviceKey, nonce: Uint8Array): Uint8Array {
  const message = new ByteWriter(ENROL_BYTES)
    .u32(REQUEST_MAGIC)
    .bytes(token.id)
    .bytes(key.device)
    .bytes(key.publicKey)
    .bytes(nonce)
    .take();
  const signed = concat(message, signMessage('SLC1-enr\0', sha512(message), key.secretKey));
  const whole = concat(signed, mac(macKeyOf(token), 'SLC1-enr\0', signed));
  if (whole.length !== ENROL_BYTES) throw new RangeError('a token id has 8, a device 16, key and nonce 32 bytes');
  return whole;
}

/**
 * In this order: form, token known, MAC, key neither weak nor non-canonical, signature. Before the MAC nothing is believed.
 * @param macKey of a token id; undefined for one that is not known.
 * @throws enrol.malformed, enrol.token_unknown, enrol.mac_invalid, enrol.key_weak, enrol.signature_invalid
 */
export function openEnrolment(body: Uint8Array, macKey: (tokenId: Uint8Array) => Uint8Array | undefined): EnrolRequest {
  if (body.length !== ENROL_BYTES) throw refused('malformed', `${body.length} bytes are no enrolment`);
  const reader = new ByteReader(body);
  if (reader.u32() !== REQUEST_MAGIC) throw refused('malformed', 'not an enrolment of ours');
  const tokenId = reader.bytes(TOKEN_ID_BYTES).slice();
  const device = reader.bytes(DEVICE_BYTES).slice();
  const publicKey = reader.bytes(KEY_BYTES).slice();
  const nonce = reader.bytes(ENROL_NONCE_BYTES).slice();
  const message = body.subarray(0, reader.offset);
  const signature = reader.bytes(SIGNATURE_BYTES);
  const signed = body.subarray(0, reader.offset);
  const key = macKey(tokenId);
  if (key === undefined) throw refused('token_unknown', 'no such enrolment token');
  if (!sameSecret(mac(key, 'SLC1-enr\0', signed), reader.bytes(MAC_BYTES))) {
    throw refused('mac_invalid', 'not made with the secret of this enrolment token');
  }
  refuseWeak(publicKey);
  if (!verifyMessage('SLC1-enr\0', sha512(message), signature, publicKey)) {
    throw refused('signature_invalid', 'whoever asks does not have the key it wants enrolled');
  }
  return { tokenId, device, publicKey, nonce };
}

function refuseWeak(publicKey: Uint8Array): void {
  try {
    refuseWeakEd25519(publicKey);
  } catch (cause) {
    throw refused('key_weak', 'a key that protects nothing', cause);
  }
}

export function answerEnrolment(
  { device, nonce }: Pick<EnrolRequest, 'device' | 'nonce'>,
  { name, list }: { readonly name: string; readonly list: Uint8Array },
  macKey: Uint8Array,
): Uint8Array {
  const writer = new ByteWriter(512).u32(ANSWER_MAGIC).bytes(device).bytes(nonce).utf8(name);
  const message = writer.varint(list.length).bytes(list).take();
  return concat(message, mac(macKey, 'SLC1-ena\0', message));
}

/**
 * @param asked what was sent: device and nonce must come back.
 * @throws enrol.answer_malformed (a portal, a proxy), enrol.answer_mac_invalid, enrol.answer_foreign, keylist.root_unknown and what
 *   else `verifyKeyList` throws. Nothing of such an answer may be used.
 */
export function verifyEnrolAnswer(
  body: Uint8Array,
  token: EnrolToken,
  asked: Pick<EnrolRequest, 'device' | 'nonce'>,
): EnrolAnswer {
  const { name, list } = readAnswer(body, token, asked);
  const keys = verifyKeyList(list, token.rootHash, 1);
  return { name, list, keys, root: openKeyList(list).root };
}

function readAnswer(body: Uint8Array, token: EnrolToken, asked: Pick<EnrolRequest, 'device' | 'nonce'>) {
  const end = body.length - MAC_BYTES;
  if (end < 1 || body.length > ENROL_ANSWER_BYTES_MAX) throw answerMalformed();
  try {
    const reader = new ByteReader(body.subarray(0, end));
    if (reader.u32() !== ANSWER_MAGIC) throw answerMalformed();
    if (!sameSecret(mac(macKeyOf(token), 'SLC1-ena\0', body.subarray(0, end)), body.subarray(end))) {
      throw refused('answer_mac_invalid', 'an answer by somebody who does not know this token');
    }
    const isOurs = sameBytes(reader.bytes(DEVICE_BYTES), asked.device);
    if (!sameBytes(reader.bytes(ENROL_NONCE_BYTES), asked.nonce) || !isOurs) {
      throw refused('answer_foreign', 'an answer to another enrolment');
    }
    const name = reader.utf8(NAME_BYTES_MAX);
    const list = reader.bytes(reader.varint()).slice();
    reader.end();
    return { name, list };
  } catch (cause) {
    throw isSluiceError(cause) && cause.code.startsWith('enrol.') ? cause : answerMalformed(cause);
  }
}

function answerMalformed(cause?: unknown): SluiceError {
  return refused('answer_malformed', 'not an answer of a Sluice cloud', cause);
}

function refused(name: string, message: string, cause?: unknown): SluiceError {
  return new SluiceError(`enrol.${name}`, 'discard', message, { cause });
}
