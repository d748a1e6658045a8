/**
 * The start on a cache whose file or log may be damaged. In order: look at the log while it is whole, open the file, let
 * the core read all it needs. What turns out to be damage sets the file aside and starts anew, once; everything else, such
 * as a newer schema, a lock, a permission, a full disk, stays the refusal it is, and leaves the file alone.
 */
import { existsSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type Database from 'better-sqlite3';
import { codeOf, describe, isSluiceError, SluiceError } from '../../errors.ts';
import type { Clock } from '../../runtime/clock.ts';
import { openDatabase } from '../database.ts';
import { diskError } from '../disk-error.ts';
import { DATABASE_FILE, FILE_MODE, makeFolder } from '../folder.ts';
import { addNotes, type DamageNote } from './notes.ts';
import { hasReaders } from './readers.ts';
import { keepLog, type SetAside, setFileAside } from './set-aside.ts';
import { clearSuspect, clearUnsynced, isUnsynced, timesSuspected } from './suspect.ts';
import { checkWal } from './wal-check.ts';

/** Stands in the folder once a cache was here: an empty file is a new cache only without it. */
const USED_FILE = 'used';
/** A file that ended so many processes in a row is not opened again, whatever a check says of it. */
const SUSPECTED_MAX = 2;

export interface Place {
  readonly folder: string;
  /** Gives up what is kept for a full disk; the start is tried again with it. */
  readonly makeRoom?: (() => void) | undefined;
  /** Of all that is set aside. */
  readonly bytesMax: number;
  readonly clock: Pick<Clock, 'wallMs'>;
}

export interface Recovered<T> {
  readonly value: T;
  /** What was found at this start; empty on all good days. */
  readonly notes: readonly DamageNote[];
}

/**
 * @param build reads what it needs of the opened file. Called again, with another file, when what it threw was damage.
 * @throws what `openDatabase` throws except cache.corrupt; cache.busy_reader; cache.disk when the damaged file cannot be moved.
 */
export function openRecovering<T>(
  place: Place,
  build: (db: Database.Database, notes: readonly DamageNote[]) => T,
): Recovered<T> {
  const notes = lookBefore(place);
  const isSuspect = timesSuspected(place.folder) > 0 || notes.some(({ lostCommits }) => lostCommits === undefined);
  try {
    return attempt(place, notes, isSuspect, build);
  } catch (thrown) {
    if (codeOf(diskError(thrown)) === 'cache.full' && place.makeRoom !== undefined) {
      place.makeRoom();
      return openRecovering({ ...place, makeRoom: undefined }, build);
    }
    if (!isDamage(thrown)) throw thrown;
    return startAnew(place, thrown, notes, build);
  }
}

function attempt<T>(
  { folder }: Place,
  notes: readonly DamageNote[],
  isSuspect: boolean,
  build: (db: Database.Database, notes: readonly DamageNote[]) => T,
): Recovered<T> {
  const db = openDatabase(folder, isUnsynced(folder));
  clearUnsynced(folder);
  try {
    if (isSuspect) requireSound(db, timesSuspected(folder));
    unlessFull(() => addNotes(db, notes));
    const value = build(db, notes);
    unlessFull(() => writeFileSync(join(folder, USED_FILE), '', { mode: FILE_MODE }));
    return { value, notes };
  } catch (thrown) {
    db.close();
    throw thrown;
  }
}

/** A full disk is no reason not to start: the log and an alarm tell the same. */
function unlessFull(write: () => void): void {
  try {
    write();
  } catch (thrown) {
    const error = diskError(thrown);
    if (codeOf(error) !== 'cache.full' && codeOf(error) !== 'ENOSPC') throw error;
  }
}

/** Reads the whole file: a second for 200 MB or so, which is why only a suspect pays for it. */
function requireSound(db: Database.Database, suspected: number): void {
  const found =
    suspected >= SUSPECTED_MAX ? 'it ended the process twice' : db.pragma('quick_check(1)', { simple: true });
  if (found !== 'ok') throw new SluiceError('cache.corrupt', 'stop', `the cache file is damaged: ${String(found)}`);
}

function startAnew<T>(
  place: Place,
  thrown: unknown,
  found: readonly DamageNote[],
  build: (db: Database.Database, notes: readonly DamageNote[]) => T,
): Recovered<T> {
  const aside = setFileAside(place.folder, place.clock.wallMs(), place.bytesMax);
  clearSuspect(place.folder);
  makeFolder(place.folder);
  try {
    return attempt(place, [...found, fileNote(place, describe(thrown), aside)], false, build);
  } catch (again) {
    // Not the file but its disk: where it works again tomorrow, the readings shall be where they were.
    putBack(place.folder, aside);
    throw isDamage(again) ? thrown : again;
  }
}

function putBack(folder: string, { keptAs }: SetAside): void {
  for (const suffix of ['', '-wal', '-shm']) {
    const [from, to] = [join(folder, `${keptAs}${suffix}`), join(folder, `${DATABASE_FILE}${suffix}`)];
    // In one step where there is one to put back: a crash in between must not leave neither.
    if (existsSync(from)) renameSync(from, to);
    else rmSync(to, { force: true });
  }
}

/** Before SQLite sees any of it: it replays a log as far as it can and says nothing of the rest. */
function lookBefore(place: Place): DamageNote[] {
  const { folder, clock, bytesMax } = place;
  const file = join(folder, DATABASE_FILE);
  if (statSync(file).size === 0) {
    const hasLog = (statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0;
    if (!hasLog && !existsSync(join(folder, USED_FILE))) return [];
    const aside = hasLog ? setFileAside(folder, clock.wallMs(), bytesMax) : undefined;
    makeFolder(folder);
    return [fileNote(place, 'it was empty', aside)];
  }
  const { kind, lostCommits } = checkWal(file);
  if (kind === 'sound') return [];
  if (hasReaders(file)) throw readByOthers();
  const keptAs = keepLog(folder, clock.wallMs());
  if (kind === 'cut') return [cutNote(clock.wallMs(), lostCommits, keptAs)];
  for (const suffix of ['-wal', '-shm']) rmSync(`${file}${suffix}`, { force: true });
  const text =
    'the log of the cache was damaged after its pages had been copied into the file: the file was used without it';
  return [{ atMs: clock.wallMs(), what: 'log', text, keptAs }];
}

function cutNote(atMs: number, lostCommits: number, keptAs: string | undefined): DamageNote {
  const commits = lostCommits === 1 ? '1 commit' : `${lostCommits} commits`;
  const text = `the log of the cache was damaged: at most ${commits} of the last ones are lost, everything before is there`;
  return { atMs, what: 'log', text, lostCommits, keptAs };
}

function fileNote({ clock }: Place, why: string, aside: SetAside | undefined): DamageNote {
  const kept = aside === undefined ? '' : `; it was set aside as ${aside.keptAs}`;
  const pending = aside?.pendingReadings;
  const owed = pending === undefined ? '' : `, with ${pending} readings that nobody had acknowledged`;
  const text = `the cache file could not be used (${why})${kept}${owed}; a new one was begun`;
  return { atMs: clock.wallMs(), what: 'file', text, pendingReadings: pending, keptAs: aside?.keptAs };
}

function readByOthers(): SluiceError {
  return new SluiceError(
    'cache.busy_reader',
    'stop',
    'the log of the cache is damaged and another process is reading it',
    { hint: 'Stop what reads the cache (sluice tail, sluice query, sqlite3) and start again.' },
  );
}

/** Errors of SQLite that a sound file and disk do not bring about; not SQLITE_NOMEM, _BUSY, _FULL, _CANTOPEN, _READONLY. */
const DAMAGE = /^SQLITE_(ERROR|CORRUPT|NOTADB|CONSTRAINT|MISMATCH|TOOBIG|RANGE|FORMAT)/;
/** The disk does not give back what it was given, or does not take a checkpoint: a new file may lie on better ground. */
const DISK = /^SQLITE_IOERR(_(READ|SHORT_READ|WRITE|FSYNC|TRUNCATE|CORRUPTFS|FSTAT))?$/;

/** Whether what was thrown says that the file is damaged, not the machine or the configuration. */
export function isDamage(thrown: unknown): boolean {
  const error = diskError(thrown);
  if (!isSluiceError(error)) {
    // What was stored does not parse, or says what cannot be.
    return error instanceof SyntaxError || error instanceof RangeError || error instanceof TypeError;
  }
  if (error.code === 'cache.corrupt' || error.recovery === 'discard') return true;
  const sqlite = String(error.facts.sqlite ?? '');
  return error.code === 'cache.disk' && (DAMAGE.test(sqlite) || DISK.test(sqlite));
}

/** While it runs: whether the next start shall look before it trusts the file. */
export function isSuspicious(thrown: unknown): boolean {
  const error = diskError(thrown);
  if (codeOf(error) === 'cache.corrupt' || error instanceof SyntaxError) return true;
  return isSluiceError(error) && DAMAGE.test(String(error.facts.sqlite ?? ''));
}

/** For RUN_OPEN: what the cloud shall know of this start. */
export function openingReason(reason: string, notes: readonly DamageNote[]): string {
  return [reason, ...notes.map(({ text }) => text)].join('; ').slice(0, REASON_MAX);
}
/** The wire takes 1024. */
const REASON_MAX = 1000;
