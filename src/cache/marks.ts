/**
 * Delivery marks: a bit a target on each block, set while the target lacks it. A block of which only some rows change is
 * divided into pieces, which share what it holds (`SharedContent`); each has the numbers of its rows and its place in time.
 * That costs a few rows of the journal, however large the block is. All of this happens inside a transaction.
 */
import { type ClassNumber, holdsReadings } from '../wire/classes.ts';
import { count, intersect, type Range, type RangeSet, rangeSet, subtract, union } from '../wire/ranges.ts';
import type { TagBook } from './books.ts';
import { sourcesWithin } from './content.ts';
import { addTo, shareOut } from './counts.ts';
import {
  allBlocks,
  type BlockRow,
  type BlockStore,
  lastNumber,
  numbersOf,
  pieceId,
  type SourceCounts,
  sharedBy,
  type TargetRow,
} from './store.ts';

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

export class Marks {
  readonly #store: BlockStore;
  readonly #tags: TagBook;
  readonly #mayJoin: () => boolean;

  /** @param mayJoin whether pieces may come to lie where others were: not while somebody looks through the journal in steps. */
  constructor(store: BlockStore, tags: TagBook, mayJoin: () => boolean = () => true) {
    this.#store = store;
    this.#tags = tags;
    this.#mayJoin = mayJoin;
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

  /** Rows of `part` that lack `bits`: a HELLO may have marked them while their batch was on its way. */
  pendingRows(bits: number, part: Part): number {
    return this.pending(bits, part).reduce((sum, row) => sum + count(intersect(part.ranges, numbersOf(row))), 0);
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
    if (row.content !== undefined) this.#join(row);
    return row.counts;
  }

  /** Only rows of the journal: what it holds is left as it is. */
  #split(row: BlockRow, hit: RangeSet, change: (pending: number) => number): SourceCounts {
    const all = numbersOf(row);
    const isHit = (span: Range) => intersect(hit, span).length > 0;
    const spans = [...acrossHoles(row, hit), ...acrossHoles(row, subtract(all, hit))].sort((a, b) => a.from - b.from);
    const sources = this.#sourcesWithin(row, spans, isHit);
    let [rows, bytes] = [0, 0];
    const pieces = spans.map((span, at): BlockRow => {
      const holes = intersect(row.holes ?? [], span);
      const { holes: _, ...unbroken } = row;
      const mine = count(intersect(all, span));
      rows += mine;
      // Shares that add up: together they are what the whole takes.
      const before = bytes;
      bytes = Math.round((row.bytes * rows) / row.rows);
      return {
        ...unbroken,
        ...(holes.length > 0 && { holes }),
        ...{ id: pieceId(row, span.from), n0: span.from, rows: mine, bytes: bytes - before },
        counts: sources[at] ?? [],
        pending: isHit(span) ? change(row.pending) : row.pending,
      };
    });
    this.#store.divide([row], pieces);
    this.#join({ ...row, content: sharedBy(row) });
    const counts = new Map<number, number>();
    spans.forEach((span, at) => {
      for (const [source, readings] of isHit(span) ? (sources[at] ?? []) : []) addTo(counts, source, readings);
    });
    return [...counts];
  }

  /** Neighbours that the same targets lack become one piece again, and a block as before when it is all of it. */
  #join(row: BlockRow): void {
    if (!this.#mayJoin()) return;
    let before: BlockRow[] = [];
    const join = () => {
      const [first] = before;
      if (first !== undefined && before.length > 1) this.#store.divide(before, [joined(first, before)]);
    };
    for (const piece of this.#store.sharing(row)) {
      const last = before.at(-1);
      if (last !== undefined && last.pending === piece.pending && lastNumber(last) + 1 === piece.n0) before.push(piece);
      else {
        join();
        before = [piece];
      }
    }
    join();
  }

  #sourcesWithin(row: BlockRow, spans: readonly Range[], isHit: (span: Range) => boolean): SourceCounts[] {
    try {
      return sourcesWithin(row, this.#store.block(row.id), spans, this.#tags);
    } catch {
      // Damaged since it was cut: set aside when it is read next. Whose rows these are is not known any more: they are taken
      // from its sources in order, those that are hit first, so that the sum is right.
      const rowsOf = (span: Range) => count(intersect(numbersOf(row), span));
      let [taken, left] = shareOut(
        row.counts,
        spans.reduce((sum, span) => sum + (isHit(span) ? rowsOf(span) : 0), 0),
      );
      return spans.map((span) => {
        const [mine, rest] = shareOut(isHit(span) ? taken : left, rowsOf(span));
        if (isHit(span)) taken = rest;
        else left = rest;
        return mine;
      });
    }
  }
}

function joined(first: BlockRow, pieces: readonly BlockRow[]): BlockRow {
  const counts = new Map<number, number>();
  for (const piece of pieces) for (const [source, readings] of piece.counts) addTo(counts, source, readings);
  const holes = rangeSet(pieces.flatMap((piece) => piece.holes ?? []));
  const sum = (what: 'rows' | 'bytes') => pieces.reduce((total, piece) => total + piece[what], 0);
  return { ...first, ...(holes.length > 0 && { holes }), rows: sum('rows'), bytes: sum('bytes'), counts: [...counts] };
}
