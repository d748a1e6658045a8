/** Sums by key, and shares of them. */
import type { SourceCounts } from './store.ts';

export function addTo<K>(counts: Map<K, number>, key: K, by: number): void {
  if (by !== 0) counts.set(key, (counts.get(key) ?? 0) + by);
}

/** Undefined where there is nothing: most appends reject nothing. */
export function summed<K>(...all: readonly (ReadonlyMap<K, number> | undefined)[]): ReadonlyMap<K, number> | undefined {
  const found = all.filter((counts) => counts !== undefined && counts.size > 0);
  if (found.length < 2) return found[0];
  const sums = new Map<K, number>();
  for (const counts of found) for (const [key, by] of counts ?? []) addTo(sums, key, by);
  return sums;
}

/** The first `rows` of what `counts` adds up to, and the rest. Of what is below zero nothing can be taken. */
export function shareOut(counts: SourceCounts, rows: number): [taken: SourceCounts, left: SourceCounts] {
  let wanted = rows;
  const taken: [number, number][] = [];
  const left: [number, number][] = [];
  for (const [source, readings] of counts) {
    const some = Math.max(0, Math.min(wanted, readings));
    wanted -= some;
    if (some > 0) taken.push([source, some]);
    if (readings > some) left.push([source, readings - some]);
  }
  return [taken, left];
}
