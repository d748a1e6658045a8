/** Closed windows, as panels get them: one message a tag and window, under `…/<tag>/1m`. */
import type { ClosedWindows } from '../cache/types.ts';
import type { Hmi } from './index.ts';
import { isoTime } from './topics.ts';

const LABELS: Readonly<Record<number, string>> = { 1000: '1s', 10000: '10s', 60000: '1m', 3600000: '1h' };

export function publishWindows(
  windows: ClosedWindows,
  nameOf: (index: number) => string | undefined,
  hmi: Pick<Hmi, 'window'>,
): void {
  const label = LABELS[windows.periodMs];
  if (label === undefined) return;
  for (let row = 0; row < windows.length; row++) {
    const name = nameOf(windows.tag[row] ?? 0);
    if (name !== undefined) hmi.window(name, label, windowOf(windows, row));
  }
}

function windowOf(windows: ClosedWindows, row: number): object {
  const count = windows.count[row] ?? 0;
  const m2 = windows.m2[row] ?? 0;
  return {
    from: isoTime(windows.startMs[row] ?? 0),
    to: isoTime((windows.startMs[row] ?? 0) + windows.periodMs),
    n: count,
    mean: finite(windows.mean[row]),
    // n − 1 in the denominator, as in the stored windows.
    stddev: count > 1 ? finite(Math.sqrt(m2 / (count - 1))) : null,
    min: finite(windows.min[row]),
    max: finite(windows.max[row]),
    first: finite(windows.first[row]),
    last: finite(windows.last[row]),
    good: finite(windows.good[row]),
  };
}

/** JSON has no NaN: a window without values has none of these. */
function finite(value: number | undefined): number | null {
  return value !== undefined && Number.isFinite(value) ? value : null;
}
