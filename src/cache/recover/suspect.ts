/**
 * A file in which SQLite found damage while it ran: the process ends, and the next start looks at the whole file before
 * it trusts it again. Without a mark it would open the same file, run into the same page and end again, for ever.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FILE_MODE } from '../folder.ts';

const SUSPECT_FILE = 'suspect';

/** How often this file ended a process in a row; best effort, for the disk may be no better than the file. */
export function markSuspect(folder: string): void {
  try {
    writeFileSync(join(folder, SUSPECT_FILE), `${timesSuspected(folder) + 1}\n`, { mode: FILE_MODE });
  } catch {
    // The next start finds out by itself, or the one after that.
  }
}

export function timesSuspected(folder: string): number {
  try {
    return Number.parseInt(readFileSync(join(folder, SUSPECT_FILE), 'utf8'), 10) || 1;
  } catch {
    return 0;
  }
}

/** After an end in order, or when the file has been replaced. */
export function clearSuspect(folder: string): void {
  rmSync(join(folder, SUSPECT_FILE), { force: true });
}
