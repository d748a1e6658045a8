/** Columns of many chunks into a rolled block, a few tags at a time: the thread has other things to do. */

import { DirectoryWriter, writeChunks } from '../../wire/block/directory.ts';
import { BlockEncoder } from '../../wire/block/encoder.ts';
import { Stream } from '../../wire/block/streams.ts';
import type { BlockColumns, BlockTag } from '../../wire/block.ts';
import { crc32c } from '../../wire/crc32c.ts';
import { writeCoded } from './coding.ts';
import { DirectoryBuilder } from './directory.ts';
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

export class RolledEncoder {
  readonly #columns: BlockColumns;
  readonly #directory = new DirectoryBuilder();
  readonly #sections = new Stream(64 * 1024);
  /** Time streams of the tags so far → where the tag is. */
  readonly #times = new Map<string, number>();
  #row = 0;

  /** @throws RangeError for no rows, or more than `ROLLED_ROWS_MAX`. */
  constructor(columns: BlockColumns) {
    if (columns.rows === 0 || columns.rows > ROLLED_ROWS_MAX)
      throw new RangeError(`a rolled block of ${columns.rows} rows`);
    this.#columns = columns;
  }

  /** Encodes tags of about `rows` rows. @returns whether there are more. */
  step(rows: number): boolean {
    const { tags } = this.#columns;
    const until = this.#row + rows;
    while (this.#directory.length < tags.length && this.#row < until) {
      const tag = tags[this.#directory.length];
      if (tag !== undefined) this.#tag(tag);
    }
    return this.#directory.length < tags.length;
  }

  /** After the last step. @throws RangeError for columns that contradict themselves. */
  finish(): Uint8Array {
    const { rows } = this.#columns;
    if (this.#row !== rows) throw new RangeError(`tags of ${this.#row} rows in a block of ${rows}`);
    const plain = [this.#directory.finish(rows), numbersOf(this.#columns)];
    const [directory = plain[0], numbers = plain[1]] = plain.map(packPart);
    if (directory === undefined || numbers === undefined) throw new RangeError('unreachable'); // both are there
    const sections = this.#sections.bytes.subarray(0, this.#sections.length);
    const out = new Uint8Array(HEADER_BYTES + directory.length + numbers.length + 2 * CRC_BYTES + sections.length);
    const view = new DataView(out.buffer);
    out[0] = ROLLED_FORM;
    out[1] = ROLLED_VERSION;
    const lengths = [directory.length, plain[0]?.length ?? 0, numbers.length, plain[1]?.length ?? 0];
    lengths.forEach((length, i) => {
      view.setUint32(2 + 4 * i, length);
    });
    out.set(directory, HEADER_BYTES);
    let at = HEADER_BYTES + directory.length;
    view.setUint32(at, crc32c(out, 0, at));
    at += CRC_BYTES;
    out.set(numbers, at);
    view.setUint32(at + numbers.length, crc32c(numbers));
    out.set(sections, at + numbers.length + CRC_BYTES);
    return out;
  }

  #tag({ tag, kind, counts }: BlockTag): void {
    const { timeMs, value, quality, texts } = this.#columns;
    const start = this.#row;
    const rows = counts.reduce((sum, count) => sum + count, 0);
    const end = start + rows;
    const streams = encoder.streams({
      rows,
      chunks: [{ n0: 1, count: rows }],
      tags: [{ tag, kind, counts: [rows] }],
      timeMs: timeMs.subarray(start, end),
      value: value.subarray(start, end),
      quality: quality.subarray(start, end),
      texts,
    });
    const each = TAG_STREAMS.map((name) => streams[name].bytes.subarray(0, streams[name].length));
    const timesAt = this.#timesAt(rows, each.slice(0, TIME_STREAMS));
    const from = this.#sections.length;
    each.forEach((bytes, at) => {
      this.#stream(at, at < TIME_STREAMS && timesAt !== this.#directory.length ? NOTHING : bytes);
    });
    const sectionBytes = this.#sections.length - from;
    const crc = crc32c(this.#sections.bytes, from, this.#sections.length);
    this.#directory.add({ tag, kind, rows, timesAt, sectionBytes, crc });
    this.#row = end;
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
    if (known === undefined) this.#times.set(key, this.#directory.length);
    return known ?? this.#directory.length;
  }
}

const NOTHING = new Uint8Array(0);

/** @throws RangeError for columns that contradict themselves, hold what a block cannot, or more than `ROLLED_ROWS_MAX` rows. */
export function encodeRolled(columns: BlockColumns): Uint8Array {
  const encoding = new RolledEncoder(columns);
  while (encoding.step(ROLLED_ROWS_MAX));
  return encoding.finish();
}

/** Length of the chunks varint, chunks, counts: as in the wire's block. */
function numbersOf({ rows, chunks, tags }: BlockColumns): Uint8Array {
  const chunksOut = new Stream();
  writeChunks(chunksOut, chunks);
  const counts = new Stream();
  const writer = new DirectoryWriter(new Stream(), new Stream(), counts);
  for (const tag of tags) writer.tag(tag.tag, tag.kind, tag.counts);
  writer.finish(rows);
  const out = new Stream(chunksOut.length + counts.length + 16);
  out.varint(chunksOut.length);
  for (const part of [chunksOut, counts]) {
    out.reserve(part.length).set(part.bytes.subarray(0, part.length), out.length);
    out.length += part.length;
  }
  return out.bytes.subarray(0, out.length);
}
