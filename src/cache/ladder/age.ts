/** How long ago something was taken in, as far as anyone can know: a step of the wall clock must age nothing. */
import type { RunBook } from '../books.ts';
import type { Stamp } from '../journal.ts';
import type { BlockRow } from '../store.ts';

/** Monotonic within a boot, else the difference of two wall clocks that were both set; NaN where neither is known. */
export function ageMs(row: Pick<BlockRow, 'run' | 'monoMs' | 'wallMs' | 'synced'>, runs: RunBook, now: Stamp): number {
  const boot = runs.bySeq(row.run)?.boot;
  const isThisBoot = boot !== undefined && Buffer.compare(boot, runs.current.boot) === 0;
  if (isThisBoot) return now.monoMs - row.monoMs;
  return row.synced && now.synced ? now.wallMs - row.wallMs : Number.NaN;
}
