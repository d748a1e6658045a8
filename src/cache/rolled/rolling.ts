/**
 * One group of blocks on its way to being one, a step at a time: opened, merged, encoded, and written in one transaction
 * that takes the others' place. Until then nothing is on disk, and whatever changed one of the blocks meanwhile (an
 * acknowledgement, a cut, retention) makes the work void.
 */
import type { BlockColumns } from '../../wire/block.ts';
import { holdsReadings } from '../../wire/classes.ts';
import { rangeSet } from '../../wire/ranges.ts';
import { decodeContent, encodeContent } from '../content.ts';
import { addTo } from '../counts.ts';
import type { BlockRow, BlockStore } from '../store.ts';
import { Merging } from './merge.ts';

/** In one step: some 10 ms on a small box. */
const OPENED_ROWS = 8_192;
const ENCODED_ROWS = 4_096;
/** Of one tag, because a step encodes a tag as a whole; more of them would not compress better. */
const TAG_ROWS_MAX = 8_192;
/**
 * Counts (a tag and chunk each) of one block: all are numbers in memory while it is merged. Below what a block of any number of
 * rows may have (`cellsMax`), so that whatever is cut out of it later is a block as well.
 */
const CELLS_MAX = 1_000_000;

export class Rolling {
  readonly #store: BlockStore;
  readonly #rows: BlockRow[];
  readonly #parts: BlockColumns[] = [];
  readonly #records: object[] = [];
  /** Rows of each tag in the parts. */
  readonly #tags = new Map<number, number>();
  #chunks = 0;
  #opened = 0;
  #merging: Merging | undefined;
  #bytes: Uint8Array | undefined;

  /** @param rows of one run and class, without a gap between their numbers. */
  constructor(store: BlockStore, rows: readonly BlockRow[]) {
    this.#store = store;
    this.#rows = [...rows];
  }

  get rows(): readonly BlockRow[] {
    return this.#rows;
  }

  /**
   * What is left to do but to write it. `alone`: the id of a block that no other can be joined to, because it is damaged, gone,
   * or too sparse; nothing was done.
   */
  step(): 'more' | 'ready' | { readonly alone: number } {
    if (this.#bytes !== undefined) return 'ready';
    if (this.#merging !== undefined) {
      this.#bytes = this.#merging.step(ENCODED_ROWS);
      return 'more';
    }
    const [first] = this.#rows;
    if (this.#isOpen() && first !== undefined && this.#rows.length === 1) return { alone: first.id };
    if (this.#isOpen()) return this.#merge();
    for (let rows = 0; rows < OPENED_ROWS && !this.#isOpen(); ) {
      const row = this.#rows[this.#opened];
      if (row === undefined) break;
      if (!this.#open(row)) return { alone: row.id };
      rows += row.rows;
    }
    return 'more';
  }

  #isOpen(): boolean {
    return this.#opened >= this.#rows.length;
  }

  #open(row: BlockRow): boolean {
    try {
      const content = decodeContent(row, this.#store.block(row.id));
      if (content.kind === 'records') for (const record of content.records) this.#records.push(record);
      else this.#take(content.columns);
      this.#opened++;
      return true;
    } catch {
      return false;
    }
  }

  /** A block ends before it is nothing but zeros, where many tags are rarely read, or before it has too much of one of them. */
  #take(columns: BlockColumns): void {
    let most = 0;
    for (const { tag, counts } of columns.tags) {
      const rows = counts.reduce((sum, count) => sum + count, this.#tags.get(tag) ?? 0);
      this.#tags.set(tag, rows);
      most = Math.max(most, rows);
    }
    this.#chunks += columns.chunks.length;
    const isTooMuch = this.#tags.size * this.#chunks > CELLS_MAX || most > TAG_ROWS_MAX;
    if (this.#parts.length > 0 && isTooMuch) this.#rows.length = this.#opened;
    else this.#parts.push(columns);
  }

  #merge(): 'more' {
    if (this.#records.length > 0) {
      this.#bytes = encodeContent({ kind: 'records', n0: this.#rows[0]?.n0 ?? 1, records: this.#records });
    } else {
      this.#merging = new Merging(this.#parts);
      this.#parts.length = 0;
    }
    return 'more';
  }

  /** Inside a transaction. @returns false when one of the blocks is not as it was: nothing changed. */
  write(): boolean {
    const [first] = this.#rows;
    const bytes = this.#bytes;
    if (first === undefined || bytes === undefined || !this.#rows.every((row) => this.#isAsItWas(row))) return false;
    for (const { id } of this.#rows) this.#store.removeBlock(id);
    this.#store.addBlock(joinedRow(first, this.#rows, bytes.length), bytes);
    return true;
  }

  #isAsItWas({ id, n0, rows, pending, bytes }: BlockRow): boolean {
    const [now] = this.#store.blocks(id, 1);
    return now?.id === id && now.n0 === n0 && now.rows === rows && now.pending === pending && now.bytes === bytes;
  }
}

/** With the stamp of the first: no younger than any row of it. */
function joinedRow(first: BlockRow, rows: readonly BlockRow[], bytes: number): BlockRow {
  const counts = new Map<number, number>();
  for (const row of rows) for (const [source, readings] of row.counts) addTo(counts, source, readings);
  const { holes: _, ...stamp } = first;
  const holes = rangeSet(rows.flatMap((row) => row.holes ?? []));
  return {
    ...stamp,
    rows: rows.reduce((sum, row) => sum + row.rows, 0),
    firstMs: rows.reduce((least, row) => Math.min(least, row.firstMs), first.firstMs),
    lastMs: rows.reduce((most, row) => Math.max(most, row.lastMs), first.lastMs),
    counts: holdsReadings(first.class) ? [...counts] : [],
    bytes,
    ...(holes.length > 0 && { holes }),
  };
}
