/** Counts a cache again from its blocks, against its directory and its ledger. */
import type { Database } from 'better-sqlite3';
import { hex } from '../wire/bytes.ts';
import { CLASSES, type ClassNumber, holdsReadings } from '../wire/classes.ts';
import type { LedgerDifference } from './account.ts';
import { decodeContent } from './content.ts';
import { addTo } from './counts.ts';
import { all, readSound, readWhole, storedBlock } from './query.ts';
import { differencesOf, targetsOf } from './recount.ts';
import { blockRow, JOURNAL_COLUMNS, type JournalRecord } from './rows.ts';
import { type BlockRow, lastNumber } from './store.ts';

const PAGE = 64;

/** One that does not read back as it was written. Its directory row stands apart from it: what it held is known. */
export interface DamagedBlock {
  readonly id: number;
  /** 32 hex digits. */
  readonly run: string;
  readonly class: (typeof CLASSES)[ClassNumber];
  /** Its first and last number. */
  readonly from: number;
  readonly to: number;
  readonly rows: number;
  /** Of them, those that do not read back: of a rolled block, those of the tags whose columns are damaged. */
  readonly lost: number;
  /** Times of the readings, ms since the epoch; of the commit for other rows. */
  readonly firstMs: number;
  readonly lastMs: number;
  /** Source → readings. */
  readonly readings: Readonly<Record<string, number>>;
  /** Targets that lack it. */
  readonly pending: readonly string[];
}

export interface VerifyReport {
  readonly blocks: number;
  readonly rows: number;
  readonly readings: number;
  readonly damaged: readonly DamagedBlock[];
  /** Readings in these that do not read back: of a rolled block, those of the tags whose columns are damaged. */
  readonly damagedReadings: number;
  /** Where the ledger is at odds with itself, with the blocks, or with the numbers that were given. */
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
  const damaged: DamagedBlock[] = [];
  let damagedReadings = 0;
  const sums = { blocks: 0, rows: 0, readings: 0 };
  for (const row of blocks(db)) {
    sums.blocks++;
    sums.rows += row.rows;
    const isReadings = holdsReadings(row.class);
    if (isReadings) sums.readings += row.rows;
    const counts = isReadings ? recount(db, row, sourceOf) : recordsRead(db, row) ? [] : undefined;
    if (counts === undefined) {
      const lost = isReadings ? row.rows - (readSound(row, storedBlock(db, row))?.rows ?? 0) : row.rows;
      damaged.push(damagedBlock(db, row, lost, targets));
      damagedReadings += isReadings ? lost : 0;
    }
    for (const [source, rows] of counts ?? row.counts) {
      for (const { bit, name } of targets) if (row.pending & (1 << bit)) addTo(pending, `${name}\n${source}`, rows);
    }
  }
  const differences = differencesOf(db, pending);
  return { ...sums, damaged, damagedReadings, differences, ok: damaged.length === 0 && differences.length === 0 };
}

function damagedBlock(
  db: Database,
  row: BlockRow,
  lost: number,
  targets: readonly { readonly bit: number; readonly name: string }[],
): DamagedBlock {
  const { id, rows, firstMs, lastMs } = row;
  const names = new Map(
    all<{ id: number; name: string }>(db, 'SELECT id, name FROM sources').map((source) => [source.id, source.name]),
  );
  const [run] = all<{ run: Uint8Array }>(db, 'SELECT run FROM runs WHERE seq = ?', row.run);
  return {
    ...{ id, rows, lost, firstMs, lastMs },
    run: run === undefined ? '' : hex(run.run),
    class: CLASSES[row.class],
    from: row.n0,
    to: lastNumber(row),
    readings: Object.fromEntries(row.counts.map(([source, some]) => [names.get(source) ?? `source ${source}`, some])),
    pending: targets.filter(({ bit }) => (row.pending & (1 << bit)) !== 0).map(({ name }) => name),
  };
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
