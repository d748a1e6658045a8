/**
 * A damaged file makes room for a new one and is kept beside it, with its log, under a name that says when:
 * `cache.db.damaged-20260131T100000Z`. `sluice query --cache <that file>` reads what can be read of it. Two are kept, the
 * newest and the largest of the others, and no more bytes than the cache itself may have.
 */
import {
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { SluiceError } from '../../errors.ts';
import { DATABASE_FILE } from '../folder.ts';

const MARK = `${DATABASE_FILE}.damaged-`;
const LOG_MARK = `${DATABASE_FILE}-wal.damaged-`;
const FILES_KEPT = 2;
/** A log is at most some commits; it is evidence, no more. */
const LOG_BYTES_KEPT = 64_000_000;
/** A disk that breaks file after file shall not push out the one that is worth something. */
export const SET_ASIDE_APART_MS = 600_000;

export interface SetAside {
  readonly keptAs: string;
  readonly pendingReadings: number | undefined;
}

/** @throws cache.disk (stop) when the file cannot be renamed. */
export function setFileAside(folder: string, wallMs: number, bytesMax: number): SetAside {
  const keptAs = freeName(folder, MARK, wallMs);
  try {
    for (const suffix of ['', '-wal', '-shm']) {
      const from = join(folder, `${DATABASE_FILE}${suffix}`);
      if (existsSync(from)) renameSync(from, join(folder, `${keptAs}${suffix}`));
    }
  } catch (cause) {
    throw new SluiceError('cache.disk', 'stop', `the cache file cannot be used and could not be renamed to ${keptAs}`, {
      cause,
      hint: `Move everything out of ${folder} by hand and start again.`,
    });
  }
  syncFolder(folder);
  keepSome(folder, MARK, FILES_KEPT, bytesMax);
  return { keptAs, pendingReadings: pendingIn(join(folder, keptAs)) };
}

/** A copy: SQLite will use the log itself. @returns its name; undefined where there was no room for it. */
export function keepLog(folder: string, wallMs: number): string | undefined {
  const keptAs = freeName(folder, LOG_MARK, wallMs);
  const log = join(folder, `${DATABASE_FILE}-wal`);
  try {
    if (statSync(log).size > LOG_BYTES_KEPT) return undefined;
    copyFileSync(log, join(folder, keptAs));
  } catch {
    // The copy is for whoever looks into it later; the start goes on without.
    rmSync(join(folder, keptAs), { force: true });
    return undefined;
  }
  keepSome(folder, LOG_MARK, FILES_KEPT, LOG_BYTES_KEPT);
  return keptAs;
}

/** When a file was last set aside; undefined when none is here. */
export function lastSetAsideMs(folder: string): number | undefined {
  const times = namesOf(folder, MARK).map((name) => statSync(join(folder, name)).ctimeMs);
  return times.length === 0 ? undefined : Math.max(...times);
}

function freeName(folder: string, mark: string, wallMs: number): string {
  const stamp = new Date(Math.max(0, wallMs)).toISOString().replace(/[-:]|\.\d+/g, '');
  for (let more = 0; ; more++) {
    const name = `${mark}${stamp}${more === 0 ? '' : `-${more}`}`;
    if (!existsSync(join(folder, name))) return name;
  }
}

function namesOf(folder: string, mark: string): string[] {
  return readdirSync(folder).filter((name) => name.startsWith(mark) && !/-(wal|shm)$/.test(name));
}

/** The newest stays always; of the others the largest, while there is room for it. */
function keepSome(folder: string, mark: string, files: number, bytesMax: number): void {
  const all = namesOf(folder, mark).map((name) => {
    const { size, ctimeMs } = statSync(join(folder, name));
    return { name, size, ctimeMs };
  });
  all.sort((a, b) => b.ctimeMs - a.ctimeMs);
  const [newest, ...others] = all;
  if (newest === undefined) return;
  let bytes = newest.size;
  let kept = 1;
  for (const { name, size } of others.sort((a, b) => b.size - a.size)) {
    if (kept < files && bytes + size <= bytesMax) {
      kept++;
      bytes += size;
      continue;
    }
    for (const suffix of ['', '-wal', '-shm']) rmSync(join(folder, `${name}${suffix}`), { force: true });
  }
}

function pendingIn(file: string): number | undefined {
  let db: Database.Database | undefined;
  try {
    db = new Database(file, { readonly: true, fileMustExist: true });
    const sum = 'SELECT coalesce(sum(rows), 0) AS readings FROM journal WHERE pending <> 0 AND class >= 3';
    return (db.prepare(sum).get() as { readings: number }).readings; // its column
  } catch {
    return undefined;
  } finally {
    db?.close();
  }
}

/** A rename lasts once its folder is on the disk; where it does not, the next start finds the old name and does it again. */
function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } catch {
    // Nothing is lost by it, see above.
  } finally {
    closeSync(handle);
  }
}
