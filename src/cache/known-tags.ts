/** The tags of a cache's file. Tags are only ever added, so each is parsed once. */
import type { Database } from 'better-sqlite3';
import type { TagDefinition } from '../reading.ts';
import { hex } from '../wire/bytes.ts';
import { parseTagContent } from '../wire/tag.ts';
import { all } from './query.ts';

export interface KnownTag {
  /** Its number in blocks. */
  readonly seq: number;
  /** 32 hex digits. */
  readonly id: string;
  readonly definition: TagDefinition;
}

export class KnownTags {
  readonly #db: Database;
  readonly #tags: KnownTag[] = [];
  readonly #byName = new Map<string, KnownTag[]>();
  #sorted: readonly KnownTag[] | undefined;

  constructor(db: Database) {
    this.#db = db;
  }

  /** In order of their numbers. */
  all(): readonly KnownTag[] {
    const sql = 'SELECT seq, id, content FROM tags WHERE seq > ? ORDER BY seq';
    const last = this.#tags.at(-1)?.seq ?? -1;
    for (const { seq, id, content } of all<{ seq: number; id: Uint8Array; content: string }>(this.#db, sql, last)) {
      const tag = { seq, id: hex(id), definition: parseTagContent(content) };
      this.#tags.push(tag);
      const { name } = tag.definition;
      this.#byName.set(name, [...(this.#byName.get(name) ?? []), tag]);
      this.#sorted = undefined;
    }
    return this.#tags;
  }

  /** A name may have had several definitions. */
  named(name: string): readonly KnownTag[] {
    this.all();
    return this.#byName.get(name) ?? [];
  }

  /** In order of their names. @param pattern `*` stands for any letters, `/` included. */
  matching(pattern: string): readonly KnownTag[] {
    const tags = this.all();
    this.#sorted ??= tags.toSorted((a, b) => (a.definition.name < b.definition.name ? -1 : 1));
    if (pattern === '*') return this.#sorted;
    const matches = glob(pattern);
    return this.#sorted.filter(({ definition }) => matches.test(definition.name));
  }
}

function glob(pattern: string): RegExp {
  const parts = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 'u');
}
