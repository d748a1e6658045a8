/**
 * What must be true of every ledger, for each source and target. Two witnesses are no part of it: what the directory of the
 * blocks says is pending, and the numbers that readings were given (each got one, and none is given twice).
 */

import { CLASS_NUMBERS, holdsReadings } from '../wire/classes.ts';
import type { LedgerDifference, LedgerRule } from './account.ts';
import { type Divided, whyOf } from './ledger-reasons.ts';
import type { LedgerRow, RunRow } from './store.ts';
import { WRITE_OFF_REASONS } from './types.ts';

export interface Witnesses {
  readonly rows: readonly LedgerRow[];
  readonly sources: ReadonlyMap<number, string>;
  /** Names of the targets that exist now. */
  readonly targets: readonly string[];
  /** `target\nsource id` → readings, by the blocks or their directory. */
  readonly pending: ReadonlyMap<string, number>;
  /** Readings that were given a number since the ledger began. */
  readonly numbered: number;
}

const INTAKE = ['rejected', 'duplicate', 'thinned', 'accepted'] as const;

export function ledgerDifferences(witnesses: Witnesses): LedgerDifference[] {
  const { rows, sources, targets, pending, numbered } = witnesses;
  const nameOf = (source: number) => sources.get(source) ?? `source ${source}`;
  const ids = new Set([...sources.keys(), ...rows.map(({ source }) => source)]);
  for (const key of pending.keys()) ids.add(Number(key.split('\n')[1]));
  const found: LedgerDifference[] = [];
  const compare = (rule: LedgerRule, source: string, target: string, expected: number, there: number) => {
    if (expected !== there) found.push({ rule, source, target, expected, found: there });
  };
  let committed = 0;
  for (const id of ids) {
    const name = nameOf(id);
    const mine = rows.filter(({ source }) => source === id);
    const own = accountOf(mine, '');
    committed += own.sum('committed');
    compare('intake', name, '', own.sum('received'), own.sum(...INTAKE));
    compare('committed', name, '', own.sum('accepted'), own.sum('committed'));
    compare('rejected', name, '', own.sum('rejected'), own.reasons('rejected'));
    for (const target of targets) {
      const account = accountOf(mine, target);
      const expected = own.sum('accepted') - account.sum('delivered', ...WRITE_OFF_REASONS);
      compare('pending', name, target, expected, pending.get(`${target}\n${id}`) ?? 0);
      compare('dropped', name, target, account.sum('dropped'), account.reasons('dropped'));
    }
  }
  compare('numbers', '', '', committed, numbered);
  for (const { source, target, reason, count } of rows)
    if (count < 0)
      found.push({ rule: 'negative', source: nameOf(source), target, expected: 0, found: count, counter: reason });
  return found;
}

function accountOf(rows: readonly LedgerRow[], target: string) {
  const mine = rows.filter((row) => row.target === target);
  const total = (some: readonly LedgerRow[]) => some.reduce((sum, { count }) => sum + count, 0);
  return {
    sum: (...names: string[]) => total(mine.filter(({ reason }) => names.includes(reason))),
    reasons: (of: Divided) => total(mine.filter((row) => whyOf(of, row) !== undefined)),
  };
}

/** Of all readings that ever were, by the last number of each run and class. @param found in the journal, of one run. */
export function numbersGiven(
  runs: readonly Pick<RunRow, 'seq' | 'last'>[],
  found: (run: number) => readonly (number | undefined)[],
): number {
  let given = 0;
  for (const { seq, last } of runs) {
    // The row of a run that has ended says how far it came; the newest may have ended without a word.
    const there = seq === runs.at(-1)?.seq ? found(seq) : [];
    for (const classNumber of CLASS_NUMBERS)
      if (holdsReadings(classNumber)) given += Math.max(last[classNumber] ?? 0, there[classNumber] ?? 0);
  }
  return given;
}

/** `1,234,567`. Not by Intl: its tables are 8 MB of memory, and the gateway has this module. */
function grouped(value: number): string {
  return String(value).replace(/\B(?=(?:\d{3})+$)/g, ',');
}

/** One line for a person, with both sides. */
export function differenceLine({ rule, source, target, expected, found, counter }: LedgerDifference): string {
  const [a, b] = [grouped(expected), grouped(found)];
  switch (rule) {
    case 'intake':
      return `${source}: ${a} received, but ${b} rejected, duplicate, thinned and accepted`;
    case 'committed':
      return `${source}: ${a} accepted, but ${b} committed`;
    case 'rejected':
      return `${source}: ${a} rejected, but ${b} by their reasons`;
    case 'dropped':
      return `${source} to ${target}: ${a} dropped, but ${b} by their reasons`;
    case 'pending':
      return `${source} to ${target}: ${a} expected pending, ${b} found in the blocks`;
    case 'numbers':
      return `all sources: ${a} committed, but ${b} were given a number`;
    case 'negative':
      return `${source}${target === '' ? '' : ` to ${target}`}: ${b} ${counter ?? ''}, below zero`;
  }
}
