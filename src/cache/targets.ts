/** Where readings go: each target has a bit in the marks and columns in the ledger. They follow the configuration at start. */
import { CLASS_NUMBERS, type ClassNumber, holdsReadings } from '../wire/classes.ts';
import { type RangeSet, subtract } from '../wire/ranges.ts';
import type { RunBook, TargetBook } from './books.ts';
import { addTo } from './counts.ts';
import { allBlocks, type BlockRow, type BlockStore, numbersOf, type RunRow, type TargetRow } from './store.ts';
import { WRITE_OFF_REASONS } from './types.ts';
import { explainLater, type Gap, gapsOf } from './untold.ts';

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

/**
 * Inside a transaction. A target that was never there gets what is still kept. One that is gone has its pending readings
 * written off; when it is back it gets what comes from then on. Whatever a target will not get is explained to it
 * (`untold.ts`): else the next HELLO would take it for delivered, and for lost at the target.
 */
export function followTargets(
  store: BlockStore,
  book: TargetBook,
  runs: Pick<RunBook, 'all'>,
  configured: readonly TargetConfig[],
): void {
  for (const row of book.active()) {
    if (!configured.some(({ name }) => name === row.name)) remove(store, book, runs, row);
  }
  for (const { name, required, dormant } of configured) {
    const known = book.find(name);
    if (dormant === true && (known === undefined || known.removed)) continue;
    if (known === undefined)
      add(store, book, runs, {
        bit: book.freeBit(),
        name,
        required,
        removed: false,
        dictionary: undefined,
        dictionaryCount: 0,
      });
    else if (known.removed) addAgain(store, book, runs, { ...known, required, removed: false });
    else if (known.required !== required) book.put(store, { ...known, required });
  }
}

function add(store: BlockStore, book: TargetBook, runs: Pick<RunBook, 'all'>, row: TargetRow): void {
  book.put(store, row);
  store.addPending(1 << row.bit);
  const counts = new Map<number, number>();
  const kept: BlockRow[] = [];
  for (const block of allBlocks(store)) {
    kept.push(block);
    for (const [source, rows] of block.counts) addTo(counts, source, rows);
  }
  forgetWhatWasMissed(store, row.name, counts);
  const here = new Map(
    gapsOf(kept.map((block) => ({ row: block, ranges: numbersOf(block) }))).map((gap) => [
      `${gap.run} ${gap.class}`,
      gap.ranges,
    ]),
  );
  explainAll(store, row.name, runs.all(), (run, classNumber) => here.get(`${run} ${classNumber}`) ?? []);
}

/** What it had when it went stays as it was accounted for; everything since was never meant for it. */
function addAgain(store: BlockStore, book: TargetBook, runs: Pick<RunBook, 'all'>, row: TargetRow): void {
  book.put(store, row);
  forgetWhatWasMissed(store, row.name, new Map());
  const left = Number(store.meta(leftKey(row.name)) ?? 0);
  explainAll(
    store,
    row.name,
    runs.all().filter(({ seq }) => seq > left),
    () => [],
  );
}

/** @param except numbers that it gets, or has. */
function explainAll(
  store: BlockStore,
  target: string,
  runs: readonly RunRow[],
  except: (run: number, classNumber: ClassNumber) => RangeSet,
): void {
  const gaps = runs.flatMap(({ seq, last }) =>
    CLASS_NUMBERS.flatMap((classNumber): Gap[] => {
      const to = last[classNumber] ?? 0;
      const ranges = to === 0 ? [] : subtract([{ from: 1, to }], except(seq, classNumber));
      return [{ run: seq, class: classNumber, ranges, fromMs: null, toMs: null }];
    }),
  );
  explainLater(store, target, 'forgotten', gaps);
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

function remove(store: BlockStore, book: TargetBook, runs: Pick<RunBook, 'all'>, row: TargetRow): void {
  const bit = 1 << row.bit;
  const gone: BlockRow[] = [];
  for (const classNumber of CLASS_NUMBERS) {
    for (;;) {
      const page = store.pendingBlocks(bit, classNumber, 0, PAGE);
      for (const block of page) {
        store.setPending(block.id, block.pending & ~bit);
        gone.push(block);
        if (!holdsReadings(classNumber)) continue;
        for (const [source, rows] of block.counts) store.count(row.name, source, 'forgotten', rows);
      }
      if (page.length < PAGE) break;
    }
  }
  explainLater(store, row.name, 'forgotten', gapsOf(gone.map((block) => ({ row: block, ranges: numbersOf(block) }))));
  store.setMeta(leftKey(row.name), String(runs.all().at(-1)?.seq ?? 0));
  book.put(store, { ...row, removed: true, dictionary: undefined, dictionaryCount: 0 });
}

/** In `meta`: the last run of which it was a target. Targets follow the configuration before a run has rows. */
function leftKey(target: string): string {
  return `left ${target}`;
}
