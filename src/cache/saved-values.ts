/** Last values as of the checkpoint, read from the file. */
import type { Database } from 'better-sqlite3';
import { valueReader } from '../reading.ts';
import type { ClassNumber } from '../wire/classes.ts';
import type { KnownTag } from './known-tags.ts';
import { all, metaOf } from './query.ts';
import { HOT, HOT_AFTER, type HotMark, unpackState } from './state.ts';
import { type BlockRow, lastNumber } from './store.ts';
import type { HotState, ReadingView } from './types.ts';

export interface Saved {
  /** Whether all of a block is older. */
  knows(row: BlockRow): boolean;
  /** Whether there were rows of a class in the run. */
  hadRows(classNumber: ClassNumber): boolean;
  /** Blocks behind this one are newer; one that was rolled since may hold both. −1 where nobody knows. */
  readonly blockId: number;
  /** −Infinity for a tag that is not in it. */
  timeMs(tag: KnownTag): number;
  value(tag: KnownTag): ReadingView | undefined;
}

/** Read again when something newer was saved. */
export class SavedValues {
  readonly #db: Database;
  #read: { readonly mark: string; readonly saved: Saved } | undefined;

  constructor(db: Database) {
    this.#db = db;
  }

  get(): Saved {
    const mark = metaOf(this.#db, HOT_AFTER);
    if (mark !== undefined && this.#read?.mark === mark) return this.#read.saved;
    const [row] = all<{ value: Uint8Array }>(this.#db, 'SELECT value FROM blobs WHERE key = ?', HOT);
    const state = unpackState<HotState>(row?.value);
    const saved = state === undefined ? NOTHING : savedOf(state, mark === undefined ? undefined : JSON.parse(mark));
    this.#read = mark === undefined ? undefined : { mark, saved };
    return saved;
  }
}

const NOTHING: Saved = {
  knows: () => false,
  hadRows: () => false,
  blockId: -1,
  timeMs: () => Number.NEGATIVE_INFINITY,
  value: () => undefined,
};

function savedOf(state: HotState, mark: HotMark | undefined): Saved {
  const rows = new Map(state.ids.map((id, at) => [id, at]));
  const read = valueReader(state);
  /** Of tags that were asked for, by their numbers. */
  const places: (number | undefined)[] = [];
  const place = ({ seq, id }: KnownTag): number => {
    const known = places[seq];
    if (known !== undefined) return known;
    const found = rows.get(id) ?? -1;
    places[seq] = found;
    return found;
  };
  return {
    knows(row) {
      if (mark === undefined) return false;
      return row.id <= mark.block && (row.run !== mark.run || lastNumber(row) <= (mark.last[row.class] ?? 0));
    },
    hadRows: (classNumber) => (mark?.last[classNumber] ?? 0) > 0,
    blockId: mark?.block ?? -1,
    timeMs: (tag) => state.timeMs[place(tag)] ?? Number.NEGATIVE_INFINITY,
    value(tag) {
      const at = place(tag);
      if (at < 0) return undefined;
      const { name, type } = tag.definition;
      return { tag: name, timeMs: state.timeMs[at] ?? 0, value: read(at, type), quality: state.quality[at] ?? 0 };
    },
  };
}
