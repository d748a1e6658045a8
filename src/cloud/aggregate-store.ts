/**
 * Readings that a gateway rolled up because its disk was full. A window query takes them plus the raw rows outside of them: a raw
 * row that came all the same, before the roll-up or from another box, is not counted twice.
 */
import type { Statement } from 'better-sqlite3';
import { type AggregateRow, parseAggregate } from '../wire/control.ts';
import { parseJson } from '../wire/json.ts';
import { type RangeSet, union } from '../wire/ranges.ts';
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

/** Row numbers that aggregates stand for, by run and class. */
export class Covered {
  readonly #ranges = new Map<string, RangeSet>();

  add(run: number, cls: number, ranges: RangeSet): void {
    const key = `${run}/${cls}`;
    this.#ranges.set(key, union(this.#ranges.get(key) ?? [], ranges));
  }

  of(run: number, cls: number): RangeSet {
    return this.#ranges.get(`${run}/${cls}`) ?? [];
  }
}
