/** Readings in a cache's file: the latest, those of a span of time, the end of the journal and what follows it. */
import type { Database } from 'better-sqlite3';
import { type TagDefinition, valueReader } from '../reading.ts';
import { type BlockColumns, sliceBlock } from '../wire/block.ts';
import { CLASS_NUMBERS, type ClassNumber, holdsReadings } from '../wire/classes.ts';
import { ContentDigest, type TagDigest } from '../wire/digest.ts';
import { type KnownTag, KnownTags } from './known-tags.ts';
import { all, readColumns, readTags } from './query.ts';
import { blockRow, JOURNAL_COLUMNS, type JournalRecord } from './rows.ts';
import { type Saved, SavedValues } from './saved-values.ts';
import { type BlockRow, lastNumber } from './store.ts';
import type { ReadingView } from './types.ts';

/** Where no last values were saved: some minutes of commits. */
const LATEST_BLOCKS_MAX = 600;
/** Blocks read in one snapshot of the file. */
const PAGE = 64;
const READING_CLASSES: readonly ClassNumber[] = CLASS_NUMBERS.filter(holdsReadings);

/** How far the journal was read: the last block, and the last number of each run and class. */
export interface TailPlace {
  readonly block: number;
  readonly last: ReadonlyMap<string, number>;
}

type Wanted = ReadonlyMap<number, TagDefinition>;

export class ReadingBlocks {
  readonly #db: Database;
  readonly #tags: KnownTags;
  readonly #saved: SavedValues;

  constructor(db: Database) {
    this.#db = db;
    this.#tags = new KnownTags(db);
    this.#saved = new SavedValues(db);
  }

  definitions(): TagDefinition[] {
    return this.#tags.all().map(({ definition }) => definition);
  }

  /** A name may have had several definitions. */
  numbersOf(tag: string): number[] {
    return this.#tags.named(tag).map(({ seq }) => seq);
  }

  isText(tag: string): boolean {
    return this.#tags.named(tag).some(({ definition }) => definition.type === 'text');
  }

  latest(pattern: string): ReadingView[] {
    const tags = this.#tags.matching(pattern);
    const saved = this.#saved.get();
    const fresh = this.#fresh(tags, saved);
    const out: ReadingView[] = [];
    for (const tag of tags) {
      const found = fresh[tag.seq];
      const reading = found === undefined || saved.timeMs(tag) > found.timeMs ? saved.value(tag) : found;
      if (reading === undefined) continue;
      // Definitions of one name are neighbours here.
      const before = out.at(-1);
      if (before?.tag !== reading.tag) out.push(reading);
      else if (reading.timeMs >= before.timeMs) out[out.length - 1] = reading;
    }
    return out;
  }

  /** By tag number: what the newest block that has the tag says of it, behind what was saved. */
  #fresh(tags: readonly KnownTag[], saved: Saved): (ReadingView | undefined)[] {
    const found: (ReadingView | undefined)[] = [];
    const wanted: (TagDefinition | undefined)[] = [];
    for (const { seq, definition } of tags) wanted[seq] = definition;
    const open = new Set(tags.map(({ seq }) => seq));
    for (const columns of this.#newest(saved, open)) {
      const read = valueReader(columns);
      let row = 0;
      for (const { tag, counts } of columns.tags) {
        const start = row;
        for (const count of counts) row += count;
        const definition = wanted[tag];
        if (definition === undefined || !open.delete(tag)) continue;
        found[tag] = readingOf(columns, latestRow(columns, start, row), definition, read);
      }
      if (open.size === 0) break;
    }
    return found;
  }

  /**
   * Newest first, down to what the saved values know. A block that was rolled since may hold both what they know and what
   * they do not, and has the place of its first rows.
   */
  *#newest(saved: Saved, open: ReadonlySet<number>): Generator<BlockColumns> {
    let left = saved.blockId < 0 ? LATEST_BLOCKS_MAX : Number.POSITIVE_INFINITY;
    for (const row of this.#rows('id DESC')) {
      if (left-- === 0) return;
      if (row.id <= saved.blockId) break;
      yield* readTags(this.#db, row, open);
    }
    for (const row of this.#spanning(saved.blockId, READING_CLASSES.filter(saved.hadRows)))
      if (!saved.knows(row)) yield* readTags(this.#db, row, open);
  }

  tail(pattern: string, limit: number): { readings: ReadingView[]; next: TailPlace } {
    const wanted = wantedOf(this.#tags.matching(pattern));
    const found: ReadingView[][] = [];
    const last = new Map<string, number>();
    let block = -1;
    let count = 0;
    for (const row of this.#rows('id DESC')) {
      block = Math.max(block, row.id);
      const key = `${row.run} ${row.class}`;
      last.set(key, Math.max(last.get(key) ?? 0, lastNumber(row)));
      const readings = this.#readings(row, wanted).sort((a, b) => a.timeMs - b.timeMs);
      if (readings.length > 0) found.push(readings);
      count += readings.length;
      if (count >= limit) break;
    }
    return { readings: found.reverse().flat().slice(-limit), next: { block, last } };
  }

  after(pattern: string, place: TailPlace): { readings: ReadingView[]; next: TailPlace } {
    const wanted = wantedOf(this.#tags.matching(pattern));
    const found: ReadingView[] = [];
    const last = new Map(place.last);
    let { block } = place;
    const take = (row: BlockRow): void => {
      const key = `${row.run} ${row.class}`;
      const [seen, end] = [last.get(key) ?? 0, lastNumber(row)];
      // A block that was split or rolled since comes again, in part or as part of another: its numbers tell.
      if (end <= seen) return;
      last.set(key, end);
      const columns = readColumns(this.#db, row);
      const fresh = columns && sliceBlock(columns, seen + 1, end);
      if (fresh !== undefined) found.push(...[...rowsOf(fresh, wanted)].sort((a, b) => a.timeMs - b.timeMs));
    };
    for (const row of this.#spanning(place.block, READING_CLASSES)) if (last.has(`${row.run} ${row.class}`)) take(row);
    for (const row of this.#rows('id', { after: place.block })) {
      take(row);
      block = row.id;
    }
    return { readings: found, next: { block, last } };
  }

  /** Blocks from before a place that may go on behind it: the last of each class. */
  #spanning(block: number, classes: readonly ClassNumber[]): BlockRow[] {
    const sql = `SELECT ${JOURNAL_COLUMNS} FROM journal WHERE id <= ? AND class = ? ORDER BY id DESC LIMIT 1`;
    return classes.flatMap((classNumber) => all<JournalRecord>(this.#db, sql, block, classNumber).map(blockRow));
  }

  range(tag: string, fromMs: number, toMs: number, limit = Number.POSITIVE_INFINITY): ReadingView[] {
    const wanted = wantedOf(this.#tags.named(tag));
    const found: ReadingView[] = [];
    for (const row of this.#rows('id', { fromMs, toMs })) {
      for (const reading of this.#readings(row, wanted))
        if (reading.timeMs >= fromMs && reading.timeMs <= toMs) found.push(reading);
    }
    found.sort((a, b) => a.timeMs - b.timeMs);
    return found.length > limit ? found.slice(-limit) : found;
  }

  /** In order of time; undefined as soon as there are more than `most`. */
  rangeWithin(tag: string, fromMs: number, toMs: number, most: number): ReadingView[] | undefined {
    const wanted = wantedOf(this.#tags.named(tag));
    const found: ReadingView[] = [];
    for (const row of this.#rows('id', { fromMs, toMs })) {
      for (const reading of this.#readings(row, wanted))
        if (reading.timeMs >= fromMs && reading.timeMs <= toMs) found.push(reading);
      if (found.length > most) return undefined;
    }
    return found.sort((a, b) => a.timeMs - b.timeMs);
  }

  digest(): Map<string, TagDigest> {
    const names = new Map(this.#tags.all().map(({ seq, definition }) => [seq, definition.name]));
    const digest = new ContentDigest();
    for (const row of this.#rows('id')) {
      const columns = readColumns(this.#db, row);
      if (columns !== undefined) digest.addColumns(columns, (tag) => names.get(tag));
    }
    return digest.result();
  }

  #readings(row: BlockRow, wanted: Wanted): ReadingView[] {
    return readTags(this.#db, row, wanted.keys()).flatMap((columns) => [...rowsOf(columns, wanted)]);
  }

  *#rows(
    order: 'id' | 'id DESC',
    { fromMs = -Number.MAX_VALUE, toMs = Number.MAX_VALUE, after = -1 } = {},
  ): Generator<BlockRow> {
    const up = order === 'id';
    const sql = `SELECT ${JOURNAL_COLUMNS} FROM journal WHERE id ${up ? '>' : '<'} ? AND class >= 3 AND last_ms >= ? AND first_ms <= ?
      ORDER BY ${order} LIMIT ${PAGE}`;
    for (let id = up ? after : Number.MAX_SAFE_INTEGER; ; ) {
      const page = all<JournalRecord>(this.#db, sql, id, fromMs, toMs).map(blockRow);
      yield* page;
      const end = page.at(-1);
      if (end === undefined || page.length < PAGE) return;
      id = end.id;
    }
  }
}

function wantedOf(tags: readonly KnownTag[]): Map<number, TagDefinition> {
  return new Map(tags.map(({ seq, definition }) => [seq, definition]));
}

function* rowsOf(columns: BlockColumns, wanted: Wanted): Generator<ReadingView> {
  const read = valueReader(columns);
  let row = 0;
  for (const { tag, counts } of columns.tags) {
    const end = row + counts.reduce((sum, count) => sum + count, 0);
    const definition = wanted.get(tag);
    for (; definition !== undefined && row < end; row++) yield readingOf(columns, row, definition, read);
    row = end;
  }
}

function latestRow({ timeMs }: BlockColumns, start: number, end: number): number {
  let latest = start;
  for (let row = start; row < end; row++) if ((timeMs[row] ?? 0) >= (timeMs[latest] ?? 0)) latest = row;
  return latest;
}

function readingOf(
  { timeMs, quality }: BlockColumns,
  row: number,
  { name, type }: TagDefinition,
  read: ReturnType<typeof valueReader>,
): ReadingView {
  return { tag: name, timeMs: timeMs[row] ?? 0, value: read(row, type), quality: quality[row] ?? 0 };
}
