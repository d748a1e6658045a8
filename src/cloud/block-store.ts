/**
 * Blocks of readings on disk and the way to those of a tag and a time.
 *
 * A block stays as it came (one BLOB); its row says whose it is, from when to when, and which `directory` it has: the list of
 * its tags (directories.ts).
 *
 * Finding: an index of (device, span, first time) holds all that is needed to choose. `span` says how long a block is at
 * most: those that overlap [from, to) begin after from − span, so a few long blocks of a backlog do not make every query
 * look at everything.
 */
import type { Statement } from 'better-sqlite3';
import type { BlockColumns } from '../wire/block.ts';
import type { Db } from './database.ts';
import { Directories } from './directories.ts';
import type { TimeSpan } from './tier.ts';

/** Longest block of each span class. */
const SPANS_MS = [60_000, 3_600_000, 86_400_000, Number.MAX_VALUE] as const;
const PAGE_BLOCKS = 500;

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

/** A block as it stands in the list of all of a device. */
export interface PagedBlock {
  readonly id: number;
  readonly rows: number;
  readonly tags: Uint32Array;
}

/** What takes the place of a block: some of its rows. */
export interface BlockPiece {
  readonly columns: Pick<BlockColumns, 'rows' | 'timeMs'>;
  readonly tags: Uint32Array;
  readonly data: Uint8Array;
}

interface WholeRow {
  readonly device: number;
  readonly run: number;
  readonly class: number;
  readonly shift_ms: number;
  readonly boot: string | null;
}

interface Found {
  readonly id: number;
  readonly first_ms: number;
  readonly last_ms: number;
  readonly directory: number;
}

export class BlockStore {
  readonly #db: Db;
  readonly directories: Directories;
  readonly #insert: Statement<unknown[]>;
  readonly #get: Statement<
    [number],
    { run: number; class: number; data: Uint8Array; shift_ms: number; directory: number }
  >;
  readonly #newest: Statement<unknown[], Found>;
  readonly #after: Statement<[number, number, number], { id: number }>;
  readonly #page: Statement<[number, number, number, number], { id: number; rows: number; directory: number }>;
  readonly #whole: Statement<[number], WholeRow>;
  readonly #remove: Statement<[number]>;
  readonly #removeBefore: Statement<[number, number, number, number, number]>;
  readonly #removeOldest: Statement<[number, number]>;
  readonly #first: Statement<[number, number], { first_ms: number }>;

  constructor(db: Db) {
    this.#db = db;
    this.directories = new Directories(db);
    this.#insert = db.prepare(
      `INSERT INTO block (id, device, run, class, span, first_ms, last_ms, shift_ms, rows, directory, boot, data)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#get = db.prepare('SELECT run, class, data, shift_ms, directory FROM block WHERE id = ?');
    // From the newest beginning downwards; (first_ms, id) is where the page before ended.
    this.#newest = db.prepare(
      `SELECT id, first_ms, last_ms, directory FROM block
       WHERE device = @device AND span = @span AND first_ms >= @lowest AND first_ms < @to AND last_ms >= @from
         AND (first_ms < @beforeMs OR (first_ms = @beforeMs AND id < @beforeId))
       ORDER BY first_ms DESC, id DESC LIMIT ${PAGE_BLOCKS}`,
    );
    this.#page = db.prepare(
      'SELECT id, rows, directory FROM block WHERE device = ? AND id > ? AND id <= ? ORDER BY id LIMIT ?',
    );
    this.#whole = db.prepare('SELECT device, run, class, shift_ms, boot FROM block WHERE id = ?');
    this.#removeBefore = db.prepare(
      `DELETE FROM block WHERE id IN (SELECT id FROM block
         WHERE device = ? AND span = ? AND first_ms < ? AND last_ms < ? ORDER BY first_ms LIMIT ?)`,
    );
    this.#removeOldest = db.prepare(
      'DELETE FROM block WHERE id IN (SELECT id FROM block WHERE device = ? AND span = ? ORDER BY first_ms LIMIT 1)',
    );
    this.#remove = db.prepare('DELETE FROM block WHERE id = ?');
    this.#first = db.prepare('SELECT first_ms FROM block WHERE device = ? AND span = ? ORDER BY first_ms LIMIT 1');
    this.#after = db.prepare('SELECT id FROM block WHERE device = ? AND id > ? ORDER BY id LIMIT ?');
  }

  /** @param id null: the next one */
  insert(block: NewBlock, id: number | null = null): void {
    const { device, run, firstMs, lastMs, shiftMs, rows, boot, data } = block;
    const span = SPANS_MS.findIndex((ms) => lastMs - firstMs <= ms);
    const directory = this.directories.of(device, block.tags);
    this.#insert.run(id, device, run, block.class, span, firstMs, lastMs, shiftMs, rows, directory, boot, data);
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
    return { run, class: cls, data, shiftMs, tags: this.directories.tags(directory) };
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

  /** In order of arrival. */
  page(device: number, after: number, upTo: number, limit: number): PagedBlock[] {
    return this.#page
      .all(device, after, upTo, limit)
      .map(({ id, rows, directory }) => ({ id, rows, tags: this.directories.tags(directory) }));
  }

  remove(id: number): void {
    this.#remove.run(id);
  }

  /** Those of a device that end before a time, at most `limit`. @returns how many, as the next */
  removeBefore(device: number, beforeMs: number, limit: number): number {
    let gone = 0;
    for (const span of SPANS_MS.keys()) {
      if (gone < limit) gone += this.#removeBefore.run(device, span, beforeMs, beforeMs, limit - gone).changes;
    }
    return gone;
  }

  /** The one of a device that begins first. */
  removeOldest(device: number): number {
    const firsts = SPANS_MS.map((_, span) => this.#first.get(device, span)?.first_ms ?? Number.POSITIVE_INFINITY);
    const span = firsts.indexOf(Math.min(...firsts));
    return this.#removeOldest.run(device, span).changes;
  }

  /** The first piece keeps the number of the block. */
  replace(id: number, pieces: readonly BlockPiece[]): void {
    const old = this.#whole.get(id);
    if (old === undefined) return;
    const { device, run, class: cls, shift_ms: shiftMs, boot } = old;
    this.remove(id);
    for (const [i, { columns, tags, data }] of pieces.entries()) {
      const [firstMs, lastMs] = spanOfTimes(columns.timeMs);
      const times = { firstMs: firstMs + shiftMs, lastMs: lastMs + shiftMs, shiftMs };
      this.insert({ device, run, class: cls, ...times, rows: columns.rows, tags, boot, data }, i === 0 ? id : null);
    }
  }

  forget(): void {
    this.directories.forget();
  }

  #positions(directory: number, wanted: ReadonlySet<number>): number[] {
    const tags = this.directories.tags(directory);
    const positions: number[] = [];
    for (const tag of wanted) {
      const at = tags.indexOf(tag);
      if (at >= 0) positions.push(at);
    }
    return positions;
  }
}

/** First and last of times in any order. */
export function spanOfTimes(timeMs: Float64Array): [number, number] {
  let firstMs = Number.POSITIVE_INFINITY;
  let lastMs = Number.NEGATIVE_INFINITY;
  for (const ms of timeMs) {
    if (ms < firstMs) firstMs = ms;
    if (ms > lastMs) lastMs = ms;
  }
  return [firstMs, lastMs];
}
