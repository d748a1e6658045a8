/**
 * Blocks of readings on disk and the way to those of a tag and a time.
 *
 * A block stays as it came (one BLOB); its row says whose it is, from when to when, and which `directory` it has: the list of
 * its tags, kept once however many blocks share it. A gateway that polls sends the same tags every time, so a block costs one
 * row in one index, not one a tag.
 *
 * Finding: an index of (device, span, first time) holds all that is needed to choose. `span` says how long a block is at
 * most: those that overlap [from, to) begin after from − span, so a few long blocks of a backlog do not make every query
 * look at everything.
 */
import { createHash } from 'node:crypto';
import type { Statement } from 'better-sqlite3';
import type { Db } from './database.ts';
import type { TimeSpan } from './tier.ts';

/** Longest block of each span class. */
const SPANS_MS = [60_000, 3_600_000, 86_400_000, Number.MAX_VALUE] as const;
const PAGE_BLOCKS = 500;
/** About 4 kB each for a thousand tags. */
const DIRECTORIES_REMEMBERED_MAX = 5000;

export interface NewBlock {
  readonly device: number;
  readonly run: number;
  readonly class: number;
  readonly firstMs: number;
  readonly lastMs: number;
  /** Added to every time in the block when it is read. */
  readonly shiftMs: number;
  readonly rows: number;
  /** Numbers of its tags, in its own order. */
  readonly tags: Uint32Array;
  /** Set when its clock was not. */
  readonly boot: string | null;
  readonly data: Uint8Array;
}

/** A block that may hold what is looked for. */
export interface Candidate {
  readonly id: number;
  readonly firstMs: number;
  readonly lastMs: number;
  /** Positions of the wanted tags in the block. */
  readonly positions: readonly number[];
}

export interface StoredBlock {
  readonly run: number;
  readonly class: number;
  readonly data: Uint8Array;
  readonly shiftMs: number;
  readonly tags: Uint32Array;
}

interface Found {
  readonly id: number;
  readonly first_ms: number;
  readonly last_ms: number;
  readonly directory: number;
}

export class BlockStore {
  readonly #db: Db;
  readonly #directories = new Map<number, Uint32Array>();
  readonly #insert: Statement<unknown[]>;
  readonly #directoryByHash: Statement<[number, string], { id: number }>;
  readonly #addDirectory: Statement<[number, string, Uint8Array]>;
  readonly #directory: Statement<[number], { tags: Uint8Array }>;
  readonly #get: Statement<
    [number],
    { run: number; class: number; data: Uint8Array; shift_ms: number; directory: number }
  >;
  readonly #newest: Statement<unknown[], Found>;
  readonly #after: Statement<[number, number, number], { id: number }>;
  readonly #first: Statement<[number, number], { first_ms: number }>;

  constructor(db: Db) {
    this.#db = db;
    this.#insert = db.prepare(
      `INSERT INTO block (device, run, class, span, first_ms, last_ms, shift_ms, rows, directory, boot, data)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#directoryByHash = db.prepare('SELECT id FROM directory WHERE device = ? AND hash = ?');
    this.#addDirectory = db.prepare('INSERT INTO directory (device, hash, tags) VALUES (?, ?, ?)');
    this.#directory = db.prepare('SELECT tags FROM directory WHERE id = ?');
    this.#get = db.prepare('SELECT run, class, data, shift_ms, directory FROM block WHERE id = ?');
    // From the newest beginning downwards; (first_ms, id) is where the page before ended.
    this.#newest = db.prepare(
      `SELECT id, first_ms, last_ms, directory FROM block
       WHERE device = @device AND span = @span AND first_ms >= @lowest AND first_ms < @to AND last_ms >= @from
         AND (first_ms < @beforeMs OR (first_ms = @beforeMs AND id < @beforeId))
       ORDER BY first_ms DESC, id DESC LIMIT ${PAGE_BLOCKS}`,
    );
    this.#first = db.prepare('SELECT first_ms FROM block WHERE device = ? AND span = ? ORDER BY first_ms LIMIT 1');
    this.#after = db.prepare('SELECT id FROM block WHERE device = ? AND id > ? ORDER BY id LIMIT ?');
  }

  insert(block: NewBlock): void {
    const { device, run, firstMs, lastMs, shiftMs, rows, boot, data } = block;
    const span = SPANS_MS.findIndex((ms) => lastMs - firstMs <= ms);
    const directory = this.#directoryOf(device, block.tags);
    this.#insert.run(device, run, block.class, span, firstMs, lastMs, shiftMs, rows, directory, boot, data);
  }

  /**
   * Blocks of a device that hold one of the tags and overlap the span: within each span class the latest first.
   * @param cutoffMs asked before each one: blocks that end before it are no longer of interest
   */
  *find(
    device: number,
    wanted: ReadonlySet<number>,
    { fromMs, toMs }: TimeSpan,
    cutoffMs: () => number,
  ): Generator<Candidate> {
    for (const [span, longestMs] of SPANS_MS.entries()) {
      let before = { first_ms: Number.MAX_VALUE, id: 0 };
      for (let more = true; more; ) {
        const page = this.#newest.all({
          device,
          span,
          from: fromMs,
          to: toMs,
          lowest: fromMs - longestMs,
          beforeMs: before.first_ms,
          beforeId: before.id,
        });
        more = page.length === PAGE_BLOCKS;
        for (const found of page) {
          before = found;
          if (found.first_ms + longestMs < cutoffMs()) {
            more = false;
            break;
          }
          if (found.last_ms < cutoffMs()) continue;
          const positions = this.#positions(found.directory, wanted);
          if (positions.length > 0) yield { id: found.id, firstMs: found.first_ms, lastMs: found.last_ms, positions };
        }
      }
    }
  }

  /** Every block of a device, oldest arrival first. */
  *each(device: number): Generator<number> {
    for (let after = 0; ; ) {
      const page = this.#after.all(device, after, PAGE_BLOCKS);
      for (const { id } of page) yield id;
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE_BLOCKS) return;
      after = last.id;
    }
  }

  /** Where the oldest block of a device begins. */
  firstMs(device: number): number | undefined {
    const found = SPANS_MS.flatMap((_, span) => this.#first.get(device, span)?.first_ms ?? []);
    return found.length === 0 ? undefined : Math.min(...found);
  }

  get(id: number): StoredBlock | undefined {
    const row = this.#get.get(id);
    if (row === undefined) return undefined;
    const { run, class: cls, data, shift_ms: shiftMs, directory } = row;
    return { run, class: cls, data, shiftMs, tags: this.#tagsOf(directory) };
  }

  /**
   * Moves the blocks of a boot whose clock was not set to where they belong.
   * @returns the newest of them, at most `limit`
   */
  correct(device: number, boot: string, offsetMs: number, limit: number): number[] {
    this.#db
      .prepare(
        `UPDATE block SET first_ms = first_ms + @offset, last_ms = last_ms + @offset, shift_ms = @offset
         WHERE device = @device AND boot = @boot`,
      )
      .run({ device, boot, offset: offsetMs });
    return this.#db
      .prepare<unknown[], { id: number }>(
        'SELECT id FROM block WHERE device = ? AND boot = ? ORDER BY last_ms DESC LIMIT ?',
      )
      .all(device, boot, limit)
      .map(({ id }) => id);
  }

  forget(): void {
    this.#directories.clear();
  }

  #directoryOf(device: number, tags: Uint32Array): number {
    const bytes = new Uint8Array(tags.buffer, tags.byteOffset, tags.byteLength);
    const hash = createHash('sha256').update(bytes).digest('base64');
    return (
      this.#directoryByHash.get(device, hash)?.id ?? Number(this.#addDirectory.run(device, hash, bytes).lastInsertRowid)
    );
  }

  #positions(directory: number, wanted: ReadonlySet<number>): number[] {
    const tags = this.#tagsOf(directory);
    const positions: number[] = [];
    for (const tag of wanted) {
      const at = tags.indexOf(tag);
      if (at >= 0) positions.push(at);
    }
    return positions;
  }

  #tagsOf(directory: number): Uint32Array {
    const known = this.#directories.get(directory);
    if (known !== undefined) return known;
    const bytes = this.#directory.get(directory)?.tags ?? new Uint8Array();
    // A copy: the bytes of a BLOB need not be aligned.
    const tags = new Uint32Array(new Uint8Array(bytes).buffer);
    if (this.#directories.size >= DIRECTORIES_REMEMBERED_MAX) this.#directories.clear();
    this.#directories.set(directory, tags);
    return tags;
  }
}
