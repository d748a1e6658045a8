/** Questions to a cache's file, for the command line: works whether the daemon lives, hangs or is dead. */
import type { Database } from 'better-sqlite3';
import type { TagDefinition } from '../reading.ts';
import { hex } from '../wire/bytes.ts';
import { CLASSES, type ClassNumber } from '../wire/classes.ts';
import type { AlarmRow } from '../wire/control.ts';
import type { TagDigest } from '../wire/digest.ts';
import type { AtRestKeys } from './at-rest.ts';
import { type AtRestKeyUse, atRestKeyUse } from './at-rest-rows.ts';
import { type ForgetReport, forgetReports } from './forget/audit.ts';
import { savedLadder } from './ladder/saved.ts';
import { ledgerOf } from './ledger.ts';
import { all, ledgerRows, metaOf } from './query.ts';
import { ReadingBlocks, type TailPlace } from './reading-blocks.ts';
import { openSnapshot } from './snapshot.ts';
import type { DeadLetter, LadderState, Ledger, ReadingView } from './types.ts';

export type { TailPlace } from './reading-blocks.ts';
export type { ReadingView } from './types.ts';

import { type VerifyReport, verifyCache } from './verify.ts';
import { savedWear, WEAR, type WearStats } from './wear.ts';
import type { WindowView } from './windows/read.ts';
import { endedWindows, type Series, type SeriesQuestion, seriesOf, writtenWindows } from './windows/series.ts';

export type { DamagedBlock, VerifyReport } from './verify.ts';
export type { WindowView } from './windows/read.ts';
export type { Series } from './windows/series.ts';

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
  /** As written: those of one reading are not. */
  windows(tag: string, periodMs: number, fromMs: number, toMs: number): WindowView[];
  /** All that have ended, those of one reading, too; whole ones, between the two times. */
  endedWindows(tag: string, periodMs: number, fromMs: number, toMs: number): WindowView[];
  /** As many points as fit: readings, else windows of the shortest length that fits, with what is missing counted from raw. */
  series(tag: string, fromMs: number, toMs: number, points: number): Series;
  /** Lengths of the windows that are kept, ms, the shortest first; none before the first was closed. */
  windowPeriods(): number[];
  pending(): PendingView[];
  /** Where the degradation ladder stood after its last step; undefined when it never left the ground. */
  ladder(): LadderState | undefined;
  runs(): RunView[];
  alarms(): AlarmRow[];
  /** What was written to the device, as of the last checkpoint. @param endurance of the card, bytes; else assumed. */
  wear(endurance?: number): WearStats | undefined;
  /** The key that seals what is written, and how much it has; undefined where nothing is encrypted. */
  atRestKey(): AtRestKeyUse | undefined;
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
    windows: (tag, periodMs, fromMs, toMs) => writtenWindows(question(db, readings, tag, fromMs, toMs), periodMs),
    endedWindows: (tag, periodMs, fromMs, toMs) => endedWindows(question(db, readings, tag, fromMs, toMs), periodMs),
    series: (tag, fromMs, toMs, points) => seriesOf(question(db, readings, tag, fromMs, toMs), points),
    windowPeriods: () => periodsOf(db),
    pending: () => pendingOf(db),
    runs: () =>
      all<{ run: Uint8Array; boot: Uint8Array; openedMs: number; clean: number }>(
        db,
        'SELECT run, boot, opened_ms AS openedMs, clean FROM runs ORDER BY seq',
      ).map((row) => ({ ...row, run: hex(row.run), boot: hex(row.boot), clean: row.clean === 1 })),
    alarms: () =>
      all<{ row: string }>(db, 'SELECT row FROM alarms ORDER BY id').map(({ row }): AlarmRow => JSON.parse(row)),
    ladder: () => savedLadder({ meta: (key) => metaOf(db, key) }),
    wear: (endurance) => savedWear(metaOf(db, WEAR), endurance),
    atRestKey: () => atRestKeyUse({ meta: (key) => metaOf(db, key) }),
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

function question(db: Database, readings: ReadingBlocks, tag: string, fromMs: number, toMs: number): SeriesQuestion {
  return {
    db,
    numbers: readings.numbersOf(tag),
    periods: readings.isText(tag) ? [] : lengthsOf(db),
    isThinned: isThinned(db, tag),
    ...within(db, fromMs, toMs),
    readings: (from, to, most = Number.POSITIVE_INFINITY) => readings.rangeWithin(tag, from, to, most),
  };
}

/** The part of a span that anything is known of: who asks for all since 1970 must not wait for 50 years of seconds. */
function within(db: Database, fromMs: number, toMs: number): { fromMs: number; toMs: number } {
  const sql = `SELECT min(first) AS oldest, max(last) AS newest FROM (
    SELECT min(first_ms) AS first, max(last_ms) AS last FROM journal WHERE class >= 3
    UNION ALL SELECT min(from_ms), max(to_ms) FROM windows)`;
  const [{ oldest, newest } = { oldest: null, newest: null }] = all<{ oldest: number | null; newest: number | null }>(
    db,
    sql,
  );
  if (oldest === null || newest === null) return { fromMs, toMs: fromMs };
  const from = Math.max(fromMs, Math.min(oldest, toMs));
  return { fromMs: from, toMs: Math.max(from, Math.min(toMs, newest + 1)) };
}

/** What is counted from raw is of these, before the first window was written. */
const LENGTHS_MS: readonly number[] = [1000, 10_000, 60_000, 3_600_000];

function lengthsOf(db: Database): readonly number[] {
  const written = periodsOf(db);
  return written.length > 0 ? written : LENGTHS_MS;
}

function periodsOf(db: Database): number[] {
  return all<{ ms: number }>(db, 'SELECT DISTINCT period_ms AS ms FROM windows ORDER BY ms').map(({ ms }) => ms);
}

/** Whether the deadband thins the readings of a tag's source. */
function isThinned(db: Database, tag: string): boolean {
  const [source = ''] = tag.split('/');
  return (ledgerOf(...ledgerRows(db)).sources[source]?.thinned ?? 0) > 0;
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
