/** Rows of the table `journal` as SQLite gives them. */
import type { ClassNumber } from '../wire/classes.ts';
import type { BlockRow } from './store.ts';

export interface JournalRecord {
  readonly id: number;
  readonly run: number;
  readonly class: ClassNumber;
  readonly n0: number;
  readonly rows: number;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly pending: number;
  readonly monoMs: number;
  readonly wallMs: number;
  readonly synced: number;
  readonly bytes: number;
  readonly counts: string;
}

export const JOURNAL_COLUMNS =
  'id, run, class, n0, rows, first_ms AS firstMs, last_ms AS lastMs, pending, mono_ms AS monoMs, wall_ms AS wallMs, synced, bytes, counts';

export function blockRow(record: JournalRecord): BlockRow {
  return { ...record, synced: record.synced === 1, counts: JSON.parse(record.counts) };
}
