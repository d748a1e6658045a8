/**
 * Acknowledgements wait for the next commit: they change the same pages as it does, so together they cost the card half.
 * Until then their batches stay in flight, so that nobody takes their rows. A crash before that commit forgets them: those
 * rows are sent again, and the cloud counts them as duplicates.
 *
 * They do not wait while there is pressure, because they are what makes room; nor when the answer says more than "taken".
 */
import { codeOf } from '../errors.ts';
import type { TargetBook } from './books.ts';
import type { Commits } from './commits.ts';
import type { Flight, InFlight } from './flight.ts';
import type { Hello } from './hello.ts';
import type { Stamp } from './journal.ts';
import type { Marks } from './marks.ts';
import type { Retention } from './retention.ts';
import type { Settled } from './settled.ts';
import type { BlockStore, PendingSum, TargetRow } from './store.ts';
import type { AckedAnswer } from './types.ts';

/** While a backlog drains, about a hundred come in a second: what is in flight stays small, and each still costs little. */
const WAITING_MAX = 8;

interface Parts {
  readonly store: BlockStore;
  readonly targets: TargetBook;
  readonly flight: Flight;
  readonly marks: Marks;
  readonly hello: Hello;
  readonly settled: Settled;
  readonly commits: Commits;
  readonly retention: Retention;
  /** Whether room is short, so that nothing should wait. */
  readonly isPressed: () => boolean;
}

export class Acks {
  readonly #parts: Parts;
  readonly #waiting = new Map<string, InFlight>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  get waiting(): boolean {
    return this.#waiting.size > 0;
  }
  /** Acknowledged, and still in flight. */
  has(batchId: string): boolean {
    return this.#waiting.has(batchId);
  }

  /** @throws cache.full (retry), cache.disk (stop): then it is as if nothing had been said of this batch. */
  acknowledge(batchId: string, answer: AckedAnswer): void {
    const { flight, targets, commits, settled } = this.#parts;
    const batch = flight.get(batchId);
    if (batch === undefined || this.has(batchId)) return;
    const target = targets.find(batch.target);
    if (target === undefined || target.removed) return;
    this.#waiting.set(batchId, batch);
    const isMore = (batch.dictionary?.count ?? 0) > target.dictionaryCount || (answer.heldGaps?.length ?? 0) > 0;
    const isPressed = commits.full !== undefined || commits.stuck || this.#parts.isPressed();
    if (!settled.due(target, commits.now()) && !isMore && !isPressed && this.#waiting.size < WAITING_MAX) return;
    try {
      this.#transact((now) => this.#takeMore(target, batch, answer, now));
    } catch (thrown) {
      this.#waiting.delete(batchId);
      throw thrown;
    }
  }

  #takeMore(target: TargetRow, { dictionary }: InFlight, answer: AckedAnswer, now: Stamp): void {
    const { store, targets, hello, settled, commits } = this.#parts;
    if (dictionary !== undefined && dictionary.count > target.dictionaryCount)
      targets.put(store, { ...target, dictionary: dictionary.hash, dictionaryCount: dictionary.count });
    for (const { run, class: classNumber, held } of answer.heldGaps ?? [])
      hello.heldAfterAll(target, run, classNumber, held);
    if (!commits.stuck && settled.due(target, now)) settled.write(target, now);
  }

  /** What waits, now: before whatever looks at marks as they are. @returns whether anything waited. @throws as `acknowledge` */
  flush(): boolean {
    if (!this.waiting) return false;
    this.#transact(() => {});
    return true;
  }

  /** @returns false while there is no room for it. @throws cache.disk (stop) */
  tryFlush(): boolean {
    try {
      this.flush();
      return true;
    } catch (thrown) {
      if (codeOf(thrown) !== 'cache.full') throw thrown;
      return false;
    }
  }

  #transact(more: (now: Stamp) => void): void {
    const { store, commits } = this.#parts;
    const work = (now: Stamp) => {
      this.write();
      more(now);
    };
    // Clearing marks needs no new numbers, so it goes on while the disk is full: it is what makes room again.
    if (commits.stuck) store.transaction(() => work(commits.now()));
    else commits.transact(work);
    this.written();
  }

  /** In the transaction of a commit; then, once that is durable, `written`. */
  write(): void {
    const { targets, marks } = this.#parts;
    for (const { target: name, parts } of this.#waiting.values()) {
      const target = targets.find(name);
      if (target === undefined || target.removed) continue;
      for (const part of parts) marks.settle(target, part, 'delivered');
    }
  }

  written(): void {
    if (!this.waiting) return;
    for (const batchId of this.#waiting.keys()) this.#parts.flight.remove(batchId);
    this.#waiting.clear();
    this.#parts.retention.marksChanged();
  }

  /** What is pending without what waits here. Bytes are shared out by rows; the oldest is as it was. */
  without(target: string, sums: readonly PendingSum[]): PendingSum[] {
    const parts = [...this.#waiting.values()].flatMap((batch) => (batch.target === target ? batch.parts : []));
    const bit = 1 << (this.#parts.targets.find(target)?.bit ?? 0);
    return sums.flatMap((sum) => {
      const mine = parts.filter((part) => part.class === sum.class);
      const rows = mine.reduce((left, part) => left - this.#parts.marks.pendingRows(bit, part), sum.rows);
      return rows <= 0 ? [] : [{ ...sum, rows, bytes: Math.round((sum.bytes * rows) / sum.rows) }];
    });
  }
}
