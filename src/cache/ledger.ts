/** The account of every reading that ever entered, put together from its rows. */
import { CLASSES } from '../wire/classes.ts';
import { type Divided, whyOf } from './ledger-reasons.ts';
import type { LedgerRow, PendingSum } from './store.ts';
import { type Backlog, type Ledger, type SourceLedger, type TargetLedger, WRITE_OFF_REASONS } from './types.ts';

const NO_READINGS: SourceLedger = { received: 0, rejected: 0, duplicate: 0, thinned: 0, accepted: 0, committed: 0 };

/** @param targets names of those that exist now; accounts of removed ones stay readable. */
export function ledgerOf(
  rows: readonly LedgerRow[],
  sources: ReadonlyMap<number, string>,
  targets: readonly string[],
  sinceMs: number,
): Ledger {
  // Maps, then fromEntries: a source may be called __proto__.
  const bySource = new Map<string, SourceLedger>();
  const byTarget = new Map<string, Record<string, TargetLedger>>();
  const nameOf = (source: number) => sources.get(source) ?? `source ${source}`;
  for (const { target, source, reason, count } of rows) {
    if (target !== '' || !(reason in NO_READINGS)) continue;
    const name = nameOf(source);
    bySource.set(name, { ...(bySource.get(name) ?? NO_READINGS), [reason]: count });
  }
  for (const target of new Set([...targets, ...rows.map((row) => row.target).filter((name) => name !== '')])) {
    const mine = rows.filter((row) => row.target === target);
    const accounts = [...bySource].map(([name, { accepted }]) => {
      const count = (reason: string) =>
        mine.find((row) => row.reason === reason && nameOf(row.source) === name)?.count ?? 0;
      return [name, targetLedger(accepted, count)] as const;
    });
    byTarget.set(target, Object.fromEntries(accounts));
  }
  const drops = [...byTarget.keys()].map((target) => [target, byReason(rows, target, 'dropped', nameOf)] as const);
  return {
    sinceMs,
    sources: Object.fromEntries(bySource),
    targets: Object.fromEntries(byTarget),
    rejections: byReason(rows, '', 'rejected', nameOf),
    drops: Object.fromEntries(drops),
  };
}

/** Source → reason → readings. */
function byReason(rows: readonly LedgerRow[], target: string, sum: Divided, nameOf: (source: number) => string) {
  const found = new Map<string, Map<string, number>>();
  for (const row of rows) {
    const why = row.target === target ? whyOf(sum, row) : undefined;
    if (why === undefined || row.count === 0) continue;
    const mine = found.get(nameOf(row.source)) ?? new Map<string, number>();
    found.set(nameOf(row.source), mine.set(why, row.count));
  }
  return Object.fromEntries([...found].map(([source, reasons]) => [source, Object.fromEntries(reasons)]));
}

function targetLedger(accepted: number, count: (reason: string) => number): TargetLedger {
  const writtenOff = WRITE_OFF_REASONS.map((reason) => [reason, count(reason)] as const);
  const delivered = count('delivered');
  const pending = accepted - delivered - writtenOff.reduce((sum, [, readings]) => sum + readings, 0);
  // The reasons are exactly the keys that fromEntries forgets.
  return {
    delivered,
    pending,
    ...(Object.fromEntries(writtenOff) as Record<(typeof WRITE_OFF_REASONS)[number], number>),
  };
}

export function backlogOf(sums: readonly PendingSum[]): Backlog {
  const perClass = { alarm: 0, control: 0, aggregate: 0, normal: 0, low: 0 };
  for (const { class: classNumber, rows } of sums) perClass[CLASSES[classNumber]] = rows;
  return {
    pendingRows: sums.reduce((total, { rows }) => total + rows, 0),
    pendingReadings: perClass.normal + perClass.low,
    pendingBytes: sums.reduce((total, { bytes }) => total + bytes, 0),
    oldestMs: sums.length === 0 ? undefined : Math.min(...sums.map(({ oldestMs }) => oldestMs)),
    perClass,
  };
}
