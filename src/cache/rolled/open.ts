/** Reads a rolled block, all of it or one tag, believing nothing that its checksum does not vouch for. */

import { readColumns } from '../../wire/block/decoder.ts';
import { KINDS, readChunks, readTags } from '../../wire/block/directory.ts';
import { eachStream, type StreamName } from '../../wire/block/layout.ts';
import { Cursor, Stream } from '../../wire/block/streams.ts';
import {
  type BlockChunk,
  type BlockColumns,
  type BlockTag,
  ColumnsCopy,
  cellsMax,
  sliceBlock,
  sourceOf,
} from '../../wire/columns.ts';
import { crc32c } from '../../wire/crc32c.ts';
import type { Range } from '../../wire/ranges.ts';
import { readCoded } from './coding.ts';
import { type Directory, type DirectoryEntry, type RolledTag, readDirectory, type SectionPart } from './directory.ts';
import {
  CRC_BYTES,
  damagedRolled,
  HEADER_BYTES,
  ROLLED_FORM,
  ROLLED_VERSION,
  SHORT_BYTES,
  TAG_STREAMS,
  TIME_STREAMS,
  unpackPart,
} from './layout.ts';

export type { RolledTag } from './directory.ts';

export interface RolledBlock {
  readonly rows: number;
  /** Ascending by tag. */
  readonly tags: readonly RolledTag[];
  /** @throws rolled.damaged, block.… (discard) */
  chunks(): readonly BlockChunk[];
  /**
   * The readings of one tag, as one chunk whose numbers mean nothing. Opens no other tag's section but that of the tag
   * whose times it shares. Undefined for a tag that is not in the block.
   * @throws rolled.damaged, block.…, compress.… (discard)
   */
  tag(number: number): BlockColumns | undefined;
  /** Its readings whose numbers lie in the span. @throws as `tag` and `chunks` */
  tagWithin(number: number, span: Range): BlockColumns | undefined;
  /** Everything, with numbers. @throws as `tag` and `chunks` */
  all(): BlockColumns;
  /** Which numbers each tag has; opens no section. @throws as `chunks` */
  numbers(): Numbers;
  /** Tags that do not open: those whose values are damaged, and those whose times are. */
  broken(): ReadonlySet<number>;
  readonly directory: Directory;
  /** What the directory says is there of a tag, as it is. */
  section(at: number, part: 'times' | 'values'): Uint8Array;
}

/** Who is in a block, and where. */
export interface Numbers {
  readonly chunks: readonly BlockChunk[];
  readonly tags: readonly BlockTag[];
}

export function isRolled(stored: Uint8Array | undefined): stored is Uint8Array {
  return stored?.[0] === ROLLED_FORM;
}

/** Reads the directory. @throws rolled.damaged, block.malformed, compress.… (discard) */
export function openRolled(bytes: Uint8Array): RolledBlock {
  if (bytes.length < HEADER_BYTES + 2 * CRC_BYTES || bytes[0] !== ROLLED_FORM)
    throw damagedRolled('too short, or none');
  if (bytes[1] !== ROLLED_VERSION) throw damagedRolled(`version ${bytes[1]}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const [packed, plain, numbersPacked, numbersPlain] = [
    view.getUint32(2),
    view.getUint32(6),
    view.getUint32(10),
    view.getUint32(14),
  ];
  const numbersAt = HEADER_BYTES + packed + CRC_BYTES;
  const sectionsAt = numbersAt + numbersPacked + CRC_BYTES;
  if (sectionsAt > bytes.length) throw damagedRolled('parts longer than the block');
  if (view.getUint32(numbersAt - CRC_BYTES) !== crc32c(bytes, 0, numbersAt - CRC_BYTES))
    throw damagedRolled('a directory that does not match its checksum');
  const directory = readDirectory(
    unpackPart(bytes.subarray(HEADER_BYTES, numbersAt - CRC_BYTES), plain),
    bytes.length - sectionsAt,
  );
  const numbers = (): Uint8Array => {
    const part = bytes.subarray(numbersAt, sectionsAt - CRC_BYTES);
    if (view.getUint32(sectionsAt - CRC_BYTES) !== crc32c(part))
      throw damagedRolled('numbers that do not match their checksum');
    return unpackPart(part, numbersPlain);
  };
  return new Rolled(directory, bytes.subarray(sectionsAt), numbers);
}

class Rolled implements RolledBlock {
  readonly directory: Directory;
  readonly #sections: Uint8Array;
  readonly #starts: Uint32Array;
  readonly #numbers: () => Uint8Array;

  constructor(directory: Directory, sections: Uint8Array, numbers: () => Uint8Array) {
    this.directory = directory;
    this.#sections = sections;
    this.#numbers = numbers;
    this.#starts = new Uint32Array(directory.entries.length);
    let at = 0;
    directory.entries.forEach(({ times, values }, position) => {
      this.#starts[position] = at;
      at += times.bytes + values.bytes;
    });
  }

  get rows(): number {
    return this.directory.rows;
  }

  get tags(): readonly RolledTag[] {
    return this.directory.entries;
  }

  chunks(): readonly BlockChunk[] {
    return this.#chunks().chunks;
  }

  tag(number: number): BlockColumns | undefined {
    const at = this.#find(number);
    const entry = this.directory.entries[at];
    return entry?.tag === number ? this.#open(entry, at) : undefined;
  }

  tagWithin(number: number, { from, to }: Range): BlockColumns | undefined {
    const at = this.#find(number);
    const columns = this.tag(number);
    if (columns === undefined) return undefined;
    const { chunks, tags } = this.numbers();
    const counts = tags[at]?.counts ?? [];
    let [start, end, row] = [columns.rows, 0, 0];
    chunks.forEach(({ n0 }, chunk) => {
      const rows = counts[chunk] ?? 0;
      const first = tags.slice(0, at).reduce((n, { counts: before }) => n + (before[chunk] ?? 0), n0);
      const [low, high] = [Math.max(from, first), Math.min(to, first + rows - 1)];
      if (low <= high) [start, end] = [Math.min(start, row + low - first), row + high - first + 1];
      row += rows;
    });
    // Its rows are in the order of their numbers, which mean nothing here: their places do.
    return sliceBlock(columns, start + 1, end);
  }

  /** Where a tag is, or would be. */
  #find(number: number): number {
    const { entries } = this.directory;
    let low = 0;
    for (let high = entries.length; low < high; ) {
      const middle = (low + high) >>> 1;
      if ((entries[middle]?.tag ?? 0) < number) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  numbers(): Numbers {
    const { chunks, counts } = this.#chunks();
    return { chunks, tags: this.#tags(chunks, counts) };
  }

  broken(): ReadonlySet<number> {
    const found = new Set<number>();
    this.directory.entries.forEach((entry, at) => {
      try {
        this.#open(entry, at);
      } catch {
        found.add(entry.tag);
      }
    });
    return found;
  }

  section(at: number, part: 'times' | 'values'): Uint8Array {
    const { times, values } = this.directory.entries[at] ?? { times: NONE, values: NONE };
    const start = (this.#starts[at] ?? 0) + (part === 'times' ? 0 : times.bytes);
    return this.#sections.subarray(start, start + (part === 'times' ? times : values).bytes);
  }

  all(): BlockColumns {
    const { rows, entries } = this.directory;
    const { chunks, tags } = this.numbers();
    const copy = new ColumnsCopy(rows);
    entries.forEach((entry, at) => {
      const columns = this.#open(entry, at);
      copy.span(sourceOf(columns), entry.kind, 0, entry.rows);
    });
    return copy.done(chunks, tags);
  }

  #chunks(): { chunks: BlockChunk[]; counts: Cursor } {
    const bytes = this.#numbers();
    const cursor = new Cursor(bytes, 0, bytes.length);
    const length = cursor.varint();
    if (length > cursor.remaining) throw damagedRolled('chunks longer than the numbers');
    const end = cursor.at + length;
    const chunks = readChunks(new Cursor(bytes, cursor.at, end), this.rows);
    return { chunks, counts: new Cursor(bytes, end, bytes.length) };
  }

  #tags(chunks: readonly BlockChunk[], counts: Cursor): BlockTag[] {
    const { rows, entries } = this.directory;
    const [numbers, kinds] = [new Stream(entries.length * 2), new Stream(entries.length)];
    let last = -1;
    for (const { tag, kind } of entries) {
      numbers.varint(tag - last - 1);
      kinds.u8(KINDS.indexOf(kind));
      last = tag;
    }
    const over = ({ bytes, length }: Stream) => new Cursor(bytes, 0, length);
    const tags = readTags(over(numbers), over(kinds), counts, chunks, rows, cellsMax(rows));
    tags.forEach((tag, at) => {
      if (sumOf(tag.counts) !== entries[at]?.rows) throw damagedRolled('numbers that contradict the directory');
    });
    return tags;
  }

  #open(entry: DirectoryEntry, at: number): BlockColumns {
    const { tag, kind, rows, timesAt } = entry;
    const isWhole = timesAt === at && entry.times.bytes === 0;
    const all = isWhole
      ? this.#streams(at, 'values', 0, TAG_STREAMS.length)
      : [
          ...this.#streams(timesAt, 'times', 0, TIME_STREAMS),
          ...this.#streams(at, 'values', TIME_STREAMS, TAG_STREAMS.length),
        ];
    const streams = eachStream((name) => all[PLACES.get(name) ?? -1] ?? EMPTY());
    return readColumns(streams, rows, [{ n0: 1, count: rows }], [{ tag, kind, counts: [rows] }]);
  }

  /** Streams [from, to) of a tag. */
  #streams(at: number, part: 'times' | 'values', from: number, to: number): Cursor[] {
    const section = this.section(at, part);
    const crc = this.directory.entries[at]?.[part].crc;
    if (section.length > 0 && crc32c(section) !== crc)
      throw damagedRolled('a section that does not match its checksum');
    const cursor = new Cursor(section, 0, section.length);
    const streams = this.directory.columns.slice(from, to).map((column) => {
      const length = column?.lengths[at] ?? 0;
      if (column === undefined || length === 0) return EMPTY();
      const place = column.places[at] ?? 0;
      if (length <= SHORT_BYTES) return new Cursor(this.directory.bytes, place, place + length);
      return readCoded(cursor, column.codings[at] ?? 0, length);
    });
    cursor.finish();
    return streams;
  }
}

const NONE: SectionPart = { bytes: 0, crc: 0 };
const PLACES: ReadonlyMap<StreamName, number> = new Map(TAG_STREAMS.map((name, at) => [name, at]));
const NO_BYTES = new Uint8Array(0);
/** A new one each time: cursors move. */
const EMPTY = () => new Cursor(NO_BYTES, 0, 0);

function sumOf(counts: readonly number[]): number {
  let sum = 0;
  for (const count of counts) sum += count;
  return sum;
}
