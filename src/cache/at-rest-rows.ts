/**
 * How many rows a key has sealed. Random nonces are safe for 2^32 of them (`at-rest.ts`): somebody has to change the key
 * before, and hears of it at half of that. The file holds how many there may be: some are added at each start and whenever few
 * of them are left, so that it costs a write every 50,000 rows and no crash makes them too few.
 */
import type { Database } from 'better-sqlite3';
import { codeOf } from '../errors.ts';
import type { BlockStore } from './store.ts';

/** In `meta`, as JSON. */
const KEY = 'at rest rows';
/** NIST SP 800-38D, 8.3: no more under one key with random nonces of 96 bits. */
export const ROWS_A_KEY = 2 ** 32;
/** Years before the end at the rates of a plant, days at the highest that a disk takes. */
const WARN_AT_ROWS = 2 ** 31;
const STEP_ROWS = 65_536;
/** So often is looked. A note that is undone with its transaction is written at the next look, long before it is needed. */
const LOOK_ROWS = 1024;

export interface AtRestKeyUse {
  /** Eight hex digits (`atRestKid`): the key that seals. */
  readonly kid: string;
  /** It has sealed so many, at most. */
  readonly rows: number;
}

interface Kept {
  /** Null: what is written is not sealed. */
  readonly current: string | null;
  readonly rows: Readonly<Record<string, number>>;
}

function kept(text: string | undefined): Kept | undefined {
  return text === undefined ? undefined : JSON.parse(text); // written below
}

/** Undefined while nothing is sealed. */
export function atRestKeyUse(store: Pick<BlockStore, 'meta'>): AtRestKeyUse | undefined {
  const { current, rows } = kept(store.meta(KEY)) ?? {};
  return typeof current === 'string' ? { kid: current, rows: rows?.[current] ?? 0 } : undefined;
}

/** What a person must know of it; undefined for years. */
export function keyWornText(use: AtRestKeyUse | undefined): string | undefined {
  if (use === undefined || use.rows < WARN_AT_ROWS) return undefined;
  const percent = Math.floor((use.rows / ROWS_A_KEY) * 100);
  const of = `key ${use.kid} of cache.encryptAtRest has sealed ${use.rows} rows, ${percent} % of what one key may`;
  return `${of}: make another (sluice keygen --cache), name it as key and this one under previous`;
}

/** In the file of a writer. */
export class SealedRows {
  readonly #db: Database;
  readonly #kid: string | undefined;
  #rows: number;

  /** @param kid of the key that seals from now on; undefined when none does. Notes it, in a transaction of its own or around it. */
  constructor(db: Database, kid: string | undefined) {
    this.#db = db;
    this.#kid = kid;
    this.#rows = this.#kept().rows[kid ?? ''] ?? 0;
    try {
      if (kid !== undefined) this.#note(kid);
      else if (this.#kept().current !== null) this.#write({ ...this.#kept(), current: null });
    } catch (thrown) {
      // A full disk is no reason not to start: it is noted at a later look.
      if (codeOf(thrown) !== 'SQLITE_FULL') throw thrown;
    }
  }

  /** One more. Inside the transaction that writes it. */
  count(): void {
    this.#rows++;
    if (this.#rows % LOOK_ROWS !== 0 || this.#kid === undefined) return;
    if (this.#rows + STEP_ROWS / 2 > (this.#kept().rows[this.#kid] ?? 0)) this.#note(this.#kid);
  }

  #note(kid: string): void {
    this.#write({ current: kid, rows: { ...this.#kept().rows, [kid]: this.#rows + STEP_ROWS } });
  }

  #write(note: Kept): void {
    const sql = 'INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value';
    this.#db.prepare(sql).run(KEY, JSON.stringify(note));
  }

  #kept(): Kept {
    const row = this.#db.prepare('SELECT value FROM meta WHERE key = ?').get(KEY) as { value: string } | undefined; // its column
    return kept(row?.value) ?? { current: null, rows: {} };
  }
}
