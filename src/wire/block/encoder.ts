/** Writes one block; its buffers serve every block of a thread. */
import { isBad, type SlotKind } from '../../reading.ts';
import type { BlockColumns } from '../columns.ts';
import { crc32c } from '../crc32c.ts';
import { DirectoryWriter, writeChunks } from './directory.ts';
import { writeIntegers } from './integers.ts';
import { BLOCK_VERSION, CRC_BYTES, eachStream, noneBad, STREAMS, type StreamName } from './layout.ts';
import { NumbersWriter } from './numbers.ts';
import { FloatPlanes, Planes } from './planes.ts';
import { BoolsWriter, writeQualities } from './runs.ts';
import { putVarint, SplitWriter, Stream, VARINT_BYTES_MAX } from './streams.ts';
import { TextsWriter } from './texts.ts';
import { TimesWriter } from './times.ts';

export class BlockEncoder {
  readonly #streams = eachStream(() => new Stream());
  readonly #timeRaw = new Planes();
  readonly #floats = new FloatPlanes();
  readonly #doubles = new Planes();
  readonly #directory = new DirectoryWriter(this.#streams.tags, this.#streams.kinds, this.#streams.counts);
  readonly #texts = new TextsWriter(this.#streams.textIndexes, this.#streams.texts);
  readonly #bools = new BoolsWriter(this.#streams.bools);
  #times = this.#newTimes();
  readonly #numbers = new NumbersWriter(
    this.#streams.valueModes,
    new SplitWriter(this.#streams.valueFirsts0, this.#streams.valueFirsts1, this.#streams.valueFirsts2),
    this.#streams.valueSlopes,
    this.#streams.valueDeltas,
    this.#floats,
    this.#doubles,
  );
  #good = new Float64Array(256);

  encode(columns: BlockColumns): Uint8Array {
    this.streams(columns);
    return this.#assemble(columns.rows);
  }

  /** What `encode` puts together. Valid until the next call. @throws RangeError as `encodeBlock` */
  streams({
    rows,
    chunks,
    tags,
    timeMs,
    value,
    quality,
    texts,
  }: BlockColumns): Readonly<Record<StreamName, Pick<Stream, 'bytes' | 'length'>>> {
    if (rows === 0) throw new RangeError('a block needs rows');
    this.#clear();
    writeChunks(this.#streams.chunks, chunks);
    writeQualities(this.#streams.qualities, quality, rows);
    let row = 0;
    for (const { tag, kind, counts } of tags) {
      const start = row;
      for (const count of counts) row += count;
      this.#directory.tag(tag, kind, counts);
      this.#times.tag(timeMs, start, row);
      this.#values(kind, value, quality, texts, start, row);
    }
    if (row !== rows) throw new RangeError(`tags of ${row} rows in a block of ${rows}`);
    this.#directory.finish(rows);
    this.#bools.finish();
    this.#timeRaw.writeTo(this.#streams.timeRaw);
    this.#floats.writeTo(this.#streams.floats);
    this.#doubles.writeTo(this.#streams.doubles);
    return this.#streams;
  }

  #values(
    kind: SlotKind,
    value: Float64Array,
    quality: Uint8Array,
    texts: readonly string[],
    start: number,
    end: number,
  ): void {
    if (noneBad(quality, start, end)) {
      this.#goodValues(kind, value, start, end, texts);
      return;
    }
    if (this.#good.length < end - start) this.#good = new Float64Array((end - start) * 2);
    const good = this.#good;
    let length = 0;
    for (let row = start; row < end; row++) {
      // TypedArray.set moves bytes; as an element a 64-bit integer might be taken for a NaN and changed.
      if (!isBad(quality[row] as number)) good.set(value.subarray(row, row + 1), length++);
    }
    this.#goodValues(kind, good, 0, length, texts);
  }

  #goodValues(kind: SlotKind, value: Float64Array, start: number, end: number, texts: readonly string[]): void {
    if (kind === 'number') this.#numbers.tag(value, start, end);
    else if (kind === 'bool') this.#bools.tag(value, start, end);
    else if (kind === 'text') this.#texts.tag(value, start, end, texts);
    else writeIntegers(this.#streams.integers, value, start, end);
  }

  #newTimes(): TimesWriter {
    const { timeModes, timeBases0, timeBases1, timeBases2, timePeriods, timeResiduals } = this.#streams;
    const bases = new SplitWriter(timeBases0, timeBases1, timeBases2);
    return new TimesWriter(timeModes, bases, timePeriods, timeResiduals, this.#timeRaw);
  }

  #clear(): void {
    for (const name of STREAMS) this.#streams[name].length = 0;
    this.#timeRaw.clear();
    this.#floats.clear();
    this.#doubles.clear();
    this.#directory.clear();
    this.#texts.clear();
    this.#bools.clear();
    this.#times = this.#newTimes();
  }

  #assemble(rows: number): Uint8Array {
    const header = new Uint8Array(1 + (STREAMS.length + 1) * VARINT_BYTES_MAX);
    header[0] = BLOCK_VERSION;
    let at = putVarint(header, 1, rows);
    let length = 0;
    for (const name of STREAMS) {
      at = putVarint(header, at, this.#streams[name].length);
      length += this.#streams[name].length;
    }
    const out = new Uint8Array(at + length + CRC_BYTES);
    out.set(header.subarray(0, at));
    for (const name of STREAMS) {
      const stream = this.#streams[name];
      out.set(stream.bytes.subarray(0, stream.length), at);
      at += stream.length;
    }
    new DataView(out.buffer).setUint32(at, crc32c(out, 0, at));
    return out;
  }
}
