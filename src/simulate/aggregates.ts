/** What gateways summed up because their disk was full, against a recount of the very rows that were committed once. */
import { type AggregateRow, parseAggregate, parseControl } from '../wire/control.ts';
import type { RangeSet } from '../wire/ranges.ts';
import { parseTagContent } from '../wire/tag.ts';
import type { History, HistoryRow } from './history.ts';

const GOOD = 0;
/** Of a mean, relative: sums in another order round differently. */
const ROUNDING = 1e-9;

export interface CloudRecords {
  /** `run/class` → records that the cloud keeps, parsed. */
  readonly records: readonly { readonly list: string; readonly row: unknown }[];
  /** What the cloud was told will never come, by `run/class`. */
  readonly explained: ReadonlyMap<string, RangeSet>;
  /** Two gateways, or one disk twice, have the same rows: each may have summed them up. */
  readonly hasForked: boolean;
}

/** @returns what is wrong. */
export function aggregateProblems(history: History, { records, explained, hasForked }: CloudRecords): string[] {
  const names = tagNames(history);
  const problems: string[] = [];
  const covered = new Set<string>();
  for (const { list, row } of records) {
    if (!list.endsWith('/2')) continue;
    const agg = parseAggregate(row);
    const mine = rowsOf(history, agg, names.get(agg.tag) ?? '?');
    for (const { n } of mine) {
      const key = `${agg.run}/${agg.class}/${n}`;
      if (covered.has(key) && !hasForked) problems.push(`summed up twice: ${key}`);
      covered.add(key);
    }
    const wrong = difference(agg, mine);
    if (wrong !== undefined) problems.push(`a sum of ${names.get(agg.tag)} in ${agg.run}/${agg.class}: ${wrong}`);
  }
  // Sums may have been given up after all, as the last of all rows.
  if ([...explained.keys()].some((list) => list.endsWith('/2'))) return problems;
  for (const { list, row } of records) {
    if (!list.endsWith('/1')) continue;
    const control = parseControl(row);
    if (control.type !== 'GAP' || control.reason !== 'aggregated') continue;
    for (const { from, to } of control.ranges) {
      for (let n = from; n <= to; n++) {
        const key = `${control.run}/${control.class}/${n}`;
        if (!covered.has(key)) problems.push(`said to be summed up, and in no sum: ${key}`);
      }
    }
  }
  return problems;
}

interface Counted {
  readonly n: number;
  readonly at: number;
  readonly quality: number;
  readonly value: number;
  readonly exact: bigint;
}

function rowsOf(history: History, { run, class: classNumber, ranges, startMs, periodMs }: AggregateRow, name: string) {
  const rows = history.rows.get(`${run}/${classNumber}`) ?? [];
  const found: Counted[] = [];
  for (const { from, to } of ranges) {
    for (let n = from; n <= to; n++) {
      const counted = countedOf(rows[n - 1], n);
      if (counted === undefined || rows[n - 1]?.digest?.[0] !== name) continue;
      if (counted.at >= startMs && counted.at < startMs + periodMs) found.push(counted);
    }
  }
  return found;
}

function countedOf(row: HistoryRow | undefined, n: number): Counted | undefined {
  if (row?.digest === undefined) return undefined;
  const [, at, kind, low, high, quality] = row.digest;
  const slot = new Float64Array(1);
  new Uint32Array(slot.buffer).set([low, high]);
  const exact = kind === 'uint64' ? new BigUint64Array(slot.buffer)[0] : new BigInt64Array(slot.buffer)[0];
  const value = kind === 'int64' || kind === 'uint64' ? Number(exact) : (slot[0] ?? 0);
  return { n, at, quality, value, exact: exact ?? 0n };
}

function difference(agg: AggregateRow, rows: readonly Counted[]): string | undefined {
  if (agg.count !== rows.length) return `it counts ${agg.count} of ${rows.length}`;
  const times = rows.map(({ at }) => at);
  if (agg.firstMs !== Math.min(...times) || agg.lastMs !== Math.max(...times))
    return 'its times are not those of its rows';
  const good = rows.filter(({ quality, value }) => quality === GOOD && Number.isFinite(value));
  if (agg.good !== good.length) return `it counts ${agg.good} good ones of ${good.length}`;
  if (good.length === 0) return undefined;
  const values = good.map(({ value }) => value);
  if (agg.min !== Math.min(...values) || agg.max !== Math.max(...values)) return `${agg.min} to ${agg.max}`;
  const mean = values.reduce((sum, value) => sum + value / values.length, 0);
  const scale = Math.max(...values.map(Math.abs));
  if (Math.abs((agg.mean ?? Number.NaN) - mean) > ROUNDING * scale) return `the mean is ${mean}, not ${agg.mean}`;
  const m2 = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  if (Math.abs((agg.m2 ?? Number.NaN) - m2) > ROUNDING * values.length * scale * scale)
    return `m2 is ${m2}, not ${agg.m2}`;
  const ofTime = (at: number) => good.filter((row) => row.at === at).map(({ value }) => value);
  const [from, to] = [Math.min(...good.map(({ at }) => at)), Math.max(...good.map(({ at }) => at))];
  if (!ofTime(from).includes(agg.first ?? Number.NaN)) return `the first is ${ofTime(from)}, not ${agg.first}`;
  if (!ofTime(to).includes(agg.last ?? Number.NaN)) return `the last is ${ofTime(to)}, not ${agg.last}`;
  if (agg.sum !== undefined && agg.sum !== String(good.reduce((sum, { exact }) => sum + exact, 0n)))
    return `the sum is not ${agg.sum}`;
  return undefined;
}

function tagNames(history: History): Map<string, string> {
  const names = new Map<string, string>();
  for (const [list, rows] of history.rows) {
    if (!list.endsWith('/1')) continue;
    for (const { key } of rows) {
      const control = parseControl(JSON.parse(key));
      if (control.type === 'TAG') names.set(control.id, parseTagContent(control.content).name);
    }
  }
  return names;
}
