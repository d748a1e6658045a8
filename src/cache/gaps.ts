/** Writing rows off, for one target: what will never come is said in GAP rows and remembered as explained. */
import { codeOf } from '../errors.ts';
import { hex } from '../wire/bytes.ts';
import type { ClassNumber } from '../wire/classes.ts';
import { type ControlRow, GAP_RANGES_MAX } from '../wire/control.ts';
import { count, intersect, type RangeSet, subtract, union } from '../wire/ranges.ts';
import type { RunBook, TargetBook } from './books.ts';
import type { Commits } from './commits.ts';
import type { Journal, NewBlock, Stamp } from './journal.ts';
import type { BlockStore, TargetRow } from './store.ts';
import type { WriteOffReason } from './types.ts';
import { changeExplained, explained, type Gap, setUntold, untold } from './untold.ts';

export type { Gap };

export interface ReasonedGap extends Gap {
  readonly reason: WriteOffReason;
}

/** What is written off for want of room comes with every commit, for as long as it lasts; one row then says it of many. */
const TOLD_APART_MS = 10_000;

export class Gaps {
  readonly #store: BlockStore;
  readonly #runs: RunBook;
  readonly #journal: Journal;
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(store: BlockStore, runs: RunBook, journal: Journal) {
    this.#store = store;
    this.#runs = runs;
    this.#journal = journal;
  }

  /** Inside a transaction; the ledger is the caller's. Only this target gets the rows: others may have what is missing here. */
  write(target: TargetRow, reason: WriteOffReason, gaps: readonly Gap[], stamp: Stamp): void {
    this.tell(
      target,
      gaps.map((gap) => ({ ...gap, reason })),
      stamp,
    );
    for (const { run, class: classNumber, ranges } of gaps) {
      const place = { run, class: classNumber };
      changeExplained(this.#store, target.name, place, reason, (known) => union(known, ranges));
    }
  }

  /** Inside a transaction: says what was explained already (once more, or in fewer rows). */
  tell(target: TargetRow, gaps: readonly ReasonedGap[], stamp: Stamp): readonly NewBlock[] {
    const rows = gaps.filter(({ ranges }) => ranges.length > 0).flatMap((gap) => this.#rows(gap, gap.reason));
    return this.#journal.writeControl(rows, stamp, 1 << target.bit);
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

  /** What was written off without numbers to say so (`untold.ts`), in a transaction of its own. */
  tellDue(targets: Pick<TargetBook, 'active'>, commits: Pick<Commits, 'now' | 'transact'>): void {
    const names = new Set(targets.active().map(({ name }) => name));
    if (commits.now().monoMs - this.#toldMs < TOLD_APART_MS) return;
    if (!untold(this.#store).some(({ target }) => names.has(target))) return;
    try {
      commits.transact((now) => this.#tell(targets, now));
    } catch (thrown) {
      // It stays written down, and is told when there is room.
      if (codeOf(thrown) !== 'cache.full') throw thrown;
    }
  }

  #tell(targets: Pick<TargetBook, 'active'>, stamp: Stamp): void {
    const waiting = untold(this.#store);
    const active = targets.active();
    for (const target of active) {
      this.tell(
        target,
        waiting.filter((gap) => gap.target === target.name),
        stamp,
      );
    }
    const left = waiting.filter(({ target }) => !active.some(({ name }) => name === target));
    if (left.length < waiting.length) setUntold(this.#store, left);
    this.#toldMs = stamp.monoMs;
  }

  /** What a target was told of a run and class, by reason. */
  explained(target: TargetRow, run: number, classNumber: ClassNumber): Map<string, RangeSet> {
    return explained(this.#store, target.name, run, classNumber);
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
      const place = { run, class: classNumber };
      changeExplained(this.#store, target.name, place, reason, (known) => subtract(known, hit));
    }
    return back;
  }
}
