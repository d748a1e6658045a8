/** Questions to a cache's file, for the command line: works whether the daemon lives, hangs or is dead. */
import type { Database } from 'better-sqlite3';
import { type TagDefinition, valueReader } from '../reading.ts';
import type { BlockColumns } from '../wire/block.ts';
import { hex } from '../wire/bytes.ts';
import { CLASSES, type ClassNumber } from '../wire/classes.ts';
import type { AlarmRow } from '../wire/control.ts';
import { ContentDigest, type TagDigest } from '../wire/digest.ts';
import { parseTagContent } from '../wire/tag.ts';
import type { AtRestKeys } from './at-rest.ts';
import { type ForgetReport, forgetReports } from './forget/audit.ts';
import { ledgerOf } from './ledger.ts';
import { all, ledgerRows, metaOf, readColumns } from './query.ts';
import { blockRow, JOURNAL_COLUMNS, type JournalRecord } from './rows.ts';
import { savedValues } from './saved-values.ts';
import { openSnapshot } from './snapshot.ts';
import { type BlockRow, lastNumber } from './store.ts';
import type { DeadLetter, Ledger, ReadingView } from './types.ts';

export type { ReadingView } from './types.ts';

import { type VerifyReport, verifyCache } from './verify.ts';
import { savedWear, WEAR, type WearStats } from './wear.ts';
import { readWindows, type WindowView } from './windows/read.ts';

export type { VerifyReport } from './verify.ts';
export type { WindowView } from './windows/read.ts';

/** Some minutes of commits: older last values come from the checkpoint. */
const LATEST_BLOCKS_MAX = 600;
/** Blocks read in one snapshot of the file. */
const PAGE = 64;

export interface RunView {
  readonly run: string;
  readonly boot: string;
  readonly openedMs: number;
  readonly clean: boolean;
}

export interface PendingView {
  readonly target: string;
  readonly class: string;
  readonly rows: number;
  readonly blocks: number;
  readonly bytes: number;
  readonly oldestMs: number;
}

/** How far the journal was read: the last block, and the last number of each run and class. */
export interface TailPlace {
  readonly block: number;
  readonly last: ReadonlyMap<string, number>;
}

export interface CacheReader {
  ledger(): Ledger;
  /** Counts everything again from the blocks. Reads the whole file. */
  verify(): VerifyReport;
  tags(): TagDefinition[];
  /**
   * The newest reading of each tag whose name matches (`*` stands for anything), from the last minutes of the journal, or
   * as of the last checkpoint. What the deadband left out since then is not known here.
   */
  latest(pattern?: string): ReadingView[];
  /** The last `limit` readings that were committed, of tags whose name matches, and the place to go on from. */
  tail(pattern: string, limit: number): { readings: ReadingView[]; next: TailPlace };
  /** What was committed after that place. */
  after(pattern: string, place: TailPlace): { readings: ReadingView[]; next: TailPlace };
  /** In order of time. @param limit newest first when it cuts. */
  range(tag: string, fromMs: number, toMs: number, limit?: number): ReadingView[];
  windows(tag: string, periodMs: number, fromMs: number, toMs: number): WindowView[];
  /** Lengths of the windows that are kept, ms, the shortest first; none before the first was closed. */
  windowPeriods(): number[];
  pending(): PendingView[];
  runs(): RunView[];
  alarms(): AlarmRow[];
  /** What was written to the device, as of the last checkpoint. @param endurance of the card, bytes; else assumed. */
  wear(endurance?: number): WearStats | undefined;
  /** Newest first. */
  deadLetters(limit: number): DeadLetter[];
  /** What was forgotten for whom, oldest first, and what is under way. */
  forgotten(): ForgetReport[];
  /** Content of all journaled readings by tag name, independent of their order. */
  digest(): Map<string, TagDigest>;
  close(): void;
}

/**
 * @param path the cache's folder or file.
 * @param keys of encryption at rest, asked for at the first row that needs one: until then cache.key_missing and
 *   cache.key_wrong (stop) are not thrown.
 * @throws cache.missing, cache.denied, cache.older, cache.newer, cache.corrupt (stop)
 */
export function readCache(path: string, keys?: () => AtRestKeys): CacheReader {
  const { db, close } = openSnapshot(path, keys);
  const readings = new ReadingBlocks(db);
  return {
    ledger: () => ledgerOf(...ledgerRows(db)),
    verify: () => verifyCache(db),
    tags: () => readings.definitions(),
    latest: (pattern = '*') => readings.latest(pattern),
    tail: (pattern, limit) => readings.tail(pattern, limit),
    after: (pattern, place) => readings.after(pattern, place),
    range: (tag, fromMs, toMs, limit) => readings.range(tag, fromMs, toMs, limit),
    windows: (tag, periodMs, fromMs, toMs) => readWindows(db, readings.numbersOf(tag), periodMs, fromMs, toMs),
    windowPeriods: () =>
      all<{ ms: number }>(db, 'SELECT DISTINCT period_ms AS ms FROM windows ORDER BY ms').map(({ ms }) => ms),
    pending: () => pendingOf(db),
    runs: () =>
      all<{ run: Uint8Array; boot: Uint8Array; openedMs: number; clean: number }>(
        db,
        'SELECT run, boot, opened_ms AS openedMs, clean FROM runs ORDER BY seq',
      ).map((row) => ({ ...row, run: hex(row.run), boot: hex(row.boot), clean: row.clean === 1 })),
    alarms: () =>
      all<{ row: string }>(db, 'SELECT row FROM alarms ORDER BY id').map(({ row }): AlarmRow => JSON.parse(row)),
    wear: (endurance) => savedWear(metaOf(db, WEAR), endurance),
    deadLetters: (limit) =>
      all<DeadLetter>(
        db,
        `SELECT at_ms AS atMs, source, subject, reason, coalesce(opened('dead_letters', id, sealed, original), x'') AS original
          FROM dead_letters ORDER BY id DESC LIMIT ?`,
        limit,
      ),
    forgotten: () => forgetReports(all<{ row: string }>(db, 'SELECT row FROM audit ORDER BY at_ms, id')),
    digest: () => readings.digest(),
    close,
  };
}

function pendingOf(db: Database): PendingView[] {
  return all<{ bit: number; name: string }>(db, 'SELECT bit, name FROM targets WHERE removed = 0').flatMap(
    ({ bit, name }) =>
      all<Omit<PendingView, 'target' | 'class'> & { class: ClassNumber }>(
        db,
        `SELECT class, sum(rows) AS rows, count(*) AS blocks, sum(bytes) AS bytes, min(wall_ms) AS oldestMs
       FROM journal WHERE pending <> 0 AND pending & ? GROUP BY class`,
        1 << bit,
      ).map((row) => ({ ...row, target: name, class: CLASSES[row.class] })),
  );
}

class ReadingBlocks {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  definitions(): TagDefinition[] {
    return this.#contents().map(({ content }) => parseTagContent(content));
  }

  /** A name may have had several definitions. */
  numbersOf(tag: string): number[] {
    return this.#contents().flatMap(({ seq, content }) => (parseTagContent(content).name === tag ? [seq] : []));
  }

  latest(pattern: string): ReadingView[] {
    const wanted = this.#matching(pattern);
    const found = savedValues(this.#db, [...wanted.values()]);
    const open = new Set([...wanted.values()].map(({ name }) => name));
    let left = LATEST_BLOCKS_MAX;
    for (const { columns } of this.#blocks('id DESC')) {
      if (open.size === 0 || left-- === 0) break;
      const seen = new Set<string>();
      for (const reading of rowsOf(columns, wanted)) {
        if (!open.has(reading.tag)) continue;
        seen.add(reading.tag);
        const known = found.get(reading.tag);
        if (known === undefined || reading.timeMs >= known.timeMs) found.set(reading.tag, reading);
      }
      for (const name of seen) open.delete(name);
    }
    return [...found.values()].sort((a, b) => (a.tag < b.tag ? -1 : 1));
  }

  tail(pattern: string, limit: number): { readings: ReadingView[]; next: TailPlace } {
    const wanted = this.#matching(pattern);
    const found: ReadingView[][] = [];
    const last = new Map<string, number>();
    let block = -1;
    let count = 0;
    for (const { row, columns } of this.#blocks('id DESC')) {
      block = Math.max(block, row.id);
      const key = `${row.run} ${row.class}`;
      last.set(key, Math.max(last.get(key) ?? 0, lastNumber(row)));
      const readings = [...rowsOf(columns, wanted)].sort((a, b) => a.timeMs - b.timeMs);
      if (readings.length > 0) found.push(readings);
      count += readings.length;
      if (count >= limit) break;
    }
    return { readings: found.reverse().flat().slice(-limit), next: { block, last } };
  }

  after(pattern: string, place: TailPlace): { readings: ReadingView[]; next: TailPlace } {
    const wanted = this.#matching(pattern);
    const found: ReadingView[] = [];
    const last = new Map(place.last);
    let { block } = place;
    for (const { row, columns } of this.#blocks('id', { after: place.block })) {
      block = row.id;
      const key = `${row.run} ${row.class}`;
      const end = lastNumber(row);
      // A block that was split by a partial acknowledgement comes again in pieces: its numbers tell.
      if (end <= (last.get(key) ?? 0)) continue;
      last.set(key, end);
      found.push(...[...rowsOf(columns, wanted)].sort((a, b) => a.timeMs - b.timeMs));
    }
    return { readings: found, next: { block, last } };
  }

  #matching(pattern: string): Map<number, TagDefinition> {
    const matches = glob(pattern);
    const tags = this.#contents().map(({ seq, content }) => [seq, parseTagContent(content)] as const);
    return new Map(tags.filter(([, { name }]) => matches.test(name)));
  }

  range(tag: string, fromMs: number, toMs: number, limit = Number.POSITIVE_INFINITY): ReadingView[] {
    const wanted = new Map(
      this.#contents().flatMap(({ seq, content }) => {
        const definition = parseTagContent(content);
        return definition.name === tag ? [[seq, definition] as const] : [];
      }),
    );
    const found: ReadingView[] = [];
    for (const { columns } of this.#blocks('id', { fromMs, toMs })) {
      for (const reading of rowsOf(columns, wanted))
        if (reading.timeMs >= fromMs && reading.timeMs <= toMs) found.push(reading);
    }
    found.sort((a, b) => a.timeMs - b.timeMs);
    return found.length > limit ? found.slice(-limit) : found;
  }

  digest(): Map<string, TagDigest> {
    const names = new Map(this.#contents().map(({ seq, content }) => [seq, parseTagContent(content).name]));
    const digest = new ContentDigest();
    for (const { columns } of this.#blocks('id')) digest.addColumns(columns, (tag) => names.get(tag));
    return digest.result();
  }

  #contents(): { seq: number; content: string }[] {
    return all(this.#db, 'SELECT seq, content FROM tags ORDER BY seq');
  }

  /** Damaged ones are left out: `verify` counts them. */
  *#blocks(
    order: 'id' | 'id DESC',
    { fromMs = -Number.MAX_VALUE, toMs = Number.MAX_VALUE, after = -1 } = {},
  ): Generator<{ row: BlockRow; columns: BlockColumns }> {
    const up = order === 'id';
    const sql = `SELECT ${JOURNAL_COLUMNS} FROM journal WHERE id ${up ? '>' : '<'} ? AND class >= 3 AND last_ms >= ? AND first_ms <= ?
      ORDER BY ${order} LIMIT ${PAGE}`;
    for (let id = up ? after : Number.MAX_SAFE_INTEGER; ; ) {
      const page = all<JournalRecord>(this.#db, sql, id, fromMs, toMs).map(blockRow);
      for (const row of page) {
        const columns = readColumns(this.#db, row);
        if (columns !== undefined) yield { row, columns };
      }
      const end = page.at(-1);
      if (end === undefined || page.length < PAGE) return;
      id = end.id;
    }
  }
}

function* rowsOf(columns: BlockColumns, wanted: ReadonlyMap<number, TagDefinition>): Generator<ReadingView> {
  const read = valueReader(columns);
  let row = 0;
  for (const { tag, counts } of columns.tags) {
    const end = row + counts.reduce((sum, count) => sum + count, 0);
    const definition = wanted.get(tag);
    if (definition === undefined) {
      row = end;
      continue;
    }
    for (; row < end; row++) {
      yield {
        tag: definition.name,
        timeMs: columns.timeMs[row] ?? 0,
        value: read(row, definition.type),
        quality: columns.quality[row] ?? 0,
      };
    }
  }
}

/** `*` stands for any letters, `/` included. */
function glob(pattern: string): RegExp {
  const parts = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 'u');
}
