/** Statements that several questions share. */
import type { Database, Statement } from 'better-sqlite3';
import { SluiceError } from '../errors.ts';
import { type BlockColumns, selectRows } from '../wire/block.ts';
import { holdsReadings } from '../wire/classes.ts';
import type { Range } from '../wire/ranges.ts';
import { decodeContent } from './content.ts';
import { readLedger } from './kept-ledger.ts';
import type { ledgerOf } from './ledger.ts';
import { isRolled, openRolled, type RolledBlock } from './rolled/open.ts';
import { withoutTags } from './rolled/without.ts';
import { type BlockRow, type LedgerRow, numbersOf, spanOf } from './store.ts';

/** @returns rows of `sql`, whose columns are what `Row` says. */
export function all<Row>(db: Database, sql: string, ...args: unknown[]): Row[] {
  return statement(db, sql).all(...args) as Row[];
}

/** A reader asks the same few things again and again. */
const prepared = new WeakMap<Database, Map<string, Statement<unknown[]>>>();

function statement(db: Database, sql: string): Statement<unknown[]> {
  const known = prepared.get(db) ?? new Map<string, Statement<unknown[]>>();
  prepared.set(db, known);
  const found = known.get(sql) ?? db.prepare(sql);
  known.set(sql, found);
  return found;
}

export function metaOf(db: Database, key: string): string | undefined {
  return all<{ value: string }>(db, 'SELECT value FROM meta WHERE key = ?', key)[0]?.value;
}

export function ledgerRows(db: Database): Parameters<typeof ledgerOf> {
  const sources = new Map(
    all<{ id: number; name: string }>(db, 'SELECT id, name FROM sources').map(({ id, name }) => [id, name]),
  );
  const targets = all<{ name: string }>(db, 'SELECT name FROM targets WHERE removed = 0').map(({ name }) => name);
  return [ledgerIn(db), sources, targets, Number(metaOf(db, 'ledger since') ?? 0)];
}

function ledgerIn(db: Database): LedgerRow[] {
  const sql = 'SELECT counters FROM ledger WHERE part = ?';
  const rows = readLedger((part) => all<{ counters: Uint8Array }>(db, sql, part)[0]?.counters);
  if (rows !== undefined) return rows;
  throw new SluiceError('cache.corrupt', 'stop', 'the ledger in the cache is damaged', {
    hint: 'Start the gateway: it begins a new one from what the cache holds, and says so. The readings are not affected.',
  });
}

/** Content of a block, opened; undefined when there is none, or it is damaged. @throws cache.key_missing, cache.key_wrong (stop) */
export function storedBlock(db: Database, { id, content }: BlockRow): Uint8Array | undefined {
  const sql = "SELECT opened('blocks', id, NULL, block) AS block FROM blocks WHERE id = ?";
  const [found] = all<{ block: Uint8Array | null }>(db, sql, content?.id ?? id);
  return found?.block ?? undefined;
}

/**
 * Undefined when it does not read back as it was written, or was removed meanwhile. Of a rolled block whose tags are damaged
 * in part, the others.
 */
export function readColumns(db: Database, row: BlockRow): BlockColumns | undefined {
  const stored = storedBlock(db, row);
  return readWhole(row, stored) ?? readSound(row, stored);
}

/** Undefined when any of it does not read back. */
export function readWhole(row: BlockRow, stored: Uint8Array | undefined): BlockColumns | undefined {
  if (!holdsReadings(row.class) || stored === undefined) return undefined;
  try {
    const content = decodeContent(row, stored);
    return content.kind === 'readings' ? content.columns : undefined;
  } catch {
    return undefined;
  }
}

/** What is left of a damaged rolled block, as the cache will write it again when it finds the damage. */
export function readSound(row: BlockRow, stored: Uint8Array | undefined): BlockColumns | undefined {
  if (!holdsReadings(row.class) || !isRolled(stored)) return undefined;
  try {
    const block = openRolled(stored);
    const left = withoutTags(block, block.broken());
    return left && selectRows(openRolled(left.bytes).all(), numbersOf(row));
  } catch {
    return undefined;
  }
}

/** As `readColumns`, of a few tags: opens no others where they open alone. Without row numbers that mean anything. */
export function readTags(db: Database, row: BlockRow, tags: Iterable<number>): BlockColumns[] {
  if (!holdsReadings(row.class)) return [];
  const stored = storedBlock(db, row);
  if (stored === undefined) return [];
  try {
    if (!isRolled(stored)) {
      const content = decodeContent(row, stored);
      return content.kind === 'readings' ? [content.columns] : [];
    }
    const block = openRolled(stored);
    const span = row.content && spanOf(row);
    return [...tags].flatMap((tag) => tagOf(block, tag, span) ?? []);
  } catch {
    return [];
  }
}

/** Damage in the section of one tag is not damage of the others. */
function tagOf(block: RolledBlock, tag: number, span: Range | undefined): BlockColumns | undefined {
  try {
    return span === undefined ? block.tag(tag) : block.tagWithin(tag, span);
  } catch {
    return undefined;
  }
}
