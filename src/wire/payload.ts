/**
 * What is compressed and sealed: the dictionary that gives the blocks' tag numbers their ids, then sections of rows.
 *
 *     version u8
 *     dictionary  1 + base hash 16 + base count varint, or 0 | added count varint | added × id 16
 *     sections    count varint, then each:
 *                 run 16 | class u8 | flags u8 (1 clock, 2 records)
 *                 clock: boot 16 | wall ms f64 | monotonic ms f64
 *                 records: n0 varint | count varint
 *                 length varint | bytes
 *
 * 500 tag ids of 16 bytes in every batch would cost 0.8 B a reading: the gateway names the last dictionary that a signed
 * answer confirmed, by its hash, and adds only new ids. A tag's number is its position in base ‖ added.
 */
import { SluiceError } from '../errors.ts';
import { ByteReader, ByteWriter, malformed } from './bytes.ts';
import { type ClassNumber, holdsReadings, isClassNumber } from './classes.ts';
import { labelled } from './hash.ts';

export const PAYLOAD_VERSION = 1;
export const ID_BYTES = 16;
/** Runs, classes, clocks and pieces of records in one batch; each holds a row at least. */
export const SECTIONS_MAX = 16_384;
/** Above any registry's tagsMax; 16 MB of ids. */
export const DICTIONARY_TAGS_MAX = 1_000_000;

/** The clock of the boot that took these rows, when it was not set: a later CLOCK_OFFSET corrects them. */
export interface SectionClock {
  readonly boot: Uint8Array;
  readonly wallMs: number;
  readonly monoMs: number;
}

export type SectionBody =
  | { readonly kind: 'readings'; readonly block: Uint8Array }
  | { readonly kind: 'records'; readonly n0: number; readonly count: number; readonly bytes: Uint8Array };

export interface Section {
  readonly run: Uint8Array;
  readonly class: ClassNumber;
  readonly clock?: SectionClock;
  /** Blocks for the classes normal and low, records for the others. */
  readonly body: SectionBody;
}

export interface Dictionary {
  /** Hash of a dictionary that the cloud confirmed; undefined for none. */
  readonly base: Uint8Array | undefined;
  readonly baseCount: number;
  readonly added: readonly Uint8Array[];
}

export interface Payload {
  readonly dictionary: Dictionary;
  readonly sections: readonly Section[];
}

/**
 * SHA512("SLC1-dict\0" ‖ base, or 16 zero bytes ‖ ids…)[0..16]. Nothing added to a base leaves it what it is; so a
 * dictionary's hash depends on how it grew, which both sides saw alike.
 */
export function dictionaryHash(base: Uint8Array | undefined, added: readonly Uint8Array[]): Uint8Array {
  if (base !== undefined && added.length === 0) return base;
  return labelled('SLC1-dict\0', ID_BYTES, base ?? new Uint8Array(ID_BYTES), ...added);
}

const FLAG_CLOCK = 1;
const FLAG_RECORDS = 2;

/** @throws RangeError for more than SECTIONS_MAX sections, ids of another length, or rows in a section not of their class. */
export function encodePayload({ dictionary, sections }: Payload): Uint8Array {
  if (sections.length > SECTIONS_MAX) throw new RangeError(`${sections.length} sections, at most ${SECTIONS_MAX}`);
  const length = sections.reduce(
    (sum, { body }) => sum + bytesOf(body).length + 128,
    dictionary.added.length * ID_BYTES,
  );
  const writer = new ByteWriter(length + 64).u8(PAYLOAD_VERSION);
  if (dictionary.base === undefined) writer.u8(0);
  else writer.u8(1).bytes(requireId(dictionary.base)).varint(dictionary.baseCount);
  writer.varint(dictionary.added.length);
  for (const id of dictionary.added) writer.bytes(requireId(id));
  writer.varint(sections.length);
  for (const section of sections) encodeSection(writer, section);
  return writer.take();
}

function encodeSection(writer: ByteWriter, { run, class: number, clock, body }: Section): void {
  if (holdsReadings(number) !== (body.kind === 'readings')) throw new RangeError(`${body.kind} in class ${number}`);
  const flags = (clock ? FLAG_CLOCK : 0) | (body.kind === 'records' ? FLAG_RECORDS : 0);
  writer.bytes(requireId(run)).u8(number).u8(flags);
  if (clock) writer.bytes(requireId(clock.boot)).f64(clock.wallMs).f64(clock.monoMs);
  if (body.kind === 'records') writer.varint(body.n0).varint(body.count);
  const bytes = bytesOf(body);
  writer.varint(bytes.length).bytes(bytes);
}

function bytesOf(body: SectionBody): Uint8Array {
  return body.kind === 'readings' ? body.block : body.bytes;
}

function requireId(id: Uint8Array): Uint8Array {
  if (id.length !== ID_BYTES) throw new RangeError(`an id of ${id.length} bytes`);
  return id;
}

export interface PayloadLimits {
  /** Default SECTIONS_MAX. */
  readonly sectionsMax?: number;
  /** Default DICTIONARY_TAGS_MAX. */
  readonly tagsMax?: number;
}

/**
 * The frame only: blocks and records are views into `bytes`, not yet decoded.
 * @throws payload.version_unknown, wire.…
 */
export function decodePayload(bytes: Uint8Array, limits: PayloadLimits = {}): Payload {
  const reader = new ByteReader(bytes);
  const version = reader.u8();
  if (version !== PAYLOAD_VERSION) {
    throw new SluiceError('payload.version_unknown', 'discard', `a payload of version ${version}`);
  }
  const dictionary = decodeDictionary(reader, limits.tagsMax ?? DICTIONARY_TAGS_MAX);
  const length = reader.count(ID_BYTES + 3, limits.sectionsMax ?? SECTIONS_MAX);
  const sections: Section[] = [];
  for (let i = 0; i < length; i++) sections.push(decodeSection(reader));
  reader.end();
  return { dictionary, sections };
}

function decodeDictionary(reader: ByteReader, tagsMax: number): Dictionary {
  const based = reader.u8();
  if (based > 1) throw malformed('a dictionary of an unknown form');
  const base = based === 1 ? reader.bytes(ID_BYTES).slice() : undefined;
  const baseCount = based === 1 ? reader.varint() : 0;
  if (baseCount > tagsMax) throw malformed('a dictionary of too many tags');
  const length = reader.count(ID_BYTES, tagsMax - baseCount);
  const added: Uint8Array[] = [];
  for (let i = 0; i < length; i++) added.push(reader.bytes(ID_BYTES).slice());
  return { base, baseCount, added };
}

function decodeSection(reader: ByteReader): Section {
  const run = reader.bytes(ID_BYTES).slice();
  const number = reader.u8();
  const flags = reader.u8();
  if (!isClassNumber(number)) throw malformed(`class ${number}`);
  const records = (flags & FLAG_RECORDS) !== 0;
  if (flags > 3 || records === holdsReadings(number)) throw malformed('a section whose rows are not of its class');
  const clock = flags & FLAG_CLOCK ? decodeClock(reader) : undefined;
  const n0 = records ? reader.varint() : 0;
  const count = records ? reader.varint() : 0;
  const bytes = reader.bytes(reader.varint());
  if (records && (n0 < 1 || count < 1 || n0 > Number.MAX_SAFE_INTEGER - count + 1))
    throw malformed('numbers of records');
  const body: SectionBody = records ? { kind: 'records', n0, count, bytes } : { kind: 'readings', block: bytes };
  return { run, class: number, ...(clock && { clock }), body };
}

function decodeClock(reader: ByteReader): SectionClock {
  const boot = reader.bytes(ID_BYTES).slice();
  const wallMs = reader.f64();
  const monoMs = reader.f64();
  if (!Number.isFinite(wallMs) || !Number.isFinite(monoMs)) throw malformed('a clock that shows no number');
  return { boot, wallMs, monoMs };
}
