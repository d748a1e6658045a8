/**
 * Keys and their text form. Long-lived keys are made by tweetnacl. A text is one JSON object, versioned, bytes in hex;
 * where it is kept (systemd credential, file of mode 0600) is the reader's business. Every key that enters is checked.
 */
import nacl from 'tweetnacl';
import { SluiceError } from '../errors.ts';
import { fromHex, hex, sameBytes } from './bytes.ts';
import { x25519PublicKey } from './crypto.ts';
import { KEY_BYTES, refuseWeakEd25519, refuseWeakX25519 } from './curve.ts';
import { labelled } from './hash.ts';
import { parseJson } from './json.ts';

export { refuseWeakEd25519, refuseWeakX25519 } from './curve.ts';

export const KID_BYTES = 8;
export const DEVICE_BYTES = 16;
const KEY_TEXT_VERSION = 1;
/** The largest is a cloud key: a few kB of hex. */
const KEY_TEXT_BYTES_MAX = 64 * 1024;
const SIGNING_SECRET_BYTES = 64;

/** Ed25519: signs what a device sends. */
export interface DeviceKey {
  /** 16 random bytes, for the life of the box. */
  readonly device: Uint8Array;
  readonly kid: Uint8Array;
  readonly publicKey: Uint8Array;
  /** As nacl keeps it: 32 bytes of seed, then the public key. */
  readonly secretKey: Uint8Array;
}

export interface PublicKey {
  readonly kid: Uint8Array;
  readonly publicKey: Uint8Array;
}

export interface SecretKey extends PublicKey {
  readonly secretKey: Uint8Array;
}

/** What the cloud keeps. Two recipient keys and two answer keys live at a time while one replaces the other. */
export interface CloudKey {
  /** X25519: batches are sealed to it. */
  readonly recipient: SecretKey;
  /** Ed25519: signs answers. */
  readonly answer: SecretKey;
  /** Never goes down. */
  readonly version: number;
  readonly previousRecipient?: SecretKey;
  readonly previousAnswer?: SecretKey;
}

/** What a device knows of its cloud. */
export interface CloudPublic {
  readonly recipient: PublicKey;
  readonly answer: readonly PublicKey[];
  readonly version: number;
}

/** Ed25519, offline: signs key lists (`keylist.ts`). */
export type RootKey = SecretKey;

/** SHA512("SLC1-kid\0" ‖ public key)[0..8]. */
export function kidOf(publicKey: Uint8Array): Uint8Array {
  return labelled('SLC1-kid\0', KID_BYTES, publicKey);
}

export function generateDeviceKey(device: Uint8Array = nacl.randomBytes(DEVICE_BYTES)): DeviceKey {
  return { device, ...signingKey(nacl.sign.keyPair()) };
}

/** The same keys without those they replaced, which nobody believes any more once the list of this version is about. */
export function retirePrevious({ recipient, answer, version: number }: CloudKey): CloudKey {
  return { recipient, answer, version: number + 1 };
}

/** @param previous keeps its keys for the change-over; the version counts on from it. */
export function generateCloudKey(previous?: CloudKey): CloudKey {
  const box = nacl.box.keyPair();
  return {
    recipient: { kid: kidOf(box.publicKey), publicKey: box.publicKey, secretKey: box.secretKey },
    answer: signingKey(nacl.sign.keyPair()),
    version: (previous?.version ?? 0) + 1,
    ...(previous && { previousRecipient: previous.recipient, previousAnswer: previous.answer }),
  };
}

export function generateRootKey(): RootKey {
  return signingKey(nacl.sign.keyPair());
}

function signingKey({ publicKey, secretKey }: { publicKey: Uint8Array; secretKey: Uint8Array }): SecretKey {
  return { kid: kidOf(publicKey), publicKey, secretKey };
}

export function toPublic(key: CloudKey): CloudPublic {
  const answer = [key.answer, ...(key.previousAnswer ? [key.previousAnswer] : [])];
  return {
    recipient: publicHalf(key.recipient),
    answer: answer.map(publicHalf),
    version: key.version,
  };
}

function publicHalf({ kid, publicKey }: PublicKey): PublicKey {
  return { kid, publicKey };
}

/** The secret of a recipient key that is still accepted. */
export function recipientSecret(key: CloudKey, kid: Uint8Array): Uint8Array | undefined {
  return [key.recipient, key.previousRecipient].find((known) => known && sameBytes(known.kid, kid))?.secretKey;
}

export function formatDeviceKey({ device, publicKey, secretKey }: DeviceKey): string {
  return formatKeyText('sluice-device-key', { device: hex(device), public: hex(publicKey), secret: hex(secretKey) });
}

/** @throws key.malformed, key.weak */
export function parseDeviceKey(text: string): DeviceKey {
  const fields = parseKeyText(text, 'sluice-device-key', ['device', 'public', 'secret']);
  return { device: bytes(fields, 'device', DEVICE_BYTES), ...parseSigning(fields, '') };
}

export function formatRootKey({ publicKey, secretKey }: RootKey): string {
  return formatKeyText('sluice-root-key', { public: hex(publicKey), secret: hex(secretKey) });
}

/** @throws key.malformed, key.weak */
export function parseRootKey(text: string): RootKey {
  return parseSigning(parseKeyText(text, 'sluice-root-key', ['public', 'secret']), '');
}

/** What a gateway that follows key lists must know of its cloud: whose lists. */
export function formatRootPublic(publicKey: Uint8Array): string {
  return formatKeyText('sluice-root-public', { public: hex(publicKey) });
}

/** @throws key.malformed, key.weak */
export function parseRootPublic(text: string): Uint8Array {
  return signerKey(bytes(parseKeyText(text, 'sluice-root-public', ['public']), 'public', KEY_BYTES)).publicKey;
}

const CLOUD_FIELDS = ['version', 'recipientSecret', 'answerPublic', 'answerSecret'] as const;
const PREVIOUS_FIELDS = ['previousRecipientSecret', 'previousAnswerPublic', 'previousAnswerSecret'] as const;

export function formatCloudKey(key: CloudKey): string {
  return formatKeyText('sluice-cloud-key', {
    version: key.version,
    recipientSecret: hex(key.recipient.secretKey),
    answerPublic: hex(key.answer.publicKey),
    answerSecret: hex(key.answer.secretKey),
    ...(key.previousRecipient && { previousRecipientSecret: hex(key.previousRecipient.secretKey) }),
    ...(key.previousAnswer && {
      previousAnswerPublic: hex(key.previousAnswer.publicKey),
      previousAnswerSecret: hex(key.previousAnswer.secretKey),
    }),
  });
}

/** @throws key.malformed, key.weak */
export function parseCloudKey(text: string): CloudKey {
  const fields = parseKeyText(text, 'sluice-cloud-key', CLOUD_FIELDS, PREVIOUS_FIELDS);
  return {
    recipient: parseRecipient(fields, 'recipientSecret'),
    answer: parseSigning(fields, 'answer'),
    version: version(fields),
    ...(fields.has('previousRecipientSecret') && {
      previousRecipient: parseRecipient(fields, 'previousRecipientSecret'),
    }),
    ...(fields.has('previousAnswerSecret') && { previousAnswer: parseSigning(fields, 'previousAnswer') }),
  };
}

export function formatCloudPublic({ recipient, answer, version: number }: CloudPublic): string {
  return formatKeyText('sluice-cloud-public', {
    version: number,
    recipient: hex(recipient.publicKey),
    answer: answer.map(({ publicKey }) => hex(publicKey)).join(' '),
  });
}

/** @throws key.malformed, key.weak */
export function parseCloudPublic(text: string): CloudPublic {
  const fields = parseKeyText(text, 'sluice-cloud-public', ['version', 'recipient', 'answer']);
  const answers = String(fields.get('answer')).split(' ');
  if (answers.length > 4) throw malformedKey('more than four answer keys');
  return {
    recipient: recipientKey(bytes(fields, 'recipient', KEY_BYTES)),
    answer: answers.map((key) => signerKey(hexBytes(key, KEY_BYTES))),
    version: version(fields),
  };
}

/** A recipient's public key from outside. @throws key.weak */
export function recipientKey(publicKey: Uint8Array): PublicKey {
  refuseWeakX25519(publicKey);
  return { kid: kidOf(publicKey), publicKey };
}

/** A signer's public key from outside. @throws key.weak */
export function signerKey(publicKey: Uint8Array): PublicKey {
  refuseWeakEd25519(publicKey);
  return { kid: kidOf(publicKey), publicKey };
}

type Fields = ReadonlyMap<string, unknown>;

/** One JSON object, its kind and version first. */
export function formatKeyText(kind: string, fields: Record<string, string | number>): string {
  return `${JSON.stringify({ kind, v: KEY_TEXT_VERSION, ...fields }, null, 2)}\n`;
}

/** @throws key.malformed */
export function parseKeyText(
  text: string,
  kind: string,
  required: readonly string[],
  optional: readonly string[] = [],
): Fields {
  let parsed: unknown;
  try {
    parsed = parseJson(text, { bytesMax: KEY_TEXT_BYTES_MAX, depthMax: 1 });
  } catch (cause) {
    throw malformedKey('not a key of ours', cause);
  }
  if (typeof parsed !== 'object' || parsed === null) throw malformedKey('not a key of ours');
  const fields = new Map<string, unknown>(Object.entries(parsed));
  if (fields.get('kind') !== kind) throw malformedKey(`expected a ${kind}`);
  if (fields.get('v') !== KEY_TEXT_VERSION) throw malformedKey('a key of another version');
  for (const name of required) if (!fields.has(name)) throw malformedKey(`${name} is missing`);
  for (const name of fields.keys()) {
    if (name !== 'kind' && name !== 'v' && !required.includes(name) && !optional.includes(name)) {
      throw malformedKey('a field that is not known');
    }
  }
  return fields;
}

/** Never shows what it read: it may be a secret in the wrong place. */
function malformedKey(message: string, cause?: unknown): SluiceError {
  return new SluiceError('key.malformed', 'stop', message, { cause });
}

/** Up to so many bytes in hex. @throws key.malformed */
export function hexOf(value: unknown, bytesMax: number): Uint8Array {
  const length = typeof value === 'string' ? Math.floor(value.length / 2) : 0;
  return hexBytes(value, Math.min(length, bytesMax));
}

function hexBytes(value: unknown, length: number): Uint8Array {
  if (typeof value !== 'string') throw malformedKey('bytes are written in hex');
  try {
    return fromHex(value, length);
  } catch (cause) {
    throw malformedKey(`expected ${length} bytes in hex`, cause);
  }
}

function bytes(fields: Fields, name: string, length: number): Uint8Array {
  return hexBytes(fields.get(name), length);
}

function version(fields: Fields): number {
  const value = fields.get('version');
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1)
    throw malformedKey('version counts from 1');
  return value;
}

/** The stored public half must be the one that belongs to the seed: a mixed-up file would sign what nobody accepts. */
function parseSigning(fields: Fields, prefix: string): SecretKey {
  const name = (part: string) => (prefix === '' ? part : `${prefix}${part === 'public' ? 'Public' : 'Secret'}`);
  const secretKey = bytes(fields, name('secret'), SIGNING_SECRET_BYTES);
  const publicKey = bytes(fields, name('public'), KEY_BYTES);
  const derived = nacl.sign.keyPair.fromSeed(secretKey.slice(0, KEY_BYTES));
  if (!sameBytes(derived.publicKey, publicKey) || !sameBytes(derived.secretKey, secretKey)) {
    throw malformedKey('the two halves do not belong together');
  }
  refuseWeakEd25519(publicKey);
  return signingKey({ publicKey, secretKey });
}

function parseRecipient(fields: Fields, name: string): SecretKey {
  const secretKey = bytes(fields, name, KEY_BYTES);
  return { ...recipientKey(x25519PublicKey(secretKey)), secretKey };
}
