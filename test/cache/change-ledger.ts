// What a bug, a broken tool or a person with sqlite3 might do to the account while the gateway is off.
import { openDatabase } from '../../src/cache/database.ts';
import { SqliteStore } from '../../src/cache/store-sqlite.ts';

/** Accepted readings of a source become so many more than there were. */
export function changeLedger(path: string, source: string, by: number): void {
  const store = new SqliteStore(openDatabase(path));
  try {
    const id = store.sources().find(({ name }) => name === source)?.id;
    if (id === undefined) throw new Error(`no source ${source}`);
    store.transaction(() => store.count('', id, 'accepted', by));
  } finally {
    store.close();
  }
}
