/**
 * Who did what, when: a table that is only ever added to. What changes something is recorded in the very transaction that changes
 * it, so neither is there without the other. Nobody can change or remove an entry over HTTP; the oldest go when there are too
 * many, and numbers never come again: a first number above 1 says that some went.
 *
 * Refused logins and enrolments cost a stranger nothing, so they are counted into one entry a minute, action and address, and have
 * a share of their own: whoever floods them pushes out only other refusals.
 */
import type { Statement } from 'better-sqlite3';
import type { Clock } from '../runtime/clock.ts';
import type { Db } from './database.ts';

export type AuditOutcome = 'done' | 'refused' | 'failed';

export interface AuditEvent {
  /** Name of the token, of the device, of the user of this machine; `nobody` before anyone is known. At most 128 characters. */
  readonly who: string;
  /** IP address; null for what was done on this machine. */
  readonly address: string | null;
  /** Dotted, lower case: `access.add`, `device.revoke`, `login.refused`. */
  readonly action: string;
  /** What it was done to: a device, a tag, a token's name. Never a secret. Null where there is nothing. */
  readonly object: string | null;
  readonly outcome: AuditOutcome;
  /** Small, free of secrets. At most 1,000 characters as JSON. */
  readonly details?: Readonly<Record<string, string | number | boolean | null>>;
}

export interface AuditEntry extends Required<AuditEvent> {
  readonly id: number;
  readonly atMs: number;
  /** Equal refusals that this entry stands for, itself included. */
  readonly count: number;
}

/** About 200 bytes each: 20 MB. A fleet of a thousand gateways makes some dozens a day. */
const KEPT_MAX = 100_000;
/** Of refusals. */
const REFUSALS_KEPT_MAX = 10_000;
/** What is older goes, too: an audit log holds names of people. */
export const AUDIT_KEPT_DAYS = 400;
const DAY_MS = 86_400_000;
/** Equal refusals within this become one entry with a count. */
const REFUSALS_JOINED_MS = 60_000;
/** Addresses whose last entry is remembered; a flood from more of them begins new entries, within the share of refusals. */
const JOINED_MAX = 10_000;
/** The table is trimmed once in so many entries, so it is longer than its limit by at most this. */
const TRIM_EVERY = 100;
const WHO_LENGTH_MAX = 128;
const OBJECT_LENGTH_MAX = 1024;
const DETAILS_LENGTH_MAX = 1000;

interface Row {
  readonly id: number;
  readonly at_ms: number;
  readonly who: string;
  readonly address: string | null;
  readonly action: string;
  readonly object: string | null;
  readonly outcome: AuditOutcome;
  readonly details: string | null;
  readonly count: number;
}

export class Audit {
  readonly #clock: Pick<Clock, 'wallMs' | 'monoMs'>;
  readonly #insert: Statement<unknown[]>;
  readonly #again: Statement<[number, string, string | null]>;
  readonly #list: Statement<[{ before: number; action: string | null; limit: number }], Row>;
  readonly #trim: Statement<[{ refused: 0 | 1; kept: number }]>;
  readonly #expire: Statement<[number]>;
  /** By what was refused and from where. */
  readonly #joined = new Map<string, { id: number; untilMs: number }>();
  #sinceTrim = 0;

  constructor(db: Db, clock: Pick<Clock, 'wallMs' | 'monoMs'>) {
    this.#clock = clock;
    this.#insert = db.prepare(
      'INSERT INTO audit (at_ms, who, address, action, object, outcome, details) VALUES (?, ?, ?, ?, ?, ?, ?)',
    );
    // A number that was rolled back is given again, to another entry.
    this.#again = db.prepare(
      "UPDATE audit SET count = count + 1 WHERE id = ? AND action = ? AND address IS ? AND outcome = 'refused'",
    );
    this.#list = db.prepare(
      'SELECT * FROM audit WHERE id < @before AND (@action IS NULL OR action = @action) ORDER BY id DESC LIMIT @limit',
    );
    this.#trim = db.prepare(
      `DELETE FROM audit WHERE (outcome = 'refused') = @refused AND id <= (
         SELECT id FROM audit WHERE (outcome = 'refused') = @refused ORDER BY id DESC LIMIT 1 OFFSET @kept)`,
    );
    this.#expire = db.prepare('DELETE FROM audit WHERE at_ms < ?');
  }

  /** Inside a transaction it is part of that. */
  record(event: AuditEvent): void {
    const { who, address, action, object, outcome, details } = event;
    const key = outcome === 'refused' ? `${action} ${address}` : undefined;
    const nowMs = this.#clock.monoMs();
    const joined = key === undefined ? undefined : this.#joined.get(key);
    if (joined !== undefined && nowMs < joined.untilMs && this.#again.run(joined.id, action, address).changes > 0)
      return;
    const { lastInsertRowid } = this.#insert.run(
      this.#clock.wallMs(),
      who.slice(0, WHO_LENGTH_MAX),
      address,
      action,
      object?.slice(0, OBJECT_LENGTH_MAX) ?? null,
      outcome,
      details === undefined ? null : shortJson(details),
    );
    if (key !== undefined) {
      if (this.#joined.size >= JOINED_MAX) this.#joined.clear();
      this.#joined.set(key, { id: Number(lastInsertRowid), untilMs: nowMs + REFUSALS_JOINED_MS });
    }
    if (this.#sinceTrim++ % TRIM_EVERY === 0) this.#trimNow();
  }

  /** Newest first. @param before only entries with a lower number */
  list(limit: number, before = Number.MAX_SAFE_INTEGER, action?: string): AuditEntry[] {
    return this.#list.all({ before, action: action ?? null, limit }).map(({ at_ms, details, ...row }) => ({
      ...row,
      atMs: at_ms,
      details: details === null ? {} : JSON.parse(details), // written above
    }));
  }

  #trimNow(): void {
    this.#trim.run({ refused: 0, kept: KEPT_MAX });
    this.#trim.run({ refused: 1, kept: REFUSALS_KEPT_MAX });
    this.#expire.run(this.#clock.wallMs() - AUDIT_KEPT_DAYS * DAY_MS);
  }
}

function shortJson(details: Exclude<AuditEvent['details'], undefined>): string {
  const json = JSON.stringify(details);
  return json.length <= DETAILS_LENGTH_MAX ? json : '{"left_out":"too long"}';
}
