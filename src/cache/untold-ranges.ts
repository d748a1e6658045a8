/** What a target is about to be told will never come: by GAP rows that wait for it, and by those that are yet to be written. */
import { hex } from '../wire/bytes.ts';
import { CLASS } from '../wire/classes.ts';
import { parseControl } from '../wire/control.ts';
import { type RangeSet, union } from '../wire/ranges.ts';
import type { RunBook } from './books.ts';
import { decodeContent } from './content.ts';
import type { BlockRow, BlockStore, TargetRow } from './store.ts';
import { untold } from './untold.ts';

const PAGE = 512;

/** By `run class`, the run as 32 hex digits. Rows that wait are few (`thin-records.ts`). */
export function untoldRanges(
  store: BlockStore,
  runs: Pick<RunBook, 'bySeq'>,
  target: TargetRow,
): ReadonlyMap<string, RangeSet> {
  const found = new Map<string, RangeSet>();
  const add = (key: string, ranges: RangeSet) => found.set(key, union(found.get(key) ?? [], ranges));
  for (const { run, class: of, ranges, target: name } of untold(store))
    if (name === target.name) add(`${hex(runs.bySeq(run)?.run ?? new Uint8Array())} ${of}`, ranges);
  for (let id = 0; ; ) {
    const page = store.pendingBlocks(1 << target.bit, CLASS.control, id, PAGE);
    for (const row of page)
      for (const control of opened(store, row))
        if (control.type === 'GAP') add(`${control.run} ${control.class}`, control.ranges);
    const end = page.at(-1);
    if (end === undefined || page.length < PAGE) return found;
    id = end.id + 1;
  }
}

/** Nothing of a damaged one: it is set aside when it is read to be sent, and what it said is told again. */
function opened(store: BlockStore, row: BlockRow) {
  try {
    const content = decodeContent(row, store.block(row.id));
    return content.kind === 'records' ? content.records.map(parseControl) : [];
  } catch {
    return [];
  }
}
