/** Where things are in the cache's folder. */
import { accessSync, chmodSync, closeSync, constants, existsSync, mkdirSync, openSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { codeOf, SluiceError } from '../errors.ts';
import { syncFolder } from '../runtime/safe-write.ts';

export const DATABASE_FILE = 'cache.db';
export const LOCK_FILE = 'lock';
export const HOLDER_FILE = 'holder';
const PROBE_FILE = 'probe';

const FOLDER_MODE = 0o700;
export const FILE_MODE = 0o600;

/** One by one: where a folder cannot be made although its parent is there (/proc), Node's `recursive` tries for ever. */
function makeFolders(path: string): void {
  if (existsSync(path)) return;
  const parent = dirname(path);
  makeFolders(parent);
  mkdirSync(path, { mode: FOLDER_MODE });
  // Else a power cut soon after may take the name, and with it all that was committed behind it.
  syncFolder(parent);
}

/**
 * Whether the file system takes no writes at all, whoever asks: a permission that is missing is something else. After an
 * error ext4 refuses writes without being mounted read-only, and access(2) does not know; making a file finds out.
 */
export function isReadOnly(path: string): boolean {
  const isThere = existsSync(path);
  const probe = join(path, PROBE_FILE);
  try {
    accessSync(isThere ? path : dirname(path), constants.W_OK);
    if (!isThere) return false;
    closeSync(openSync(probe, 'w', FILE_MODE));
    unlinkSync(probe);
    return false;
  } catch (thrown) {
    return codeOf(thrown) === 'EROFS';
  }
}

/** The gateway goes on without keeping anything, and tries again: see `standing-in.ts`. */
export function readOnly(path: string, cause?: unknown): SluiceError {
  return new SluiceError('cache.read_only', 'retry', `the file system of the cache ${path} is read-only`, {
    cause,
    hint: 'Most often the kernel did that after errors of the card or disk: see dmesg. Check it, remount it, or replace it.',
  });
}

/**
 * SQLite gives -wal and -shm the mode of the file itself, so it is made here first.
 * @throws cache.read_only (retry)
 */
export function makeFolder(path: string): void {
  if (isReadOnly(path)) throw readOnly(path);
  makeFolders(path);
  chmodSync(path, FOLDER_MODE);
  for (const name of [DATABASE_FILE, LOCK_FILE]) {
    const file = join(path, name);
    closeSync(openSync(file, 'a', FILE_MODE));
    chmodSync(file, FILE_MODE);
  }
}
