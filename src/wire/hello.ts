/**
 * HELLO: what does the cloud hold? Asked at start, on a new incarnation and every hour; both sides sign.
 *
 *     hello   "SLH1" | device 16 | kid 8 | nonce 32 | sent ms u64 | runs: count varint, each: run 16 | classes count u8,
 *             each: class u8 | ranges | signature 64
 *     answer  "SLI1" | kid 8 | device 16 | nonce 32 | cloud ms u64 | incarnation 16 | size max u32 | codecs count u8, u8 each
 *             | key list version varint | runs as above, with two range sets: held, explained | signature 64
 *
 * Signatures: "SLC1-hel\0" and "SLC1-hla\0" ‖ SHA512(all before).
 */
import { isSluiceError, SluiceError } from '../errors.ts';
import { ByteReader, ByteWriter, concat, malformed, sameBytes } from './bytes.ts';
import { CLASSES, type ClassNumber, isClassNumber } from './classes.ts';
import { SIGNATURE_BYTES, type SignLabel, signMessage, verifyMessage } from './crypto.ts';
import { refuseWeakEd25519 } from './curve.ts';
import { sha512 } from './hash.ts';
import { type CloudPublic, DEVICE_BYTES, type DeviceKey, KID_BYTES, type SecretKey } from './keys.ts';
import { decodeRanges, encodeRanges, type RangeSet } from './ranges.ts';

export const HELLO_CONTENT_TYPE = 'application/vnd.sluice.hello';
export const HELLO_ANSWER_CONTENT_TYPE = 'application/vnd.sluice.hello-answer';
/** More are asked about in further pages. */
export const HELLO_RUNS_MAX = 64;
/** 64 runs of five classes with a few hundred ranges each. */
export const HELLO_BYTES_MAX = 1024 * 1024;
export const NONCE_BYTES = 32;
const HELLO_MAGIC = 0x534c_4831;
const ANSWER_MAGIC = 0x534c_4931;
const RUN_BYTES = 16;
const INCARNATION_BYTES = 16;
const CODECS_MAX = 16;

export interface HelloRun {
  readonly run: Uint8Array;
  /** What the gateway has numbered, or is asking about. */
  readonly classes: readonly { readonly class: ClassNumber; readonly ranges: RangeSet }[];
}

export interface Hello {
  readonly device: Uint8Array;
  readonly kid: Uint8Array;
  readonly nonce: Uint8Array;
  readonly sentMs: number;
  /** At most 64. */
  readonly runs: readonly HelloRun[];
}

export interface HeldRun {
  readonly run: Uint8Array;
  readonly classes: readonly { readonly class: ClassNumber; readonly held: RangeSet; readonly explained: RangeSet }[];
}

export interface HelloAnswer {
  readonly device: Uint8Array;
  readonly nonce: Uint8Array;
  readonly cloudMs: number;
  readonly incarnation: Uint8Array;
  /** Largest envelope taken, in bytes. */
  readonly sizeMax: number;
  readonly codecs: readonly number[];
  readonly keyListVersion: number;
  /** Of exactly the runs that were asked about; one that is not listed: nothing is held of it. */
  readonly held: readonly HeldRun[];
}

export function signHello(hello: Omit<Hello, 'device' | 'kid'>, key: DeviceKey): Uint8Array {
  if (hello.runs.length > HELLO_RUNS_MAX) throw new RangeError(`${hello.runs.length} runs, at most ${HELLO_RUNS_MAX}`);
  if (hello.nonce.length !== NONCE_BYTES) throw new RangeError('a nonce has 32 bytes');
  const writer = new ByteWriter(1024).u32(HELLO_MAGIC).bytes(key.device).bytes(key.kid).bytes(hello.nonce);
  writer.u64(Math.max(0, Math.floor(hello.sentMs)));
  writeRuns(writer, hello.runs, (entry) => encodeRanges(writer, entry.ranges));
  return signed(writer.take(), 'SLC1-hel\0', key.secretKey);
}

/**
 * @param signer the public key of a kid that belongs to the device.
 * @throws hello.malformed, hello.signer_unknown, hello.signature_invalid
 */
export function openHello(
  body: Uint8Array,
  signer: (kid: Uint8Array, device: Uint8Array) => Uint8Array | undefined,
): Hello {
  const { message, signature } = unsign(body);
  const hello = understood(() => {
    const reader = new ByteReader(message);
    if (reader.u32() !== HELLO_MAGIC) throw malformed('not a HELLO of ours');
    const device = reader.bytes(DEVICE_BYTES).slice();
    const kid = reader.bytes(KID_BYTES).slice();
    const key = signer(kid, device);
    if (key === undefined)
      throw new SluiceError('hello.signer_unknown', 'discard', 'a HELLO by a key that is not enrolled');
    requireSigned(message, 'SLC1-hel\0', signature, key);
    const nonce = reader.bytes(NONCE_BYTES).slice();
    const sentMs = reader.u64();
    const runs = readRuns(reader, (number) => ({ class: number, ranges: decodeRanges(reader) }));
    reader.end();
    return { device, kid, nonce, sentMs, runs };
  });
  return hello;
}

export function signHelloAnswer(answer: HelloAnswer, key: SecretKey): Uint8Array {
  const writer = new ByteWriter(1024).u32(ANSWER_MAGIC).bytes(key.kid).bytes(answer.device).bytes(answer.nonce);
  writer
    .u64(Math.max(0, Math.floor(answer.cloudMs)))
    .bytes(answer.incarnation)
    .u32(answer.sizeMax);
  writer.u8(answer.codecs.length);
  for (const codec of answer.codecs) writer.u8(codec);
  writer.varint(answer.keyListVersion);
  writeRuns(writer, answer.held, (entry) => {
    encodeRanges(writer, entry.held);
    encodeRanges(writer, entry.explained);
  });
  return signed(writer.take(), 'SLC1-hla\0', key.secretKey);
}

/**
 * @param asked the HELLO that was sent: its nonce and device must come back.
 * @throws hello.malformed, hello.key_unknown (fetch the key list), hello.signature_invalid, hello.foreign; recovery retry
 */
export function verifyHelloAnswer(
  body: Uint8Array,
  asked: Pick<Hello, 'nonce' | 'device'>,
  keys: Pick<CloudPublic, 'answer'>,
): HelloAnswer {
  const { message, signature } = unsign(body);
  return understood(() => {
    const reader = new ByteReader(message);
    if (reader.u32() !== ANSWER_MAGIC) throw malformed('not an answer to a HELLO of ours');
    const kid = reader.bytes(KID_BYTES);
    const key = keys.answer.find((known) => sameBytes(known.kid, kid));
    if (key === undefined) throw new SluiceError('hello.key_unknown', 'retry', 'signed by a key that is not known');
    requireSigned(message, 'SLC1-hla\0', signature, key.publicKey);
    const device = reader.bytes(DEVICE_BYTES).slice();
    const nonce = reader.bytes(NONCE_BYTES).slice();
    if (!sameBytes(nonce, asked.nonce) || !sameBytes(device, asked.device)) {
      throw new SluiceError('hello.foreign', 'retry', 'an answer to another HELLO');
    }
    const cloudMs = reader.u64();
    const incarnation = reader.bytes(INCARNATION_BYTES).slice();
    const sizeMax = reader.u32();
    const codecCount = reader.u8();
    if (codecCount > CODECS_MAX) throw malformed('too many codecs');
    const codecs = [...reader.bytes(codecCount)];
    const keyListVersion = reader.varint();
    const held = readRuns(reader, (number) => ({
      class: number,
      held: decodeRanges(reader),
      explained: decodeRanges(reader),
    }));
    reader.end();
    return { device, nonce, cloudMs, incarnation, sizeMax, codecs, keyListVersion, held };
  });
}

/** Which key an answer to a HELLO says it is signed by; undefined for what is none. */
export function helloAnswerKid(body: Uint8Array): Uint8Array | undefined {
  const reader = new ByteReader(body);
  if (body.length < 4 + KID_BYTES || reader.u32() !== ANSWER_MAGIC) return undefined;
  return reader.bytes(KID_BYTES);
}

function writeRuns<Entry extends { readonly class: ClassNumber }>(
  writer: ByteWriter,
  runs: readonly { readonly run: Uint8Array; readonly classes: readonly Entry[] }[],
  write: (entry: Entry) => void,
): void {
  writer.varint(runs.length);
  for (const { run, classes } of runs) {
    if (run.length !== RUN_BYTES) throw new RangeError('a run has 16 bytes');
    writer.bytes(run).u8(classes.length);
    for (const entry of classes) {
      writer.u8(entry.class);
      write(entry);
    }
  }
}

function readRuns<Entry>(
  reader: ByteReader,
  read: (number: ClassNumber) => Entry,
): { run: Uint8Array; classes: Entry[] }[] {
  const runs: { run: Uint8Array; classes: Entry[] }[] = [];
  for (let left = reader.count(RUN_BYTES + 1, HELLO_RUNS_MAX); left > 0; left--) {
    const run = reader.bytes(RUN_BYTES).slice();
    const length = reader.u8();
    if (length > CLASSES.length) throw malformed('more classes than there are');
    const classes: Entry[] = [];
    let last = -1;
    for (let i = 0; i < length; i++) {
      const number = reader.u8();
      if (!isClassNumber(number) || number <= last) throw malformed('classes must ascend');
      last = number;
      classes.push(read(number));
    }
    runs.push({ run, classes });
  }
  return runs;
}

function signed(message: Uint8Array, label: SignLabel, secretKey: Uint8Array): Uint8Array {
  return concat(message, signMessage(label, sha512(message), secretKey));
}

function unsign(body: Uint8Array): { message: Uint8Array; signature: Uint8Array } {
  if (body.length <= SIGNATURE_BYTES || body.length > HELLO_BYTES_MAX)
    throw malformedHello('not of the length of a HELLO');
  const end = body.length - SIGNATURE_BYTES;
  return { message: body.subarray(0, end), signature: body.subarray(end) };
}

function requireSigned(message: Uint8Array, label: SignLabel, signature: Uint8Array, key: Uint8Array): void {
  refuseWeakEd25519(key);
  if (!verifyMessage(label, sha512(message), signature, key)) {
    throw new SluiceError('hello.signature_invalid', 'retry', 'the signature does not match');
  }
}

/** Codes of the parts below become one: who sent it cannot be told apart by them. */
function understood<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (isSluiceError(cause) && cause.code.startsWith('hello.')) throw cause;
    throw malformedHello('not understood', cause);
  }
}

function malformedHello(message: string, cause?: unknown): SluiceError {
  return new SluiceError('hello.malformed', 'retry', message, { cause });
}
