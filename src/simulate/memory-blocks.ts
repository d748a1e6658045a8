/** The journal and the blocks of a store in memory. Semantics as `kept-blocks.ts`. */
import { type BlockRow, isWhole, sharedBy } from '../cache/store.ts';
import { copied, firstAtLeast, requireNew, sortedBy, type Tables } from './tables.ts';

/** Roughly what a row costs in SQLite. */
export const ROW_BYTES = 128;

type IsWanted = (row: BlockRow) => boolean;

export class MemoryBlocks {
  readonly #journal: Map<number, BlockRow>;
  readonly #blocks: Map<number, Uint8Array>;
  readonly #set: <K, V>(table: Map<K, V>, key: K, value: V | undefined) => void;
  readonly #grow: (by: number) => void;
  /** Keys of the journal in order; undefined after a change that did not come at the end. */
  #ids: number[] | undefined;

  /** @param set in a way that can be undone. */
  constructor(
    { journal, blocks }: Tables,
    set: <K, V>(table: Map<K, V>, key: K, value: V | undefined) => void,
    grow: (by: number) => void,
  ) {
    this.#journal = journal;
    this.#blocks = blocks;
    this.#set = set;
    this.#grow = grow;
  }

  add({ content: _, ...row }: BlockRow, block: Uint8Array): void {
    const isTaken = this.#blocks.has(row.id);
    const key = isTaken ? Math.min(0, ...this.#blocks.keys()) - 1 : row.id;
    const content = isTaken ? { content: { id: key, n0: row.n0, rows: row.rows } } : {};
    this.#put({ ...row, ...content, bytes: block.length });
    this.#set(this.#blocks, key, block.slice());
    this.#grow(block.length + ROW_BYTES);
  }

  #put(row: BlockRow): void {
    requireNew(this.#journal, row.id);
    const ids = this.#ids;
    if (ids !== undefined && row.id > (ids.at(-1) ?? -1)) ids.push(row.id);
    else this.#ids = undefined;
    this.#set(this.#journal, row.id, row);
  }

  get(id: number): Uint8Array | undefined {
    return copied(this.#blocks.get(this.#journal.get(id)?.content?.id ?? id));
  }

  remove(id: number): void {
    const content = this.#journal.get(id)?.content?.id;
    this.#set(this.#journal, id, undefined);
    this.#ids = undefined;
    if (content !== undefined && this.#pieces(content).length > 0) return;
    const key = content ?? id;
    const block = this.#blocks.get(key);
    if (block !== undefined) this.#grow(-block.length - ROW_BYTES);
    this.#set(this.#blocks, key, undefined);
  }

  divide(rows: readonly BlockRow[], pieces: readonly BlockRow[]): void {
    const [first] = rows;
    if (first === undefined) return;
    const content = sharedBy(first);
    for (const { id } of rows) this.#set(this.#journal, id, undefined);
    this.#ids = undefined;
    for (const { content: _, ...piece } of pieces) this.#put(isWhole(piece, content) ? piece : { ...piece, content });
  }

  sharing(row: BlockRow): BlockRow[] {
    return row.content === undefined ? [row] : sortedBy(this.#pieces(row.content.id), ({ id }) => id);
  }

  #pieces(content: number): BlockRow[] {
    return [...this.#journal.values()].filter((row) => row.content?.id === content);
  }

  /** After something was undone. */
  forgetOrder(): void {
    this.#ids = undefined;
  }

  ids(): number[] {
    this.#ids ??= [...this.#journal.keys()].sort((a, b) => a - b);
    return this.#ids;
  }

  up(id: number, limit: number, isWanted: IsWanted): BlockRow[] {
    const ids = this.ids();
    const found: BlockRow[] = [];
    for (let at = firstAtLeast(ids, id); at < ids.length && found.length < limit; at++)
      this.#take(ids[at], isWanted, found);
    return found;
  }

  down(id: number, limit: number, isWanted: IsWanted): BlockRow[] {
    const ids = this.ids();
    const found: BlockRow[] = [];
    for (let at = firstAtLeast(ids, id + 1) - 1; at >= 0 && found.length < limit; at--)
      this.#take(ids[at], isWanted, found);
    return found;
  }

  #take(id: number | undefined, isWanted: IsWanted, found: BlockRow[]): void {
    const row = this.#journal.get(id ?? -1);
    if (row !== undefined && isWanted(row)) found.push(row);
  }
}
