/** What a recount of the ledger finds. */
/**
 * - `intake`: received = rejected + duplicate + thinned + accepted
 * - `committed`: accepted = committed
 * - `rejected`, `dropped`: the sum = its reasons
 * - `pending`: accepted − delivered − written off = what the blocks hold for the target
 * - `numbers`: committed, of all sources = numbers given to readings since the ledger began
 * - `negative`: no counter is below zero
 */
export type LedgerRule = 'intake' | 'committed' | 'rejected' | 'dropped' | 'pending' | 'numbers' | 'negative';

export interface LedgerDifference {
  readonly rule: LedgerRule;
  /** Empty where it is about all. */
  readonly source: string;
  /** Empty where it is about none. */
  readonly target: string;
  /** The left side of the rule; 0 for `negative`. */
  readonly expected: number;
  /** The right side; the counter itself for `negative`. */
  readonly found: number;
  /** Of the counter, for `negative`. */
  readonly counter?: string;
}

export interface RecountReport {
  readonly differences: readonly LedgerDifference[];
  /** Blocks that were opened; 0 when only the directory was looked at. */
  readonly blocks: number;
  /** Ids of blocks that do not hold what the directory says. */
  readonly wrong: readonly number[];
}
