/** Writing rows off, for one target: what will never come is said in GAP rows and remembered as explained. */
import { ByteReader, ByteWriter, hex } from '../wire/bytes.ts';
import type { ClassNumber } from '../wire/classes.ts';
import { type ControlRow, GAP_RANGES_MAX } from '../wire/control.ts';
import { count, decodeRanges, encodeRanges, intersect, type RangeSet, subtract, union } from '../wire/ranges.ts';
import type { RunBook } from './books.ts';
import type { Journal, Stamp } from './journal.ts';
import type { BlockStore, TargetRow } from './store.ts';
import type { WriteOffReason } from './types.ts';

export interface Gap {
  readonly run: number;
  readonly class: ClassNumber;
  readonly ranges: RangeSet;
  readonly fromMs: number | null;
  readonly toMs: number | null;
}

export class Gaps {
  readonly #store: BlockStore;
  readonly #runs: RunBook;
  readonly #journal: Journal;

  constructor(store: BlockStore, runs: RunBook, journal: Journal) {
    this.#store = store;
    this.#runs = runs;
    this.#journal = journal;
  }

  /** Inside a transaction; the ledger is the caller's. Only this target gets the rows: others may have what is missing here. */
  write(target: TargetRow, reason: WriteOffReason, gaps: readonly Gap[], stamp: Stamp): void {
    const rows = gaps.filter(({ ranges }) => ranges.length > 0).flatMap((gap) => this.#rows(gap, reason));
    this.#journal.writeControl(rows, stamp, 1 << target.bit);
    for (const { run, class: classNumber, ranges } of gaps) {
      this.#change(target, run, classNumber, reason, (known) => union(known, ranges));
    }
  }

  #rows({ run, class: classNumber, ranges, fromMs, toMs }: Gap, reason: WriteOffReason): ControlRow[] {
    const rows: ControlRow[] = [];
    for (let at = 0; at < ranges.length; at += GAP_RANGES_MAX) {
      const some = ranges.slice(at, at + GAP_RANGES_MAX);
      const runHex = hex(this.#runs.bySeq(run)?.run ?? new Uint8Array());
      rows.push({
        type: 'GAP',
        run: runHex,
        class: classNumber,
        ranges: some,
        count: count(some),
        from: fromMs,
        to: toMs,
        reason,
      });
    }
    return rows;
  }

  /** What a target was told of a run and class, by reason. */
  explained(target: TargetRow, run: number, classNumber: ClassNumber): Map<string, RangeSet> {
    const found = new Map<string, RangeSet>();
    for (const row of this.#store.explained(target.name)) {
      if (row.run === run && row.class === classNumber)
        found.set(row.reason, decodeRanges(new ByteReader(row.ranges), Number.MAX_SAFE_INTEGER));
    }
    return found;
  }

  /**
   * A row beats a GAP: these were written off here, and the target holds them all the same.
   * @returns how many of each reason were taken back.
   */
  takeBack(target: TargetRow, run: number, classNumber: ClassNumber, held: RangeSet): Map<string, number> {
    const back = new Map<string, number>();
    for (const [reason, ranges] of this.explained(target, run, classNumber)) {
      const hit = intersect(ranges, held);
      if (hit.length === 0) continue;
      back.set(reason, count(hit));
      this.#change(target, run, classNumber, reason, (known) => subtract(known, hit));
    }
    return back;
  }

  #change(
    target: TargetRow,
    run: number,
    classNumber: ClassNumber,
    reason: string,
    change: (known: RangeSet) => RangeSet,
  ): void {
    const known = this.explained(target, run, classNumber).get(reason) ?? [];
    const writer = new ByteWriter();
    encodeRanges(writer, change(known));
    this.#store.putExplained({ target: target.name, run, class: classNumber, reason, ranges: writer.take() });
  }
}
