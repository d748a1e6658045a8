/** Which keys a cache's file needs, and its sealed rows as SQL sees them. */
import type { Database } from 'better-sqlite3';
import { type AtRestKeys, keyMissing, kidOn, type SealedTable, Sealer, sealedPrefix } from './at-rest.ts';

import { SealedRows } from './at-rest-rows.ts';

/** In `meta`: ids of the keys that rows may be sealed with, as JSON. */
const KIDS = 'at rest keys';
/** Dead letters sealed again in one statement's worth of memory. */
const LETTERS_AT_ONCE = 64;

function kidsOf(db: Database): string[] {
  const row = db.prepare('SELECT value FROM meta WHERE key = ?').get(KIDS) as { value: string } | undefined; // its column
  return row === undefined ? [] : JSON.parse(row.value);
}

/**
 * For the writer, at its start: which keys were used is known before any row is opened, so that a wrong key stops here and a
 * row that does not open later is damage.
 * @throws cache.key_missing, cache.key_wrong (stop): nothing was changed.
 */
export function openSealer(db: Database, keys: AtRestKeys): Sealer {
  let rows: SealedRows | undefined;
  const sealer = new Sealer(keys, () => rows?.count());
  const known = kidsOf(db);
  const used = known.filter((kid) => sealer.has(kid) || isUsed(db, kid));
  const missing = used.filter((kid) => !sealer.has(kid));
  if (missing.length > 0) throw keyMissing(sealer, missing);
  rows = new SealedRows(db, sealer.kid);
  const isNew = sealer.kid !== undefined && !used.includes(sealer.kid);
  const kids = isNew ? [...used, sealer.kid] : used;
  if (kids.join() === known.join()) return sealer;
  db.transaction(() => {
    db.prepare('INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value').run(
      KIDS,
      JSON.stringify(kids),
    );
    // Retention replaces blocks within weeks; dead letters may stay for years, and would need the old key as long.
    if (isNew) sealLetters(db, sealer);
  })();
  return sealer;
}

/** Finds one at once while there is one: the oldest blocks are those of the oldest key. */
function isUsed(db: Database, kid: string): boolean {
  const prefix = sealedPrefix(kid);
  const inBlocks = db.prepare('SELECT 1 FROM blocks WHERE substr(block, 1, ?) = ? LIMIT 1');
  const inLetters = db.prepare('SELECT 1 FROM dead_letters WHERE sealed AND substr(original, 1, ?) = ? LIMIT 1');
  return [inBlocks, inLetters].some((statement) => statement.get(prefix.length, prefix) !== undefined);
}

interface Letter {
  readonly id: number;
  readonly original: Uint8Array;
  readonly sealed: number;
}

function sealLetters(db: Database, sealer: Sealer): void {
  const page = db.prepare('SELECT id, original, sealed FROM dead_letters WHERE id > ? ORDER BY id LIMIT ?');
  const put = db.prepare('UPDATE dead_letters SET original = ?, sealed = 1 WHERE id = ?');
  for (let after = 0; ; ) {
    const letters = page.all(after, LETTERS_AT_ONCE) as Letter[]; // its columns
    for (const { id, original, sealed } of letters) {
      const plain = sealed === 1 ? sealer.open('dead_letters', id, original) : original;
      if (plain !== undefined) put.run(sealer.seal('dead_letters', id, plain), id);
      after = id;
    }
    if (letters.length < LETTERS_AT_ONCE) return;
  }
}

/**
 * For readers: the SQL function `opened(table, id, sealed, content)` gives what was sealed, content as it is where nothing
 * was, and NULL for damage. It throws cache.key_missing or cache.key_wrong (stop) when the key of a row is not here.
 * `sealed` 1 and 0 say whether the content is; NULL: the content says so itself.
 * @param db whose schema is right.
 * @param keys asked for at the first sealed row: what reads only the directory needs none.
 */
export function addOpened(db: Database, keys: () => AtRestKeys): void {
  let sealer: Sealer | undefined;
  // Now: within a statement no other can be asked.
  const used = kidsOf(db);
  // Called by SQL, with the columns that its statements name.
  const opened = (table: SealedTable, id: number, sealed: number | null, content: Uint8Array | null) => {
    const kid = content === null || sealed === 0 ? undefined : kidOn(content);
    if (content === null || kid === undefined) return sealed === 1 ? null : content;
    sealer ??= new Sealer(keys());
    // An id that no key of this cache has is a damaged one.
    if (!sealer.has(kid) && used.includes(kid)) throw keyMissing(sealer, [kid]);
    return sealer.open(table, id, content) ?? null;
  };
  db.function('opened', { deterministic: true }, opened as (...args: unknown[]) => unknown);
}
