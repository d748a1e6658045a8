/** A block that does not read back as it was written: kept aside as it is, accounted for, and said to whom it was owed. */
import { holdsReadings } from '../wire/classes.ts';
import type { TargetBook } from './books.ts';
import type { Gaps } from './gaps.ts';
import type { Stamp } from './journal.ts';
import { noteRemoved } from './raw-removed.ts';
import { type BlockRow, type BlockStore, numbersOf } from './store.ts';

export class Damage {
  readonly #store: BlockStore;
  readonly #targets: TargetBook;
  readonly #gaps: Gaps;

  constructor(store: BlockStore, targets: TargetBook, gaps: Gaps) {
    this.#store = store;
    this.#targets = targets;
    this.#gaps = gaps;
  }

  /** Inside a transaction. Its directory row stands apart from its content, so whose rows they were is still known. */
  setAside(rows: readonly BlockRow[], now: Stamp): void {
    for (const row of rows) {
      for (const target of this.#targets.active()) {
        if ((row.pending & (1 << target.bit)) === 0) continue;
        if (holdsReadings(row.class)) {
          for (const [source, readings] of row.counts) this.#store.count(target.name, source, 'damaged', readings);
        }
        const { run, class: classNumber, firstMs, lastMs } = row;
        this.#gaps.write(
          target,
          'damaged',
          [{ run, class: classNumber, ranges: numbersOf(row), fromMs: firstMs, toMs: lastMs }],
          now,
        );
      }
      noteRemoved(this.#store, row);
      this.#store.setAside(row, now.wallMs);
    }
  }
}
