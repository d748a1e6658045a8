/**
 * What the small tag numbers of a batch mean. A gateway names the last dictionary that a signed answer confirmed, by its hash,
 * and adds new ids; each is kept as what it adds to its base, so one new tag costs 16 bytes and not the whole list again.
 */
import type { Statement } from 'better-sqlite3';
import { SluiceError } from '../errors.ts';
import { hex } from '../wire/bytes.ts';
import { type Dictionary, dictionaryHash, ID_BYTES } from '../wire/payload.ts';
import type { TagId } from '../wire/tag.ts';
import type { Db } from './database.ts';

/** Resolved lists in memory; one of a thousand tags takes about 60 kB. */
const RESOLVED_MAX = 256;

interface Row {
  readonly base: string | null;
  readonly added: Uint8Array;
}

export class Dictionaries {
  readonly #resolved = new Map<string, readonly TagId[]>();
  readonly #find: Statement<[number, string], Row>;
  readonly #add: Statement<[number, string, string | null, number, Uint8Array]>;

  constructor(db: Db) {
    this.#find = db.prepare('SELECT base, added FROM dictionary WHERE device = ? AND hash = ?');
    this.#add = db.prepare(
      'INSERT INTO dictionary (device, hash, base, count, added) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
    );
  }

  /**
   * Ids by tag number; what is new is kept, since this batch's answer will confirm it.
   * @throws envelope.dictionary_unknown when the base is not held here: the gateway seals again with all ids
   */
  resolve(device: number, { base, baseCount, added }: Dictionary): readonly TagId[] {
    const known = base === undefined ? [] : this.#list(device, hex(base));
    if (known === undefined || known.length !== baseCount) {
      throw new SluiceError('envelope.dictionary_unknown', 'discard', 'a dictionary that is not held here');
    }
    if (added.length === 0) return known;
    const hash = hex(dictionaryHash(base, added));
    const ids = [...known, ...added.map(hex)];
    this.#add.run(device, hash, base === undefined ? null : hex(base), ids.length, Buffer.concat(added));
    this.#keep(`${device} ${hash}`, ids);
    return ids;
  }

  forget(): void {
    this.#resolved.clear();
  }

  #list(device: number, hash: string): readonly TagId[] | undefined {
    const key = `${device} ${hash}`;
    const ready = this.#resolved.get(key);
    if (ready !== undefined) return ready;
    const parts: Uint8Array[] = [];
    for (let at: string | null = hash; at !== null; ) {
      const row: Row | undefined = this.#find.get(device, at);
      if (row === undefined) return undefined;
      parts.push(row.added);
      at = row.base;
    }
    const bytes = Buffer.concat(parts.reverse());
    const ids: TagId[] = [];
    for (let at = 0; at < bytes.length; at += ID_BYTES) ids.push(hex(bytes.subarray(at, at + ID_BYTES)));
    this.#keep(key, ids);
    return ids;
  }

  #keep(key: string, ids: readonly TagId[]): void {
    const [oldest] = this.#resolved.keys();
    if (this.#resolved.size >= RESOLVED_MAX && oldest !== undefined) this.#resolved.delete(oldest);
    this.#resolved.set(key, ids);
  }
}
