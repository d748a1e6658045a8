/** What happened to each source's readings before the cache: `received = rejected + duplicate + thinned + accepted`. */
import type { CommitCounts } from '../cache/types.ts';

export type Outcome = 'received' | 'rejected' | 'duplicate' | 'thinned';
type Account = { -readonly [Key in Outcome]: number };
/** Reason of a rejection → readings. */
export type Rejections = ReadonlyMap<string, number>;

export class Accounts {
  readonly #totals = new Map<string, Account>();
  readonly #deltas = new Map<string, Account>();
  readonly #rejections = new Map<string, Map<string, number>>();

  /** @param reasons of what is `rejected`, all of it. */
  add(source: string, change: Partial<Readonly<Record<Outcome, number>>>, reasons?: Rejections): void {
    this.#addReasons(source, reasons);
    for (const accounts of [this.#totals, this.#deltas]) {
      let account = accounts.get(source);
      if (account === undefined) {
        account = { received: 0, rejected: 0, duplicate: 0, thinned: 0 };
        accounts.set(source, account);
      }
      account.received += change.received ?? 0;
      account.rejected += change.rejected ?? 0;
      account.duplicate += change.duplicate ?? 0;
      account.thinned += change.thinned ?? 0;
    }
  }

  /** Since the process started. */
  totals(): Readonly<Record<string, Readonly<Account>>> {
    return Object.fromEntries(this.#totals);
  }

  /** Since the last call: what travels to the ledger with the next append. */
  takeDeltas(): CommitCounts[] {
    const deltas = [...this.#deltas].map(([source, account]) => {
      const reasons = this.#rejections.get(source);
      return { source, ...account, ...(reasons === undefined ? {} : { reasons }) };
    });
    this.#deltas.clear();
    this.#rejections.clear();
    return deltas;
  }

  #addReasons(source: string, reasons: Rejections | undefined): void {
    if (reasons === undefined || reasons.size === 0) return;
    const sums = this.#rejections.get(source) ?? new Map<string, number>();
    for (const [reason, by] of reasons) sums.set(reason, (sums.get(reason) ?? 0) + by);
    this.#rejections.set(source, sums);
  }

  /** An append that was not taken: its deltas go with the next one. */
  giveBack(deltas: readonly CommitCounts[]): void {
    for (const delta of deltas) {
      this.#addReasons(delta.source, delta.reasons);
      const now = this.#deltas.get(delta.source) ?? { received: 0, rejected: 0, duplicate: 0, thinned: 0 };
      this.#deltas.set(delta.source, {
        received: now.received + delta.received,
        rejected: now.rejected + delta.rejected,
        duplicate: now.duplicate + delta.duplicate,
        thinned: now.thinned + delta.thinned,
      });
    }
  }
}
