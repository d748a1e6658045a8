/**
 * A block that does not read back as it was written: kept aside as it is, accounted for, and said to whom it was owed. Of a
 * rolled block only the tags whose columns are damaged are lost; the others are written again, and flow on. Where its
 * directory or its numbers are damaged, or it is sealed at rest, nobody knows what is left: then all of it is.
 */
import { holdsReadings } from '../wire/classes.ts';
import type { RunBook, TagBook, TargetBook } from './books.ts';
import type { Gaps } from './gaps.ts';
import type { Stamp } from './journal.ts';
import { noteRemoved } from './raw-removed.ts';
import type { DamageNote } from './recover/notes.ts';
import { openRolled, type RolledBlock } from './rolled/open.ts';
import { withoutTags } from './rolled/without.ts';
import { type BlockRow, type BlockStore, lastNumber, numbersOf } from './store.ts';
import { opened, type TakenOut, takeOut } from './take-out.ts';

export interface DamageOptions {
  /** Of what was set aside. */
  readonly onDamage?: ((note: DamageNote) => void) | undefined;
}

interface Parts {
  readonly store: BlockStore;
  readonly runs: RunBook;
  readonly tags: TagBook;
  readonly targets: TargetBook;
  readonly gaps: Gaps;
}

interface Lost {
  readonly block: number;
  /** Of it, or of each of its pieces. */
  readonly taken: readonly TakenOut[];
  /** How many tags; undefined for all of it. */
  readonly tags: number | undefined;
}

export class Damage {
  readonly #parts: Parts;
  readonly #options: DamageOptions;

  constructor(parts: Parts, options: DamageOptions = {}) {
    this.#parts = parts;
    this.#options = options;
  }

  /**
   * Inside a transaction. A block's directory row stands apart from its content, so whose rows they were is still known.
   * @param wholly nothing of them is written again.
   */
  setAside(rows: readonly BlockRow[], now: Stamp, wholly = false): void {
    const lost: Lost[] = [];
    for (const row of rows) {
      // Set aside with another piece of the same block.
      if (this.#parts.store.blocks(row.id, 1)[0]?.id !== row.id) continue;
      const one = (wholly ? undefined : this.#someTags(row, now)) ?? this.#all(row, now);
      for (const taken of one.taken) this.#account(taken, now);
      lost.push(one);
    }
    if (lost.length > 0) this.#options.onDamage?.(noteOf(lost, now));
  }

  #all(row: BlockRow, now: Stamp): Lost {
    const { store, runs } = this.#parts;
    const run = runs.removed(row.run, row.class, lastNumber(row));
    if (run !== undefined) store.putRun(run);
    store.setAside(row, now.wallMs);
    return { block: row.id, taken: [{ row, ranges: numbersOf(row), counts: row.counts }], tags: undefined };
  }

  /** Undefined where none of it can be saved. */
  #someTags(row: BlockRow, now: Stamp): Lost | undefined {
    const { store } = this.#parts;
    const block = opened(store.block(row.id));
    if (block === undefined) return undefined;
    const broken = block.broken();
    if (broken.size === 0 || !isRestSound(block, broken)) return undefined;
    const rows = store.sharing(row);
    const remove = (each: BlockRow) => {
      if (each === rows[0]) store.setAside(each, now.wallMs);
      else store.removeBlock(each.id);
    };
    return { block: row.id, taken: takeOut(this.#parts, rows, block, broken, remove), tags: broken.size };
  }

  #account({ row, ranges, counts }: TakenOut, now: Stamp): void {
    const { store, targets, gaps } = this.#parts;
    const { run, class: classNumber, firstMs, lastMs } = row;
    for (const target of targets.active()) {
      if ((row.pending & (1 << target.bit)) === 0) continue;
      if (holdsReadings(classNumber))
        for (const [source, readings] of counts) store.count(target.name, source, 'damaged', readings);
      gaps.write(target, 'damaged', [{ run, class: classNumber, ranges, fromMs: firstMs, toMs: lastMs }], now);
    }
    noteRemoved(store, row);
  }
}

/** What would be written reads back: otherwise it would be found damaged again, for ever. */
function isRestSound(block: RolledBlock, broken: ReadonlySet<number>): boolean {
  try {
    const left = withoutTags(block, broken);
    return left !== undefined && openRolled(left.bytes).all().rows > 0;
  } catch {
    return false;
  }
}

function noteOf(lost: readonly Lost[], now: Stamp): DamageNote {
  const owed = lost
    .flatMap(({ taken }) => taken)
    .filter(({ row: { class: of, pending } }) => holdsReadings(of) && pending !== 0);
  const pendingReadings = owed.reduce(
    (sum, { counts }) => sum + counts.reduce((all, [, readings]) => all + readings, 0),
    0,
  );
  const [first] = lost;
  const one =
    first?.tags === undefined ? `block ${first?.block} does` : `${tagsOf(first.tags)} in block ${first.block} do`;
  const what = lost.length === 1 ? one : `${lost.length} blocks do`;
  const text = `${what} not read back as written: ${saying(pendingReadings)}. See dmesg, check the card`;
  return { atMs: now.wallMs, what: 'block', text, pendingReadings };
}

function tagsOf(count: number): string {
  return count === 1 ? 'the readings of one tag' : `the readings of ${count} tags`;
}

function saying(pendingReadings: number): string {
  return pendingReadings === 0
    ? 'no reading in it waited for the cloud'
    : `${pendingReadings} readings that waited for the cloud are lost; the ledger has them as damaged, and the cloud is told which`;
}
