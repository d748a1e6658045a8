/**
 * Readings that a gateway rolled up because its disk was full. A window query takes them plus the raw rows outside of them: a raw
 * row that came all the same, before the roll-up or from another box, is not counted twice.
 */
import type { Statement } from 'better-sqlite3';
import { type AggregateRow, parseAggregate } from '../wire/control.ts';
import { parseJson } from '../wire/json.ts';
import { contains, type RangeSet, union } from '../wire/ranges.ts';
import type { Db } from './database.ts';
import type { TimeSpan } from './tier.ts';

const RECORD = { bytesMax: 64 * 1024, depthMax: 8 };

export class AggregateStore {
  readonly #add: Statement<[number, number, string]>;
  readonly #find: Statement<[number, number, number], { json: string }>;

  constructor(db: Db) {
    this.#add = db.prepare('INSERT INTO aggregate (tag, start_ms, json) VALUES (?, ?, ?)');
    this.#find = db.prepare(
      'SELECT json FROM aggregate WHERE tag = ? AND start_ms >= ? AND start_ms < ? ORDER BY start_ms',
    );
  }

  add(tag: number, row: AggregateRow): void {
    this.#add.run(tag, row.startMs, JSON.stringify(row));
  }

  /** Those that begin in the span. */
  find(tag: number, { fromMs, toMs }: TimeSpan): AggregateRow[] {
    return this.#find.all(tag, fromMs, toMs).map(({ json }) => parseAggregate(parseJson(json, RECORD)));
  }
}

/** Rows that aggregates stand for: of a tag, within a period, by number. */
export class Covered {
  /** By run, class and tag; then by the length of the period, which is the same for nearly all; then by where it begins. */
  readonly #ranges = new Map<string, Map<number, Map<number, RangeSet>>>();

  add(run: number, tag: number, { class: classNumber, ranges, startMs, periodMs }: AggregateRow): void {
    const periods = entry(this.#ranges, `${run}/${classNumber}/${tag}`, () => new Map<number, Map<number, RangeSet>>());
    const starts = entry(periods, periodMs, () => new Map<number, RangeSet>());
    starts.set(startMs, union(starts.get(startMs) ?? [], ranges));
  }

  /** Tells of rows of one tag whether they are part of a sum; undefined when none is. */
  of(run: number, cls: number, tag: number): ((n: number, timeMs: number) => boolean) | undefined {
    const periods = this.#ranges.get(`${run}/${cls}/${tag}`);
    if (periods === undefined) return undefined;
    return (n, timeMs) => {
      for (const [periodMs, starts] of periods) {
        const ranges = starts.get(Math.floor(timeMs / periodMs) * periodMs);
        if (ranges !== undefined && contains(ranges, n)) return true;
      }
      return false;
    };
  }
}

function entry<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}
