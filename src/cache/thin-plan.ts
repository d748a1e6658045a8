/** Which control rows that wait others can stand for: pure, from the rows alone. See `thin-records.ts`. */
import { CLASS } from '../wire/classes.ts';
import { type ControlRow, GAP_RANGES_MAX, type GapRow } from '../wire/control.ts';
import { type RangeSet, rangeSet, union } from '../wire/ranges.ts';
import type { Content } from './content.ts';
import type { ReasonedGap } from './gaps.ts';
import type { BlockRow } from './store.ts';
import { joinedTimes } from './untold.ts';

export interface ThinLimits {
  /** New control and alarm rows between two looks: a look opens what waits, which is about as many. */
  readonly lookEveryRows: number;
  /** Fewer rows less are not worth writing the others anew. */
  readonly gainRowsMin: number;
  /** Steps of the ladder that wait, and as many of clocks. */
  readonly stepsKept: number;
  /** What delivered alarm and control rows take: a quarter of a million alarms. To add it up takes 15 ms. */
  readonly deliveredBytesMax: number;
}

export const THIN_LIMITS: ThinLimits = {
  lookEveryRows: 64,
  gainRowsMin: 32,
  stepsKept: 32,
  deliveredBytesMax: 8_000_000,
};

export interface Opened {
  readonly row: BlockRow;
  readonly content: Content & { readonly kind: 'records' };
  readonly rows: readonly ControlRow[];
}

export interface Thinned {
  readonly blocks: readonly (Opened & { readonly gone: RangeSet })[];
  readonly gaps: readonly GapRow[];
}

/** What nothing else here says again. */
export function isForEver({ type }: ControlRow): boolean {
  return type === 'RUN_OPEN' || type === 'TAG' || type === 'CLOCK_OFFSET';
}

export function numberAt({ n0 }: BlockRow, at: number): { from: number; to: number } {
  return { from: n0 + at, to: n0 + at };
}

/** Which rows of the blocks, oldest first, others can stand for. Undefined when it is not worth it. */
export function thin(opened: readonly Opened[], { stepsKept, gainRowsMin }: ThinLimits): Thinned | undefined {
  const keeping = new Keeping(stepsKept);
  const blocks: Thinned['blocks'][number][] = [];
  const gaps: GapRow[] = [];
  let rows = 0;
  for (const one of [...opened].reverse()) {
    const gone: { from: number; to: number }[] = [];
    for (let at = one.rows.length - 1; at >= 0; at--) {
      const row = one.rows[at];
      if (row === undefined || keeping.keeps(row)) continue;
      if (row.type === 'GAP') gaps.push(row);
      gone.push(numberAt(one.row, at));
    }
    if (gone.length === 0) continue;
    rows += gone.length;
    blocks.push({ ...one, gone: rangeSet(gone) });
  }
  const gone = new Map<string, RangeSet>();
  for (const { run, class: of, reason, ranges } of gaps) {
    const key = `${run} ${of} ${reason}`;
    gone.set(key, union(gone.get(key) ?? [], ranges));
  }
  const runs = new Set(blocks.map(({ row }) => row.run)).size;
  const instead = [...gone.values()].reduce((sum, { length }) => sum + Math.ceil(length / GAP_RANGES_MAX), runs);
  return rows - instead < gainRowsMin ? undefined : { blocks: blocks.reverse(), gaps };
}

/** Asked from the newest row to the oldest. */
class Keeping {
  readonly #steps = new Map<string, number>();
  readonly #settled = new Map<string, number>();
  readonly #stepsKept: number;

  constructor(stepsKept: number) {
    this.#stepsKept = stepsKept;
  }

  keeps(row: ControlRow): boolean {
    if (row.type === 'GAP') return false;
    if (row.type === 'SETTLED') {
      const key = `${row.run} ${row.class}`;
      if (row.n <= (this.#settled.get(key) ?? -1)) return false;
      this.#settled.set(key, row.n);
      return true;
    }
    if (isForEver(row)) return true;
    const kept = this.#steps.get(row.type) ?? 0;
    this.#steps.set(row.type, kept + 1);
    return kept < this.#stepsKept;
  }
}

/** One a run, class and reason: of the rows that went, and of their own numbers. */
export function merged(
  gaps: readonly GapRow[],
  gone: ReadonlyMap<number, RangeSet>,
  seqOf: (runHex: string) => number | undefined,
): ReasonedGap[] {
  const found = new Map<string, ReasonedGap>();
  const add = (gap: ReasonedGap) => {
    const key = `${gap.run} ${gap.class} ${gap.reason}`;
    const known = found.get(key);
    found.set(
      key,
      known === undefined ? gap : { ...gap, ...joinedTimes(known, gap), ranges: union(known.ranges, gap.ranges) },
    );
  };
  for (const { run, class: of, reason, ranges, from, to } of gaps) {
    const seq = seqOf(run);
    if (seq !== undefined) add({ run: seq, class: of, reason, ranges, fromMs: from, toMs: to });
  }
  for (const [run, ranges] of gone)
    add({ run, class: CLASS.control, reason: 'dropped', ranges, fromMs: null, toMs: null });
  return [...found.values()];
}
