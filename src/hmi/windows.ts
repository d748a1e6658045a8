/** Closed windows, as panels get them: one message a tag and window, under `…/<tag>/1m`. */
import type { ClosedWindows } from '../cache/types.ts';
import { shortest, type ValueType } from '../reading.ts';
import type { Hmi } from './index.ts';
import { isoTime } from './topics.ts';

const LABELS: Readonly<Record<number, string>> = { 1000: '1s', 10000: '10s', 60000: '1m', 3600000: '1h' };

/** Lengths of the windows that are published, ms. */
export function periodsOf(labels: readonly string[]): number[] {
  return Object.entries(LABELS).flatMap(([ms, label]) => (labels.includes(label) ? [Number(ms)] : []));
}

interface Named {
  readonly name: string;
  readonly type?: ValueType;
}

/** What is said of a window from before the start; the next one that closes takes its place. */
const STALE = { q: 'uncertain', r: 'stale' };

export function publishWindows(
  windows: ClosedWindows,
  tagOf: (index: number) => Named | undefined,
  hmi: Pick<Hmi, 'window'>,
  isOld = false,
): void {
  const label = LABELS[windows.periodMs];
  if (label === undefined) return;
  for (let row = 0; row < windows.length; row++) {
    const tag = tagOf(windows.tag[row] ?? 0);
    if (tag !== undefined)
      hmi.window(tag.name, label, { ...windowOf(windows, row, tag.type), ...(isOld ? STALE : {}) });
  }
}

function windowOf(windows: ClosedWindows, row: number, type: ValueType | undefined): object {
  const measured = (value: number | undefined) => finite(value === undefined ? value : shortest(value, type));
  const count = windows.count[row] ?? 0;
  const m2 = windows.m2[row] ?? 0;
  return {
    from: isoTime(windows.startMs[row] ?? 0),
    to: isoTime((windows.startMs[row] ?? 0) + windows.periodMs),
    n: count,
    mean: finite(windows.mean[row]),
    // By how long each value lasted.
    twa: finite(windows.timeWeightedMean[row]),
    // n − 1 in the denominator, as in the stored windows.
    stddev: count > 1 ? finite(Math.sqrt(m2 / (count - 1))) : null,
    min: measured(windows.min[row]),
    max: measured(windows.max[row]),
    first: measured(windows.first[row]),
    last: measured(windows.last[row]),
    good: finite(windows.good[row]),
  };
}

/** JSON has no NaN: a window without values has none of these. */
function finite(value: number | undefined): number | null {
  return value !== undefined && Number.isFinite(value) ? value : null;
}
