/** Where things are in the cache's folder. */
import { chmodSync, closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';

export const DATABASE_FILE = 'cache.db';
export const LOCK_FILE = 'lock';
export const HOLDER_FILE = 'holder';

const FOLDER_MODE = 0o700;
export const FILE_MODE = 0o600;

/** SQLite gives -wal and -shm the mode of the file itself, so it is made here first. */
export function makeFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: FOLDER_MODE });
  chmodSync(path, FOLDER_MODE);
  for (const name of [DATABASE_FILE, LOCK_FILE]) {
    const file = join(path, name);
    closeSync(openSync(file, 'a', FILE_MODE));
    chmodSync(file, FILE_MODE);
  }
}
