/**
 * Takes tags out of a rolled block: those that are forgotten, or those that are damaged. Nothing of the others is opened, so
 * it takes a few milliseconds however large the block is. All pieces of what it is a piece of change together; what is gone
 * are holes among their numbers.
 */
import { rangesOf } from '../wire/block.ts';
import { count, intersect, type RangeSet, subtract } from '../wire/ranges.ts';
import type { RunBook, TagBook } from './books.ts';
import { sourcesOf } from './content.ts';
import { openRolled, type RolledBlock } from './rolled/open.ts';
import { rowsWithin, type Without, withoutTags } from './rolled/without.ts';
import {
  type BlockRow,
  type BlockStore,
  isWhole,
  lastNumber,
  numbersOf,
  pieceId,
  type SourceCounts,
  spanOf,
} from './store.ts';

export interface TakenOutParts {
  readonly store: BlockStore;
  readonly runs: RunBook;
  readonly tags: TagBook;
}

/** What went of a block, or of a piece. */
export interface TakenOut {
  /** As it was. */
  readonly row: BlockRow;
  readonly ranges: RangeSet;
  readonly counts: SourceCounts;
}

/**
 * Inside a transaction.
 * @param remove takes a block away; those that are written in their place come afterwards.
 * @throws SluiceError (discard) where directory or numbers are damaged, RangeError where the rest is too sparse: nothing changed.
 */
export function takeOut(
  { store, runs, tags }: TakenOutParts,
  rows: readonly BlockRow[],
  block: RolledBlock,
  gone: ReadonlySet<number>,
  remove = (row: BlockRow) => store.removeBlock(row.id),
): TakenOut[] {
  const before = block.numbers();
  const isGone = before.tags.map(({ tag }) => gone.has(tag));
  const left = withoutTags(block, gone);
  const keptNumbers = left === undefined ? [] : rangesOf(left);
  const rowsOf = rowsWithin(before, rows.map(spanOf));
  const sources = (at: number, wanted: boolean): SourceCounts => {
    const some = before.tags.map((tag, i) => ({ ...tag, counts: [isGone[i] === wanted ? (rowsOf[at]?.[i] ?? 0) : 0] }));
    return sourcesOf({ tags: some }, tags);
  };
  const taken = rows.map(
    (row, at): TakenOut => ({
      row,
      ranges: subtract(numbersOf(row), keptNumbers),
      counts: sources(at, true),
    }),
  );
  const pieces = rows.flatMap((row, at): BlockRow[] => {
    const kept = intersect(keptNumbers, spanOf(row));
    return kept.length === 0 ? [] : [pieceWith(row, kept, sources(at, false))];
  });
  for (const row of rows) {
    // The journal may no longer tell that its last numbers were given.
    const run = runs.removed(row.run, row.class, lastNumber(row));
    if (run !== undefined) store.putRun(run);
    remove(row);
  }
  if (left !== undefined) write(store, pieces, left, keptNumbers);
  return taken;
}

function pieceWith({ holes: _, content: __, ...row }: BlockRow, kept: RangeSet, counts: SourceCounts): BlockRow {
  const [n0, to] = [kept[0]?.from ?? row.n0, kept.at(-1)?.to ?? row.n0];
  const holes = subtract([{ from: n0, to }], kept);
  const place = { id: pieceId(row, n0), n0, rows: count(kept) };
  return { ...row, ...place, ...(holes.length > 0 && { holes }), counts };
}

function write(store: BlockStore, pieces: readonly BlockRow[], left: Without, numbers: RangeSet): void {
  const [first] = pieces;
  if (first === undefined) return;
  // Numbers of pieces that were removed before are in it as well.
  const whole = { ...first, n0: numbers[0]?.from ?? first.n0, rows: count(numbers) };
  store.addBlock(whole, left.bytes);
  const [written] = store.blocks(whole.id, 1);
  if (written === undefined || (pieces.length === 1 && isWhole(first, whole))) return;
  const bytesOf = ({ rows }: BlockRow) => Math.round((left.bytes.length * rows) / whole.rows);
  store.divide(
    [written],
    pieces.map((piece) => ({ ...piece, bytes: bytesOf(piece) })),
  );
}

/** @returns undefined when it does not open as a rolled block. */
export function opened(stored: Uint8Array | undefined): RolledBlock | undefined {
  try {
    return stored === undefined ? undefined : openRolled(stored);
  } catch {
    return undefined;
  }
}
