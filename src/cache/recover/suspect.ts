/**
 * A file in which SQLite found damage while it ran: the process ends, and the next start looks at the whole file before
 * it trusts it again. Without a mark it would open the same file, run into the same page and end again, for ever.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FILE_MODE } from '../folder.ts';

const SUSPECT_FILE = 'suspect';
const UNSYNCED_FILE = 'unsynced';

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

/**
 * The disk failed under a commit or a checkpoint: pages that look clean may never have reached it, and the next start must
 * bring all of the log into the file before it commits. The mark need not outlive the page cache that it is about.
 */
export function markUnsynced(folder: string): void {
  try {
    writeFileSync(join(folder, UNSYNCED_FILE), '', { mode: FILE_MODE });
  } catch {
    // A checkpoint is tried at every start anyway, and only a reader that stays for all that time can stand in its way.
  }
}

export function isUnsynced(folder: string): boolean {
  return existsSync(join(folder, UNSYNCED_FILE));
}

export function clearUnsynced(folder: string): void {
  rmSync(join(folder, UNSYNCED_FILE), { force: true });
}
