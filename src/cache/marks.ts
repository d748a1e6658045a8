/**
 * Delivery marks: a bit a target on each block, set while the target lacks it. A block of which only some rows change is
 * split into pieces; each keeps the numbers of its rows and its place in time. All of this happens inside a transaction.
 */
import { type ClassNumber, holdsReadings } from '../wire/classes.ts';
import { count, intersect, type Range, type RangeSet, subtract, union } from '../wire/ranges.ts';
import type { TagBook } from './books.ts';
import { type Content, decodeContent, pieceOf } from './content.ts';
import { addTo, shareOut } from './counts.ts';
import {
  allBlocks,
  BLOCK_ROWS_MAX,
  type BlockRow,
  type BlockStore,
  numbersOf,
  pieceId,
  type SourceCounts,
  type TargetRow,
} from './store.ts';

/** Of a rolled block that is taken in parts. */
const PART_ROWS_MIN = 2_000;
/** Rows of the journal read at once. */
const PAGE = 512;

export interface Part {
  readonly run: number;
  readonly class: ClassNumber;
  readonly ranges: RangeSet;
  /** No block with these rows has a lower id. */
  readonly fromId: number;
}

export interface Changed {
  readonly rows: number;
  readonly readings: number;
  /** Readings a source. */
  readonly counts: Map<number, number>;
  readonly ranges: RangeSet;
}

/** The rows of `ranges` as spans with nothing but holes in between: no more pieces than there would be without holes. */
function acrossHoles({ holes }: BlockRow, ranges: RangeSet): RangeSet {
  if (holes === undefined) return ranges;
  return union(ranges, holes).flatMap((span) => {
    const rows = intersect(ranges, span);
    const [first, last] = [rows[0], rows.at(-1)];
    return first === undefined || last === undefined ? [] : [{ from: first.from, to: last.to }];
  });
}

/**
 * What is left of a rolled block, as large as what was taken of it: the rest will be taken in the same way, and each time
 * all of what is left would be written again.
 */
function inParts(row: BlockRow, range: Range, taken: number): Range[] {
  if (row.rows <= BLOCK_ROWS_MAX) return [range];
  const parts: Range[] = [];
  const rows = Math.max(taken, PART_ROWS_MIN);
  for (let from = range.from; from <= range.to; from += rows)
    parts.push({ from, to: Math.min(from + rows - 1, range.to) });
  return parts;
}

export class Marks {
  readonly #store: BlockStore;
  readonly #tags: TagBook;

  constructor(store: BlockStore, tags: TagBook) {
    this.#store = store;
    this.#tags = tags;
  }

  /** Takes the target's bit off the rows of `part` that still have it, and counts them in the ledger under `reason`. */
  settle(target: TargetRow, part: Part, reason: string): Changed {
    const bit = 1 << target.bit;
    const touched = this.pending(bit, part);
    return this.#apply(target, touched, part, reason, 1, (pending) => pending & ~bit);
  }

  /** The opposite: rows that are still kept and that the target turned out not to have. */
  reopen(target: TargetRow, part: Part): Changed {
    const bit = 1 << target.bit;
    const touched: BlockRow[] = [];
    for (const row of allBlocks(this.#store, part.fromId)) {
      if (row.run !== part.run || row.class !== part.class || (row.pending & bit) !== 0) continue;
      if (intersect(part.ranges, numbersOf(row)).length > 0) touched.push(row);
    }
    return this.#apply(target, touched, part, 'delivered', -1, (pending) => pending | bit);
  }

  /** Blocks with rows of `part` that lack `bits`. */
  pending(bits: number, part: Part): BlockRow[] {
    const last = part.ranges.at(-1)?.to ?? 0;
    const found: BlockRow[] = [];
    for (let id = part.fromId; ; ) {
      const page = this.#store.pendingBlocks(bits, part.class, id, PAGE);
      for (const row of page) {
        if (row.run > part.run || (row.run === part.run && row.n0 > last)) return found;
        if (row.run === part.run && intersect(part.ranges, numbersOf(row)).length > 0) found.push(row);
      }
      const end = page.at(-1);
      if (end === undefined || page.length < PAGE) return found;
      id = end.id + 1;
    }
  }

  #apply(
    target: TargetRow,
    rows: readonly BlockRow[],
    part: Part,
    reason: string,
    sign: 1 | -1,
    change: (pending: number) => number,
  ): Changed {
    const counts = new Map<number, number>();
    let ranges: RangeSet = [];
    for (const row of rows) {
      const hit = intersect(part.ranges, numbersOf(row));
      const changed = count(hit) === row.rows ? this.#whole(row, change) : this.#split(row, hit, change);
      for (const [source, readings] of changed) addTo(counts, source, readings);
      ranges = union(ranges, hit);
    }
    if (holdsReadings(part.class)) {
      for (const [source, readings] of counts) this.#store.count(target.name, source, reason, sign * readings);
    }
    const changedRows = count(ranges);
    return { rows: changedRows, readings: holdsReadings(part.class) ? changedRows : 0, counts, ranges };
  }

  #whole(row: BlockRow, change: (pending: number) => number): SourceCounts {
    this.#store.setPending(row.id, change(row.pending));
    return row.counts;
  }

  #split(row: BlockRow, hit: RangeSet, change: (pending: number) => number): SourceCounts {
    const content = this.#open(row);
    // Damaged since it was cut: the block is set aside when it is read next; here only the account must add up.
    if (content === undefined) return this.#splitUnread(row, hit, change);
    const counts = new Map<number, number>();
    const rest = subtract(numbersOf(row), hit);
    const pieces = [
      ...acrossHoles(row, hit).map((range) => ({ range, isHit: true })),
      ...acrossHoles(row, rest).flatMap((range) =>
        inParts(row, range, count(hit)).map((part) => ({ range: part, isHit: false })),
      ),
    ];
    this.#store.removeBlock(row.id);
    for (const { range, isHit } of pieces) {
      const piece = pieceOf(row, content, range, this.#tags);
      if (piece === undefined) continue;
      const pending = isHit ? change(row.pending) : row.pending;
      this.#store.addBlock({ ...piece.row, pending }, piece.bytes);
      if (isHit) for (const [source, readings] of piece.row.counts) addTo(counts, source, readings);
    }
    return [...counts];
  }

  #open(row: BlockRow): Content | undefined {
    try {
      return decodeContent(row, this.#store.block(row.id));
    } catch {
      return undefined;
    }
  }

  /** Whose rows these are is not known any more: they are taken from its sources in order, so that the sum is right. */
  #splitUnread(row: BlockRow, hit: RangeSet, change: (pending: number) => number): SourceCounts {
    const [taken, left] = shareOut(row.counts, count(hit));
    const rest = subtract(numbersOf(row), hit);
    const bytes = this.#store.block(row.id) ?? new Uint8Array();
    this.#store.removeBlock(row.id);
    let counts: SourceCounts = taken;
    let others: SourceCounts = left;
    for (const { ranges, isHit } of [
      { ranges: hit, isHit: true },
      { ranges: rest, isHit: false },
    ]) {
      for (const { from, to } of ranges) {
        const [mine, remaining] = shareOut(isHit ? counts : others, to - from + 1);
        if (isHit) counts = remaining;
        else others = remaining;
        const pending = isHit ? change(row.pending) : row.pending;
        const piece = { id: pieceId(row, from), n0: from, rows: to - from + 1, counts: mine };
        const { holes: _, ...unbroken } = row;
        this.#store.addBlock({ ...unbroken, ...piece, pending }, bytes);
      }
    }
    return taken;
  }
}
