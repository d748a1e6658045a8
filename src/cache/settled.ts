/** SETTLED{run, class, n}: everything up to n was delivered or explained. Said at most hourly, after the acks that make it true. */
import { hex } from '../wire/bytes.ts';
import { CLASS, CLASS_NUMBERS, type ClassNumber } from '../wire/classes.ts';
import type { ControlRow } from '../wire/control.ts';
import type { RunBook } from './books.ts';
import type { Journal, Stamp } from './journal.ts';
import type { BlockStore, TargetRow } from './store.ts';
import { untold } from './untold.ts';

const INTERVAL_MS = 3_600_000;
const PAGE = 512;

function keyOf(target: Pick<TargetRow, 'name'>): string {
  return `settled ${target.name}`;
}

/** Inside a transaction. It lost control rows: whatever is settled is said to it once more. */
export function forgetSettled(store: Pick<BlockStore, 'setMeta'>, target: TargetRow): void {
  store.setMeta(keyOf(target), '[]');
}

export class Settled {
  readonly #store: BlockStore;
  readonly #runs: RunBook;
  readonly #journal: Journal;
  readonly #saidMs = new Map<string, number>();

  constructor(store: BlockStore, runs: RunBook, journal: Journal) {
    this.#store = store;
    this.#runs = runs;
    this.#journal = journal;
  }

  due(target: TargetRow, now: Stamp): boolean {
    const said = this.#saidMs.get(target.name);
    // The first hour counts from the first ack.
    if (said === undefined) this.#saidMs.set(target.name, now.monoMs);
    if (said === undefined || now.monoMs - said < INTERVAL_MS) return false;
    // What has not been explained yet would be a hole below it.
    return !untold(this.#store).some((gap) => gap.target === target.name);
  }

  /** Inside a transaction. */
  write(target: TargetRow, now: Stamp): void {
    this.#saidMs.set(target.name, now.monoMs);
    const key = keyOf(target);
    const said = new Map<string, number>(JSON.parse(this.#store.meta(key) ?? '[]'));
    const rows: ControlRow[] = [];
    for (const classNumber of CLASS_NUMBERS) {
      const firstPending = this.#firstPending(target, classNumber);
      for (const { seq, run, last } of this.#runs.all()) {
        // Control rows of this run never end: this row would be one more.
        if (classNumber === CLASS.control && seq === this.#runs.current.seq) continue;
        const n = (firstPending.get(seq) ?? (last[classNumber] ?? 0) + 1) - 1;
        if (n <= (said.get(`${seq} ${classNumber}`) ?? 0)) continue;
        said.set(`${seq} ${classNumber}`, n);
        rows.push({ type: 'SETTLED', run: hex(run), class: classNumber, n });
      }
    }
    if (rows.length === 0) return;
    this.#journal.writeControl(rows, now, 1 << target.bit);
    this.#store.setMeta(key, JSON.stringify([...said]));
  }

  /** Numbers ascend with ids within a run. */
  #firstPending(target: TargetRow, classNumber: ClassNumber): Map<number, number> {
    const first = new Map<number, number>();
    for (let id = 0; ; ) {
      const page = this.#store.pendingBlocks(1 << target.bit, classNumber, id, PAGE);
      for (const { run, n0 } of page) if (!first.has(run)) first.set(run, n0);
      const end = page.at(-1);
      if (end === undefined || page.length < PAGE) return first;
      id = end.id + 1;
    }
  }
}
