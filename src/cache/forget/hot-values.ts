/** The saved last values without some tags. */
import { isBad } from '../../reading.ts';
import { packState, unpackState } from '../state.ts';
import type { HotState } from '../types.ts';

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
