/** Where readings go: each target has a bit in the marks and columns in the ledger. They follow the configuration at start. */
import { CLASS_NUMBERS, holdsReadings } from '../wire/classes.ts';
import type { TargetBook } from './books.ts';
import { addTo } from './counts.ts';
import { allBlocks, type BlockStore, type TargetRow } from './store.ts';
import { WRITE_OFF_REASONS } from './types.ts';

const PAGE = 512;

export interface TargetConfig {
  readonly name: string;
  /** A reading is kept until every required target has it. */
  readonly required: boolean;
  /**
   * Not configured now. What waits for it stays as long as there is room: a section that was taken out for an hour, or by
   * mistake, must cost nothing. One that was never there is not begun.
   */
  readonly dormant?: boolean;
}

/** Inside a transaction. A new target gets what is still kept; one that is gone has its pending readings written off. */
export function followTargets(store: BlockStore, book: TargetBook, configured: readonly TargetConfig[]): void {
  for (const row of book.active()) {
    if (!configured.some(({ name }) => name === row.name)) remove(store, book, row);
  }
  for (const { name, required, dormant } of configured) {
    const known = book.find(name);
    if (dormant === true && (known === undefined || known.removed)) continue;
    if (known === undefined)
      add(store, book, {
        bit: book.freeBit(),
        name,
        required,
        removed: false,
        dictionary: undefined,
        dictionaryCount: 0,
      });
    else if (known.removed) book.put(store, { ...known, required, removed: false });
    else if (known.required !== required) book.put(store, { ...known, required });
    if (known?.removed) forgetWhatWasMissed(store, name, new Map());
  }
}

function add(store: BlockStore, book: TargetBook, row: TargetRow): void {
  book.put(store, row);
  store.addPending(1 << row.bit);
  const kept = new Map<number, number>();
  for (const { counts } of allBlocks(store)) for (const [source, rows] of counts) addTo(kept, source, rows);
  forgetWhatWasMissed(store, row.name, kept);
}

/** What was accepted and is neither accounted for nor pending for this target was removed before it came. */
function forgetWhatWasMissed(store: BlockStore, target: string, pending: ReadonlyMap<number, number>): void {
  const ledger = store.ledger();
  const accountedFor = new Set<string>(['delivered', ...WRITE_OFF_REASONS]);
  for (const { source, count } of ledger.filter((row) => row.target === '' && row.reason === 'accepted')) {
    const mine = ledger.filter((row) => row.target === target && row.source === source && accountedFor.has(row.reason));
    const known = mine.reduce((sum, row) => sum + row.count, 0);
    store.count(target, source, 'forgotten', count - known - (pending.get(source) ?? 0));
  }
}

function remove(store: BlockStore, book: TargetBook, row: TargetRow): void {
  const bit = 1 << row.bit;
  for (const classNumber of CLASS_NUMBERS) {
    for (;;) {
      const page = store.pendingBlocks(bit, classNumber, 0, PAGE);
      for (const block of page) {
        store.setPending(block.id, block.pending & ~bit);
        if (!holdsReadings(classNumber)) continue;
        for (const [source, rows] of block.counts) store.count(row.name, source, 'forgotten', rows);
      }
      if (page.length < PAGE) break;
    }
  }
  book.put(store, { ...row, removed: true, dictionary: undefined, dictionaryCount: 0 });
}
