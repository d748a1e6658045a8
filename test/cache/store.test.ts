/** One contract for the store on a disk and the one in memory that the simulation runs on. */
import { copyFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { openDatabase } from '../../src/cache/database.ts';
import { DATABASE_FILE, makeFolder } from '../../src/cache/folder.ts';
import type { BlockStore } from '../../src/cache/store.ts';
import { SqliteStore } from '../../src/cache/store-sqlite.ts';
import { type Ambush, faultyStore } from '../../src/simulate/faulty-store.ts';
import { MemoryStore } from '../../src/simulate/memory-store.ts';
import { folder } from './rig.ts';
import { blockRow, storeContract } from './store-contract.ts';

const cleanUps: (() => void)[] = [];
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0).reverse()) cleanUp();
});

const paths = new Map<BlockStore, string>();

function openSqlite(from?: string): SqliteStore {
  const { path, remove } = folder();
  cleanUps.push(remove);
  makeFolder(path);
  for (const name of from === undefined ? [] : [DATABASE_FILE, `${DATABASE_FILE}-wal`])
    if (existsSync(join(from ?? '', name))) copyFileSync(join(from ?? '', name), join(path, name));
  const store = new SqliteStore(openDatabase(path));
  cleanUps.push(() => store.close());
  paths.set(store, path);
  return store;
}

describe('the store on SQLite', () => {
  storeContract({ open: openSqlite, copy: (store) => openSqlite(paths.get(store)) });
});

describe('the store in memory', () => {
  // Given by `open`.
  storeContract({ open: () => new MemoryStore(), copy: (store) => (store as MemoryStore).copy() });

  test('takes no write outside of a transaction', () => {
    expect(() => new MemoryStore().setMeta('key', 'value')).toThrow('outside');
  });
});

describe.each([
  ['SQLite', () => openSqlite()],
  ['memory', () => new MemoryStore()],
] as const)('a crash of the process on %s', (_, open) => {
  const story = (ambush: Ambush | undefined) => {
    const inner = open();
    const seen: number[] = [];
    const hooks = {
      ambush,
      isFull: () => false,
      onCrash: () => seen.push(-1),
      onCommitted: ({ blocks }: { blocks: readonly unknown[] }) => seen.push(blocks.length),
    };
    const { store } = faultyStore(inner, hooks);
    const work = () => {
      for (const id of [1, 2, 3]) store.addBlock(blockRow(id), Uint8Array.of(id));
    };
    let thrown: unknown;
    try {
      store.transaction(work);
    } catch (error) {
      thrown = error;
    }
    return { kept: inner.totals().blocks, seen, thrown, store };
  };

  test('within a transaction leaves nothing of it', () => {
    const { kept, seen, thrown, store } = story({ countdown: 2, at: 'write', what: 'crash' });
    expect({ kept, seen }).toEqual({ kept: 0, seen: [-1] });
    expect(thrown).toMatchObject({ name: 'Crash' });
    expect(() => store.blocks(0, 1)).toThrow('dead');
  });

  test('after the commit leaves all of it, though nobody was told', () => {
    const { kept, seen, thrown } = story({ countdown: 1, at: 'after commit', what: 'crash' });
    expect({ kept, seen }).toEqual({ kept: 3, seen: [3, -1] });
    expect(thrown).toMatchObject({ name: 'Crash' });
  });

  test('does not come of a failing disk: that is said, and nothing is kept', () => {
    const { kept, thrown } = story({ countdown: 1, at: 'before commit', what: 'disk error' });
    expect(kept).toBe(0);
    expect(thrown).toMatchObject({ code: 'cache.disk', recovery: 'stop' });
  });
});
