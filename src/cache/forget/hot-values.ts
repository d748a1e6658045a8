/** The saved last values without some tags. */
import { isBad } from '../../reading.ts';
import { HOT, HOT_AFTER, type HotMark, packState, unpackState } from '../state.ts';
import type { BlockStore } from '../store.ts';
import type { HotState } from '../types.ts';

/** In the place of those that are saved, inside a transaction. */
export function saveEdited(store: Pick<BlockStore, 'meta' | 'setMeta' | 'setBlob'>, hot: Uint8Array, id: string): void {
  store.setBlob(HOT, hot);
  const after = store.meta(HOT_AFTER);
  if (after === undefined) return;
  const mark: HotMark = JSON.parse(after); // written by us
  store.setMeta(HOT_AFTER, JSON.stringify({ ...mark, edited: id }));
}

/** @returns undefined when there is nothing to change. */
export function withoutValues(
  stored: Uint8Array | undefined,
  ids: ReadonlySet<string>,
  typeOf: (id: string) => string,
): Uint8Array | undefined {
  const state = unpackState<HotState>(stored);
  if (state === undefined || !state.ids.some((id) => ids.has(id))) return undefined;
  const rows = state.ids.flatMap((id, row) => (ids.has(id) ? [] : [row]));
  const texts = [...state.texts];
  state.ids.forEach((id, row) => {
    if (ids.has(id) && typeOf(id) === 'text' && !isBad(state.quality[row] ?? 0)) texts[state.value[row] ?? -1] = '';
  });
  const value = new Float64Array(rows.length);
  // Moves bytes: 64-bit integers stay what they are.
  rows.forEach((row, at) => {
    value.set(state.value.subarray(row, row + 1), at);
  });
  const left: HotState = {
    ids: rows.map((row) => state.ids[row] ?? ''),
    timeMs: Float64Array.from(rows, (row) => state.timeMs[row] ?? 0),
    quality: Uint8Array.from(rows, (row) => state.quality[row] ?? 0),
    value,
    texts,
  };
  return packState(left);
}
