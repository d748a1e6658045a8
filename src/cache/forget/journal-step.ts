/** Takes a tag's rows out of some blocks, inside a transaction: rows, ledger, GAP together or not at all. */
import { CLASS, holdsReadings } from '../../wire/classes.ts';
import { count, intersect, type RangeSet, subtract, union } from '../../wire/ranges.ts';
import type { RunBook, TagBook, TargetBook } from '../books.ts';
import { type Content, decodeContent } from '../content.ts';
import type { Damage } from '../damage.ts';
import type { Flight } from '../flight.ts';
import type { Gap, Gaps } from '../gaps.ts';
import type { Stamp } from '../journal.ts';
import { isRolled, openRolled } from '../rolled/open.ts';
import { type BlockRow, type BlockStore, lastNumber, numbersOf, spanOf } from '../store.ts';
import { type TakenOut, takeOut } from '../take-out.ts';
import { type Forgotten, NOTHING } from './audit.ts';
import { numbersOfRecords, numbersOfTags, withoutRows } from './rewrite.ts';

export interface JournalParts {
  readonly store: BlockStore;
  readonly runs: RunBook;
  readonly tags: TagBook;
  readonly targets: TargetBook;
  readonly flight: Flight;
  readonly gaps: Gaps;
  readonly damage: Damage;
}

/** The numbers that a tag's name had, as they stand in blocks, and its ids, as they stand in aggregates. */
export interface TagNumbers {
  readonly numbers: ReadonlySet<number>;
  readonly ids: ReadonlySet<string>;
  readonly sources: ReadonlySet<number>;
}

export interface JournalStep {
  readonly removed: Forgotten;
  /** Blocks that have rows of it in flight. */
  readonly waiting: readonly BlockRow[];
}

export class JournalStepper {
  readonly #parts: JournalParts;

  constructor(parts: JournalParts) {
    this.#parts = parts;
  }

  take(rows: readonly BlockRow[], tag: TagNumbers, now: Stamp): JournalStep {
    let removed = NOTHING;
    const waiting: BlockRow[] = [];
    const gaps = new PendingGaps();
    /** What their pieces share: all of these go at once. */
    const seen = new Set<number>();
    const take = (row: BlockRow, gone: RangeSet) => {
      this.#writeOff(row, gone, tag, gaps);
      removed = counted(removed, row, count(gone));
    };
    for (const row of rows) {
      if (row.class < CLASS.aggregate || (row.content !== undefined && seen.has(row.content.id))) continue;
      if (this.#isOfOthers(row, tag)) continue;
      if (row.content !== undefined) seen.add(row.content.id);
      const stored = this.#parts.store.block(row.id);
      const all = isRolled(stored) ? this.#takeOut(row, stored, tag) : undefined;
      if (all === 'waits') waiting.push(...this.#parts.store.sharing(row));
      if (all === undefined) this.#takeRows(row, stored, tag, now, waiting, take);
      else if (all !== 'waits') for (const { row: piece, ranges } of all) if (ranges.length > 0) take(piece, ranges);
    }
    for (const { target, all } of gaps.take())
      this.#parts.gaps.write(this.#parts.targets.get(target), 'forgotten', all, now);
    return { removed, waiting };
  }

  /** By the sources of its readings. What it shares with other pieces may be of more than they are. */
  #isOfOthers(row: BlockRow, { sources }: TagNumbers): boolean {
    if (!holdsReadings(row.class) || row.content !== undefined) return false;
    return !row.counts.some(([source]) => sources.has(source));
  }

  /** Of a rolled block, without opening what is not of this tag. Undefined where that cannot be done. */
  #takeOut(row: BlockRow, stored: Uint8Array, { numbers }: TagNumbers): readonly TakenOut[] | 'waits' | undefined {
    try {
      const block = openRolled(stored);
      if (!block.tags.some(({ tag }) => numbers.has(tag))) return [];
      const rows = this.#parts.store.sharing(row);
      const mine = numbersOfTags(block.numbers(), numbers);
      if (rows.some((each) => this.#flying(each, intersect(mine, numbersOf(each))).length > 0)) return 'waits';
      return takeOut(this.#parts, rows, block, numbers);
    } catch {
      return undefined;
    }
  }

  /** Where anything of a divided block is in flight all of it waits: what its pieces share is there until the last is written anew. */
  #takeRows(
    row: BlockRow,
    stored: Uint8Array | undefined,
    tag: TagNumbers,
    now: Stamp,
    waiting: BlockRow[],
    take: (row: BlockRow, gone: RangeSet) => void,
  ): void {
    const pieces = this.#parts.store.sharing(row);
    const mine = this.#numbersOf(row, stored, tag);
    if (mine === 'damaged') {
      // What it held of the tag goes with it: set aside now, and removed with all that was set aside.
      this.#parts.damage.setAside(pieces, now, true);
      return;
    }
    if (mine.length === 0) return;
    const goneOf = (piece: BlockRow) => intersect(mine, numbersOf(piece));
    const flying = pieces.flatMap((piece) => this.#flying(piece, goneOf(piece)));
    if (flying.length > 0) waiting.push(...pieces);
    if (flying.length > 0 && row.content !== undefined) return;
    for (const piece of pieces) {
      const gone = subtract(goneOf(piece), flying);
      if (gone.length > 0) take(piece, gone);
      if (gone.length > 0 || row.content !== undefined) this.#replace(piece, decodeContent(piece, stored), gone);
    }
  }

  /** In all of what it may be a piece of. */
  #numbersOf(row: BlockRow, stored: Uint8Array | undefined, tag: TagNumbers): RangeSet | 'damaged' {
    const { content: shared, holes: _, ...piece } = row;
    try {
      for (const each of this.#parts.store.sharing(row)) decodeContent(each, stored);
      const content = decodeContent(
        shared === undefined ? row : { ...piece, n0: shared.n0, rows: shared.rows },
        stored,
      );
      return content.kind === 'readings'
        ? numbersOfTags(content.columns, tag.numbers)
        : numbersOfRecords(content, (record) => 'tag' in record && tag.ids.has(String(record.tag)));
    } catch {
      return 'damaged';
    }
  }

  #flying(row: BlockRow, ranges: RangeSet): RangeSet {
    const { targets, flight } = this.#parts;
    return targets
      .active()
      .reduce<RangeSet>((all, { name }) => union(all, intersect(ranges, flight.ranges(name, row.run, row.class))), []);
  }

  #writeOff(row: BlockRow, gone: RangeSet, { sources }: TagNumbers, gaps: PendingGaps): void {
    const { store, targets } = this.#parts;
    // A tag's name begins with that of its source.
    const [source = 0] = sources;
    for (const target of targets.active()) {
      if ((row.pending & (1 << target.bit)) === 0) continue;
      if (holdsReadings(row.class)) store.count(target.name, source, 'forgotten', count(gone));
      const { run, class: classNumber, firstMs, lastMs } = row;
      gaps.add(target.name, { run, class: classNumber, ranges: gone, fromMs: firstMs, toMs: lastMs });
    }
  }

  #replace(row: BlockRow, content: Content, gone: RangeSet): void {
    const { store, runs, tags } = this.#parts;
    const left = withoutRows(row, content, gone, tags);
    const run = runs.removed(row.run, row.class, lastNumber(row));
    if (run !== undefined) store.putRun(run);
    store.removeBlock(row.id);
    for (const { row: piece, bytes } of left) store.addBlock(piece, bytes);
  }

  /** Whether a block, or what it is a piece of, has rows of anything in flight: says without opening it that it still has to wait. */
  isFlying(row: BlockRow): boolean {
    return this.#parts.store.sharing(row).some((piece) => this.#flying(piece, [spanOf(piece)]).length > 0);
  }
}

function counted(sums: Forgotten, row: BlockRow, rows: number): Forgotten {
  if (!holdsReadings(row.class)) return { ...sums, aggregates: sums.aggregates + rows };
  return row.pending === 0 ? { ...sums, kept: sums.kept + rows } : { ...sums, pending: sums.pending + rows };
}

/** One a target, run and class, however many blocks. */
class PendingGaps {
  readonly #targets = new Map<string, Map<string, Gap>>();

  add(target: string, gap: Gap): void {
    const gaps = this.#targets.get(target) ?? new Map<string, Gap>();
    this.#targets.set(target, gaps);
    const key = `${gap.run} ${gap.class}`;
    const known = gaps.get(key);
    const ranges = union(known?.ranges ?? [], gap.ranges);
    const fromMs = Math.min(known?.fromMs ?? Number.POSITIVE_INFINITY, gap.fromMs ?? Number.POSITIVE_INFINITY);
    const toMs = Math.max(known?.toMs ?? Number.NEGATIVE_INFINITY, gap.toMs ?? Number.NEGATIVE_INFINITY);
    gaps.set(key, { ...gap, ranges, fromMs, toMs });
  }

  take(): { target: string; all: Gap[] }[] {
    return [...this.#targets].map(([target, gaps]) => ({ target, all: [...gaps.values()] }));
  }
}
