/**
 * Why readings were rejected or dropped: counters beside the sums, named `rejected/out_of_range`, `dropped/age`. They add up
 * to the sum of the same source (and target), and change in the same transaction.
 */
import { shareOut } from './counts.ts';
import type { BlockStore, LedgerRow } from './store.ts';

/** The sums that are told apart by reason. */
export type Divided = 'rejected' | 'dropped';

/** Drivers word some of their reasons themselves: of all that ever were, so many have a counter of their own. */
const REASONS_MAX = 64;
const REASON_CHARS_MAX = 60;
const OTHER = 'other';

/** What made room, or was no longer to be kept: `cache.bytesMax`, too little free disk, none at all, `cache.ageMax`. */
export type DropReason = 'bytes' | 'free_disk' | 'full' | 'age';

export function reasonKey(sum: Divided, why: string): string {
  return `${sum}/${why}`;
}

/** The reason in a counter's name; undefined for counters of something else. */
export function whyOf(sum: Divided, { reason }: Pick<LedgerRow, 'reason'>): string | undefined {
  return reason.startsWith(`${sum}/`) ? reason.slice(sum.length + 1) : undefined;
}

/** Reasons of rejection that have a counter, so that a source that makes up new ones cannot make the ledger grow. */
export class RejectionReasons {
  readonly #known: Set<string>;

  constructor(store: Pick<BlockStore, 'ledger'>) {
    this.#known = new Set(store.ledger().flatMap((row) => whyOf('rejected', row) ?? []));
  }

  /** As it is counted: one line of printable characters, `other` when there are too many. */
  named(reason: string): string {
    const plain =
      reason
        .replaceAll(/\p{C}+/gu, ' ')
        .trim()
        .slice(0, REASON_CHARS_MAX) || OTHER;
    if (!this.#known.has(plain) && this.#known.size >= REASONS_MAX) return OTHER;
    this.#known.add(plain);
    return plain;
  }
}

/** Inside the transaction that removes them. */
export function countDropped(
  store: Pick<BlockStore, 'count'>,
  target: string,
  counts: Iterable<readonly [source: number, readings: number]>,
  why: DropReason,
): void {
  for (const [source, readings] of counts) {
    store.count(target, source, 'dropped', readings);
    store.count(target, source, reasonKey('dropped', why), readings);
  }
}

/** Some were not lost after all. Why they were dropped is not known any more: they are taken from the reasons in order. */
export function takeFromReasons(
  store: Pick<BlockStore, 'count' | 'ledger'>,
  target: string,
  source: number,
  readings: number,
): void {
  const mine = store
    .ledger()
    .filter((row) => row.target === target && row.source === source && whyOf('dropped', row) !== undefined);
  const counts = mine.map(({ count }, at) => [at, count] as const);
  for (const [at, taken] of shareOut(counts, readings)[0]) store.count(target, source, mine[at]?.reason ?? '', -taken);
}
