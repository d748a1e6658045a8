/**
 * The envelope: sealed to the cloud's key, signed by the device. Big-endian; 184 bytes over the payload.
 *
 *     0 "SLC1" | 4 suite u8 | 5 codec u8 | 6 lane u8 | 7 flags u8 | 8 recipient kid 8 | 16 signer kid 8 | 24 device 16
 *     40 batch id 16 | 56 cut ms u64 | 64 plain length u32 | 68 rows u32 | 72 ephemeral public key 32
 *     104 secretbox (payload + 16) | Ed25519 signature 64
 *
 * key = SHA512("SLC1-key\0" ‖ X25519(ephemeral, recipient) ‖ recipient public key ‖ SHA512(header))[0..32]. The nonce is
 * zero, because the ephemeral key is fresh for each seal. The header in the derivation stands for the associated data that
 * secretbox lacks. signature = Ed25519("SLC1-sig\0" ‖ SHA512(header ‖ box)).
 */
import nacl from 'tweetnacl';
import { codeOf, SluiceError } from '../errors.ts';
import { ROWS_MAX } from './block.ts';
import { ByteReader, ByteWriter, concat } from './bytes.ts';
import { LANES, type Lane } from './classes.ts';
import { type Codec, decompress, isCodec, PLAIN_BYTES_MAX } from './compress.ts';
import { openContents, type SectionContent } from './contents.ts';
import { agreeOnce, SIGNATURE_BYTES, sharedSecret, signMessage, verifyMessage, x25519PublicKey } from './crypto.ts';
import { refuseWeakEd25519, refuseWeakX25519 } from './curve.ts';
import { labelled, sha512 } from './hash.ts';
import { DEVICE_BYTES, type DeviceKey, KID_BYTES, type PublicKey } from './keys.ts';
import { decodePayload, type Payload } from './payload.ts';

export { ROWS_MAX } from './block.ts';
export { CODEC } from './compress.ts';

const MAGIC = 0x534c_4331;
export const SUITE = 1;
export const HEADER_BYTES = 104;
export const OVERHEAD_BYTES = HEADER_BYTES + nacl.secretbox.overheadLength + SIGNATURE_BYTES;
export const ENVELOPE_BYTES_MAX = 8 * 1024 * 1024;
export const BATCH_ID_BYTES = 16;
const KEY_BYTES = 32;
const DIGEST_BYTES = 32;
const RECIPIENT_AT = 8;
const ROWS_AT = 68;
const NONCE = new Uint8Array(nacl.secretbox.nonceLength);

export interface Header {
  readonly suite: 1;
  readonly codec: Codec;
  readonly lane: Lane;
  /** None is defined in suite 1: always 0. */
  readonly flags: number;
  readonly recipientKid: Uint8Array;
  readonly signerKid: Uint8Array;
  readonly device: Uint8Array;
  readonly batchId: Uint8Array;
  /** Wall clock of the cut. */
  readonly cutMs: number;
  readonly plainLen: number;
  /** Of all sections together. */
  readonly rows: number;
  readonly ephemeralKey: Uint8Array;
}

export interface SealInput {
  /** `encodePayload`, then `compress`. */
  readonly payload: Uint8Array;
  /** Of `encodePayload`'s bytes. */
  readonly plainLen: number;
  readonly rows: number;
  readonly codec: Codec;
  readonly lane: Lane;
  readonly batchId: Uint8Array;
  readonly cutMs: number;
  readonly device: DeviceKey;
  readonly recipient: PublicKey;
}

/** @throws key.weak for a recipient key that must not be used, RangeError for numbers that do not fit. */
export function seal(input: SealInput): Uint8Array {
  const { device, recipient } = input;
  const { ephemeralPublicKey, secret } = agreeOnce(recipient.publicKey);
  const header = new ByteWriter(HEADER_BYTES)
    .u32(MAGIC)
    .u8(SUITE)
    .u8(input.codec)
    .u8(LANES.indexOf(input.lane))
    .u8(0)
    .bytes(exactly(recipient.kid, KID_BYTES))
    .bytes(exactly(device.kid, KID_BYTES))
    .bytes(exactly(device.device, DEVICE_BYTES))
    .bytes(exactly(input.batchId, BATCH_ID_BYTES))
    .u64(Math.max(0, Math.floor(input.cutMs)))
    .u32(input.plainLen)
    .u32(input.rows)
    .bytes(ephemeralPublicKey)
    .take();
  const box = nacl.secretbox(plainBytes(input.payload), NONCE, sealKey(secret, recipient.publicKey, header));
  const signature = signMessage('SLC1-sig\0', sha512(header, box), device.secretKey);
  return concat(header, box, signature);
}

/** tweetnacl wants a Uint8Array proper, not a subclass such as Buffer in every version. */
function plainBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function exactly(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length !== length) throw new RangeError(`${bytes.length} bytes instead of ${length}`);
  return bytes;
}

function sealKey(secret: Uint8Array, recipientPublicKey: Uint8Array, header: Uint8Array): Uint8Array {
  return labelled('SLC1-key\0', KEY_BYTES, secret, recipientPublicKey, sha512(header));
}

/** What an answer refers to: SHA512(envelope)[0..32]. */
export function envelopeDigest(envelope: Uint8Array): Uint8Array {
  return new Uint8Array(sha512(envelope).subarray(0, DIGEST_BYTES));
}

export interface EnvelopeLimits {
  /** Default 8 MiB. */
  readonly envelopeBytesMax?: number;
  /** Default 32 MiB. */
  readonly plainBytesMax?: number;
  /** Default and at most 100,000. */
  readonly rowsMax?: number;
}

/**
 * The header alone, nothing verified but its form.
 * @throws envelope.truncated, too_large, rows_too_many, magic_unknown, suite_unknown, codec_unknown, lane_unknown, flags_unknown
 */
export function readHeader(envelope: Uint8Array, limits: EnvelopeLimits = {}): Header {
  const bytesMax = limits.envelopeBytesMax ?? ENVELOPE_BYTES_MAX;
  if (envelope.length > bytesMax) throw refusal('too_large', `${envelope.length} bytes, ${bytesMax} allowed`);
  if (envelope.length < OVERHEAD_BYTES) throw refusal('truncated', `${envelope.length} bytes are no envelope`);
  const rowsMax = Math.min(limits.rowsMax ?? ROWS_MAX, ROWS_MAX);
  const rows = new ByteReader(envelope.subarray(ROWS_AT)).u32();
  if (rows > rowsMax) throw refusal('rows_too_many', `${rows} rows, ${rowsMax} allowed`);
  const reader = new ByteReader(envelope.subarray(0, HEADER_BYTES));
  if (reader.u32() !== MAGIC) throw refusal('magic_unknown', 'not an envelope of ours');
  const suite = reader.u8();
  if (suite !== SUITE) throw refusal('suite_unknown', `suite ${suite}`);
  const codec = reader.u8();
  if (!isCodec(codec)) throw refusal('codec_unknown', `codec ${codec}`);
  const lane = LANES[reader.u8()];
  if (lane === undefined) throw refusal('lane_unknown', 'a lane that is not known');
  const flags = reader.u8();
  if (flags !== 0) throw refusal('flags_unknown', `flags ${flags}`);
  const recipientKid = reader.bytes(KID_BYTES).slice();
  const signerKid = reader.bytes(KID_BYTES).slice();
  const device = reader.bytes(DEVICE_BYTES).slice();
  const batchId = reader.bytes(BATCH_ID_BYTES).slice();
  const cutMs = Number(reader.u64Big());
  const plainLen = reader.u32();
  reader.u32();
  const ephemeralKey = reader.bytes(KEY_BYTES).slice();
  return { suite, codec, lane, flags, recipientKid, signerKid, device, batchId, cutMs, plainLen, rows, ephemeralKey };
}

/** Whom an envelope of ours is sealed to, and who signed it. */
export function kidsOf(envelope: Uint8Array): { readonly recipient: Uint8Array; readonly signer: Uint8Array } {
  const signerAt = RECIPIENT_AT + KID_BYTES;
  return {
    recipient: envelope.subarray(RECIPIENT_AT, signerAt),
    signer: envelope.subarray(signerAt, signerAt + KID_BYTES),
  };
}

export interface OpenKeys {
  /** The public key of this kid if it belongs to this device; why not, otherwise. */
  signer(kid: Uint8Array, device: Uint8Array): Uint8Array | undefined | 'revoked' | 'foreign';
  /** The X25519 secret of this kid. Return the same array each time: what is derived from it is kept with it. */
  recipient(kid: Uint8Array): Uint8Array | undefined;
}

export interface Opened {
  readonly header: Header;
  readonly payload: Payload;
  /** What `payload.sections` hold, decoded and checked, in the same order. */
  readonly contents: readonly SectionContent[];
}

/**
 * All checks of the design in its order: sizes and rows; magic, suite, codec; signer known, not revoked, owns the device;
 * signature; recipient; Diffie–Hellman; opens; plain length; inflates to exactly that; every column; the sums.
 * @throws SluiceError `envelope.<name>`, recovery discard; each name is one of `ANSWER_CODES`.
 */
export function open(envelope: Uint8Array, keys: OpenKeys, limits: EnvelopeLimits = {}): Opened {
  return openSigned(envelope, authenticate(envelope, keys, limits), keys, limits);
}

/**
 * The first half of `open`: whose it is, beyond doubt, before anything is spent on it.
 * @throws as `open`, up to `envelope.signature_invalid`
 */
export function authenticate(
  envelope: Uint8Array,
  keys: Pick<OpenKeys, 'signer'>,
  limits: EnvelopeLimits = {},
): Header {
  const header = readHeader(envelope, limits);
  requireSignature(envelope, header, keys);
  return header;
}

/** The second half, of the very bytes that `authenticate` gave the header of. @throws as `open`, from `envelope.recipient_unknown` on */
export function openSigned(
  envelope: Uint8Array,
  header: Header,
  keys: Pick<OpenKeys, 'recipient'>,
  limits: EnvelopeLimits = {},
): Opened {
  const compressed = openBox(envelope, header, keys);
  const plain = inflatePayload(compressed, header, limits.plainBytesMax ?? PLAIN_BYTES_MAX);
  const payload = checked(PAYLOAD_CODES, 'payload_malformed', () => decodePayload(plain));
  const contents = openContents(payload, header.rows);
  return { header, payload, contents };
}

function requireSignature(envelope: Uint8Array, header: Header, keys: Pick<OpenKeys, 'signer'>): void {
  const signer = keys.signer(header.signerKid, header.device);
  if (signer === undefined) throw refusal('signer_unknown', 'signed by a key that is not enrolled');
  if (signer === 'revoked') throw refusal('signer_revoked', 'signed by a revoked key');
  if (signer === 'foreign') throw refusal('device_foreign', 'signed by the key of another device');
  const signed = envelope.length - SIGNATURE_BYTES;
  const message = sha512(envelope.subarray(0, signed));
  const valid = checked({}, 'signature_invalid', () => {
    refuseWeakEd25519(signer);
    return verifyMessage('SLC1-sig\0', message, envelope.subarray(signed), signer);
  });
  if (!valid) throw refusal('signature_invalid', 'the signature does not match');
}

function openBox(envelope: Uint8Array, header: Header, keys: Pick<OpenKeys, 'recipient'>): Uint8Array {
  const secretKey = keys.recipient(header.recipientKid);
  if (secretKey === undefined) throw refusal('recipient_unknown', 'sealed to a key that is not held');
  const secret = checked({}, 'ephemeral_weak', () => {
    refuseWeakX25519(header.ephemeralKey);
    return sharedSecret(secretKey, header.ephemeralKey);
  });
  const key = sealKey(secret, x25519PublicKey(secretKey), envelope.subarray(0, HEADER_BYTES));
  const box = envelope.subarray(HEADER_BYTES, envelope.length - SIGNATURE_BYTES);
  const opened = nacl.secretbox.open(plainBytes(box), NONCE, key);
  if (opened === null) throw refusal('not_opened', 'the box does not open');
  return opened;
}

function inflatePayload(compressed: Uint8Array, { codec, plainLen }: Header, plainBytesMax: number): Uint8Array {
  if (plainLen > plainBytesMax) throw refusal('plain_too_large', `${plainLen} bytes, ${plainBytesMax} allowed`);
  return checked(INFLATE_CODES, 'not_inflated', () => decompress(compressed, codec, plainLen, plainBytesMax));
}

const INFLATE_CODES: Readonly<Record<string, string>> = {
  'compress.length_wrong': 'plain_length_wrong',
  'compress.trailing_bytes': 'trailing_bytes',
};
const PAYLOAD_CODES: Readonly<Record<string, string>> = {
  'payload.version_unknown': 'payload_version_unknown',
};

/** Runs a step, and refuses by the name that stands for its error. */
function checked<T>(names: Readonly<Record<string, string>>, otherwise: string, step: () => T): T {
  try {
    return step();
  } catch (cause) {
    throw refusal(names[codeOf(cause)] ?? otherwise, cause instanceof Error ? cause.message : otherwise, cause);
  }
}

function refusal(name: string, message: string, cause?: unknown): SluiceError {
  return new SluiceError(`envelope.${name}`, 'discard', message, { cause });
}
