/** A block that does not read back as it was written: kept aside as it is, accounted for, and said to whom it was owed. */
import { holdsReadings } from '../wire/classes.ts';
import type { TargetBook } from './books.ts';
import type { Gaps } from './gaps.ts';
import type { Stamp } from './journal.ts';
import { noteRemoved } from './raw-removed.ts';
import type { DamageNote } from './recover/notes.ts';
import { type BlockRow, type BlockStore, numbersOf } from './store.ts';

export interface DamageOptions {
  /** Of what was set aside. */
  readonly onDamage?: ((note: DamageNote) => void) | undefined;
}

export class Damage {
  readonly #store: BlockStore;
  readonly #targets: TargetBook;
  readonly #gaps: Gaps;
  readonly #options: DamageOptions;

  constructor(store: BlockStore, targets: TargetBook, gaps: Gaps, options: DamageOptions = {}) {
    this.#store = store;
    this.#targets = targets;
    this.#gaps = gaps;
    this.#options = options;
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
    if (rows.length > 0) this.#options.onDamage?.(noteOf(rows, now));
  }
}

function noteOf(rows: readonly BlockRow[], now: Stamp): DamageNote {
  const owed = rows.filter(({ class: of, pending }) => holdsReadings(of) && pending !== 0);
  const pendingReadings = owed.reduce(
    (sum, row) => sum + row.counts.reduce((all, [, readings]) => all + readings, 0),
    0,
  );
  const blocks = rows.length === 1 ? `block ${rows[0]?.id} does` : `${rows.length} blocks do`;
  const lost =
    pendingReadings === 0
      ? 'no reading in it waited for the cloud'
      : `${pendingReadings} readings that waited for the cloud are lost; the ledger has them as damaged, and the cloud is told which`;
  const text = `${blocks} not read back as written: ${lost}. See dmesg, check the card`;
  return { atMs: now.wallMs, what: 'block', text, pendingReadings };
}
