/** What a store in memory is made of: tables that can be copied, and how rows are listed. */
import type {
  BlockRow,
  DeadLetterRow,
  ExplainedRow,
  LedgerRow,
  ReceiptRow,
  RunRow,
  TagRow,
  TargetRow,
  WindowBlock,
} from '../cache/store.ts';

interface DamagedRow extends BlockRow {
  readonly atMs: number;
}

/** All of it. Rows are never changed in place, so a copy of the tables is a copy of the store. */
export class Tables {
  meta = new Map<string, string>();
  blobs = new Map<string, Uint8Array>();
  runs = new Map<number, RunRow>();
  tags = new Map<number, TagRow>();
  sources = new Map<number, string>();
  targets = new Map<number, TargetRow>();
  journal = new Map<number, BlockRow>();
  blocks = new Map<number, Uint8Array>();
  ledger = new Map<string, LedgerRow>();
  explained = new Map<string, ExplainedRow>();
  windows = new Map<number, WindowBlock>();
  /** The last id of a table that gives none twice. */
  lastIds = new Map<string, number>();
  deadLetters = new Map<number, DeadLetterRow>();
  receipts = new Map<string, ReceiptRow>();
  alarms = new Map<string, string>();
  audit = new Map<string, { readonly atMs: number; readonly row: string }>();
  damaged = new Map<number, DamagedRow>();

  copy(): Tables {
    const copy = new Tables();
    for (const name of Object.keys(this)) {
      // Each field is a map, of the same kind in both.
      const key = name as 'meta';
      copy[key] = new Map(this[key]);
    }
    return copy;
  }
}

export function firstAtLeast(ids: readonly number[], id: number): number {
  let low = 0;
  let high = ids.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ids[middle] ?? 0) < id) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function requireNew<K>(table: ReadonlyMap<K, unknown>, key: K): void {
  if (table.has(key)) throw new Error(`the key ${String(key)} is there already`);
}

export function copied(bytes: Uint8Array | undefined): Uint8Array | undefined {
  return bytes?.slice();
}

export function sortedBy<T>(rows: Iterable<T>, key: (row: T) => number): T[] {
  return [...rows].sort((a, b) => key(a) - key(b));
}

export function byText<T>(entries: readonly (readonly [string, T])[]): T[] {
  return [...entries].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, row]) => row);
}
