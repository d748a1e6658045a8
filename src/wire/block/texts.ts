/** Text values: a dictionary of the block in order of first use, then one number a row: 0 as before, else index + 1. */
import { SluiceError } from '../../errors.ts';
import { decodeUtf8, utf8 } from '../bytes.ts';
import { type Cursor, malformedBlock, type Stream } from './streams.ts';

/** A row stays below 64 KiB as a whole, so that a batch can always be cut down to one that passes. */
export const TEXT_BYTES_MAX = 64 * 1024 - 1;

export class TextsWriter {
  readonly #indexes: Stream;
  readonly #dictionary: Stream;
  readonly #numbers = new Map<string, number>();

  constructor(indexes: Stream, dictionary: Stream) {
    this.#indexes = indexes;
    this.#dictionary = dictionary;
  }

  /** @throws block.text_too_large, or a RangeError for an index outside `texts`. */
  tag(values: Float64Array, start: number, end: number, texts: readonly string[]): void {
    let previous = -1;
    for (let i = start; i < end; i++) {
      const text = texts[values[i] as number];
      if (text === undefined) throw new RangeError(`no text ${values[i]}`);
      const number = this.#number(text);
      this.#indexes.varint(number === previous ? 0 : number + 1);
      previous = number;
    }
  }

  get count(): number {
    return this.#numbers.size;
  }

  clear(): void {
    this.#numbers.clear();
  }

  #number(text: string): number {
    const known = this.#numbers.get(text);
    if (known !== undefined) return known;
    const bytes = utf8(text);
    if (bytes.length > TEXT_BYTES_MAX) {
      throw new SluiceError('block.text_too_large', 'discard', `a text of ${bytes.length} bytes, below 64 KiB allowed`);
    }
    const dictionary = this.#dictionary;
    dictionary.varint(bytes.length);
    dictionary.reserve(bytes.length).set(bytes, dictionary.length);
    dictionary.length += bytes.length;
    this.#numbers.set(text, this.#numbers.size);
    return this.#numbers.size - 1;
  }
}

/** @param rows a block has at most a text a row. */
export function readDictionary(cursor: Cursor, rows: number): string[] {
  const texts: string[] = [];
  while (cursor.remaining > 0) {
    if (texts.length >= rows) throw malformedBlock('more texts than rows');
    const length = cursor.varint();
    if (length > TEXT_BYTES_MAX || length > cursor.remaining) throw malformedBlock('a text longer than its bytes');
    texts.push(decodeUtf8(cursor.bytes.subarray(cursor.at, cursor.at + length)));
    cursor.at += length;
  }
  return texts;
}

export function readTexts(
  cursor: Cursor,
  out: Float64Array,
  start: number,
  end: number,
  texts: readonly string[],
): void {
  let previous = -1;
  for (let i = start; i < end; i++) {
    const number = cursor.varint();
    if (number > 0) previous = number - 1;
    if (previous < 0 || previous >= texts.length) throw malformedBlock('a text that is not in the dictionary');
    out[i] = previous;
  }
}
