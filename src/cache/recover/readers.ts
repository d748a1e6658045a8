/** Who else has the cache's file open, by the kernel's list of locks: SQLite holds one on the -shm file all the time. */
import { readFileSync, statSync } from 'node:fs';

const LOCKS_FILE = '/proc/locks';

/** @param file of the database. False where that cannot be known (no Linux). */
export function hasReaders(file: string): boolean {
  try {
    const { ino } = statSync(`${file}-shm`);
    return readFileSync(LOCKS_FILE, 'utf8')
      .split('\n')
      .some((line) => line.split(/\s+/).some((field) => field.endsWith(`:${ino}`)));
  } catch {
    return false;
  }
}
