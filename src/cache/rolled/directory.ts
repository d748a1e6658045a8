/**
 * The tag directory of a rolled block, column by column: tags of one kind of device look alike in each column.
 *
 *     rows, tags                     varints
 *     tag number                     distance to the one before, less one
 *     kind                           a byte
 *     rows, position of the tag whose times these are (0 for its own, else how far back), length of the section
 *     CRC-32C of the section         u32
 *     for each stream of `TAG_STREAMS`: 0, or 1 and its length in each tag, then the codings of the long ones (a byte
 *     each), then the bytes of the short ones
 */
import type { SlotKind } from '../../reading.ts';
import { KINDS, TAG_NUMBER_MAX } from '../../wire/block/directory.ts';
import { Cursor, Stream } from '../../wire/block/streams.ts';
import { damagedRolled, ROLLED_ROWS_MAX, SHORT_BYTES, TAG_STREAMS } from './layout.ts';

export interface RolledTag {
  readonly tag: number;
  readonly kind: SlotKind;
  readonly rows: number;
}

export interface DirectoryEntry extends RolledTag {
  /** Position in the directory of the tag whose times these are; its own, as a rule. */
  readonly timesAt: number;
  readonly sectionBytes: number;
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
    const shorts = this.#shorts[at];
    if (shorts === undefined) return;
    shorts.reserve(bytes.length).set(bytes, shorts.length);
    shorts.length += bytes.length;
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
    for (const { sectionBytes } of entries) out.varint(sectionBytes);
    for (const { crc } of entries) for (const shift of [24, 16, 8, 0]) out.u8((crc >>> shift) & 0xff);
    TAG_STREAMS.forEach((_, at) => {
      const lengths = this.#lengths[at] ?? [];
      if (lengths.every((length) => length === 0)) {
        out.u8(0);
        return;
      }
      out.u8(1);
      for (const length of lengths) out.varint(length);
      for (const part of [this.#codings[at], this.#shorts[at]]) {
        if (part === undefined) continue;
        out.reserve(part.length).set(part.bytes.subarray(0, part.length), out.length);
        out.length += part.length;
      }
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
  // Every tag has a row, and ten bytes here.
  if (length === 0 || length > rows || length * 10 > bytes.length) throw damagedRolled(`${length} tags`);
  const entries = readEntries(cursor, length);
  let sum = 0;
  let sections = 0;
  for (const entry of entries) {
    sum += entry.rows;
    sections += entry.sectionBytes;
  }
  if (sum !== rows) throw damagedRolled('tags that do not add up to the rows');
  if (sections !== sectionsBytes) throw damagedRolled('sections that do not add up to the block');
  const columns = TAG_STREAMS.map(() => (cursor.u8() === 0 ? undefined : readColumn(cursor, length)));
  cursor.finish();
  return { rows, entries, columns, bytes };
}

function readEntries(cursor: Cursor, length: number): DirectoryEntry[] {
  const column = (read: () => number) => Array.from({ length }, read);
  let last = -1;
  const tags = column(() => {
    last += 1 + cursor.varint();
    if (last > TAG_NUMBER_MAX) throw damagedRolled('a tag number of 2^31 or more');
    return last;
  });
  const kinds = column(() => cursor.u8());
  const rows = column(() => cursor.varint());
  const back = column(() => cursor.varint());
  const sectionBytes = column(() => cursor.varint());
  const crcs = column(() => ((cursor.u8() << 24) | (cursor.u8() << 16) | (cursor.u8() << 8) | cursor.u8()) >>> 0);
  return tags.map((tag, at) => {
    const kind = KINDS[kinds[at] ?? -1];
    const own = rows[at] ?? 0;
    const timesAt = at - (back[at] ?? 0);
    if (kind === undefined || own === 0) throw damagedRolled('a tag of no kind, or without rows');
    if (rows[timesAt] !== own || back[timesAt] !== 0) throw damagedRolled('times of a tag that cannot lend them');
    return { tag, kind, rows: own, timesAt, sectionBytes: sectionBytes[at] ?? 0, crc: crcs[at] ?? 0 };
  });
}

function readColumn(cursor: Cursor, length: number): StreamColumn {
  const lengths = new Uint32Array(length);
  const codings = new Uint8Array(length);
  const places = new Uint32Array(length);
  for (let at = 0; at < length; at++) {
    const bytes = cursor.varint();
    if (bytes > 0xffff_ffff) throw damagedRolled('a stream of 4 GiB');
    lengths[at] = bytes;
  }
  for (let at = 0; at < length; at++) if ((lengths[at] ?? 0) > SHORT_BYTES) codings[at] = cursor.u8();
  for (let at = 0; at < length; at++) {
    const bytes = lengths[at] ?? 0;
    if (bytes > SHORT_BYTES) continue;
    if (bytes > cursor.remaining) throw damagedRolled('a directory that ends too early');
    places[at] = cursor.at;
    cursor.at += bytes;
  }
  return { lengths, codings, places };
}
