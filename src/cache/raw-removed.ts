/**
 * What is known of readings that are no longer here: how far they reached. Windows are only counted again from raw where all
 * of it is there, and saved before raw that they would be counted from after a crash is missed.
 */
import { holdsReadings } from '../wire/classes.ts';
import type { BlockRow, BlockStore } from './store.ts';

const KEY = 'raw removed';

export interface RawRemoved {
  /** The highest of the blocks; −1 when none went. */
  readonly id: number;
  /** The latest time of a reading in them. */
  readonly lastMs: number;
}

export function rawRemoved(store: Pick<BlockStore, 'meta'>): RawRemoved {
  const [id = '-1', lastMs = '-Infinity'] = (store.meta(KEY) ?? '').split(' ').filter((word) => word !== '');
  return { id: Number(id), lastMs: Number(lastMs) };
}

/** Inside the transaction that removes a block, or sets it aside. */
export function noteRemoved(
  store: Pick<BlockStore, 'meta' | 'setMeta'>,
  row: Pick<BlockRow, 'id' | 'class' | 'lastMs'>,
): void {
  if (!holdsReadings(row.class)) return;
  const { id, lastMs } = rawRemoved(store);
  if (row.id > id || row.lastMs > lastMs) store.setMeta(KEY, `${Math.max(id, row.id)} ${Math.max(lastMs, row.lastMs)}`);
}
