/** The cache's figures, put together for whoever looks. */
import { hex } from '../wire/bytes.ts';
import { atRestKeyUse } from './at-rest-rows.ts';
import type { RunBook, TagBook, TargetBook } from './books.ts';
import { LOG_BYTES_KEPT } from './file-bytes.ts';
import { ledgerOf } from './ledger.ts';
import { ledgerSince } from './ledger-anew.ts';
import { readNotes } from './recover/notes.ts';
import type { BlockStore } from './store.ts';
import type { CacheStats } from './types.ts';

interface Books {
  readonly runs: RunBook;
  readonly tags: TagBook;
  readonly targets: TargetBook;
}

type Figures = Omit<
  CacheStats,
  | 'run'
  | 'ledger'
  | 'atRestKey'
  | keyof ReturnType<BlockStore['totals']>
  | 'damage'
  | 'bytesUsed'
  | 'walBytes'
  | 'walPinned'
  | 'tags'
>;

export function statsOf(store: BlockStore, { runs, tags, targets }: Books, figures: Figures): CacheStats {
  const names = targets.active().map(({ name }) => name);
  const walBytes = store.logBytes();
  const atRestKey = atRestKeyUse(store);
  return {
    run: hex(runs.current.run),
    ledger: ledgerOf(store.ledger(), tags.sourceNames(), names, ledgerSince(store)),
    ...figures,
    ...store.totals(),
    damage: readNotes(store),
    ...(atRestKey === undefined ? {} : { atRestKey }),
    bytesUsed: store.bytesUsed(),
    walBytes,
    walPinned: walBytes > LOG_BYTES_KEPT,
    tags: tags.size,
  };
}
