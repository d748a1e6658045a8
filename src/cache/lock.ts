/**
 * One writer a cache: an exclusive lock of the kernel's on a file of its own, held while the process lives and gone with
 * it, however it ends. Nothing stale can be left behind. Who holds it stands beside it in plain text, for messages only.
 */
import { readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import { codeOf, SluiceError } from '../errors.ts';
import { FILE_MODE, HOLDER_FILE, LOCK_FILE } from './folder.ts';

export interface Lock {
  release(): void;
}

/** @throws cache.locked (stop), naming the process that has it. */
export function lockFolder(path: string): Lock {
  try {
    return lockOnce(path);
  } catch (thrown) {
    // It holds nothing: rubbish in it can go. Whoever had the lock would have kept us from seeing that it is rubbish.
    if (!/^SQLITE_(NOTADB|CORRUPT)/.test(codeOf(thrown))) throw thrown;
    truncateSync(join(path, LOCK_FILE));
    return lockOnce(path);
  }
}

function lockOnce(path: string): Lock {
  const db = new Database(join(path, LOCK_FILE), { timeout: 0 });
  const holderFile = join(path, HOLDER_FILE);
  try {
    db.pragma('journal_mode = MEMORY');
    db.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    db.close();
    if (!codeOf(cause).startsWith('SQLITE_BUSY')) throw cause;
    throw new SluiceError('cache.locked', 'stop', `another process uses the cache ${path}: ${holder(holderFile)}`, {
      cause,
      hint: 'Stop it first, or give this gateway a cache.path of its own.',
    });
  }
  try {
    writeFileSync(holderFile, `pid ${process.pid}\n`, { mode: FILE_MODE });
  } catch (thrown) {
    // For messages only: a full disk must not keep the cache from starting, and from making room.
    if (codeOf(thrown) !== 'ENOSPC') throw thrown;
  }
  return {
    release() {
      rmSync(holderFile, { force: true });
      db.exec('ROLLBACK');
      db.close();
    },
  };
}

export interface CacheHolder {
  /** Undefined when the holder could not leave it (a full disk). */
  readonly pid: number | undefined;
}

/** @param path the cache's folder, or the file in it. Who writes this cache now; undefined when nobody does. For looking only: asks the kernel's lock and takes none. */
export function cacheHolder(path: string): CacheHolder | undefined {
  const folder = statSync(path, { throwIfNoEntry: false })?.isDirectory() === false ? dirname(path) : path;
  try {
    const db = new Database(join(folder, LOCK_FILE), { readonly: true, fileMustExist: true, timeout: 0 });
    try {
      db.prepare('SELECT count(*) FROM sqlite_master').get();
    } finally {
      db.close();
    }
    return undefined;
  } catch (error) {
    if (!codeOf(error).startsWith('SQLITE_BUSY')) return undefined;
    const pid = Number(/^pid (\d+)$/.exec(holder(join(folder, HOLDER_FILE)))?.[1]);
    return { pid: Number.isInteger(pid) ? pid : undefined };
  }
}

function holder(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return 'it did not leave its pid';
  }
}
