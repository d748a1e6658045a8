/** Readings by tag into a rolled block, one tag at a time: the thread has other things to do in between. */
import type { SlotKind } from '../../reading.ts';
import { DirectoryWriter, writeChunks } from '../../wire/block/directory.ts';
import { BlockEncoder } from '../../wire/block/encoder.ts';
import { Stream } from '../../wire/block/streams.ts';
import type { BlockColumns } from '../../wire/block.ts';
import { crc32c } from '../../wire/crc32c.ts';
import { writeCoded } from './coding.ts';
import { DirectoryBuilder, type DirectoryEntry, type SectionPart } from './directory.ts';
import {
  CRC_BYTES,
  HEADER_BYTES,
  packPart,
  ROLLED_FORM,
  ROLLED_ROWS_MAX,
  ROLLED_VERSION,
  SHORT_BYTES,
  TAG_STREAMS,
  TIME_STREAMS,
} from './layout.ts';

/** Its buffers serve every rolled block of a thread. */
const encoder = new BlockEncoder();

/** Readings of one tag, in the order of their numbers. */
export interface TagRows {
  readonly tag: number;
  readonly kind: SlotKind;
  readonly rows: number;
  readonly timeMs: Float64Array;
  readonly value: Float64Array;
  readonly quality: Uint8Array;
  readonly texts: readonly string[];
}

/** A tag, and where its section is. */
interface Encoded extends Omit<DirectoryEntry, 'times' | 'values'> {
  readonly from: number;
  readonly valuesFrom: number;
  readonly to: number;
}

export class RolledEncoder {
  readonly #directory = new DirectoryBuilder();
  readonly #sections = new Stream(64 * 1024);
  readonly #tags: Encoded[] = [];
  /** Time streams of the tags so far → where the tag is. */
  readonly #times = new Map<string, number>();
  #rows = 0;
  #plain: Uint8Array | undefined;
  #packed: Uint8Array | undefined;

  /** Ascending by tag. @throws RangeError for what a block cannot hold. */
  add({ tag, kind, rows, ...columns }: TagRows): void {
    const streams = encoder.streams({
      rows,
      chunks: [{ n0: 1, count: rows }],
      tags: [{ tag, kind, counts: [rows] }],
      ...columns,
    });
    const each = TAG_STREAMS.map((name) => streams[name].bytes.subarray(0, streams[name].length));
    const timesAt = this.#timesAt(rows, each.slice(0, TIME_STREAMS));
    const isBorrowed = timesAt !== this.#tags.length;
    const from = this.#sections.length;
    for (let at = 0; at < TIME_STREAMS; at++) this.#stream(at, isBorrowed ? NOTHING : (each[at] ?? NOTHING));
    const valuesFrom = this.#sections.length;
    for (let at = TIME_STREAMS; at < each.length; at++) this.#stream(at, each[at] ?? NOTHING);
    this.#tags.push({ tag, kind, rows, timesAt, from, valuesFrom, to: this.#sections.length });
    this.#rows += rows;
  }

  /** After the last tag, before `finish`: the half of it that needs no numbers. */
  packDirectory(): void {
    const lenders = new Set(this.#tags.flatMap(({ timesAt }, at) => (timesAt === at ? [] : [timesAt])));
    this.#tags.forEach(({ from, valuesFrom, to, ...entry }, at) => {
      // Times that nobody else has are as lost as the values when either is damaged: one checksum does.
      const split = lenders.has(at) ? valuesFrom : from;
      this.#directory.add({ ...entry, times: this.#part(from, split), values: this.#part(split, to) });
    });
    this.#plain = this.#directory.finish(this.#rows);
    this.#packed = packPart(this.#plain);
  }

  /** @throws RangeError for numbers of other rows than were added. */
  finish({ rows, chunks, tags }: Pick<BlockColumns, 'rows' | 'chunks' | 'tags'>): Uint8Array {
    if (this.#plain === undefined) this.packDirectory();
    if (this.#rows !== rows) throw new RangeError(`tags of ${this.#rows} rows in a block of ${rows}`);
    const [plain = NOTHING, packed = NOTHING] = [this.#plain, this.#packed];
    const sections = this.#sections.bytes.subarray(0, this.#sections.length);
    return assemble({ plain, packed }, { rows, chunks, tags }, [sections]);
  }

  #part(from: number, to: number): SectionPart {
    return { bytes: to - from, crc: to === from ? 0 : crc32c(this.#sections.bytes, from, to) };
  }

  #stream(at: number, bytes: Uint8Array): void {
    const coding = bytes.length > SHORT_BYTES ? writeCoded(this.#sections, bytes) : undefined;
    this.#directory.stream(at, bytes, coding);
  }

  /** Equal times have equal streams, whatever the tag. */
  #timesAt(rows: number, streams: readonly Uint8Array[]): number {
    const lengths = streams.map(({ length }) => length);
    const key = `${rows} ${lengths} ${streams.map((bytes) => Buffer.from(bytes).toString('latin1')).join('')}`;
    const known = this.#times.get(key);
    if (known === undefined) this.#times.set(key, this.#tags.length);
    return known ?? this.#tags.length;
  }
}

const NOTHING = new Uint8Array(0);

/** @throws RangeError for columns that contradict themselves, hold what a block cannot, none or more than `ROLLED_ROWS_MAX` rows. */
export function encodeRolled(columns: BlockColumns): Uint8Array {
  const { rows, tags, timeMs, value, quality, texts } = columns;
  if (rows === 0 || rows > ROLLED_ROWS_MAX) throw new RangeError(`a rolled block of ${rows} rows`);
  const encoding = new RolledEncoder();
  let row = 0;
  for (const { tag, kind, counts } of tags) {
    const [start, end] = [row, counts.reduce((sum, count) => sum + count, row)];
    row = end;
    const mine = { timeMs: timeMs.subarray(start, end), value: value.subarray(start, end) };
    encoding.add({ tag, kind, rows: end - start, ...mine, quality: quality.subarray(start, end), texts });
  }
  return encoding.finish(columns);
}

/** @param sections end to end. @throws RangeError for more counts than a reader takes. */
export function assemble(
  directory: { readonly plain: Uint8Array; readonly packed: Uint8Array },
  of: Pick<BlockColumns, 'rows' | 'chunks' | 'tags'>,
  sections: readonly Uint8Array[],
): Uint8Array {
  const numbers = numbersOf(of);
  const packed = packPart(numbers);
  const numbersAt = HEADER_BYTES + directory.packed.length + CRC_BYTES;
  let at = numbersAt + packed.length + CRC_BYTES;
  const out = new Uint8Array(sections.reduce((sum, { length }) => sum + length, at));
  const view = new DataView(out.buffer);
  out[0] = ROLLED_FORM;
  out[1] = ROLLED_VERSION;
  [directory.packed.length, directory.plain.length, packed.length, numbers.length].forEach((length, i) => {
    view.setUint32(2 + 4 * i, length);
  });
  out.set(directory.packed, HEADER_BYTES);
  view.setUint32(numbersAt - CRC_BYTES, crc32c(out, 0, numbersAt - CRC_BYTES));
  out.set(packed, numbersAt);
  view.setUint32(at - CRC_BYTES, crc32c(packed));
  for (const section of sections) {
    out.set(section, at);
    at += section.length;
  }
  return out;
}

/** Length of the chunks varint, chunks, counts: as in the wire's block. */
function numbersOf({ rows, chunks, tags }: Pick<BlockColumns, 'rows' | 'chunks' | 'tags'>): Uint8Array {
  const chunksOut = new Stream();
  writeChunks(chunksOut, chunks);
  const counts = new Stream();
  const writer = new DirectoryWriter(new Stream(), new Stream(), counts);
  for (const tag of tags) writer.tag(tag.tag, tag.kind, tag.counts);
  writer.finish(rows);
  const out = new Stream(chunksOut.length + counts.length + 16);
  out.varint(chunksOut.length);
  for (const part of [chunksOut, counts]) out.append(part.bytes.subarray(0, part.length));
  return out.bytes.subarray(0, out.length);
}
