/** Blocks that follow each other into one rolled block, a few tags at a time, so that nothing is ever there as a whole but them. */
import type { SlotKind } from '../../reading.ts';
import type { BlockColumns } from '../../wire/block.ts';
import { type BlockTag, ColumnsCopy, type Source, sourceOf } from '../../wire/columns.ts';
import { RolledEncoder } from './encode.ts';

interface Part extends Source {
  /** Of its first chunk among all of them. */
  readonly place: number;
  nextTag: number;
  nextRow: number;
}

export class Merging {
  readonly #encoder = new RolledEncoder();
  readonly #parts: Part[] = [];
  readonly #tags: BlockTag[] = [];
  readonly #chunks: BlockColumns['chunks'];
  readonly #order: readonly number[];
  #isPacked = false;

  /** @param blocks ascending by their numbers, which do not interleave. */
  constructor(blocks: readonly BlockColumns[]) {
    let place = 0;
    for (const columns of blocks) {
      this.#parts.push({ ...sourceOf(columns), place, nextTag: 0, nextRow: 0 });
      place += columns.chunks.length;
    }
    this.#chunks = blocks.flatMap(({ chunks }) => chunks);
    const all = new Set(blocks.flatMap(({ tags }) => tags.map(({ tag }) => tag)));
    this.#order = [...all].sort((a, b) => a - b);
  }

  /** Encodes tags of about `rows` rows. @returns the block after the last step. @throws RangeError when a tag changes its kind. */
  step(rows: number): Uint8Array | undefined {
    let done = 0;
    while (done < rows && this.#tags.length < this.#order.length)
      done += this.#tag(this.#order[this.#tags.length] ?? 0);
    if (done > 0) return undefined;
    if (!this.#isPacked) {
      this.#encoder.packDirectory();
      this.#isPacked = true;
      return undefined;
    }
    const sum = this.#chunks.reduce((total, { count }) => total + count, 0);
    return this.#encoder.finish({ rows: sum, chunks: this.#chunks, tags: this.#tags });
  }

  #tag(tag: number): number {
    const counts = new Array<number>(this.#chunks.length).fill(0);
    const spans: { readonly part: Part; readonly start: number; readonly end: number }[] = [];
    let kind: SlotKind | undefined;
    let rows = 0;
    for (const part of this.#parts) {
      const entry = part.columns.tags[part.nextTag];
      if (entry?.tag !== tag) continue;
      kind ??= entry.kind;
      if (kind !== entry.kind) throw new RangeError(`tag ${tag} is ${kind} in one block and ${entry.kind} in another`);
      const start = part.nextRow;
      entry.counts.forEach((count, chunk) => {
        counts[part.place + chunk] = count;
        part.nextRow += count;
      });
      part.nextTag++;
      rows += part.nextRow - start;
      spans.push({ part, start, end: part.nextRow });
    }
    const copy = new ColumnsCopy(rows);
    for (const { part, start, end } of spans) copy.span(part, kind ?? 'number', start, end);
    const { timeMs, value, quality, texts } = copy;
    this.#encoder.add({ tag, kind: kind ?? 'number', rows, timeMs, value, quality, texts });
    this.#tags.push({ tag, kind: kind ?? 'number', counts });
    return rows;
  }
}
