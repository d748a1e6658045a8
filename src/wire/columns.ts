/**
 * A block in decoded form: rows by tag, then chunk, then position, with counts a (tag, chunk). A row's number follows
 * from that order alone, so blocks can be joined and cut without any row losing its number.
 */
import type { SlotKind } from '../reading.ts';
import type { RangeSet } from './ranges.ts';

export interface BlockChunk {
  /** Number of the chunk's first row in its run and class, from 1. */
  readonly n0: number;
  readonly count: number;
}

export interface BlockTag {
  /** Dense number given by the owner; ascending in a block. */
  readonly tag: number;
  readonly kind: SlotKind;
  /** Rows in each chunk, in the chunks' order; the sum is at least 1. Tags may share one array. */
  readonly counts: readonly number[];
}

export interface BlockColumns {
  readonly rows: number;
  /** At least one, ascending and disjoint. */
  readonly chunks: readonly BlockChunk[];
  readonly tags: readonly BlockTag[];
  readonly timeMs: Float64Array;
  /** Slots as `reading.ts` says: copy those of int64 and uint64 tags as bytes, never as float64 elements. */
  readonly value: Float64Array;
  /** Never with the THINNED bit. */
  readonly quality: Uint8Array;
  readonly texts: readonly string[];
}

/**
 * How many (tag, chunk) counts a block of so many rows may have. A block of many chunks with a few rows each of many tags
 * would be nothing but zeros: without this cap, a message of some kilobytes could claim gigabytes of them.
 */
export function cellsMax(rows: number): number {
  return 64 * rows + 2 ** 20;
}

/** The number of every row, in row order. */
export function rowNumbers(columns: Pick<BlockColumns, 'rows' | 'chunks' | 'tags'>): Float64Array {
  const numbers = new Float64Array(columns.rows);
  const next = columns.chunks.map(({ n0 }) => n0);
  let row = 0;
  for (const { counts } of columns.tags) {
    for (let c = 0; c < counts.length; c++) {
      let n = next[c] ?? 0;
      for (const end = row + (counts[c] ?? 0); row < end; row++) numbers[row] = n++;
      next[c] = n;
    }
  }
  return numbers;
}

/** The numbers a block holds. */
export function rangesOf(columns: Pick<BlockColumns, 'chunks'>): RangeSet {
  const out: { from: number; to: number }[] = [];
  for (const { n0, count } of columns.chunks) {
    const last = out.at(-1);
    if (last !== undefined && last.to + 1 === n0) last.to = n0 + count - 1;
    else out.push({ from: n0, to: n0 + count - 1 });
  }
  return out;
}

/** Below it a loop beats three calls. */
const SHORT_SPAN_ROWS = 24;

/** Columns to copy from. */
export interface Source {
  readonly columns: BlockColumns;
  /** The value slots as words. */
  readonly words: Uint32Array;
}

export function sourceOf(columns: BlockColumns): Source {
  const { value } = columns;
  return { columns, words: new Uint32Array(value.buffer, value.byteOffset, value.length * 2) };
}

/** Collects spans of rows of other blocks into new columns. */
export class ColumnsCopy {
  readonly timeMs: Float64Array;
  readonly value: Float64Array;
  readonly quality: Uint8Array;
  readonly texts: string[] = [];
  readonly #textIndex = new Map<string, number>();
  readonly #words: Uint32Array;
  rows = 0;

  constructor(rows: number) {
    this.timeMs = new Float64Array(rows);
    this.value = new Float64Array(rows);
    this.quality = new Uint8Array(rows);
    this.#words = new Uint32Array(this.value.buffer);
  }

  span(from: Source, kind: SlotKind, start: number, end: number): void {
    if (end <= start) return;
    const at = this.rows;
    if (end - start < SHORT_SPAN_ROWS) {
      this.#rowByRow(from, start, end);
    } else {
      // TypedArray.set moves bytes: 64-bit integers arrive as they were.
      this.timeMs.set(from.columns.timeMs.subarray(start, end), at);
      this.value.set(from.columns.value.subarray(start, end), at);
      this.quality.set(from.columns.quality.subarray(start, end), at);
    }
    this.rows = at + end - start;
    if (kind === 'text') this.#renumber(from.columns.texts, at);
  }

  #rowByRow({ columns, words }: Source, start: number, end: number): void {
    const { timeMs, quality } = columns;
    // In bounds: the columns of a block have `rows` entries each.
    for (let row = start, at = this.rows; row < end; row++, at++) {
      this.timeMs[at] = timeMs[row] as number;
      this.#words[2 * at] = words[2 * row] as number;
      this.#words[2 * at + 1] = words[2 * row + 1] as number;
      this.quality[at] = quality[row] as number;
    }
  }

  #renumber(texts: readonly string[], start: number): void {
    for (let row = start; row < this.rows; row++) {
      // A bad row's slot is zero bits and means no text.
      if ((this.quality[row] ?? 0) >> 5 >= 2) continue;
      const text = texts[this.value[row] ?? 0] ?? '';
      let index = this.#textIndex.get(text);
      if (index === undefined) {
        index = this.texts.push(text) - 1;
        this.#textIndex.set(text, index);
      }
      this.value[row] = index;
    }
  }

  done(chunks: readonly BlockChunk[], tags: readonly BlockTag[]): BlockColumns {
    const { rows, timeMs, value, quality, texts } = this;
    return { rows, chunks, tags, timeMs, value, quality, texts };
  }
}

/** The rows whose number lies in [from, to] as a block of its own; undefined when there are none. */
export function sliceBlock(columns: BlockColumns, from: number, to: number): BlockColumns | undefined {
  return selectRows(columns, [{ from, to }]);
}

/**
 * The rows whose numbers are in the set as a block of its own; undefined when there are none. Chunks split where needed. A
 * few rows out of very many chunks may be too sparse for one block: `fitBlocks` cuts them before they are encoded.
 */
export function selectRows(columns: BlockColumns, wanted: RangeSet): BlockColumns | undefined {
  const pieces: { chunk: number; n0: number; count: number }[] = [];
  // Both ascend: one walk, however many there are of either.
  let at = 0;
  columns.chunks.forEach(({ n0, count }, chunk) => {
    const last = n0 + count - 1;
    while ((wanted[at]?.to ?? last) < n0) at++;
    for (let i = at; ; i++) {
      const range = wanted[i];
      if (range === undefined || range.from > last) break;
      const from = Math.max(range.from, n0);
      pieces.push({ chunk, n0: from, count: Math.min(range.to, last) - from + 1 });
    }
  });
  const rows = pieces.reduce((sum, { count }) => sum + count, 0);
  if (rows === 0) return undefined;
  if (rows === columns.rows) return columns;
  const source = sourceOf(columns);
  const copy = new ColumnsCopy(rows);
  const next = columns.chunks.map(({ n0 }) => n0);
  const tags: BlockTag[] = [];
  let row = 0;
  for (const { tag, kind, counts } of columns.tags) {
    const kept = new Array<number>(pieces.length).fill(0);
    let any = false;
    let piece = 0;
    for (let c = 0; c < counts.length; c++) {
      const count = counts[c] ?? 0;
      const first = next[c] ?? 0;
      for (; pieces[piece]?.chunk === c; piece++) {
        const { n0, count: length } = pieces[piece] ?? { n0: 0, count: 0 };
        const start = Math.max(n0, first);
        const end = Math.min(n0 + length, first + count);
        if (end <= start) continue;
        kept[piece] = end - start;
        any = true;
        copy.span(source, kind, row + start - first, row + end - first);
      }
      next[c] = first + count;
      row += count;
    }
    if (any) tags.push({ tag, kind, counts: kept });
  }
  return copy.done(
    pieces.map(({ n0, count }) => ({ n0, count })),
    tags,
  );
}
