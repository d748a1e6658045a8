/** A block of windows without those of some tags. */
import type { BlockStore, WindowBlock } from '../store.ts';
import { decodeWindows, encodeWindows } from '../windows/block.ts';
import type { WindowRows } from '../windows/rows.ts';

/** Inside a transaction. @returns how many went; of a damaged block, which nobody can read, all. */
export function withoutWindows(store: BlockStore, found: WindowBlock, gone: ReadonlySet<number>): number {
  let rows: WindowRows;
  try {
    rows = decodeWindows(found.block);
  } catch {
    store.putWindows({ ...found, rows: 0 });
    return found.rows;
  }
  const left = rows.without(gone);
  const removed = rows.length - left.length;
  if (removed > 0)
    store.putWindows(
      left.length === 0
        ? { ...found, rows: 0 }
        : { ...found, ...left.span(), rows: left.length, block: encodeWindows(left) },
    );
  return removed;
}
