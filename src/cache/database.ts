/**
 * Opens the cache's file for writing. Order matters: look at the schema version before anything is touched, then WAL and
 * FULL, then a checkpoint, then the migrations. After a failed fsync the checkpoint must succeed: pages that look clean may
 * never have reached the disk; rewriting all of them is the only way to know.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { isSluiceError, SluiceError } from '../errors.ts';
import { diskError } from './disk-error.ts';
import { CHECKPOINT_BYTES, LOG_BYTES_KEPT } from './file-bytes.ts';
import { DATABASE_FILE } from './folder.ts';
import { APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION } from './schema.ts';

/** Another process may read; it never holds a lock for long. */
const BUSY_TIMEOUT_MS = 5000;
/** For a checkpoint that only tidies up: nobody waits for a reader. */
const READER_TIMEOUT_MS = 200;
/**
 * The least that SQLite takes. A commit changes a handful of pages that every commit changes, a few bytes each: large pages
 * would be copied into the WAL for them (measured at 500 tags and 1 Hz: 42 B a reading with 512, 51 with 1024, 94 with
 * 4096). Blocks go into chains of such pages, which costs their writing and reading a few per cent.
 */
const PAGE_BYTES = 512;
const WAL_FRAME_BYTES = PAGE_BYTES + 24;
/** better-sqlite3 compiles 16 MB in. Blocks are read once each; the pages that every commit changes are few. */
const PAGE_CACHE_KIB = 2000;
/** Offsets in the header of a SQLite file (sqlite.org/fileformat2.html, 1.3). */
const HEADER_BYTES = 100;
const USER_VERSION_AT = 60;
const APPLICATION_ID_AT = 68;
const MAGIC = 'SQLite format 3\0';
/** No release will count so far: a number beyond is a damaged one. */
const VERSION_MAX = SCHEMA_VERSION + 1000;

/**
 * @param mustCheckpoint or a reader that keeps its snapshot may stand in the way of it: then it is made up for later.
 * @throws cache.newer (stop, file untouched), cache.corrupt, cache.disk, cache.busy_reader (stop)
 */
export function openDatabase(folder: string, mustCheckpoint = true): Database.Database {
  const file = join(folder, DATABASE_FILE);
  requireKnown(versionInHeader(file));
  let db: Database.Database | undefined;
  try {
    db = new Database(file, { timeout: BUSY_TIMEOUT_MS });
    requireKnown(Number(db.pragma('user_version', { simple: true })));
    prepare(db, mustCheckpoint);
    return db;
  } catch (thrown) {
    db?.close();
    throw isSluiceError(thrown) ? thrown : diskError(thrown);
  }
}

function prepare(db: Database.Database, mustCheckpoint: boolean): void {
  // Of a file that is made now; one that is there keeps its own.
  db.pragma(`page_size = ${PAGE_BYTES}`);
  db.pragma('journal_mode = WAL');
  // Said explicitly: better-sqlite3 compiles NORMAL in for WAL, which loses the last commits with the power.
  db.pragma('synchronous = FULL');
  db.pragma(`wal_autocheckpoint = ${Math.floor(CHECKPOINT_BYTES / WAL_FRAME_BYTES)}`);
  db.pragma(`journal_size_limit = ${LOG_BYTES_KEPT}`);
  // Deleted rows are overwritten where their page is written anyway. Whole free pages: `forget/wipe.ts`.
  db.pragma('secure_delete = FAST');
  db.pragma('temp_store = MEMORY');
  db.pragma(`cache_size = -${PAGE_CACHE_KIB}`);
  checkpoint(db, mustCheckpoint);
  migrate(db);
}

function checkpoint(db: Database.Database, isRequired: boolean): void {
  if (!isRequired) db.pragma(`busy_timeout = ${READER_TIMEOUT_MS}`);
  const [result] = db.pragma('wal_checkpoint(TRUNCATE)') as { busy: number; log: number; checkpointed: number }[]; // its one row
  db.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
  if (!isRequired) return;
  // A reader keeps the WAL from being cut off; what counts is that every page of it is in the file and synced.
  if (result?.busy === 0 || (result !== undefined && result.log === result.checkpointed)) return;
  throw new SluiceError(
    'cache.busy_reader',
    'stop',
    'the cache could not be checkpointed: another process is reading it',
    {
      hint: 'Stop what reads the cache (sluice tail, sluice query, sqlite3) and start again.',
    },
  );
}

function migrate(db: Database.Database): void {
  const from = Number(db.pragma('user_version', { simple: true }));
  if (from === SCHEMA_VERSION) return;
  db.transaction(() => {
    for (const step of MIGRATIONS.slice(from)) db.exec(step);
    db.pragma(`application_id = ${APPLICATION_ID}`);
    db.pragma(`user_version = ${SCHEMA_VERSION}`);
  })();
}

function requireKnown(version: number): void {
  if (version <= SCHEMA_VERSION) return;
  if (version > VERSION_MAX)
    throw new SluiceError('cache.corrupt', 'stop', `the cache file is damaged: schema ${version} is no version`);
  throw new SluiceError(
    'cache.newer',
    'stop',
    `the cache was written by a newer Sluice (schema ${version}, this one knows ${SCHEMA_VERSION})`,
    {
      hint: 'Install that version again, or give this one a cache.path of its own. The file was not touched.',
    },
  );
}

function versionInHeader(file: string): number {
  const header = Buffer.alloc(HEADER_BYTES);
  const handle = openSync(file, 'r');
  try {
    if (readSync(handle, header, 0, HEADER_BYTES, 0) < HEADER_BYTES) return 0;
    // Rubbish has a version, too, and must not pass for the file of a newer program.
    const isOurs = header.toString('latin1', 0, MAGIC.length) === MAGIC;
    if (!isOurs || header.readUInt32BE(APPLICATION_ID_AT) !== APPLICATION_ID) return 0;
    return header.readUInt32BE(USER_VERSION_AT);
  } finally {
    closeSync(handle);
  }
}
