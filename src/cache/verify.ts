/** Counts a cache again from its blocks, against its directory and its ledger. */
import type { Database } from 'better-sqlite3';
import { holdsReadings } from '../wire/classes.ts';
import { decodeContent } from './content.ts';
import { addTo } from './counts.ts';
import { all, readSound, readWhole, storedBlock } from './query.ts';
import { differencesOf, type LedgerDifference, targetsOf } from './recount.ts';
import { blockRow, JOURNAL_COLUMNS, type JournalRecord } from './rows.ts';
import type { BlockRow } from './store.ts';

const PAGE = 64;

export interface VerifyReport {
  readonly blocks: number;
  readonly rows: number;
  readonly readings: number;
  /** Ids of blocks that do not read back as they were written. */
  readonly damaged: readonly number[];
  /** Readings in these that do not: of a rolled block, those of the tags whose columns are damaged. */
  readonly damagedReadings: number;
  /** Where the ledger says something else than the blocks. */
  readonly differences: readonly LedgerDifference[];
  readonly ok: boolean;
}

export function verifyCache(db: Database): VerifyReport {
  // One snapshot for all of it, or commits between two statements would look like differences.
  db.exec('BEGIN');
  try {
    return count(db);
  } finally {
    db.exec('ROLLBACK');
  }
}

function count(db: Database): VerifyReport {
  const targets = targetsOf(db);
  const sourceOf = new Map(
    all<{ seq: number; source: number }>(db, 'SELECT seq, source FROM tags').map(({ seq, source }) => [seq, source]),
  );
  const pending = new Map<string, number>();
  const damaged: number[] = [];
  let damagedReadings = 0;
  const sums = { blocks: 0, rows: 0, readings: 0 };
  for (const row of blocks(db)) {
    sums.blocks++;
    sums.rows += row.rows;
    const isReadings = holdsReadings(row.class);
    if (isReadings) sums.readings += row.rows;
    const counts = isReadings ? recount(db, row, sourceOf) : recordsRead(db, row) ? [] : undefined;
    if (counts === undefined) {
      damaged.push(row.id);
      damagedReadings += isReadings ? row.rows - (readSound(row, storedBlock(db, row))?.rows ?? 0) : 0;
    }
    for (const [source, rows] of counts ?? row.counts) {
      for (const { bit, name } of targets) if (row.pending & (1 << bit)) addTo(pending, `${name}\n${source}`, rows);
    }
  }
  const differences = differencesOf(db, pending);
  return { ...sums, damaged, damagedReadings, differences, ok: damaged.length === 0 && differences.length === 0 };
}

function* blocks(db: Database): Generator<BlockRow> {
  for (let id = -1; ; ) {
    const page = all<JournalRecord>(
      db,
      `SELECT ${JOURNAL_COLUMNS} FROM journal WHERE id > ? ORDER BY id LIMIT ${PAGE}`,
      id,
    ).map(blockRow);
    yield* page;
    const end = page.at(-1);
    if (end === undefined || page.length < PAGE) return;
    id = end.id;
  }
}

function recount(db: Database, row: BlockRow, sourceOf: ReadonlyMap<number, number>): [number, number][] | undefined {
  const columns = readWhole(row, storedBlock(db, row));
  if (columns === undefined) return undefined;
  const counts = new Map<number, number>();
  for (const { tag, counts: rows } of columns.tags)
    addTo(
      counts,
      sourceOf.get(tag) ?? 0,
      rows.reduce((sum, each) => sum + each, 0),
    );
  return [...counts];
}

function recordsRead(db: Database, row: BlockRow): boolean {
  try {
    return decodeContent(row, storedBlock(db, row)).kind === 'records';
  } catch {
    return false;
  }
}
