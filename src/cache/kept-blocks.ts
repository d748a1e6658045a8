/** Blocks on the disk: a row of the journal each, and what they hold, which the pieces of a divided block share. */
import { kidOn, type Sealer } from './at-rest.ts';
import { blockRow, type JournalRecord, storedCounts, storedHoles } from './rows.ts';
import type { Statements } from './statements.ts';
import { type BlockRow, isWhole, type SharedContent, sharedBy } from './store.ts';

type Sql = Pick<
  Statements,
  'addJournal' | 'addBlock' | 'freeBlockId' | 'block' | 'removeJournal' | 'removeBlock' | 'sharing' | 'isShared'
>;

export class KeptBlocks {
  readonly #sql: Sql;
  readonly #sealer: Sealer;

  constructor(sql: Sql, sealer: Sealer) {
    this.#sql = sql;
    this.#sealer = sealer;
  }

  add(row: BlockRow, block: Uint8Array): void {
    this.#journal({ ...row, bytes: block.length }, this.#content(row, block));
  }

  /** @returns where it is, when that is not under the block's own id: what was there before may be shared by pieces yet. */
  #content({ id, n0, rows }: BlockRow, block: Uint8Array): SharedContent | undefined {
    if (this.#sql.addBlock.run(id, this.#sealer.seal('blocks', id, block)).changes > 0) return undefined;
    const free = (this.#sql.freeBlockId.get() as { id: number }).id; // the statement's column
    this.#sql.addBlock.run(free, this.#sealer.seal('blocks', free, block));
    return { id: free, n0, rows };
  }

  #journal(row: BlockRow, content: SharedContent | undefined): void {
    const { id, run, class: classNumber, n0, rows, firstMs, lastMs, pending, monoMs, wallMs, synced, bytes } = row;
    const columns = [id, run, classNumber, n0, rows, firstMs, lastMs, pending, monoMs, wallMs, synced ? 1 : 0, bytes];
    const shared = [content?.id ?? null, content?.n0 ?? null, content?.rows ?? null];
    this.#sql.addJournal.run(...columns, storedCounts(row.counts), storedHoles(row), ...shared);
  }

  get(id: number): Uint8Array | undefined {
    const row = this.#sql.block.get(id, id) as { id: number; block: Uint8Array } | undefined; // the statement's columns
    if (row === undefined || kidOn(row.block) === undefined) return row?.block;
    // What does not open is damage, and stays what it is: nothing unpacks it.
    return this.#sealer.open('blocks', row.id, row.block) ?? row.block;
  }

  remove(id: number): void {
    const row = this.#sql.removeJournal.get(id) as { content: number | null } | undefined; // the statement's column
    const content = row?.content ?? id;
    if (row?.content !== null && this.#sql.isShared.get(content) !== undefined) return;
    this.#sql.removeBlock.run(content);
  }

  divide(rows: readonly BlockRow[], pieces: readonly BlockRow[]): void {
    const [first] = rows;
    if (first === undefined) return;
    const content = sharedBy(first);
    for (const { id } of rows) this.#sql.removeJournal.run(id);
    for (const piece of pieces) this.#journal(piece, isWhole(piece, content) ? undefined : content);
  }

  sharing(row: BlockRow): BlockRow[] {
    if (row.content === undefined) return [row];
    return (this.#sql.sharing.all(row.content.id) as JournalRecord[]).map(blockRow);
  }
}
