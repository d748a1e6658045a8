/**
 * Answers of the cloud, refusals too: signed, about exactly the bytes that were sent, by exactly this device.
 *
 *     0 "SLA1" | 4 code u16 | 6 rows u32 | 10 duplicates u32 | 14 kid 8 | 22 device 16 | 38 envelope digest 32 | 70 signature 64
 *     134 incarnation 16 | gaps: count varint, then each: run 16 | class u8 | ranges | second signature 64
 *
 * signature = Ed25519("SLC1-ans\0" ‖ device ‖ code ‖ rows ‖ duplicates ‖ digest): enough to mark rows. The second,
 * Ed25519("SLC1-inc\0" ‖ first signature ‖ all between the two), covers what later versions may add to.
 */
import { SluiceError } from '../errors.ts';
import { ByteReader, ByteWriter, concat, sameBytes } from './bytes.ts';
import { type ClassNumber, isClassNumber } from './classes.ts';
import { SIGNATURE_BYTES, signMessage, verifyMessage } from './crypto.ts';
import { type CloudPublic, DEVICE_BYTES, KID_BYTES, type SecretKey } from './keys.ts';
import { decodeRanges, encodeRanges, type RangeSet } from './ranges.ts';

export { ANSWER_CODES, type AnswerCode, type AnswerName, answerCode, refusalCode } from './answercodes.ts';

export const ANSWER_CONTENT_TYPE = 'application/vnd.sluice.answer';
export const ENVELOPE_CONTENT_TYPE = 'application/vnd.sluice.envelope';
/** An answer is a few hundred bytes; one about many fragmented gaps is longer. */
export const ANSWER_BYTES_MAX = 1024 * 1024;
const MAGIC = 0x534c_4131;
const DIGEST_BYTES = 32;
const INCARNATION_BYTES = 16;
const FACTS_BYTES = 10;
const SIGNATURE_AT = 70;
const GAPS_MAX = 4096;
const RUN_BYTES = 16;

/** Rows of a GAP in the batch that the cloud held already: delivered, not lost. */
export interface HeldGap {
  readonly run: Uint8Array;
  readonly class: ClassNumber;
  readonly held: RangeSet;
}

export interface Answer {
  /** One of `ANSWER_CODES`, or of a later version. */
  readonly code: number;
  /** Rows of the batch that are held now, duplicates included. */
  readonly rows: number;
  /** Rows that were held before. */
  readonly duplicates: number;
  readonly kid: Uint8Array;
  /** Random a start of the cloud; a new one asks for a HELLO. */
  readonly incarnation: Uint8Array;
  readonly heldGaps: readonly HeldGap[];
}

export interface AnswerInput {
  readonly code: number;
  readonly rows: number;
  readonly duplicates: number;
  readonly incarnation: Uint8Array;
  readonly heldGaps?: readonly HeldGap[];
}

/** The body of the HTTP answer. @param digest `envelopeDigest` of the bytes received. */
export function signAnswer(answer: AnswerInput, device: Uint8Array, digest: Uint8Array, key: SecretKey): Uint8Array {
  const facts = new ByteWriter(FACTS_BYTES).u16(answer.code).u32(answer.rows).u32(answer.duplicates).take();
  if (device.length !== DEVICE_BYTES || digest.length !== DIGEST_BYTES)
    throw new RangeError('device 16, digest 32 bytes');
  const signature = signMessage('SLC1-ans\0', concat(device, facts, digest), key.secretKey);
  const more = new ByteWriter().bytes(answer.incarnation).varint(answer.heldGaps?.length ?? 0);
  for (const { run, class: number, held } of answer.heldGaps ?? []) encodeRanges(more.bytes(run).u8(number), held);
  const rest = more.take();
  return new ByteWriter(SIGNATURE_AT + 2 * SIGNATURE_BYTES + rest.length)
    .u32(MAGIC)
    .bytes(facts)
    .bytes(key.kid)
    .bytes(device)
    .bytes(digest)
    .bytes(signature)
    .bytes(rest)
    .bytes(signMessage('SLC1-inc\0', concat(signature, rest), key.secretKey))
    .take();
}

/**
 * @throws answer.malformed (no answer of ours: a captive portal, a proxy), answer.key_unknown (fetch the key list),
 *   answer.unsigned (the signature is wrong), answer.foreign (rightly signed, but for other bytes or another device).
 *   All of recovery `retry`: none of them says anything about the batch.
 */
export function verifyAnswer(
  body: Uint8Array,
  device: Uint8Array,
  digest: Uint8Array,
  keys: Pick<CloudPublic, 'answer'>,
): Answer {
  const parts = split(body);
  const key = keys.answer.find(({ kid }) => sameBytes(kid, parts.kid));
  if (key === undefined) {
    throw new SluiceError('answer.key_unknown', 'retry', 'an answer signed by a key that is not known', {
      hint: 'Fetch the key list; if it is no newer, wait.',
    });
  }
  const { signature, second, rest, message } = parts;
  const valid =
    verifyMessage('SLC1-ans\0', message, signature, key.publicKey) &&
    verifyMessage('SLC1-inc\0', concat(signature, rest), second, key.publicKey);
  if (!valid) throw new SluiceError('answer.unsigned', 'retry', 'the signature of an answer does not match');
  if (!sameBytes(parts.device, device) || !sameBytes(parts.digest, digest)) {
    throw new SluiceError('answer.foreign', 'retry', 'an answer to something else');
  }
  return decode(parts);
}

/** Which key an answer says it is signed by; undefined for what is no answer. */
export function answerKid(body: Uint8Array): Uint8Array | undefined {
  const reader = new ByteReader(body);
  if (body.length < SIGNATURE_AT || reader.u32() !== MAGIC) return undefined;
  reader.bytes(FACTS_BYTES);
  return reader.bytes(KID_BYTES);
}

interface Parts {
  readonly facts: Uint8Array;
  readonly kid: Uint8Array;
  readonly device: Uint8Array;
  readonly digest: Uint8Array;
  readonly signature: Uint8Array;
  readonly rest: Uint8Array;
  readonly second: Uint8Array;
  /** What the first signature is over. */
  readonly message: Uint8Array;
}

function split(body: Uint8Array): Parts {
  const fixed = SIGNATURE_AT + SIGNATURE_BYTES;
  const shortest = fixed + INCARNATION_BYTES + 1 + SIGNATURE_BYTES;
  if (body.length < shortest || body.length > ANSWER_BYTES_MAX) throw malformedAnswer('not of the length of an answer');
  const reader = new ByteReader(body);
  if (reader.u32() !== MAGIC) throw malformedAnswer('not an answer of ours');
  const facts = reader.bytes(FACTS_BYTES);
  const kid = reader.bytes(KID_BYTES).slice();
  const device = reader.bytes(DEVICE_BYTES);
  const digest = reader.bytes(DIGEST_BYTES);
  const signature = reader.bytes(SIGNATURE_BYTES);
  const rest = reader.bytes(reader.remaining - SIGNATURE_BYTES);
  const second = reader.bytes(SIGNATURE_BYTES);
  return { facts, kid, device, digest, signature, rest, second, message: concat(device, facts, digest) };
}

function decode({ facts, kid, rest }: Parts): Answer {
  try {
    const front = new ByteReader(facts);
    const [code, rows, duplicates] = [front.u16(), front.u32(), front.u32()];
    const reader = new ByteReader(rest);
    const incarnation = reader.bytes(INCARNATION_BYTES).slice();
    const heldGaps: HeldGap[] = [];
    for (let left = reader.count(RUN_BYTES + 2, GAPS_MAX); left > 0; left--) {
      const run = reader.bytes(RUN_BYTES).slice();
      const number = reader.u8();
      if (!isClassNumber(number)) throw malformedAnswer(`class ${number}`);
      heldGaps.push({ run, class: number, held: decodeRanges(reader) });
    }
    // Bytes behind are a later version's: signed, and not for us.
    return { code, rows, duplicates, kid, incarnation, heldGaps };
  } catch (cause) {
    throw malformedAnswer('signed, but not understood', cause);
  }
}

function malformedAnswer(message: string, cause?: unknown): SluiceError {
  return new SluiceError('answer.malformed', 'retry', message, { cause });
}
