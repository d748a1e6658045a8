/** Where things are in the cache's folder. */
import { chmodSync, closeSync, existsSync, mkdirSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';

export const DATABASE_FILE = 'cache.db';
export const LOCK_FILE = 'lock';
export const HOLDER_FILE = 'holder';

const FOLDER_MODE = 0o700;
export const FILE_MODE = 0o600;

/** One by one: where a folder cannot be made although its parent is there (/proc), Node's `recursive` tries for ever. */
function makeFolders(path: string): void {
  if (existsSync(path)) return;
  makeFolders(dirname(path));
  mkdirSync(path, { mode: FOLDER_MODE });
}

/** SQLite gives -wal and -shm the mode of the file itself, so it is made here first. */
export function makeFolder(path: string): void {
  makeFolders(path);
  chmodSync(path, FOLDER_MODE);
  for (const name of [DATABASE_FILE, LOCK_FILE]) {
    const file = join(path, name);
    closeSync(openSync(file, 'a', FILE_MODE));
    chmodSync(file, FILE_MODE);
  }
}
