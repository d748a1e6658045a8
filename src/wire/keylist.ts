/**
 * The key list: which keys of the cloud are good now. Signed by an offline root, whose hash the device got at enrolment; its
 * version never goes down, so an old list cannot bring back a key that was taken away.
 *
 *     "SLK1" | root public key 32 | version u64 | recipient 32 | answer keys: count u8, 32 each | signature 64
 *
 * signature = Ed25519("SLC1-kls\0" ‖ SHA512(all before)) by the root.
 */
import { SluiceError } from '../errors.ts';
import { ByteReader, ByteWriter, concat, hex, sameBytes } from './bytes.ts';
import { SIGNATURE_BYTES, signMessage, verifyMessage } from './crypto.ts';
import { KEY_BYTES, refuseWeakEd25519 } from './curve.ts';
import { sha512 } from './hash.ts';
import { type CloudPublic, formatKeyText, hexOf, parseKeyText, type RootKey, recipientKey, signerKey } from './keys.ts';

export const KEY_LIST_CONTENT_TYPE = 'application/vnd.sluice.key-list';
export const KEY_LIST_BYTES_MAX = 4096;
const MAGIC = 0x534c_4b31;
const ANSWER_KEYS_MAX = 4;
/** Of `rootHash`. */
export const ROOT_HASH_BYTES = 32;

/** SHA512(root public key)[0..32]: what an enrolment token carries. */
export function rootHash(rootPublicKey: Uint8Array): Uint8Array {
  return sha512(rootPublicKey).slice(0, ROOT_HASH_BYTES);
}

export function signKeyList(keys: CloudPublic, root: RootKey): Uint8Array {
  if (keys.answer.length < 1 || keys.answer.length > ANSWER_KEYS_MAX) throw new RangeError('one to four answer keys');
  const writer = new ByteWriter().u32(MAGIC).bytes(root.publicKey).u64(keys.version).bytes(keys.recipient.publicKey);
  writer.u8(keys.answer.length);
  for (const { publicKey } of keys.answer) writer.bytes(publicKey);
  const message = writer.take();
  return concat(message, signMessage('SLC1-kls\0', sha512(message), root.secretKey));
}

/** A list that its own root signed, whoever that is. @throws keylist.malformed, keylist.signature_invalid, key.weak */
export function openKeyList(bytes: Uint8Array): { readonly root: Uint8Array; readonly keys: CloudPublic } {
  const { message, list } = split(bytes);
  refuseWeakEd25519(list.root);
  if (!verifyMessage('SLC1-kls\0', sha512(message), bytes.subarray(message.length), list.root)) {
    throw refused('signature_invalid', 'the signature does not match');
  }
  const { recipient, answer, version, root } = list;
  return { root, keys: { recipient: recipientKey(recipient), answer: answer.map(signerKey), version } };
}

/**
 * @param expectedRoot `rootHash` from enrolment.
 * @param versionMin version of the list at hand: one below it is refused, the same again is accepted.
 * @throws keylist.malformed, keylist.root_unknown, keylist.signature_invalid, keylist.outdated, key.weak
 */
export function verifyKeyList(bytes: Uint8Array, expectedRoot: Uint8Array, versionMin: number): CloudPublic {
  const { list } = split(bytes);
  if (!sameBytes(rootHash(list.root), expectedRoot)) throw refused('root_unknown', 'signed by another root');
  const { keys } = openKeyList(bytes);
  if (keys.version < versionMin) throw refused('outdated', `version ${keys.version} after ${versionMin}`);
  return keys;
}

/** A list as a file. */
export function formatKeyList(bytes: Uint8Array): string {
  return formatKeyText('sluice-key-list', { version: openKeyList(bytes).keys.version, list: hex(bytes) });
}

/** The bytes of a list in a file, not yet verified. @throws key.malformed */
export function parseKeyList(text: string): Uint8Array {
  const fields = parseKeyText(text, 'sluice-key-list', ['version', 'list']);
  return hexOf(fields.get('list'), KEY_LIST_BYTES_MAX);
}

function split(bytes: Uint8Array) {
  const end = bytes.length - SIGNATURE_BYTES;
  if (end < 1 || bytes.length > KEY_LIST_BYTES_MAX) throw refused('malformed', 'not of the length of a key list');
  const message = bytes.subarray(0, end);
  return { message, list: readList(message) };
}

function readList(message: Uint8Array): {
  root: Uint8Array;
  version: number;
  recipient: Uint8Array;
  answer: Uint8Array[];
} {
  try {
    const reader = new ByteReader(message);
    if (reader.u32() !== MAGIC) throw refused('malformed', 'not a key list of ours');
    const root = reader.bytes(KEY_BYTES).slice();
    const version = reader.u64();
    const recipient = reader.bytes(KEY_BYTES).slice();
    const length = reader.u8();
    if (length < 1 || length > ANSWER_KEYS_MAX) throw refused('malformed', `${length} answer keys`);
    const answer = Array.from({ length }, () => reader.bytes(KEY_BYTES).slice());
    reader.end();
    return { root, version, recipient, answer };
  } catch (cause) {
    throw refused('malformed', 'not understood', cause);
  }
}

function refused(name: string, message: string, cause?: unknown): SluiceError {
  return new SluiceError(`keylist.${name}`, 'retry', message, { cause });
}
