/**
 * What must be true. During the story, of any disk that no process holds: the ledger adds up, and a recount of the blocks
 * agrees. At its end: the cloud holds every row that a surviving disk ever committed, each once and equal, or a GAP that
 * explains it; and what the ledgers call delivered is what the cloud holds.
 */

import { addTo } from '../cache/counts.ts';
import { forgetReports } from '../cache/forget/audit.ts';
import { readingsNumbered } from '../cache/ledger-anew.ts';
import { differenceLine, ledgerDifferences } from '../cache/ledger-rules.ts';
import { allBlocks, type BlockRow, type BlockStore, numbersOf } from '../cache/store.ts';
import { WRITE_OFF_REASONS } from '../cache/types.ts';
import { CLOUD_TARGET } from '../uplink/index.ts';
import { ByteReader, hex } from '../wire/bytes.ts';
import { type ClassNumber, holdsReadings } from '../wire/classes.ts';
import { ContentDigest } from '../wire/digest.ts';
import { contains, count, decodeRanges, intersect, type RangeSet, rangeSet, subtract, union } from '../wire/ranges.ts';
import { aggregateProblems } from './aggregates.ts';
import type { Box } from './box.ts';
import { WINDOWS_MS } from './chance.ts';
import type { SimulatedCloud } from './cloud.ts';
import type { History } from './history.ts';
import { canonical } from './history.ts';
import { ladderProblems } from './ladder.ts';
import { isThinned } from './sources.ts';
import { windowProblems } from './windows.ts';
import type { World } from './world.ts';

/** Of a gateway that does not run, or is between two events. */
export function checkLedger(world: World, box: Box): void {
  box.disk.read((store) => {
    for (const problem of ledgerProblems(store)) world.problem(`${box.name}: ${problem}`);
  });
  checkMarks(world, box);
}

/** At every moment: a forged answer's marks may be gone again after the next hello. @param ids of blocks; default all. */
export function checkMarks(world: World, box: Box, ids?: readonly number[]): void {
  const { everHeld } = box.parts.cloud;
  box.disk.read((store) => {
    const rows = ids === undefined ? [...allBlocks(store)] : ids.flatMap((id) => store.blocks(id, 1));
    for (const problem of markProblems(store, rows, everHeld)) world.problem(`${box.name}: ${problem}`);
  });
}

/** Whatever forged, old or doubled answers said: a mark is taken off what the cloud did take, or what was written off. */
function markProblems(store: BlockStore, rows: readonly BlockRow[], everHeld: ReadonlyMap<string, RangeSet>): string[] {
  const [target] = store.targets();
  const explained = store.explained(CLOUD_TARGET).map((row) => ({
    ...row,
    ranges: decodeRanges(new ByteReader(row.ranges)),
  }));
  const runs = new Map(store.runs().map(({ seq, run }) => [seq, hex(run)]));
  return rows.flatMap((row) => {
    const { run, class: classNumber, pending } = row;
    if ((pending & (1 << (target?.bit ?? 0))) !== 0) return [];
    const list = `${runs.get(run)}/${classNumber}`;
    const writtenOff = explained.filter((each) => each.run === run && each.class === classNumber);
    const known = writtenOff.reduce((all, each) => union(all, each.ranges), everHeld.get(list) ?? []);
    const wrong = subtract(numbersOf(row), known);
    return wrong.length === 0 ? [] : [`marked as delivered, and never was, of ${list}: ${text(wrong)}`];
  });
}

function ledgerProblems(store: BlockStore): string[] {
  const problems: string[] = [];
  const [target] = store.targets();
  const pending = new Map<string, number>();
  for (const { class: classNumber, pending: bits, counts, rows } of allBlocks(store)) {
    if (!holdsReadings(classNumber)) continue;
    if (counts.reduce((sum, [, n]) => sum + n, 0) !== rows) problems.push('a block counts other rows than it has');
    if ((bits & (1 << (target?.bit ?? 0))) === 0) continue;
    for (const [source, n] of counts) addTo(pending, `${CLOUD_TARGET}\n${source}`, n);
  }
  const differences = ledgerDifferences({
    rows: store.ledger(),
    sources: new Map(store.sources().map(({ id, name }) => [id, name])),
    targets: [CLOUD_TARGET],
    pending,
    numbered: readingsNumbered(store),
  });
  return [...problems, ...differences.map(differenceLine)];
}

interface Holdings {
  readonly held: Map<string, RangeSet>;
  readonly explained: Map<string, RangeSet>;
}

export interface Evidence {
  readonly world: World;
  readonly cloud: SimulatedCloud;
  readonly history: History;
  /** 32 hex digits. */
  readonly device: string;
  readonly boxes: readonly Box[];
  /** Every reading that was handed to a gateway. */
  readonly said: ReadonlySet<string>;
  /** A disk was rewound or cloned: what went with a replaced one is not missed. */
  readonly hasForked: boolean;
}

export async function judge({ world, cloud, history, device, boxes, said, hasForked }: Evidence): Promise<void> {
  const { held, explained } = holdings(cloud);
  const problem = (text: string) => world.problem(text);
  for (const [list, ranges] of held) {
    const known = history.rows.get(list)?.length ?? 0;
    const beyond = subtract(ranges, known === 0 ? [] : [{ from: 1, to: known }]);
    if (beyond.length > 0) problem(`the cloud holds rows of ${list} that were never committed: ${text(beyond)}`);
  }
  for (const box of boxes) {
    checkLedger(world, box);
    checkBox(box, { held, explained }, { history, said, hasForked }, problem);
  }
  const lives = new Set(boxes.flatMap(({ core }) => (core === undefined ? [] : [hex(core.runs.current.run)])));
  for (const wrong of ladderProblems(history, lives)) problem(wrong);
  checkRecords(cloud, history, { explained, hasForked }, problem);
  const expected = expectedDigest(history, held);
  const names = cloud.store.catalog.namesOf(device);
  const found = await cloud.store.tier.digest(device, names);
  if (canonical([...expected]) !== canonical([...found]))
    problem(`the cloud's content differs: expected ${canonical([...expected])}, found ${canonical([...found])}`);
  if (hasForked) return;
  for (const alarm of cloud.store.cloudAlarms.list(undefined, true, 100)) {
    if (alarm.kind === 'loss') problem(`the cloud misses rows: ${alarm.text}`);
  }
}

function checkBox(
  box: Box,
  { held, explained }: Holdings,
  { history, said: all, hasForked }: Pick<Evidence, 'history' | 'said' | 'hasForked'>,
  problem: (text: string) => void,
): void {
  let delivered = 0;
  let readings = 0;
  for (const [list, rows] of box.disk.rows) {
    const there = intersect(rows, held.get(list) ?? []);
    const missing = subtract(subtract(rows, there), explained.get(list) ?? []);
    if (missing.length > 0) problem(`${box.name}: neither delivered nor explained, of ${list}: ${text(missing)}`);
    if (!holdsReadings(classOf(list))) continue;
    delivered += count(there);
    readings += count(rows);
    for (const { from, to } of rows) {
      for (let n = from; n <= to; n++) {
        const key = history.rows.get(list)?.[n - 1]?.key ?? '?';
        if (!all.has(key)) problem(`${box.name}: nobody said ${key}`);
      }
    }
  }
  for (const key of box.disk.promised) {
    const place = history.places.get(key);
    const isThere =
      place !== undefined && contains(union(held.get(place.list) ?? [], explained.get(place.list) ?? []), place.n);
    if (!isThere) problem(`${box.name}: promised, and neither in the cloud nor explained: ${key}`);
  }
  box.disk.read((store) => {
    const ledger = store.ledger();
    const sum = (target: string, reason: string) =>
      ledger.filter((row) => row.target === target && row.reason === reason).reduce((all, row) => all + row.count, 0);
    for (const reason of WRITE_OFF_REASONS) box.parts.world.count(`readings ${reason}`, sum(CLOUD_TARGET, reason));
    for (const reason of ['rejected', 'duplicate', 'thinned'])
      box.parts.world.count(`readings ${reason}`, sum('', reason));
    // A rewound disk was not told what the cloud was.
    const reasons = hasForked ? [] : reasonProblems(store, held, (reason) => sum(CLOUD_TARGET, reason));
    for (const wrong of reasons) problem(`${box.name}: ${wrong}`);
    const accepted = sum('', 'accepted');
    if (accepted !== readings) problem(`${box.name}: ${readings} readings committed, the ledger accepted ${accepted}`);
    const said = sum(CLOUD_TARGET, 'delivered');
    if (said !== delivered)
      problem(`${box.name}: the ledger says ${said} of ${accepted} are delivered, the cloud holds ${delivered}`);
    const writtenOff = WRITE_OFF_REASONS.reduce((all, reason) => all + sum(CLOUD_TARGET, reason), 0);
    if (accepted !== said + writtenOff) problem(`${box.name}: ${accepted} accepted, ${said} + ${writtenOff}`);
    const forgotten = new Set(forgetReports(store.audit().map((row) => ({ row }))).map(({ tag }) => tag));
    const isLess = (name: string) => isThinned(name) || forgotten.has(name);
    const { rows: committed, windowsRemoved: removed } = box.disk;
    const windows = windowProblems(store, WINDOWS_MS, { history, committed, isThinned: isLess, removed });
    for (const wrong of windows.wrong) problem(`${box.name}: ${wrong}`);
    const { world } = box.parts;
    world.count('windows judged', windows.seen);
    world.count('windows that say nothing is sure', windows.doubtful);
    world.count('windows without a sure time-weighted mean', windows.untimed);
  });
}

/** What was written off for each reason, against the rows that the cloud was told of for it and does not hold. */
function reasonProblems(
  store: BlockStore,
  held: Holdings['held'],
  countOf: (reason: (typeof WRITE_OFF_REASONS)[number]) => number,
): string[] {
  const runs = new Map(store.runs().map(({ seq, run }) => [seq, hex(run)]));
  const explained = store.explained(CLOUD_TARGET).filter((row) => holdsReadings(row.class));
  return WRITE_OFF_REASONS.flatMap((reason) => {
    const mine = explained.filter((row) => row.reason === reason);
    const rows = mine.reduce((all, row) => {
      const there = held.get(`${runs.get(row.run)}/${row.class}`) ?? [];
      return all + count(subtract(decodeRanges(new ByteReader(row.ranges)), there));
    }, 0);
    const said = countOf(reason);
    return rows === said ? [] : [`the ledger says ${said} are ${reason}, and ${rows} were explained so`];
  });
}

/** Records as the cloud keeps them against what was committed; and as many rows in the tier as numbers held. */
function checkRecords(
  cloud: SimulatedCloud,
  history: History,
  { explained, hasForked }: Pick<Holdings, 'explained'> & Pick<Evidence, 'hasForked'>,
  problem: (text: string) => void,
): void {
  type Row = { run: string; class: number; n: number; json: string };
  const rows = cloud.store.db
    .prepare<[], Row>('SELECT run.run, class, n, json FROM record JOIN run ON run.id = record.run')
    .all();
  for (const { run, class: classNumber, n, json } of rows) {
    const expected = history.rows.get(`${run}/${classNumber}`)?.[n - 1]?.key;
    const found = canonical(JSON.parse(json));
    if (found !== expected) problem(`record ${n} of ${run}/${classNumber} is ${found}, not ${expected}`);
  }
  const records = rows.map(({ run, class: classNumber, json }) => ({
    list: `${run}/${classNumber}`,
    row: JSON.parse(json),
  }));
  for (const wrong of aggregateProblems(history, { records, explained, hasForked })) problem(wrong);
  const one = (sql: string) => cloud.store.db.prepare<[], { n: number | null }>(sql).get()?.n ?? 0;
  const heldRecords = one('SELECT sum(last - first + 1) AS n FROM held WHERE class < 3');
  if (heldRecords !== rows.length) problem(`the cloud holds ${heldRecords} records by number and keeps ${rows.length}`);
  const heldReadings = one('SELECT sum(last - first + 1) AS n FROM held WHERE class >= 3');
  const kept = one('SELECT sum(rows) AS n FROM block');
  if (heldReadings !== kept) problem(`the cloud holds ${heldReadings} readings by number and keeps ${kept}`);
}

function expectedDigest(history: History, held: ReadonlyMap<string, RangeSet>) {
  const digest = new ContentDigest();
  for (const [list, ranges] of held) {
    for (const { from, to } of ranges) {
      for (let n = from; n <= to; n++) {
        const row = history.rows.get(list)?.[n - 1];
        if (row?.digest !== undefined) digest.add(...row.digest);
      }
    }
  }
  return digest.result();
}

function holdings(cloud: SimulatedCloud): Holdings {
  const read = (table: 'held' | 'explained') => {
    type Row = { run: string; class: number; first: number; last: number };
    const rows = cloud.store.db
      .prepare<[], Row>(`SELECT run.run, class, first, last FROM ${table} JOIN run ON run.id = ${table}.run`)
      .all();
    const found = new Map<string, { from: number; to: number }[]>();
    for (const { run, class: classNumber, first, last } of rows) {
      const list = `${run}/${classNumber}`;
      found.set(list, [...(found.get(list) ?? []), { from: first, to: last }]);
    }
    return new Map([...found].map(([list, ranges]) => [list, rangeSet(ranges)]));
  };
  return { held: read('held'), explained: read('explained') };
}

function classOf(list: string): ClassNumber {
  return Number(list.split('/')[1]) as ClassNumber; // made of one
}

function text(ranges: RangeSet): string {
  return ranges.map(({ from, to }) => (from === to ? `${from}` : `${from}–${to}`)).join(', ');
}
