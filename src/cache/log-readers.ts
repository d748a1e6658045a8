/**
 * Who keeps the log from being written back: processes that hold a snapshot of the cache's file. SQLite's readers lock a byte
 * of the shared memory beside it, and the kernel lists all locks with their process.
 */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DATABASE_FILE } from './folder.ts';

const LOCKS_FILE = '/proc/locks';
/** Bytes of the `-shm` file that a reader locks while it has a snapshot (SQLite, walformat.html, section 2.3). */
const READ_MARKS = { first: 123, last: 127 };

export interface LogReader {
  readonly pid: number;
  /** Of its program; undefined when it may not be seen, or has just ended. */
  readonly name: string | undefined;
}

/**
 * Other processes only, as far as this one may see them: none in another container, none where there is no Linux.
 * @param path the cache's folder. @param own process ids that are not meant: of the gateway itself.
 */
export function logReaders(path: string, own: readonly (number | undefined)[] = []): LogReader[] {
  try {
    const { ino } = statSync(join(path, `${DATABASE_FILE}-shm`));
    const pids = readersIn(readFileSync(LOCKS_FILE, 'latin1'), ino);
    return pids.filter((pid) => pid !== process.pid && !own.includes(pid)).map((pid) => ({ pid, name: nameOf(pid) }));
  } catch {
    return [];
  }
}

/** @param locks text of proc_locks(5). @returns process ids, each once. */
export function readersIn(locks: string, inode: number): number[] {
  const pids = new Set<number>();
  for (const line of locks.split('\n')) {
    const [, pid, file, from, to] =
      /^\d+: POSIX +ADVISORY +READ +(\d+) [0-9a-f]+:[0-9a-f]+:(\d+) (\d+) (\d+|EOF)$/.exec(line) ?? [];
    const end = to === 'EOF' ? Number.POSITIVE_INFINITY : Number(to);
    if (Number(file) !== inode || Number(from) > READ_MARKS.last || end < READ_MARKS.first) continue;
    pids.add(Number(pid));
  }
  return [...pids];
}

function nameOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** `process 4711 (sqlite3)`, for a sentence. */
export function readersText(readers: readonly LogReader[]): string {
  if (readers.length === 0) return 'another process';
  return readers.map(({ pid, name }) => `process ${pid}${name === undefined ? '' : ` (${name})`}`).join(', ');
}
