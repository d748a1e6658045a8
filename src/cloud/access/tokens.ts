/**
 * Tokens for people and programs that ask the receiver: each has a name and one role. A token is shown once, when it is made; kept
 * is its SHA-256. No slow hash: the secret is 256 random bits of ours, which nobody guesses however fast the hash is, and a slow one
 * would let strangers keep the thread busy. The part before the secret finds the row, so nothing about the secret decides how
 * long the search takes; the hashes are compared in constant time.
 *
 *     slct_<12 hex digits, to find it>_<43 characters of base64url, 256 random bits>
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Statement } from 'better-sqlite3';
import { SluiceError } from '../../errors.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Db } from '../database.ts';

/** Each may what those before it may. */
export const ROLES = ['reader', 'operator', 'admin'] as const;
export type Role = (typeof ROLES)[number];

export function mayActAs(role: Role, needed: Role): boolean {
  return ROLES.indexOf(role) >= ROLES.indexOf(needed);
}

export interface AccessToken {
  readonly name: string;
  readonly role: Role;
  readonly createdMs: number;
  /** Null: for as long as it is not removed. */
  readonly expiresMs: number | null;
  /** To the hour; null when it never was. */
  readonly usedMs: number | null;
}

const TOKEN = /^slct_([0-9a-f]{12})_([\w-]{43})$/;
const NAME = /^[^\s"'\\/*][^"'\\/*]{0,63}$/u;
const FIND_BYTES = 6;
const SECRET_BYTES = 32;
/** More names than people and programs ask of one receiver. */
const TOKENS_MAX = 1000;
/** A query shall not cost a commit. */
const USED_EVERY_MS = 3_600_000;

interface Row {
  readonly name: string;
  readonly role: Role;
  readonly hash: Uint8Array;
  readonly created_ms: number;
  readonly expires_ms: number | null;
  readonly used_ms: number | null;
}

export class AccessTokens {
  readonly #clock: Pick<Clock, 'wallMs'>;
  readonly #insert: Statement<unknown[]>;
  readonly #remove: Statement<[string]>;
  readonly #list: Statement<[], Row>;
  readonly #find: Statement<[string], Row>;
  readonly #use: Statement<[number, string]>;
  readonly #count: Statement<[], { count: number }>;

  constructor(db: Db, clock: Pick<Clock, 'wallMs'>) {
    this.#clock = clock;
    this.#insert = db.prepare(
      'INSERT INTO access (name, role, find, hash, created_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING',
    );
    this.#remove = db.prepare('DELETE FROM access WHERE name = ?');
    this.#list = db.prepare('SELECT * FROM access ORDER BY name');
    this.#find = db.prepare('SELECT * FROM access WHERE find = ?');
    this.#use = db.prepare('UPDATE access SET used_ms = ? WHERE name = ?');
    this.#count = db.prepare('SELECT count(*) AS count FROM access');
  }

  /**
   * @param expiresMs wall clock; undefined for never
   * @returns the token, which nobody can show again
   * @throws access.name, access.taken, access.too_many
   */
  add(name: string, role: Role, expiresMs?: number): string {
    if (!NAME.test(name)) {
      throw new SluiceError('access.name', 'discard', 'a name has 1 to 64 characters, none of / * " \' \\');
    }
    if (this.count >= TOKENS_MAX) {
      throw new SluiceError('access.too_many', 'discard', `there are ${TOKENS_MAX} tokens already`, {
        hint: 'Remove those that nobody uses.',
      });
    }
    const find = randomBytes(FIND_BYTES).toString('hex');
    const secret = randomBytes(SECRET_BYTES).toString('base64url');
    const nowMs = this.#clock.wallMs();
    const { changes } = this.#insert.run(name, role, find, hashOf(secret), nowMs, expiresMs ?? null);
    if (changes === 0) {
      throw new SluiceError('access.taken', 'discard', `there is a token called ${name}`, {
        hint: 'Take another name, or remove it first.',
      });
    }
    return `slct_${find}_${secret}`;
  }

  /** @returns whether there was one */
  remove(name: string): boolean {
    return this.#remove.run(name).changes > 0;
  }

  list(): AccessToken[] {
    return this.#list.all().map(({ name, role, created_ms, expires_ms, used_ms }) => ({
      name,
      role,
      createdMs: created_ms,
      expiresMs: expires_ms,
      usedMs: used_ms,
    }));
  }

  get count(): number {
    return this.#count.get()?.count ?? 0;
  }

  /** Whose token this is; undefined for one that is not known, or has expired. */
  check(token: string): { readonly name: string; readonly role: Role } | undefined {
    const [, find = '', secret = ''] = TOKEN.exec(token) ?? [];
    const row = this.#find.get(find);
    if (row === undefined || !timingSafeEqual(hashOf(secret), row.hash)) return undefined;
    const nowMs = this.#clock.wallMs();
    if (row.expires_ms !== null && nowMs >= row.expires_ms) return undefined;
    if (row.used_ms === null || nowMs - row.used_ms >= USED_EVERY_MS) this.#use.run(nowMs, row.name);
    return { name: row.name, role: row.role };
  }
}

function hashOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
