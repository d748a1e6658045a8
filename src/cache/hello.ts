/**
 * HELLO: our marks against what the cloud says it holds. The question remembers the marks as they are when it is asked,
 * because rows delivered while it travels are not in the answer.
 */
import { randomUUID } from 'node:crypto';
import { SluiceError } from '../errors.ts';
import { hex } from '../wire/bytes.ts';
import { CLASS, CLASS_NUMBERS, type ClassNumber, holdsReadings } from '../wire/classes.ts';
import { HELLO_RUNS_MAX, type HeldRun } from '../wire/hello.ts';
import { count, intersect, RANGES_MAX, type RangeSet, subtract, union } from '../wire/ranges.ts';
import type { RunBook } from './books.ts';
import { shareOut } from './counts.ts';
import type { Gap, Gaps, ReasonedGap } from './gaps.ts';
import type { Stamp } from './journal.ts';
import { takeFromReasons } from './ledger-reasons.ts';
import type { Marks } from './marks.ts';
import { forgetSettled } from './settled.ts';
import { type BlockStore, numbersOf, type SourceCounts, type TargetRow } from './store.ts';
import type { HelloAnswer, HelloOutcome, HelloQuestion, WriteOffReason } from './types.ts';
import { untoldRanges } from './untold-ranges.ts';

/** Questions whose answers never came; the oldest is forgotten. */
const QUESTIONS_MAX = 8;
const PAGE = 512;

interface Asked {
  readonly run: number;
  readonly runHex: string;
  readonly class: ClassNumber;
  readonly all: RangeSet;
  readonly pending: RangeSet;
  readonly explained: ReadonlyMap<string, RangeSet>;
  /** Of these the target is told by GAP rows that wait, or are yet to be written. */
  readonly onTheWay: RangeSet;
}

export class Hello {
  readonly #store: BlockStore;
  readonly #runs: RunBook;
  readonly #marks: Marks;
  readonly #gaps: Gaps;
  readonly #asked = new Map<string, readonly Asked[]>();

  constructor(store: BlockStore, runs: RunBook, marks: Marks, gaps: Gaps) {
    this.#store = store;
    this.#runs = runs;
    this.#marks = marks;
    this.#gaps = gaps;
  }

  /** @param page from 0; newest runs first. */
  ask(target: TargetRow, page: number): HelloQuestion {
    const runs = this.#runs.all().reverse();
    const some = runs.slice(page * HELLO_RUNS_MAX, (page + 1) * HELLO_RUNS_MAX);
    const pending = this.#pending(target);
    const onTheWay = untoldRanges(this.#store, this.#runs, target);
    const asked = some.flatMap(({ seq, run, last }) =>
      CLASS_NUMBERS.filter((classNumber) => (last[classNumber] ?? 0) > 0).map((classNumber): Asked => {
        const all = [{ from: 1, to: last[classNumber] ?? 1 }];
        return {
          run: seq,
          runHex: hex(run),
          class: classNumber,
          all,
          pending: pending.get(`${seq} ${classNumber}`) ?? [],
          explained: this.#gaps.explained(target, seq, classNumber),
          onTheWay: onTheWay.get(`${hex(run)} ${classNumber}`) ?? [],
        };
      }),
    );
    const id = randomUUID();
    this.#asked.set(id, asked);
    const [oldest] = this.#asked.keys();
    if (this.#asked.size > QUESTIONS_MAX && oldest !== undefined) this.#asked.delete(oldest);
    const classesOf = (runHex: string) =>
      asked.filter((one) => one.runHex === runHex).map(({ class: c, all }) => ({ class: c, ranges: all }));
    return {
      id,
      target: target.name,
      runs: some.map(({ run }) => ({ run, classes: classesOf(hex(run)) })),
      next: runs.length > (page + 1) * HELLO_RUNS_MAX ? page + 1 : undefined,
    };
  }

  /**
   * Inside a transaction.
   * @param mayNotNumber no rows can be written now: what is lost at the target is left to the next question.
   */
  compare(target: TargetRow, id: string, answer: HelloAnswer, stamp: Stamp, mayNotNumber = false): HelloOutcome {
    const asked = this.#asked.get(id);
    if (asked === undefined)
      throw new SluiceError(
        'cache.question_unknown',
        'discard',
        'an answer to a question that was not asked, or twice',
      );
    this.#asked.delete(id);
    const outcome = { marked: 0, reopened: 0, lost: 0 };
    const gaps: Gap[] = [];
    const again: ReasonedGap[] = [];
    let readingsGone = 0;
    for (const one of asked) {
      const found = answer.held
        .find(({ run }) => hex(run) === one.runHex)
        ?.classes.find((each) => each.class === one.class);
      const held = intersect(one.all, found?.held ?? []);
      const part = { run: one.run, class: one.class, fromId: 0 };
      outcome.marked += this.#marks.settle(target, { ...part, ranges: intersect(one.pending, held) }, 'delivered').rows;
      this.#takeBack(target, one, held);
      if (!mayNotNumber) again.push(...notKnown(one, found));
      const explained = [...one.explained.values()].reduce((all, each) => union(all, each), []);
      const delivered = subtract(subtract(one.all, one.pending), explained);
      // Also what somebody explained to it: a clone of this box that keeps less wrote off what may still be here.
      const lost = subtract(delivered, held);
      if (lost.length === 0) continue;
      const reopened = this.#marks.reopen(target, { ...part, ranges: lost });
      outcome.reopened += reopened.rows;
      const gone = subtract(lost, reopened.ranges);
      if (mayNotNumber) continue;
      outcome.lost += count(gone);
      if (holdsReadings(one.class)) readingsGone += count(gone);
      gaps.push({ run: one.run, class: one.class, ranges: gone, fromMs: null, toMs: null });
    }
    // After all whose sources are known: theirs must not be taken for those of others.
    this.#move(target, 'delivered', 'cloud_lost', readingsGone);
    this.#gaps.write(target, 'cloud_lost', gaps, stamp);
    this.#gaps.tell(target, again, stamp);
    if (gaps.some(({ class: of, ranges }) => of === CLASS.control && ranges.length > 0))
      forgetSettled(this.#store, target);
    return outcome;
  }

  #takeBack(target: TargetRow, { run, class: classNumber }: Asked, held: RangeSet): void {
    for (const [reason, rows] of this.#gaps.takeBack(target, run, classNumber, held)) {
      if (holdsReadings(classNumber)) this.#move(target, reason, 'delivered', rows);
    }
  }

  /** Whose readings they were is not known any more: they are taken from the sources in order, so that the sum is right. */
  #move(target: TargetRow, from: string, to: string, rows: number): void {
    const mine = this.#store.ledger().filter((row) => row.target === target.name && row.reason === from);
    const counts: SourceCounts = mine.map(({ source, count: readings }) => [source, readings]);
    for (const [source, readings] of shareOut(counts, rows)[0]) {
      this.#store.count(target.name, source, from, -readings);
      if (from === 'dropped') takeFromReasons(this.#store, target.name, source, readings);
      this.#store.count(target.name, source, to, readings);
    }
  }

  /** Also for answers to GAP rows: rows that the target holds all the same. */
  heldAfterAll(target: TargetRow, run: Uint8Array, classNumber: ClassNumber, held: RangeSet): void {
    const known = this.#runs.byHex(hex(run));
    if (known === undefined) return;
    for (const [reason, rows] of this.#gaps.takeBack(target, known.seq, classNumber, held)) {
      if (holdsReadings(classNumber)) this.#move(target, reason, 'delivered', rows);
    }
  }

  /** Pending ranges by `run class`. */
  #pending(target: TargetRow): Map<string, RangeSet> {
    const ranges = new Map<string, RangeSet>();
    for (const classNumber of CLASS_NUMBERS) {
      for (let id = 0; ; ) {
        const page = this.#store.pendingBlocks(1 << target.bit, classNumber, id, PAGE);
        for (const row of page) {
          const key = `${row.run} ${row.class}`;
          ranges.set(key, union(ranges.get(key) ?? [], numbersOf(row)));
        }
        const end = page.at(-1);
        if (end === undefined || page.length < PAGE) break;
        id = end.id + 1;
      }
    }
    return ranges;
  }
}

/** What was explained and the target does not know: it was restored from a backup, and the GAP rows may be gone here. */
function notKnown(
  { run, class: classNumber, explained, onTheWay }: Asked,
  found: HeldRun['classes'][number] | undefined,
): ReasonedGap[] {
  const known = union(union(found?.held ?? [], found?.explained ?? []), onTheWay);
  // An answer has no more ranges than this: nothing is said of what comes behind.
  const isCut = (ranges: RangeSet = []) => ranges.length >= RANGES_MAX;
  if (isCut(found?.held) || isCut(found?.explained)) return [];
  return [...explained].map(([reason, ranges]) => ({
    ...{ run, class: classNumber, ranges: subtract(ranges, known), fromMs: null, toMs: null },
    reason: reason as WriteOffReason, // nothing else is written there
  }));
}
