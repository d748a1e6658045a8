/** The beginning of the account: of an empty cache, or anew after the one that was there proved damaged. */
import { holdsReadings } from '../wire/classes.ts';
import { addTo } from './counts.ts';
import { numbersGiven } from './ledger-rules.ts';
import { noteDamage } from './recover/notes.ts';
import { allBlocks, type BlockStore } from './store.ts';

/** When the account began, ms since the epoch. */
const SINCE = 'ledger since';
/** Numbers that readings had been given by then, but for those of the readings that were there: see `ledger-rules.ts`. */
export const NUMBERED_BEFORE = 'ledger numbered before';

/** Readings that were given a number since the account began. */
export function readingsNumbered(store: Pick<BlockStore, 'meta' | 'runs' | 'lastNumbers'>): number {
  const given = numbersGiven(store.runs(), (run) => store.lastNumbers(run));
  return given - Number(store.meta(NUMBERED_BEFORE) ?? 0);
}

export function ledgerSince(store: Pick<BlockStore, 'meta'>): number {
  return Number(store.meta(SINCE));
}

/** Inside the first transaction after opening. A lost account starts with the readings that are here, and says so. */
export function beginLedger(store: BlockStore, wallMs: number): void {
  const isLost = store.isLedgerLost();
  if (isLost || store.meta(SINCE) === undefined) store.setMeta(SINCE, String(wallMs));
  if (!isLost) return;
  const kept = countKept(store);
  noteDamage(store, {
    atMs: wallMs,
    what: 'ledger',
    text: 'the account of readings was damaged: it begins anew with those that are here. The readings are not affected',
  });
  for (const [reason, counts] of [
    ['received', kept.all],
    ['accepted', kept.all],
    ['committed', kept.all],
  ] as const)
    for (const [source, rows] of counts) store.count('', source, reason, rows);
  const readings = [...kept.all.values()].reduce((sum, rows) => sum + rows, 0);
  const given = numbersGiven(store.runs(), (run) => store.lastNumbers(run));
  store.setMeta(NUMBERED_BEFORE, String(given - readings));
  for (const [target, counts] of kept.delivered)
    for (const [source, rows] of counts) store.count(target, source, 'delivered', rows);
}

/** Readings a source; of them those a target has, by its name. */
function countKept(store: BlockStore) {
  const targets = store.targets();
  const all = new Map<number, number>();
  const delivered = new Map(targets.map(({ name }) => [name, new Map<number, number>()]));
  for (const row of allBlocks(store)) {
    if (!holdsReadings(row.class)) continue;
    for (const [source, rows] of row.counts) {
      addTo(all, source, rows);
      for (const { bit, name } of targets) {
        const mine = delivered.get(name);
        if ((row.pending & (1 << bit)) === 0 && mine !== undefined) addTo(mine, source, rows);
      }
    }
  }
  return { all, delivered };
}
