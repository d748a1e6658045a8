/**
 * The running gateway's own look at its account. The directory of what is pending against the ledger is one short
 * transaction; what the blocks hold against the directory goes page by page, each a snapshot of its own, because one that
 * is held for long keeps the WAL from being cut. `sluice ledger --verify` (`verify.ts`) does both at once, from the blocks.
 */
import type { Database } from 'better-sqlite3';
import { CLASS_NUMBERS, holdsReadings } from '../wire/classes.ts';
import type { LedgerDifference } from './account.ts';
import { addTo } from './counts.ts';
import { NUMBERED_BEFORE } from './ledger-anew.ts';
import { ledgerDifferences, numbersGiven } from './ledger-rules.ts';
import { all, ledgerRows, metaOf, readColumns } from './query.ts';
import { blockRow, JOURNAL_COLUMNS, type JournalRecord } from './rows.ts';
import type { BlockRow } from './store.ts';

export type { LedgerDifference, RecountReport } from './account.ts';

/** About 20 ms of reading. */
const PAGE = 64;

/** @param pending `target\nsource id` → readings. Within the transaction in which they were counted. */
export function differencesOf(db: Database, pending: ReadonlyMap<string, number>): LedgerDifference[] {
  const [rows, sources, targets] = ledgerRows(db);
  const runs = all<{ seq: number; last: string }>(db, 'SELECT seq, last FROM runs ORDER BY seq').map(
    ({ seq, last }) => ({ seq, last: JSON.parse(last) as number[] }), // written by us
  );
  const given = numbersGiven(runs, (run) => lastNumbers(db, run));
  const numbered = given - Number(metaOf(db, NUMBERED_BEFORE) ?? 0);
  return ledgerDifferences({ rows, sources, targets, pending, numbered });
}

/** By class; of those that hold readings. Numbers ascend with ids within a run and class. */
function lastNumbers(db: Database, run: number): number[] {
  const last: number[] = [];
  for (const classNumber of CLASS_NUMBERS.filter(holdsReadings)) {
    const sql = 'SELECT n0 + rows - 1 AS n FROM journal WHERE run = ? AND class = ? ORDER BY id DESC LIMIT 1';
    last[classNumber] = all<{ n: number }>(db, sql, run, classNumber)[0]?.n ?? 0;
  }
  return last;
}

export function targetsOf(db: Database): { readonly bit: number; readonly name: string }[] {
  return all(db, 'SELECT bit, name FROM targets WHERE removed = 0');
}

/** The directory against the ledger. */
export function recountDirectory(db: Database): LedgerDifference[] {
  return inSnapshot(db, () => {
    const targets = targetsOf(db);
    const pending = new Map<string, number>();
    // Only what waits: while the cloud is there that is little.
    const waiting = db.prepare<[], JournalRecord>(`SELECT ${JOURNAL_COLUMNS} FROM journal WHERE pending <> 0`);
    for (const record of waiting.iterate()) {
      const row = blockRow(record);
      if (!holdsReadings(row.class)) continue;
      for (const [source, readings] of row.counts)
        for (const { bit, name } of targets)
          if (row.pending & (1 << bit)) addTo(pending, `${name}\n${source}`, readings);
    }
    return differencesOf(db, pending);
  });
}

export interface RecountedPage {
  readonly blocks: number;
  readonly wrong: readonly number[];
  /** Where to go on; undefined at the end. */
  readonly next: number | undefined;
}

/** The next blocks with readings against the directory. @param after the last block looked at. */
export function recountBlocks(db: Database, after = -1): RecountedPage {
  return inSnapshot(db, () => {
    const page = all<JournalRecord>(
      db,
      `SELECT ${JOURNAL_COLUMNS} FROM journal WHERE id > ? AND class >= 3 ORDER BY id LIMIT ${PAGE}`,
      after,
    ).map(blockRow);
    const sourceOf = new Map(
      all<{ seq: number; source: number }>(db, 'SELECT seq, source FROM tags').map(({ seq, source }) => [seq, source]),
    );
    const wrong = page.filter((row) => !holds(db, row, sourceOf)).map(({ id }) => id);
    return { blocks: page.length, wrong, next: page.length < PAGE ? undefined : page.at(-1)?.id };
  });
}

function holds(db: Database, row: BlockRow, sourceOf: ReadonlyMap<number, number>): boolean {
  const columns = readColumns(db, row);
  if (columns === undefined) return false;
  const counts = new Map<number, number>();
  for (const { tag, counts: rows } of columns.tags)
    addTo(
      counts,
      sourceOf.get(tag) ?? 0,
      rows.reduce((sum, each) => sum + each, 0),
    );
  return row.counts.length === counts.size && row.counts.every(([source, rows]) => counts.get(source) === rows);
}

function inSnapshot<T>(db: Database, look: () => T): T {
  db.exec('BEGIN');
  try {
    return look();
  } finally {
    db.exec('ROLLBACK');
  }
}
