/** Qualities and booleans: nearly always the same as before, so lengths of runs over the whole block. */
import { isQuality } from '../../reading.ts';
import { type Cursor, malformedBlock, type Stream } from './streams.ts';

/** (quality byte, length varint) until all rows are covered. @throws RangeError for a byte that may not be stored. */
export function writeQualities(stream: Stream, quality: Uint8Array, rows: number): void {
  for (let row = 0; row < rows; ) {
    const byte = quality[row] as number;
    if (!isQuality(byte)) throw new RangeError(`${byte} is no quality that may be stored`);
    const start = row;
    do row++;
    while (row < rows && quality[row] === byte);
    stream.u8(byte);
    stream.varint(row - start);
  }
}

export function readQualities(cursor: Cursor, out: Uint8Array): void {
  for (let row = 0; row < out.length; ) {
    const byte = cursor.u8();
    if (!isQuality(byte)) throw malformedBlock(`quality ${byte}`);
    const length = cursor.varint();
    if (length === 0 || length > out.length - row) throw malformedBlock('a run of qualities beyond the rows');
    out.fill(byte, row, row + length);
    row += length;
  }
}

/** Lengths of runs, false and true in turn beginning with false (which may be empty), over all bool tags of the block. */
export class BoolsWriter {
  readonly #stream: Stream;
  #current = 0;
  #length = 0;

  constructor(stream: Stream) {
    this.#stream = stream;
  }

  tag(values: Float64Array, start: number, end: number): void {
    let current = this.#current;
    let length = this.#length;
    for (let i = start; i < end; i++) {
      const bit = values[i] === 0 ? 0 : 1;
      if (bit !== current) {
        this.#stream.varint(length);
        current = bit;
        length = 0;
      }
      length++;
    }
    this.#current = current;
    this.#length = length;
  }

  finish(): void {
    if (this.#length > 0) this.#stream.varint(this.#length);
    this.clear();
  }

  clear(): void {
    this.#current = 0;
    this.#length = 0;
  }
}

export class BoolsReader {
  readonly #cursor: Cursor;
  #current = 1;
  #left = 0;
  #first = true;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
  }

  tag(out: Float64Array, start: number, end: number): void {
    for (let i = start; i < end; ) {
      if (this.#left === 0) this.#next();
      const stop = Math.min(end, i + this.#left);
      if (this.#current === 1) out.fill(1, i, stop);
      else out.fill(0, i, stop);
      this.#left -= stop - i;
      i = stop;
    }
  }

  finish(): void {
    if (this.#left > 0) throw malformedBlock('a run of booleans beyond the rows');
  }

  #next(): void {
    this.#current ^= 1;
    this.#left = this.#cursor.varint();
    if (this.#left === 0) {
      // Only the very first run, of false, may be empty: anything else would be a second form of the same rows.
      if (!this.#first) throw malformedBlock('an empty run of booleans');
      this.#current ^= 1;
      this.#left = this.#cursor.varint();
      if (this.#left === 0) throw malformedBlock('an empty run of booleans');
    }
    this.#first = false;
  }
}
