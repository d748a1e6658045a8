/**
 * The tag directory of a rolled block, column by column: tags of one kind of device look alike in each column.
 *
 *     rows, tags                     varints
 *     tag number                     distance to the one before, less one
 *     kind                           a byte
 *     rows, position of the tag whose times these are (0 for its own, else how far back), bytes of times, bytes of values
 *     CRC-32C of the times, then of the values, of each tag that has any in its section     u32
 *     for each stream of `TAG_STREAMS`: 0, or 1 and its length in each tag, then the codings of the long ones (a byte
 *     each), then the bytes of the short ones
 */
import type { SlotKind } from '../../reading.ts';
import { KINDS, TAG_NUMBER_MAX } from '../../wire/block/directory.ts';
import { Cursor, Stream } from '../../wire/block/streams.ts';
import { CRC_BYTES, damagedRolled, ROLLED_ROWS_MAX, SHORT_BYTES, TAG_STREAMS } from './layout.ts';

export interface RolledTag {
  readonly tag: number;
  readonly kind: SlotKind;
  readonly rows: number;
}

export interface DirectoryEntry extends RolledTag {
  /** Position in the directory of the tag whose times these are; its own, as a rule. */
  readonly timesAt: number;
  /** The first part of its section: long streams of times that others have as well. */
  readonly times: SectionPart;
  /** The rest of it. */
  readonly values: SectionPart;
}

export interface SectionPart {
  readonly bytes: number;
  /** 0 for no bytes. */
  readonly crc: number;
}

/** One of `TAG_STREAMS` in all tags. */
export interface StreamColumn {
  readonly lengths: Uint32Array;
  /** Of long streams. */
  readonly codings: Uint8Array;
  /** Where a short stream begins in the directory's bytes. */
  readonly places: Uint32Array;
}

export interface Directory {
  readonly rows: number;
  readonly entries: readonly DirectoryEntry[];
  readonly columns: readonly (StreamColumn | undefined)[];
  readonly bytes: Uint8Array;
}

const PARTS = ['times', 'values'] as const;

export class DirectoryBuilder {
  readonly #entries: DirectoryEntry[] = [];
  readonly #lengths = TAG_STREAMS.map((): number[] => []);
  readonly #codings = TAG_STREAMS.map(() => new Stream(64));
  readonly #shorts = TAG_STREAMS.map(() => new Stream(64));

  get length(): number {
    return this.#entries.length;
  }

  /** @param coding of a long stream. */
  stream(at: number, bytes: Uint8Array, coding?: number): void {
    this.#lengths[at]?.push(bytes.length);
    if (coding !== undefined) {
      this.#codings[at]?.u8(coding);
      return;
    }
    this.#shorts[at]?.append(bytes);
  }

  /** As it is in another block. */
  copy(at: number, { columns, bytes }: Directory, position: number): void {
    const column = columns[at];
    const length = column?.lengths[position] ?? 0;
    this.#lengths[at]?.push(length);
    if (column === undefined) return;
    const place = column.places[position] ?? 0;
    if (length > SHORT_BYTES) this.#codings[at]?.u8(column.codings[position] ?? 0);
    else this.#shorts[at]?.append(bytes.subarray(place, place + length));
  }

  /** After its streams. */
  add(entry: DirectoryEntry): void {
    this.#entries.push(entry);
  }

  finish(rows: number): Uint8Array {
    const out = new Stream(16 * 1024);
    const entries = this.#entries;
    out.varint(rows);
    out.varint(entries.length);
    let last = -1;
    for (const { tag } of entries) {
      out.varint(tag - last - 1);
      last = tag;
    }
    for (const { kind } of entries) out.u8(KINDS.indexOf(kind));
    for (const each of entries) out.varint(each.rows);
    entries.forEach(({ timesAt }, at) => {
      out.varint(at - timesAt);
    });
    for (const part of PARTS) for (const entry of entries) out.varint(entry[part].bytes);
    for (const part of PARTS)
      for (const {
        [part]: { bytes, crc },
      } of entries)
        if (bytes > 0) for (const shift of [24, 16, 8, 0]) out.u8((crc >>> shift) & 0xff);
    TAG_STREAMS.forEach((_, at) => {
      const lengths = this.#lengths[at] ?? [];
      if (lengths.every((length) => length === 0)) {
        out.u8(0);
        return;
      }
      out.u8(1);
      for (const length of lengths) out.varint(length);
      for (const part of [this.#codings[at], this.#shorts[at]])
        if (part !== undefined) out.append(part.bytes.subarray(0, part.length));
    });
    return out.bytes.subarray(0, out.length);
  }
}

/** @param sectionsBytes what all sections take together. @throws block.malformed, rolled.damaged (discard) */
export function readDirectory(bytes: Uint8Array, sectionsBytes: number): Directory {
  const cursor = new Cursor(bytes, 0, bytes.length);
  const rows = cursor.varint();
  const length = cursor.varint();
  if (rows === 0 || rows > ROLLED_ROWS_MAX) throw damagedRolled(`${rows} rows`);
  // Every tag has a row, and six bytes here.
  if (length === 0 || length > rows || length * 6 > bytes.length) throw damagedRolled(`${length} tags`);
  const entries = readEntries(cursor, length);
  let sum = 0;
  let sections = 0;
  for (const entry of entries) {
    sum += entry.rows;
    sections += entry.times.bytes + entry.values.bytes;
  }
  if (sum !== rows) throw damagedRolled('tags that do not add up to the rows');
  if (sections !== sectionsBytes) throw damagedRolled('sections that do not add up to the block');
  const columns = TAG_STREAMS.map(() => (cursor.u8() === 0 ? undefined : readColumn(cursor, length)));
  cursor.finish();
  return { rows, entries, columns, bytes };
}

function readEntries(cursor: Cursor, length: number): DirectoryEntry[] {
  const distances = readVarints(cursor, length);
  const kinds = cursor.bytes.subarray(cursor.at, cursor.at + length);
  if (length > cursor.remaining) throw damagedRolled('a directory that ends too early');
  cursor.at += length;
  const rows = readVarints(cursor, length);
  const back = readVarints(cursor, length);
  const [timeBytes, valueBytes] = [readVarints(cursor, length), readVarints(cursor, length)];
  const parts = [partsOf(cursor, timeBytes), partsOf(cursor, valueBytes)] as const;
  const entries: DirectoryEntry[] = [];
  let tag = -1;
  for (let at = 0; at < length; at++) {
    tag += 1 + (distances[at] as number); // in bounds, here and below
    if (tag > TAG_NUMBER_MAX) throw damagedRolled('a tag number of 2^31 or more');
    const kind = KINDS[kinds[at] as number];
    const own = rows[at] as number;
    const timesAt = at - (back[at] as number);
    if (kind === undefined || own === 0) throw damagedRolled('a tag of no kind, or without rows');
    if (rows[timesAt] !== own || back[timesAt] !== 0) throw damagedRolled('times of a tag that cannot lend them');
    const [times, values] = [parts[0][at] as SectionPart, parts[1][at] as SectionPart];
    if (timesAt !== at && times.bytes > 0) throw damagedRolled('times of its own, and of another');
    entries.push({ tag, kind, rows: own, timesAt, times, values });
  }
  return entries;
}

function partsOf(cursor: Cursor, lengths: Uint32Array): SectionPart[] {
  const used = lengths.reduce((sum, bytes) => sum + Number(bytes > 0), 0);
  if (used * CRC_BYTES > cursor.remaining) throw damagedRolled('a directory that ends too early');
  const crcs = new DataView(cursor.bytes.buffer, cursor.bytes.byteOffset + cursor.at, used * CRC_BYTES);
  cursor.at += used * CRC_BYTES;
  let next = 0;
  return Array.from(lengths, (bytes) => ({ bytes, crc: bytes === 0 ? 0 : crcs.getUint32(CRC_BYTES * next++) }));
}

/** A query reads thousands of these for each block it opens, nearly all of a single byte. */
function readVarints(cursor: Cursor, length: number): Uint32Array {
  const out = new Uint32Array(length);
  const { bytes, end } = cursor;
  let { at } = cursor;
  for (let i = 0; i < length; i++) {
    const byte = at < end ? (bytes[at] as number) : 0x80;
    if (byte < 0x80) {
      out[i] = byte;
      at++;
      continue;
    }
    cursor.at = at;
    const value = cursor.varint();
    if (value > 0xffff_ffff) throw damagedRolled('a length of 4 GiB');
    out[i] = value;
    at = cursor.at;
  }
  cursor.at = at;
  return out;
}

function readColumn(cursor: Cursor, length: number): StreamColumn {
  const lengths = readVarints(cursor, length);
  const codings = new Uint8Array(length);
  const places = new Uint32Array(length);
  const { bytes, end } = cursor;
  let { at } = cursor;
  for (let i = 0; i < length; i++) {
    if ((lengths[i] as number) <= SHORT_BYTES) continue;
    if (at >= end) throw damagedRolled('a directory that ends too early');
    codings[i] = bytes[at++] as number;
  }
  for (let i = 0; i < length; i++) {
    const short = lengths[i] as number;
    if (short > SHORT_BYTES) continue;
    places[i] = at;
    at += short;
  }
  if (at > end) throw damagedRolled('a directory that ends too early');
  cursor.at = at;
  return { lengths, codings, places };
}
