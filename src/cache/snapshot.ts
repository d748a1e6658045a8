/**
 * The cache's file for reading only: while the daemon writes it, after it died and left a WAL, from a read-only medium,
 * or as a copy somewhere. Questions read in pages, each a snapshot of its own, so that the writer's checkpoints go on;
 * only a verification holds one for as long as it takes.
 */
import { accessSync, constants, copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import Database from 'better-sqlite3';
import { codeOf, SluiceError } from '../errors.ts';
import { type AtRestKeys, NO_KEYS } from './at-rest.ts';
import { addOpened } from './at-rest-store.ts';
import { diskError } from './disk-error.ts';
import { DATABASE_FILE } from './folder.ts';
import { SCHEMA_VERSION } from './schema.ts';

const BUSY_TIMEOUT_MS = 5000;

export interface Snapshot {
  readonly db: Database.Database;
  close(): void;
}

/**
 * @param path the cache's folder, or the file itself.
 * @param keys of encryption at rest, asked for at the first row that needs one.
 * @throws cache.missing, cache.denied, cache.newer, cache.corrupt (stop)
 */
export function openSnapshot(path: string, keys: () => AtRestKeys = () => NO_KEYS): Snapshot {
  const file = readableFile(path);
  const direct = tryOpen(file);
  const snapshot = direct === undefined ? openCopy(file) : { db: direct, close: () => direct.close() };
  const { db } = requireSchema(snapshot);
  addOpened(db, keys);
  return snapshot;
}

function readableFile(path: string): string {
  try {
    const file = statSync(path).isDirectory() ? join(path, DATABASE_FILE) : path;
    accessSync(file, constants.R_OK);
    return file;
  } catch (cause) {
    if (codeOf(cause) === 'EACCES') throw denied(path, cause);
    throw new SluiceError('cache.missing', 'stop', `there is no cache at ${path}`, {
      hint: 'Give the folder of cache.path, or the file in it.',
    });
  }
}

/** The nearest thing that can be seen is the one that keeps us out. */
function denied(path: string, cause: unknown): SluiceError {
  let at = resolve(path);
  let owner: number | undefined;
  while (owner === undefined) {
    try {
      owner = statSync(at).uid;
    } catch {
      if (at === dirname(at)) break;
      at = dirname(at);
    }
  }
  const name = owner === undefined ? 'another user' : userName(owner);
  const hint =
    owner === process.geteuid?.()
      ? `It is your own: chmod u+rX ${at}`
      : `Ask as ${name}: sudo -u ${name.startsWith('uid') ? `'#${owner}'` : name} sluice …`;
  return new SluiceError('cache.denied', 'stop', `permission denied: ${at} is ${name}'s, and others may not read it`, {
    hint,
    cause,
  });
}

function userName(uid: number): string {
  try {
    const line = readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .find((each) => each.split(':')[2] === String(uid));
    return line?.split(':')[0] ?? `uid ${uid}`;
  } catch {
    return `uid ${uid}`;
  }
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
    if (codeOf(thrown) === 'EACCES') throw denied(file, thrown);
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
