/**
 * The cache's file for reading only: while the daemon writes it, after it died and left a WAL, from a read-only medium,
 * or as a copy somewhere. Questions read in pages, each a snapshot of its own, so that the writer's checkpoints go on;
 * only a verification holds one for as long as it takes.
 */
import { copyFileSync, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import { codeOf, SluiceError } from '../errors.ts';
import { diskError } from './disk-error.ts';
import { DATABASE_FILE } from './folder.ts';
import { SCHEMA_VERSION } from './schema.ts';

const BUSY_TIMEOUT_MS = 5000;

export interface Snapshot {
  readonly db: Database.Database;
  close(): void;
}

/** @param path the cache's folder, or the file itself. @throws cache.missing, cache.newer, cache.corrupt (stop) */
export function openSnapshot(path: string): Snapshot {
  const file = existsSync(path) && statSync(path).isDirectory() ? join(path, DATABASE_FILE) : path;
  if (!existsSync(file)) {
    throw new SluiceError('cache.missing', 'stop', `there is no cache at ${path}`, {
      hint: 'Give the folder of cache.path, or the file in it.',
    });
  }
  const direct = tryOpen(file);
  if (direct !== undefined) return requireSchema({ db: direct, close: () => direct.close() });
  return requireSchema(openCopy(file));
}

/** Undefined where SQLite would have to create its shared memory and may not. */
function tryOpen(file: string): Database.Database | undefined {
  let db: Database.Database | undefined;
  try {
    db = new Database(file, { readonly: true, fileMustExist: true, timeout: BUSY_TIMEOUT_MS });
    db.prepare('SELECT count(*) FROM sqlite_master').get();
    return db;
  } catch (thrown) {
    db?.close();
    const code = codeOf(thrown);
    if (code.startsWith('SQLITE_CANTOPEN') || code.startsWith('SQLITE_READONLY')) return undefined;
    throw diskError(thrown);
  }
}

/** WAL and all; SQLite replays it in the copy. */
function openCopy(file: string): Snapshot {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-cache-'));
  const copy = join(folder, basename(file));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    copyFileSync(file, copy);
    const wal = join(dirname(file), `${basename(file)}-wal`);
    if (existsSync(wal)) copyFileSync(wal, `${copy}-wal`);
    const db = new Database(copy, { fileMustExist: true });
    db.pragma('query_only = 1');
    return {
      db,
      close() {
        db.close();
        remove();
      },
    };
  } catch (thrown) {
    remove();
    throw diskError(thrown);
  }
}

function requireSchema(snapshot: Snapshot): Snapshot {
  const version = Number(snapshot.db.pragma('user_version', { simple: true }));
  if (version === SCHEMA_VERSION) return snapshot;
  snapshot.close();
  if (version > SCHEMA_VERSION)
    throw new SluiceError(
      'cache.newer',
      'stop',
      `the cache has schema ${version}, this Sluice knows ${SCHEMA_VERSION}`,
    );
  const hint =
    version === 0 ? 'The gateway has not started yet.' : 'Start the gateway once: it brings the file up to date.';
  throw new SluiceError('cache.older', 'stop', `the cache has schema ${version}, ${SCHEMA_VERSION} is needed`, {
    hint,
  });
}
