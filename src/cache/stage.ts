/** Readings on their way from chunks into one block: columns of fixed room, in order of arrival, tags by their numbers. */

import type { Chunk, SlotKind } from '../reading.ts';
import { isQuality, THINNED } from '../reading.ts';
import { BLOCK_ROWS_MAX } from './store.ts';

/** A block of long texts ends early, so that one damaged block or one batch stays small. */
const TEXT_BYTES_MAX = 1_000_000;
const BYTES_A_UNIT = 3;

const IS_QUALITY = Uint8Array.from({ length: 256 }, (_, byte) => (isQuality(byte & ~THINNED) ? 1 : 0));

export class Stage implements Chunk {
  length = 0;
  readonly tag = new Uint32Array(BLOCK_ROWS_MAX);
  readonly timeMs = new Float64Array(BLOCK_ROWS_MAX);
  readonly value = new Float64Array(BLOCK_ROWS_MAX);
  readonly quality = new Uint8Array(BLOCK_ROWS_MAX);
  texts: string[] = [];
  firstMs = Number.POSITIVE_INFINITY;
  lastMs = Number.NEGATIVE_INFINITY;
  readonly #words = new Uint32Array(this.value.buffer);
  readonly #textIndex = new Map<string, number>();
  #textBytes = 0;

  get full(): boolean {
    return this.length >= BLOCK_ROWS_MAX || this.#textBytes >= TEXT_BYTES_MAX;
  }

  /**
   * Takes rows of `chunk` from `start` on until full, skipping rows of other classes.
   * @param numbers registry index → number, all ≥ 0 for this chunk. @param isMine by number; undefined takes all.
   * @param refused rows that no block can hold: a time that is not finite, a quality that does not exist, a text that is not there.
   * @returns the row to go on from.
   */
  take(
    chunk: Chunk,
    start: number,
    numbers: Int32Array,
    kindOf: (number: number) => SlotKind,
    isMine: ((number: number) => boolean) | undefined,
    refused: (number: number) => void,
  ): number {
    const { tag, timeMs, value, quality, texts } = chunk;
    const words = new Uint32Array(value.buffer, value.byteOffset, chunk.length * 2);
    const hasTexts = texts.length > 0;
    let { length, firstMs, lastMs } = this;
    let row = start;
    for (; row < chunk.length && length < BLOCK_ROWS_MAX && this.#textBytes < TEXT_BYTES_MAX; row++) {
      const number = numbers[tag[row] as number] as number; // in bounds, here and below
      if (isMine !== undefined && !isMine(number)) continue;
      const time = timeMs[row] as number;
      const q = quality[row] as number;
      // NaN and infinities minus themselves are NaN.
      if (time - time !== 0 || IS_QUALITY[q] === 0) {
        refused(number);
        continue;
      }
      this.#words[length * 2] = words[row * 2] as number;
      this.#words[length * 2 + 1] = words[row * 2 + 1] as number;
      if (q & 0x40) {
        this.#words[length * 2] = 0; // bad: no value
        this.#words[length * 2 + 1] = 0;
      } else if (kindOf(number) === 'text') {
        const text = hasTexts ? texts[value[row] as number] : undefined;
        if (text === undefined) {
          refused(number);
          continue;
        }
        this.value[length] = this.#text(text);
      }
      this.tag[length] = number;
      this.timeMs[length] = time;
      this.quality[length] = q;
      length++;
      if (q >= THINNED) continue;
      if (time < firstMs) firstMs = time;
      if (time > lastMs) lastMs = time;
    }
    Object.assign(this, { length, firstMs, lastMs });
    return row;
  }

  #text(text: string): number {
    let index = this.#textIndex.get(text);
    if (index === undefined) {
      index = this.texts.push(text) - 1;
      this.#textIndex.set(text, index);
      this.#textBytes += text.length * BYTES_A_UNIT;
    }
    return index;
  }

  clear(): void {
    this.length = 0;
    this.texts = [];
    this.firstMs = Number.POSITIVE_INFINITY;
    this.lastMs = Number.NEGATIVE_INFINITY;
    this.#textIndex.clear();
    this.#textBytes = 0;
  }
}
