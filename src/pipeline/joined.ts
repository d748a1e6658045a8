/** Small chunks put together into one, in the order they came. */
import type { Chunk } from '../reading.ts';

export class JoinedChunks {
  readonly #rowsMax: number;
  readonly #isText: (index: number) => boolean;
  readonly #tag: Uint32Array;
  readonly #timeMs: Float64Array;
  readonly #value: Float64Array;
  readonly #quality: Uint8Array;
  #texts = new Map<string, number>();
  #length = 0;

  constructor(rowsMax: number, isText: (index: number) => boolean) {
    this.#rowsMax = rowsMax;
    this.#isText = isText;
    this.#tag = new Uint32Array(rowsMax);
    this.#timeMs = new Float64Array(rowsMax);
    this.#value = new Float64Array(rowsMax);
    this.#quality = new Uint8Array(rowsMax);
  }

  get length(): number {
    return this.#length;
  }

  fits(chunk: Chunk): boolean {
    return this.#length + chunk.length <= this.#rowsMax;
  }

  add({ length, tag, timeMs, value, quality, texts }: Chunk): void {
    const from = this.#length;
    this.#tag.set(length === tag.length ? tag : tag.subarray(0, length), from);
    this.#timeMs.set(length === timeMs.length ? timeMs : timeMs.subarray(0, length), from);
    this.#value.set(length === value.length ? value : value.subarray(0, length), from); // moves bytes
    this.#quality.set(length === quality.length ? quality : quality.subarray(0, length), from);
    this.#length += length;
    if (texts.length === 0) return;
    for (let row = 0; row < length; row++) {
      const text = this.#isText(tag[row] ?? 0) ? texts[value[row] ?? 0] : undefined;
      if (text !== undefined) this.#value[from + row] = this.#indexOf(text);
    }
  }

  /** A copy of what is there, with buffers of its own. */
  copy(): Chunk {
    const length = this.#length;
    return {
      length,
      tag: this.#tag.slice(0, length),
      timeMs: this.#timeMs.slice(0, length),
      value: this.#value.slice(0, length),
      quality: this.#quality.slice(0, length),
      texts: [...this.#texts.keys()],
    };
  }

  reset(): void {
    this.#length = 0;
    if (this.#texts.size > 0) this.#texts = new Map();
  }

  #indexOf(text: string): number {
    let index = this.#texts.get(text);
    if (index === undefined) {
      index = this.#texts.size;
      this.#texts.set(text, index);
    }
    return index;
  }
}
