/**
 * Rows written off where nothing can get a number: while room is made for a commit whose rows are numbered already, and at a
 * start, when targets follow the configuration. They are explained at once, in the transaction that writes them off, so that
 * no HELLO takes them for delivered; the GAP rows come with a later transaction. What is still to be told is kept in the
 * file: a crash between the two costs nothing, and a target that is gone is told when it is back.
 */
import { ByteReader, ByteWriter } from '../wire/bytes.ts';
import type { ClassNumber } from '../wire/classes.ts';
import { count, decodeRanges, encodeRanges, type RangeSet, union } from '../wire/ranges.ts';
import type { BlockRow, BlockStore } from './store.ts';
import type { WriteOffReason } from './types.ts';

/** In `meta`, as JSON. */
const KEY = 'untold';

export interface Gap {
  readonly run: number;
  readonly class: ClassNumber;
  readonly ranges: RangeSet;
  readonly fromMs: number | null;
  readonly toMs: number | null;
}

export interface UntoldGap extends Gap {
  readonly target: string;
  readonly reason: WriteOffReason;
}

/** What a target was told of a run and class, or will be, by reason. */
export function explained(
  store: Pick<BlockStore, 'explained'>,
  target: string,
  run: number,
  classNumber: ClassNumber,
): Map<string, RangeSet> {
  const found = new Map<string, RangeSet>();
  for (const row of store.explained(target)) {
    if (row.run === run && row.class === classNumber)
      found.set(row.reason, decodeRanges(new ByteReader(row.ranges), Number.MAX_SAFE_INTEGER));
  }
  return found;
}

/** Inside a transaction. */
export function changeExplained(
  store: Pick<BlockStore, 'explained' | 'putExplained'>,
  target: string,
  { run, class: classNumber }: Pick<Gap, 'run' | 'class'>,
  reason: string,
  change: (known: RangeSet) => RangeSet,
): void {
  const known = explained(store, target, run, classNumber).get(reason) ?? [];
  const writer = new ByteWriter();
  encodeRanges(writer, change(known));
  store.putExplained({ target, run, class: classNumber, reason, ranges: writer.take() });
}

export function untold(store: Pick<BlockStore, 'meta'>): UntoldGap[] {
  return JSON.parse(store.meta(KEY) ?? '[]'); // written below
}

/** Inside a transaction. */
export function setUntold(store: Pick<BlockStore, 'setMeta'>, gaps: readonly UntoldGap[]): void {
  store.setMeta(KEY, JSON.stringify(gaps));
}

/** Inside the transaction that writes the rows off; the ledger is the caller's. */
export function explainLater(store: BlockStore, target: string, reason: WriteOffReason, gaps: readonly Gap[]): void {
  const news = gaps.filter(({ ranges }) => ranges.length > 0);
  if (news.length === 0) return;
  const waiting = new Map(untold(store).map((gap) => [keyOf(gap), gap]));
  for (const gap of news) {
    changeExplained(store, target, gap, reason, (known) => union(known, gap.ranges));
    const mine = { ...gap, target, reason };
    const known = waiting.get(keyOf(mine));
    waiting.set(keyOf(mine), known === undefined ? mine : joined(known, mine));
  }
  setUntold(store, [...waiting.values()]);
}

function keyOf({ target, run, class: classNumber, reason }: UntoldGap): string {
  return `${run} ${classNumber} ${reason} ${target}`;
}

function joined(a: UntoldGap, b: UntoldGap): UntoldGap {
  return { ...a, ...joinedTimes(a, b), ranges: union(a.ranges, b.ranges) };
}

type Times = Pick<Gap, 'fromMs' | 'toMs'>;

/** From the first to the last of both, as far as they are known. */
export function joinedTimes(a: Times, b: Times): Times {
  const known = (x: number | null, y: number | null, pick: (x: number, y: number) => number) =>
    x === null ? y : y === null ? x : pick(x, y);
  return { fromMs: known(a.fromMs, b.fromMs, Math.min), toMs: known(a.toMs, b.toMs, Math.max) };
}

/** One a run and class, however many blocks: the class control is never thinned. */
export function gapsOf(going: readonly { readonly row: BlockRow; readonly ranges: RangeSet }[]): Gap[] {
  const found = new Map<string, Gap>();
  for (const { row, ranges } of going) {
    const key = `${row.run} ${row.class}`;
    const known = found.get(key);
    found.set(key, {
      run: row.run,
      class: row.class,
      ranges: union(known?.ranges ?? [], ranges),
      fromMs: Math.min(known?.fromMs ?? row.firstMs, row.firstMs),
      toMs: Math.max(known?.toMs ?? row.lastMs, row.lastMs),
    });
  }
  return [...found.values()].filter(({ ranges }) => count(ranges) > 0);
}
