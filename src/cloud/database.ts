/**
 * The cloud's own database: one SQLite file that holds what was received and what is known about it, so that rows and the
 * ranges that account for them are durable in the same transaction.
 *
 * - `device`, `run`: who sent, and which process start of it; small numbers stand for the long names everywhere else.
 * - `held`, `explained`, `settled`: row numbers per run and class (see ranges-store.ts).
 * - `tag`, `dictionary`: what tags are, and how the small numbers in a batch name them.
 * - `block`, `directory`, `latest`, `boot`, `aggregate`: the readings (see tier-embedded.ts).
 * - `record`: control, alarm and aggregate rows as they came.
 * - `alarm_state`, `cloud_alarm`: alarms of the gateways, and those the cloud raises about them.
 * - `fed`: the last block that each tier beside has (see feed.ts).
 * - `forget`: what is to be deleted, and what was (see forget/forgetting.ts).
 * - `access`: tokens of people and programs, as hashes; `audit`: who did what (see access/tokens.ts and audit.ts).
 *
 * Row numbers stay below 2^53, so they are plain numbers in JavaScript and 64-bit integers on disk. 64-bit values of readings
 * live only inside blobs and texts.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { SluiceError } from '../errors.ts';

export type Db = Database.Database;

const FILE = 'cloud.sqlite';
const SCHEMA_VERSION = 1;
/** Another process that holds the file is an operator's query at most; longer means that something is wrong. */
const BUSY_TIMEOUT_MS = 5000;
/** The log is folded into the file when it has this many pages of 4 kB: 16 MB, some hundred batches. */
const CHECKPOINT_PAGES = 4000;
/** Pages kept in memory, in KiB: enough for the inner pages of every index. */
const CACHE_KIB = 32 * 1024;

const SCHEMA = `
CREATE TABLE device (
  id INTEGER PRIMARY KEY, device TEXT NOT NULL UNIQUE, first_seen_ms REAL NOT NULL, last_seen_ms REAL NOT NULL,
  batches INTEGER NOT NULL DEFAULT 0, rows INTEGER NOT NULL DEFAULT 0, readings INTEGER NOT NULL DEFAULT 0,
  duplicates INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE run (
  id INTEGER PRIMARY KEY, device INTEGER NOT NULL, run TEXT NOT NULL, first_seen_ms REAL NOT NULL,
  opened INTEGER NOT NULL DEFAULT 0, previous TEXT, previous_last TEXT, clean INTEGER, boot TEXT, reason TEXT, version TEXT,
  UNIQUE (device, run)
) STRICT;
CREATE INDEX run_previous ON run (device, previous);
CREATE TABLE held (
  run INTEGER NOT NULL, class INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  PRIMARY KEY (run, class, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE explained (
  run INTEGER NOT NULL, class INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  PRIMARY KEY (run, class, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE settled (
  run INTEGER NOT NULL, class INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (run, class)
) STRICT, WITHOUT ROWID;
CREATE TABLE record (
  run INTEGER NOT NULL, class INTEGER NOT NULL, n INTEGER NOT NULL, type TEXT NOT NULL, json TEXT NOT NULL,
  PRIMARY KEY (run, class, n)
) STRICT, WITHOUT ROWID;
CREATE TABLE tag (
  id INTEGER PRIMARY KEY, device INTEGER NOT NULL, tag TEXT NOT NULL, name TEXT, content TEXT, UNIQUE (device, tag)
) STRICT;
CREATE INDEX tag_name ON tag (name, device);
CREATE TABLE dictionary (
  device INTEGER NOT NULL, hash TEXT NOT NULL, base TEXT, count INTEGER NOT NULL, added BLOB NOT NULL,
  PRIMARY KEY (device, hash)
) STRICT;
CREATE TABLE directory (
  id INTEGER PRIMARY KEY, device INTEGER NOT NULL, hash TEXT NOT NULL, tags BLOB NOT NULL, UNIQUE (device, hash)
) STRICT;
CREATE TABLE block (
  id INTEGER PRIMARY KEY AUTOINCREMENT, device INTEGER NOT NULL, run INTEGER NOT NULL, class INTEGER NOT NULL, span INTEGER NOT NULL,
  first_ms REAL NOT NULL, last_ms REAL NOT NULL, shift_ms REAL NOT NULL, rows INTEGER NOT NULL, directory INTEGER NOT NULL,
  boot TEXT, data BLOB NOT NULL
) STRICT;
CREATE INDEX block_time ON block (device, span, first_ms, last_ms, directory);
CREATE INDEX block_boot ON block (device, boot, last_ms) WHERE boot IS NOT NULL;
CREATE TABLE latest (
  tag INTEGER PRIMARY KEY, time_ms REAL NOT NULL, n INTEGER NOT NULL, kind TEXT NOT NULL, value ANY, quality INTEGER NOT NULL
) STRICT;
CREATE TABLE aggregate (id INTEGER PRIMARY KEY, tag INTEGER NOT NULL, start_ms REAL NOT NULL, json TEXT NOT NULL) STRICT;
CREATE INDEX aggregate_time ON aggregate (tag, start_ms);
CREATE TABLE boot (
  device INTEGER NOT NULL, boot TEXT NOT NULL, offset_ms REAL NOT NULL, PRIMARY KEY (device, boot)
) STRICT, WITHOUT ROWID;
CREATE TABLE alarm_state (
  run INTEGER NOT NULL, alarm TEXT NOT NULL, n INTEGER NOT NULL, json TEXT NOT NULL, PRIMARY KEY (run, alarm)
) STRICT, WITHOUT ROWID;
CREATE TABLE enrol_token (
  id TEXT PRIMARY KEY, mac_key BLOB NOT NULL, name TEXT NOT NULL, device TEXT, made_ms REAL NOT NULL, expires_ms REAL NOT NULL,
  used_key TEXT, used_device TEXT, used_ms REAL, listed INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE TABLE cloud_alarm (
  id INTEGER PRIMARY KEY, device INTEGER NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, text TEXT NOT NULL,
  raised_ms REAL NOT NULL, cleared_ms REAL, closed_by TEXT, UNIQUE (device, kind, subject)
) STRICT;
CREATE TABLE fed (tier TEXT PRIMARY KEY, block INTEGER NOT NULL) STRICT;
CREATE TABLE forget (
  id INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL, tag TEXT, reason TEXT, who TEXT NOT NULL, at_ms REAL NOT NULL,
  phase TEXT NOT NULL DEFAULT 'blocks', up_to INTEGER NOT NULL, cursor INTEGER NOT NULL DEFAULT 0, removed TEXT NOT NULL,
  done_ms REAL
) STRICT;
CREATE TABLE access (
  name TEXT PRIMARY KEY, role TEXT NOT NULL, find TEXT NOT NULL UNIQUE, hash BLOB NOT NULL, created_ms REAL NOT NULL,
  expires_ms REAL, used_ms REAL
) STRICT;
CREATE TABLE audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms REAL NOT NULL, who TEXT NOT NULL, address TEXT, action TEXT NOT NULL, object TEXT,
  outcome TEXT NOT NULL, details TEXT, count INTEGER NOT NULL DEFAULT 1
) STRICT;
`;

/**
 * Opens or makes the database in `dataDir`.
 * @throws cloud.data_unusable when the folder or file cannot be used, cloud.schema_newer when a later version wrote it
 */
export function openDatabase(dataDir: string): Db {
  let db: Db;
  try {
    mkdirSync(dataDir, { recursive: true });
    db = new Database(join(dataDir, FILE), { timeout: BUSY_TIMEOUT_MS });
  } catch (cause) {
    throw new SluiceError('cloud.data_unusable', 'stop', `cannot open the data in ${dataDir}`, {
      hint: 'The folder must be writable for this user, and its disk must have room.',
      cause,
    });
  }
  try {
    const version = Number(db.pragma('user_version', { simple: true }));
    if (version > SCHEMA_VERSION) throw newer(dataDir, version);
    db.pragma('journal_mode = WAL');
    // The driver is compiled with NORMAL for WAL, which loses acknowledged batches in a power cut.
    db.pragma('synchronous = FULL');
    // What is deleted on request shall be gone from the file: it costs writing what is freed, and little is.
    db.pragma('secure_delete = ON');
    db.pragma(`wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
    db.pragma(`cache_size = -${CACHE_KIB}`);
    // After a failed fsync clean-looking pages may never have reached the disk: nothing is acknowledged before this succeeds.
    db.pragma('wal_checkpoint(TRUNCATE)');
    if (version === 0) {
      db.transaction(() => {
        db.exec(SCHEMA);
        db.pragma(`user_version = ${SCHEMA_VERSION}`);
      })();
    }
    return db;
  } catch (thrown) {
    db.close();
    throw thrown;
  }
}

function newer(dataDir: string, version: number): SluiceError {
  return new SluiceError(
    'cloud.schema_newer',
    'stop',
    `the data in ${dataDir} has version ${version}, this is ${SCHEMA_VERSION}`,
    {
      hint: 'A later version of the receiver wrote it. Install that version; the data was not touched.',
    },
  );
}
