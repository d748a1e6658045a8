/** What was found damaged at a start and what became of it: kept in the cache's file, so that status can tell later. */
import type Database from 'better-sqlite3';
import type { BlockStore } from '../store.ts';

export interface DamageNote {
  readonly atMs: number;
  /** The log, the whole file, only the account of readings in it, or some blocks of readings. */
  readonly what: 'log' | 'file' | 'ledger' | 'block';
  /** A sentence for a person. */
  readonly text: string;
  /** Commits that are gone, at most; undefined where nobody can say. */
  readonly lostCommits?: number | undefined;
  /** Readings in what was set aside that no target had acknowledged; undefined where they could not be counted. */
  readonly pendingReadings?: number | undefined;
  /** Name of the file, in the cache's folder, that keeps what was damaged; undefined where that was not possible. */
  readonly keptAs?: string | undefined;
}

const KEY = 'damage';
/** The newest; each is told once in the log and in an alarm anyway. */
export const NOTES_KEPT = 8;

export function readNotes(store: Pick<BlockStore, 'meta'>): readonly DamageNote[] {
  return parseNotes(store.meta(KEY));
}

function parseNotes(text: string | undefined): DamageNote[] {
  try {
    return JSON.parse(text ?? '[]');
  } catch {
    return []; // damaged, too: what it told is in the log
  }
}

/** Before anything else is written to the file. */
export function addNotes(db: Database.Database, notes: readonly DamageNote[]): void {
  if (notes.length === 0) return;
  const row = db.prepare('SELECT value FROM meta WHERE key = ?').get(KEY) as { value: string } | undefined; // its column
  const all = [...parseNotes(row?.value), ...notes].slice(-NOTES_KEPT);
  db.prepare('INSERT OR REPLACE INTO meta VALUES (?, ?)').run(KEY, JSON.stringify(all));
}

/** The same, of what shows after the file was opened. Inside a transaction. */
export function noteDamage(store: Pick<BlockStore, 'meta' | 'setMeta'>, note: DamageNote): void {
  store.setMeta(KEY, JSON.stringify([...readNotes(store), note].slice(-NOTES_KEPT)));
}
