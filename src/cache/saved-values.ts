/** Last values as of the checkpoint, read from the file. */
import type { Database } from 'better-sqlite3';
import { type TagDefinition, valueReader } from '../reading.ts';
import { tagIdHex } from '../wire/tag.ts';
import { all } from './query.ts';
import { HOT, unpackState } from './state.ts';
import type { HotState, ReadingView } from './types.ts';

/** By tag name: tags that have been silent since are not looked for in all of the journal. */
export function savedValues(db: Database, wanted: readonly TagDefinition[]): Map<string, ReadingView> {
  const [row] = all<{ value: Uint8Array }>(db, 'SELECT value FROM blobs WHERE key = ?', HOT);
  const state = unpackState<HotState>(row?.value);
  const found = new Map<string, ReadingView>();
  if (state === undefined) return found;
  const rows = new Map(state.ids.map((id, at) => [id, at]));
  const read = valueReader(state);
  for (const definition of wanted) {
    const at = rows.get(tagIdHex(definition));
    if (at === undefined) continue;
    const { name, type } = definition;
    found.set(name, {
      tag: name,
      timeMs: state.timeMs[at] ?? 0,
      value: read(at, type),
      quality: state.quality[at] ?? 0,
    });
  }
  return found;
}
