/** Every statement of the writing side, compiled once. */
import type { Database, Statement } from 'better-sqlite3';
import { JOURNAL_COLUMNS } from './rows.ts';

const JOURNAL = `SELECT ${JOURNAL_COLUMNS} FROM journal`;

const SQL = {
  begin: 'BEGIN IMMEDIATE',
  commit: 'COMMIT',
  rollback: 'ROLLBACK',

  meta: 'SELECT value FROM meta WHERE key = ?',
  setMeta: 'INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value',
  blob: 'SELECT value FROM blobs WHERE key = ?',
  setBlob: 'INSERT INTO blobs VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value',

  runs: 'SELECT seq, run, boot, previous, clean, opened_ms AS openedMs, last FROM runs ORDER BY seq',
  putRun:
    'INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (seq) DO UPDATE SET clean = excluded.clean, last = excluded.last',
  tags: 'SELECT seq, id, content, source, low FROM tags ORDER BY seq',
  addTag: 'INSERT INTO tags VALUES (?, ?, ?, ?, ?)',
  sources: 'SELECT id, name FROM sources ORDER BY id',
  addSource: 'INSERT INTO sources VALUES (?, ?)',
  targets:
    'SELECT bit, name, required, removed, dictionary, dictionary_count AS dictionaryCount FROM targets ORDER BY bit',
  putTarget: 'INSERT OR REPLACE INTO targets VALUES (?, ?, ?, ?, ?, ?)',

  addJournal: 'INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
  addBlock: 'INSERT OR IGNORE INTO blocks VALUES (?, ?)',
  freeBlockId: 'SELECT min(min(id), 0) - 1 AS id FROM blocks',
  block: 'SELECT id, block FROM blocks WHERE id = ifnull((SELECT content FROM journal WHERE id = ?), ?)',
  removeJournal: 'DELETE FROM journal WHERE id = ? RETURNING content',
  removeBlock: 'DELETE FROM blocks WHERE id = ?',
  sharing: `${JOURNAL} WHERE content = ? ORDER BY id`,
  isShared: 'SELECT 1 FROM journal WHERE content = ? LIMIT 1',
  setPending: 'UPDATE journal SET pending = ? WHERE id = ?',
  addPending: 'UPDATE journal SET pending = pending | ?',
  pendingUp: `${JOURNAL} WHERE pending <> 0 AND class = ? AND id >= ? AND pending & ? ORDER BY id LIMIT ?`,
  pendingDown: `${JOURNAL} WHERE pending <> 0 AND class = ? AND id <= ? AND pending & ? ORDER BY id DESC LIMIT ?`,
  pendingSums: `SELECT class, count(*) AS blocks, sum(rows) AS rows, sum(bytes) AS bytes, min(wall_ms) AS oldestMs
    FROM journal WHERE pending <> 0 AND pending & ? GROUP BY class`,
  blocks: `${JOURNAL} WHERE id >= ? ORDER BY id LIMIT ?`,
  blocksBetween: `${JOURNAL} WHERE id >= ? AND class >= 3 AND last_ms >= ? AND first_ms <= ? ORDER BY id LIMIT ?`,
  // Classes 0 and 1, alarm and control rows, have a room of their own (`thin-records.ts`).
  removable: `${JOURNAL} WHERE id >= ? AND class >= 2 AND NOT pending & ? ORDER BY id LIMIT ?`,
  deliveredRecords: `${JOURNAL} INDEXED BY journal_records WHERE class < 2 AND id >= ? AND NOT pending & ? ORDER BY id LIMIT ?`,
  deliveredRecordsSum: `SELECT count(*) AS blocks, ifnull(sum(bytes), 0) AS bytes FROM journal INDEXED BY journal_records
    WHERE class < 2 AND NOT pending & ?`,
  lastBlockId: 'SELECT max(id) AS id FROM journal',
  lastNumbers: 'SELECT class, max(n0 + rows - 1) AS n FROM journal WHERE run = ? GROUP BY class',
  setAside: 'INSERT OR REPLACE INTO damaged VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
  trimDamaged:
    'DELETE FROM damaged WHERE id IN (SELECT id FROM damaged ORDER BY at_ms DESC, id DESC LIMIT -1 OFFSET ?)',

  ledger: 'SELECT counters FROM ledger WHERE part = ?',
  putLedger: 'INSERT INTO ledger VALUES (?, ?) ON CONFLICT DO UPDATE SET counters = excluded.counters',
  explained: 'SELECT target, run, class, reason, ranges FROM explained WHERE target = ?',
  putExplained: 'INSERT OR REPLACE INTO explained VALUES (?, ?, ?, ?, ?)',

  addWindows: 'INSERT INTO windows (period_ms, from_ms, to_ms, rows, block) VALUES (?, ?, ?, ?, ?)',
  windowsAfter:
    'SELECT id, period_ms AS periodMs, from_ms AS fromMs, to_ms AS toMs, rows, block FROM windows WHERE id > ? ORDER BY id LIMIT ?',
  lastWindowsId: "SELECT seq AS id FROM sqlite_sequence WHERE name = 'windows'",
  windowsBetween: `SELECT id, period_ms AS periodMs, from_ms AS fromMs, to_ms AS toMs, rows, block FROM windows
    WHERE period_ms = ? AND to_ms > ? AND from_ms < ? AND id > ? ORDER BY id LIMIT ?`,
  windowPeriods: 'SELECT DISTINCT period_ms AS ms FROM windows ORDER BY ms',
  windowEnds: 'SELECT to_ms AS ms FROM windows WHERE period_ms = ? ORDER BY to_ms LIMIT 1 OFFSET ?',
  removeWindows: 'DELETE FROM windows WHERE period_ms = ? AND to_ms <= ?',

  // Its id is known before: sealed bytes are bound to it.
  addDeadLetter: 'INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?)',
  lastDeadLetterId: 'SELECT max(id) AS id FROM dead_letters',
  trimDeadLetters:
    'DELETE FROM dead_letters WHERE id IN (SELECT id FROM dead_letters ORDER BY id DESC LIMIT -1 OFFSET ?)',
  removeDeadLetters: 'DELETE FROM dead_letters WHERE subject = ?',
  removeDamaged: 'DELETE FROM damaged',
  putWindows: 'UPDATE windows SET from_ms = ?, to_ms = ?, rows = ?, block = ? WHERE id = ?',
  removeWindowsById: 'DELETE FROM windows WHERE id = ?',
  audit: 'SELECT row FROM audit ORDER BY at_ms, id',
  putAudit: 'INSERT INTO audit VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET row = excluded.row',
  trimAudit: 'DELETE FROM audit WHERE id IN (SELECT id FROM audit ORDER BY at_ms DESC, id DESC LIMIT -1 OFFSET ?)',
  receipts: 'SELECT id, source, receipts FROM receipts ORDER BY id',
  putReceipts: 'INSERT INTO receipts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET receipts = excluded.receipts',
  removeReceipts: 'DELETE FROM receipts WHERE id = ?',
  alarms: 'SELECT row FROM alarms ORDER BY id',
  putAlarm: 'INSERT INTO alarms VALUES (?, ?) ON CONFLICT DO UPDATE SET row = excluded.row',
  removeAlarm: 'DELETE FROM alarms WHERE id = ?',

  totals: `SELECT (SELECT count(*) FROM journal) AS blocks, (SELECT count(*) FROM windows) AS windowBlocks,
    (SELECT count(*) FROM dead_letters) AS deadLetters, (SELECT count(*) FROM damaged) AS damagedBlocks`,
} as const;

export type Statements = Readonly<Record<keyof typeof SQL, Statement<unknown[]>>>;

export function prepareStatements(db: Database): Statements {
  const prepared = Object.entries(SQL).map(([name, sql]) => [name, db.prepare(sql)]);
  return Object.fromEntries(prepared) as Statements; // the same keys as SQL
}
