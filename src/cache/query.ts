/** Statements that several questions share. */
import type { Database } from 'better-sqlite3';
import { type BlockColumns, decodeBlock } from '../wire/block.ts';
import { holdsReadings } from '../wire/classes.ts';
import type { ledgerOf } from './ledger.ts';
import { unpack } from './packing.ts';
import { BLOCK_ROWS_MAX, type BlockRow, type LedgerRow } from './store.ts';

/** @returns rows of `sql`, whose columns are what `Row` says. */
export function all<Row>(db: Database, sql: string, ...args: unknown[]): Row[] {
  return db.prepare(sql).all(...args) as Row[];
}

export function ledgerRows(db: Database): Parameters<typeof ledgerOf> {
  const sources = new Map(
    all<{ id: number; name: string }>(db, 'SELECT id, name FROM sources').map(({ id, name }) => [id, name]),
  );
  const targets = all<{ name: string }>(db, 'SELECT name FROM targets WHERE removed = 0').map(({ name }) => name);
  const [since] = all<{ value: string }>(db, "SELECT value FROM meta WHERE key = 'ledger since'");
  return [
    all<LedgerRow>(db, 'SELECT target, source, reason, count FROM ledger'),
    sources,
    targets,
    Number(since?.value ?? 0),
  ];
}

/** Undefined when it does not read back as it was written, or was removed meanwhile. */
export function readColumns(db: Database, row: BlockRow): BlockColumns | undefined {
  if (!holdsReadings(row.class)) return undefined;
  const [found] = all<{ block: Uint8Array }>(db, 'SELECT block FROM blocks WHERE id = ?', row.id);
  if (found === undefined) return undefined;
  try {
    const columns = decodeBlock(unpack(found.block), { rowsMax: BLOCK_ROWS_MAX });
    return columns.rows === row.rows && columns.chunks[0]?.n0 === row.n0 ? columns : undefined;
  } catch {
    return undefined;
  }
}
