/** What is to be forgotten for whom, and how far it is: kept with what is forgotten, so that a kill costs one step. */
import type { Statement } from 'better-sqlite3';
import type { Db } from '../database.ts';

/** What went. */
export interface Forgotten {
  readonly readings: number;
  /** Blocks that held nothing else; others were written anew. */
  readonly blocks: number;
  /** Sums that stood for readings. */
  readonly aggregates: number;
  /** Control and alarm rows. */
  readonly records: number;
  /** Definitions of tags. One that readings came of meanwhile stays. */
  readonly tags: number;
}

export const NOTHING: Forgotten = { readings: 0, blocks: 0, aggregates: 0, records: 0, tags: 0 };

/** In this order. */
export const FORGET_PHASES = ['blocks', 'records', 'rest', 'wipe', 'done'] as const;
export type ForgetPhase = (typeof FORGET_PHASES)[number];

export interface ForgetRequest {
  /** 32 hex digits. */
  readonly device: string;
  /** Full name, or the id of a tag whose name never came; null for all of the device. */
  readonly tag: string | null;
  readonly reason: string | null;
  readonly who: string;
  readonly atMs: number;
}

export interface ForgetJob extends ForgetRequest {
  readonly id: number;
  readonly phase: ForgetPhase;
  /** The last block that was there when it was asked for: what comes later is kept. */
  readonly upTo: number;
  /** Of the phase: the last block, or run, that was looked at. */
  readonly cursor: number;
  readonly removed: Forgotten;
  readonly doneMs: number | null;
}

interface Row extends Omit<ForgetJob, 'removed'> {
  readonly removed: string;
}

const COLUMNS = `id, device, tag, reason, who, at_ms AS atMs, phase, up_to AS upTo, cursor, removed, done_ms AS doneMs`;

export class ForgetJobs {
  readonly #insert: Statement<unknown[]>;
  readonly #update: Statement<unknown[]>;
  readonly #next: Statement<[], Row>;
  readonly #get: Statement<[number], Row>;
  readonly #list: Statement<[number], Row>;

  constructor(db: Db) {
    this.#insert = db.prepare(
      `INSERT INTO forget (device, tag, reason, who, at_ms, up_to, removed)
       VALUES (?, ?, ?, ?, ?, (SELECT coalesce(max(id), 0) FROM block), ?)`,
    );
    this.#update = db.prepare('UPDATE forget SET phase = ?, cursor = ?, removed = ?, done_ms = ? WHERE id = ?');
    this.#next = db.prepare(`SELECT ${COLUMNS} FROM forget WHERE phase <> 'done' ORDER BY id LIMIT 1`);
    this.#get = db.prepare(`SELECT ${COLUMNS} FROM forget WHERE id = ?`);
    this.#list = db.prepare(`SELECT ${COLUMNS} FROM forget ORDER BY id DESC LIMIT ?`);
  }

  add({ device, tag, reason, who, atMs }: ForgetRequest): number {
    return Number(this.#insert.run(device, tag, reason, who, atMs, JSON.stringify(NOTHING)).lastInsertRowid);
  }

  put({ id, phase, cursor, removed, doneMs }: ForgetJob): void {
    this.#update.run(phase, cursor, JSON.stringify(removed), doneMs, id);
  }

  /** The oldest that is not done. */
  next(): ForgetJob | undefined {
    return jobOf(this.#next.get());
  }

  get(id: number): ForgetJob | undefined {
    return jobOf(this.#get.get(id));
  }

  /** Newest first. */
  list(limit: number): ForgetJob[] {
    return this.#list.all(limit).flatMap((row) => jobOf(row) ?? []);
  }
}

function jobOf(row: Row | undefined): ForgetJob | undefined {
  return row && { ...row, removed: JSON.parse(row.removed) }; // written above
}
