// What a bug, a broken tool or a person with sqlite3 might do to the account while the gateway is off.
import { openDatabase } from '../../src/cache/database.ts';
import { SqliteStore } from '../../src/cache/store-sqlite.ts';

/** A counter of a source becomes so much more than it was. @param target empty for what is counted before any. */
export function changeLedger(path: string, source: string, by: number, column = 'accepted', target = ''): void {
  const store = new SqliteStore(openDatabase(path));
  try {
    const id = store.sources().find(({ name }) => name === source)?.id;
    if (id === undefined) throw new Error(`no source ${source}`);
    store.transaction(() => store.count(target, id, column, by));
  } finally {
    store.close();
  }
}
