/** The tables, as a list of steps: a file of version v needs the steps from v on. Steps are never edited, only added. */

const FIRST = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  -- The last values, open windows: rewritten at each checkpoint.
  CREATE TABLE blobs (key TEXT PRIMARY KEY, value BLOB NOT NULL);
  CREATE TABLE runs (
    seq INTEGER PRIMARY KEY, run BLOB NOT NULL UNIQUE, boot BLOB NOT NULL, previous INTEGER NOT NULL,
    clean INTEGER NOT NULL, opened_ms REAL NOT NULL, last TEXT NOT NULL
  );
  CREATE TABLE sources (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
  -- seq is gapless from 0: the position of the tag in the dictionary of batches, and its number in blocks.
  CREATE TABLE tags (
    seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, content TEXT NOT NULL, source INTEGER NOT NULL, low INTEGER NOT NULL
  );
  CREATE TABLE targets (
    bit INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, required INTEGER NOT NULL, removed INTEGER NOT NULL,
    dictionary BLOB, dictionary_count INTEGER NOT NULL
  );
  -- Apart from their content, so that an acknowledgement rewrites one small page and no block.
  CREATE TABLE journal (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, class INTEGER NOT NULL, n0 INTEGER NOT NULL, rows INTEGER NOT NULL,
    first_ms REAL NOT NULL, last_ms REAL NOT NULL, pending INTEGER NOT NULL, mono_ms REAL NOT NULL, wall_ms REAL NOT NULL,
    synced INTEGER NOT NULL, bytes INTEGER NOT NULL, counts BLOB NOT NULL, holes BLOB,
    -- Of a piece: the row of blocks that it shares with others, and what of it was divided.
    content INTEGER, content_n0 INTEGER, content_rows INTEGER
  );
  CREATE INDEX journal_pending ON journal (class) WHERE pending <> 0;
  CREATE INDEX journal_records ON journal (id) WHERE class < 2;
  CREATE INDEX journal_content ON journal (content) WHERE content IS NOT NULL;
  CREATE TABLE blocks (id INTEGER PRIMARY KEY, block BLOB NOT NULL);
  CREATE TABLE damaged (
    id INTEGER PRIMARY KEY, at_ms REAL NOT NULL, run INTEGER NOT NULL, class INTEGER NOT NULL, n0 INTEGER NOT NULL,
    rows INTEGER NOT NULL, block BLOB, sealed INTEGER NOT NULL
  );
  -- Two rows: see kept-ledger.ts.
  CREATE TABLE ledger (part INTEGER PRIMARY KEY, counters BLOB NOT NULL);
  CREATE TABLE explained (
    target TEXT NOT NULL, run INTEGER NOT NULL, class INTEGER NOT NULL, reason TEXT NOT NULL, ranges BLOB NOT NULL,
    PRIMARY KEY (target, run, class, reason)
  ) WITHOUT ROWID;
  -- No id is given twice: what the checkpoint does not know of is behind the last that it does.
  CREATE TABLE windows (
    id INTEGER PRIMARY KEY AUTOINCREMENT, period_ms INTEGER NOT NULL, from_ms REAL NOT NULL, to_ms REAL NOT NULL, rows INTEGER NOT NULL,
    block BLOB NOT NULL
  );
  CREATE INDEX windows_time ON windows (period_ms, to_ms);
  CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY, at_ms REAL NOT NULL, source TEXT NOT NULL, subject TEXT NOT NULL, reason TEXT NOT NULL,
    original BLOB NOT NULL, sealed INTEGER NOT NULL
  );
  -- Those of one source and one commit: see kept-receipts.ts.
  CREATE TABLE receipts (id INTEGER PRIMARY KEY, source TEXT NOT NULL, receipts BLOB NOT NULL);
  CREATE TABLE alarms (id TEXT PRIMARY KEY, row TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE audit (id TEXT PRIMARY KEY, at_ms REAL NOT NULL, row TEXT NOT NULL) WITHOUT ROWID;
  -- Zeros over free pages, while a tag is being forgotten.
  CREATE TABLE wiping (id INTEGER PRIMARY KEY, zeros BLOB NOT NULL);
`;

export const MIGRATIONS: readonly string[] = [FIRST];
/** In the file's `user_version`. */
export const SCHEMA_VERSION = MIGRATIONS.length;
/** In the file's `application_id`: "SLUC". */
export const APPLICATION_ID = 0x534c_5543;
