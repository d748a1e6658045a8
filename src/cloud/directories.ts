/**
 * Lists of tags, each kept once however many blocks share it: a gateway that polls sends the same tags every time, so a block
 * costs one row in one index, not one a tag.
 */
import { createHash } from 'node:crypto';
import type { Statement } from 'better-sqlite3';
import type { Db } from './database.ts';

/** About 4 kB each for a thousand tags. */
const REMEMBERED_MAX = 5000;

export class Directories {
  readonly #known = new Map<number, Uint32Array>();
  readonly #byHash: Statement<[number, string], { id: number }>;
  readonly #add: Statement<[number, string, Uint8Array]>;
  readonly #get: Statement<[number], { tags: Uint8Array }>;
  readonly #removeUnused: Statement<[number, number]>;
  readonly #of: Statement<[number], { tags: Uint8Array }>;

  constructor(db: Db) {
    this.#byHash = db.prepare('SELECT id FROM directory WHERE device = ? AND hash = ?');
    this.#add = db.prepare('INSERT INTO directory (device, hash, tags) VALUES (?, ?, ?)');
    this.#get = db.prepare('SELECT tags FROM directory WHERE id = ?');
    this.#removeUnused = db.prepare(
      'DELETE FROM directory WHERE device = ? AND id NOT IN (SELECT directory FROM block WHERE device = ?)',
    );
    this.#of = db.prepare('SELECT tags FROM directory WHERE device = ?');
  }

  /** The number of a list; a new one is kept. */
  of(device: number, tags: Uint32Array): number {
    const bytes = new Uint8Array(tags.buffer, tags.byteOffset, tags.byteLength);
    const hash = createHash('sha256').update(bytes).digest('base64');
    return this.#byHash.get(device, hash)?.id ?? Number(this.#add.run(device, hash, bytes).lastInsertRowid);
  }

  tags(directory: number): Uint32Array {
    const known = this.#known.get(directory);
    if (known !== undefined) return known;
    const tags = numbersIn(this.#get.get(directory)?.tags ?? new Uint8Array());
    if (this.#known.size >= REMEMBERED_MAX) this.#known.clear();
    this.#known.set(directory, tags);
    return tags;
  }

  /** Those that no block of the device has any more. */
  removeUnused(device: number): void {
    this.#removeUnused.run(device, device);
    this.forget();
  }

  /** Tags in any list of the device. */
  inUse(device: number): Set<number> {
    const used = new Set<number>();
    for (const { tags } of this.#of.all(device)) for (const tag of numbersIn(tags)) used.add(tag);
    return used;
  }

  forget(): void {
    this.#known.clear();
  }
}

function numbersIn(bytes: Uint8Array): Uint32Array {
  // A copy: the bytes of a BLOB need not be aligned.
  return new Uint32Array(new Uint8Array(bytes).buffer);
}
