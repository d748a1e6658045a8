/** One-time tokens in the receiver's database: of a token's secret only what MACs are made with (`macKeyOf`). */
import type { Statement } from 'better-sqlite3';
import { hex } from '../wire/bytes.ts';
import { type EnrolToken, macKeyOf } from '../wire/enrol.ts';
import type { Db } from './database.ts';

/** So long after its end a token can still answer the box that used it, and tell others that it was used. */
const KEPT_MS = 7 * 86_400_000;

export interface StoredToken {
  readonly id: string;
  readonly macKey: Uint8Array;
  /** What the device will be called. */
  readonly name: string;
  /** Of a token that gives a device already known a new key. */
  readonly device: string | null;
  readonly expiresMs: number;
  /** The public key that used it, and whose. */
  readonly usedKey: string | null;
  readonly usedDevice: string | null;
  /** Whether that key got into the device list; what a person does to the list afterwards is the person's. */
  readonly listed: boolean;
}

interface Row {
  readonly id: string;
  readonly mac_key: Uint8Array;
  readonly name: string;
  readonly device: string | null;
  readonly expires_ms: number;
  readonly used_key: string | null;
  readonly used_device: string | null;
  readonly listed: number;
}

export class EnrolTokens {
  readonly #add: Statement<unknown[]>;
  readonly #get: Statement<[string], Row>;
  readonly #use: Statement<[string, string, number, string]>;
  readonly #list: Statement<[string]>;
  readonly #named: Statement<[string, number], { readonly id: string }>;
  readonly #expire: Statement<[number]>;

  constructor(db: Db) {
    this.#add = db.prepare(
      'INSERT INTO enrol_token (id, mac_key, name, device, made_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?)',
    );
    this.#get = db.prepare('SELECT * FROM enrol_token WHERE id = ?');
    this.#use = db.prepare(
      'UPDATE enrol_token SET used_key = ?, used_device = ?, used_ms = ? WHERE id = ? AND used_key IS NULL',
    );
    this.#list = db.prepare('UPDATE enrol_token SET listed = 1 WHERE id = ?');
    this.#named = db.prepare('SELECT id FROM enrol_token WHERE name = ? AND used_key IS NULL AND expires_ms > ?');
    this.#expire = db.prepare('DELETE FROM enrol_token WHERE expires_ms < ?');
  }

  add(token: EnrolToken, name: string, nowMs: number, expiresMs: number): void {
    this.#expire.run(nowMs - KEPT_MS);
    const device = token.device === undefined ? null : hex(token.device);
    this.#add.run(hex(token.id), Buffer.from(macKeyOf(token)), name, device, nowMs, expiresMs);
  }

  get(id: Uint8Array): StoredToken | undefined {
    const row = this.#get.get(hex(id));
    if (row === undefined) return undefined;
    const { mac_key: macKey, expires_ms: expiresMs, used_key: usedKey, used_device: usedDevice, listed, ...rest } = row;
    return { ...rest, macKey: new Uint8Array(macKey), expiresMs, usedKey, usedDevice, listed: listed !== 0 };
  }

  /** Whether a token for this name is still good. */
  isOpen(name: string, nowMs: number): boolean {
    return this.#named.get(name, nowMs) !== undefined;
  }

  /** @returns whether nobody had used it before. */
  use({ id }: StoredToken, key: string, device: string, nowMs: number): boolean {
    return this.#use.run(key, device, nowMs, id).changes === 1;
  }

  markListed({ id }: StoredToken): void {
    this.#list.run(id);
  }
}
