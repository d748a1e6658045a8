/** Takes a tag's rows out of some blocks, inside a transaction: rows, ledger, GAP together or not at all. */
import { CLASS, holdsReadings } from '../../wire/classes.ts';
import { count, intersect, type RangeSet, subtract, union } from '../../wire/ranges.ts';
import type { RunBook, TagBook, TargetBook } from '../books.ts';
import { type Content, decodeContent } from '../content.ts';
import type { Damage } from '../damage.ts';
import type { Flight } from '../flight.ts';
import type { Gap, Gaps } from '../gaps.ts';
import type { Stamp } from '../journal.ts';
import { type BlockRow, type BlockStore, lastNumber, spanOf } from '../store.ts';
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
    for (const row of rows) {
      const mine = this.#find(row, tag, now);
      if (mine === undefined) continue;
      const flying = this.#flying(row, mine.ranges);
      if (flying.length > 0) waiting.push(row);
      const gone = subtract(mine.ranges, flying);
      if (gone.length === 0) continue;
      this.#writeOff(row, gone, tag, gaps);
      this.#replace(row, mine.content, gone);
      removed = counted(removed, row, count(gone));
    }
    for (const { target, all } of gaps.take())
      this.#parts.gaps.write(this.#parts.targets.get(target), 'forgotten', all, now);
    return { removed, waiting };
  }

  #find(row: BlockRow, tag: TagNumbers, now: Stamp): { content: Content; ranges: RangeSet } | undefined {
    if (row.class < CLASS.aggregate) return undefined;
    if (holdsReadings(row.class) && !row.counts.some(([source]) => tag.sources.has(source))) return undefined;
    let content: Content;
    try {
      content = decodeContent(row, this.#parts.store.block(row.id));
    } catch {
      // What it held of the tag goes with it: set aside now, and removed with all that was set aside.
      this.#parts.damage.setAside([row], now);
      return undefined;
    }
    const ranges =
      content.kind === 'readings'
        ? numbersOfTags(content.columns, tag.numbers)
        : numbersOfRecords(content, (record) => 'tag' in record && tag.ids.has(String(record.tag)));
    return ranges.length === 0 ? undefined : { content, ranges };
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

  /** Whether a block has rows of anything in flight: says without opening it that it still has to wait. */
  isFlying(row: BlockRow): boolean {
    return this.#flying(row, [spanOf(row)]).length > 0;
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
