/**
 * Which rows the cloud has: sets of row numbers per run and class, on disk as disjoint ranges that do not touch.
 *
 * Invariants:
 * - `held` changes only in the transaction that stores the rows. It grows together: all of a run delivered is one range.
 * - `explained` is what a gateway said will never come. It is kept apart, and a row beats it in either order: a row is
 *   skipped only when it is held, and whoever reads `explained` sees it without what is held.
 * - Whether a row is new is decided by its number, never by its value.
 */
import type { Statement } from 'better-sqlite3';
import type { ClassNumber } from '../wire/classes.ts';
import { type Range, type RangeSet, rangeSet, subtract, union } from '../wire/ranges.ts';
import type { Db } from './database.ts';

export type RangeKind = 'held' | 'explained';

interface Statements {
  readonly touching: Statement<[{ run: number; class: number; from: number; to: number }], Range>;
  readonly all: Statement<[number, number], Range>;
  readonly remove: Statement<[number, number, number, number]>;
  readonly insert: Statement<[number, number, number, number]>;
  readonly extend: Statement<[number, number, number, number]>;
  readonly last: Statement<[number, number], { last: number | null }>;
  readonly counts: Statement<[number], { class: ClassNumber; rows: number; ranges: number; last: number }>;
}

export class RangesStore {
  readonly #held: Statements;
  readonly #explained: Statements;
  readonly #settle: Statement<[number, number, number]>;
  readonly #settled: Statement<[number, number], { n: number }>;

  constructor(db: Db) {
    this.#held = statements(db, 'held');
    this.#explained = statements(db, 'explained');
    this.#settle = db.prepare(
      'INSERT INTO settled (run, class, n) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = max(n, excluded.n)',
    );
    this.#settled = db.prepare('SELECT n FROM settled WHERE run = ? AND class = ?');
  }

  /** What of `wanted` is in the set. */
  within(kind: RangeKind, run: number, cls: ClassNumber, wanted: Range): RangeSet {
    return this.#of(kind)
      .touching.all({ run, class: cls, from: wanted.from, to: wanted.to })
      .map(({ from, to }) => ({ from: Math.max(from, wanted.from), to: Math.min(to, wanted.to) }));
  }

  all(kind: RangeKind, run: number, cls: ClassNumber): RangeSet {
    return this.#of(kind).all.all(run, cls);
  }

  /** Explained and not held. */
  explainedOnly(run: number, cls: ClassNumber): RangeSet {
    return subtract(this.all('explained', run, cls), this.all('held', run, cls));
  }

  add(kind: RangeKind, run: number, cls: ClassNumber, added: Range): void {
    const { touching, remove, insert, extend } = this.#of(kind);
    const neighbours = touching.all({ run, class: cls, from: added.from - 1, to: added.to + 1 });
    const [only] = neighbours;
    // Nearly always the rows that follow the last ones: one update in place.
    if (neighbours.length === 1 && only !== undefined && only.from <= added.from) {
      if (only.to < added.to) extend.run(added.to, run, cls, only.from);
      return;
    }
    let { from, to } = added;
    for (const neighbour of neighbours) {
      from = Math.min(from, neighbour.from);
      to = Math.max(to, neighbour.to);
    }
    if (neighbours.length > 0) remove.run(run, cls, from, to);
    insert.run(run, cls, from, to);
  }

  /** Highest number in the set, 0 when it is empty. */
  last(kind: RangeKind, run: number, cls: ClassNumber): number {
    return this.#of(kind).last.get(run, cls)?.last ?? 0;
  }

  counts(kind: RangeKind, run: number): { class: ClassNumber; rows: number; ranges: number; last: number }[] {
    return this.#of(kind).counts.all(run);
  }

  settle(run: number, cls: ClassNumber, n: number): void {
    this.#settle.run(run, cls, n);
  }

  /** All up to here was delivered or explained, said the gateway; 0 when it said nothing. */
  settledUpTo(run: number, cls: ClassNumber): number {
    return this.#settled.get(run, cls)?.n ?? 0;
  }

  /** What should be here by the gateway's own word and is not: a loss, unless it comes or is explained after all. */
  holes(run: number, cls: ClassNumber): RangeSet {
    const upTo = this.settledUpTo(run, cls);
    return upTo === 0 ? [] : this.#missing(run, cls, upTo);
  }

  /** What is missing below the last row that is here: on its way, most often. */
  open(run: number, cls: ClassNumber): RangeSet {
    const upTo = Math.max(this.last('held', run, cls), this.last('explained', run, cls));
    return upTo === 0 ? [] : this.#missing(run, cls, upTo);
  }

  #missing(run: number, cls: ClassNumber, upTo: number): RangeSet {
    const known = union(this.all('held', run, cls), this.all('explained', run, cls));
    return subtract(rangeSet([{ from: 1, to: upTo }]), known);
  }

  #of(kind: RangeKind): Statements {
    return kind === 'held' ? this.#held : this.#explained;
  }
}

/** `table` is one of two literals: SQL takes no bound names. */
function statements(db: Db, table: RangeKind): Statements {
  return {
    // Ranges are disjoint: only the last one that begins before [from, to] can reach into it from below.
    touching: db.prepare(
      `SELECT first AS "from", last AS "to" FROM ${table}
       WHERE run = @run AND class = @class AND first <= @to AND last >= @from AND first >= coalesce(
         (SELECT max(first) FROM ${table} WHERE run = @run AND class = @class AND first <= @from), 0)
       ORDER BY first`,
    ),
    all: db.prepare(`SELECT first AS "from", last AS "to" FROM ${table} WHERE run = ? AND class = ? ORDER BY first`),
    remove: db.prepare(`DELETE FROM ${table} WHERE run = ? AND class = ? AND first BETWEEN ? AND ?`),
    insert: db.prepare(`INSERT INTO ${table} (run, class, first, last) VALUES (?, ?, ?, ?)`),
    extend: db.prepare(`UPDATE ${table} SET last = ? WHERE run = ? AND class = ? AND first = ?`),
    last: db.prepare(`SELECT max(last) AS last FROM ${table} WHERE run = ? AND class = ?`),
    counts: db.prepare(
      `SELECT class, sum(last - first + 1) AS rows, count(*) AS ranges, max(last) AS last FROM ${table} WHERE run = ? GROUP BY class ORDER BY class`,
    ),
  };
}
