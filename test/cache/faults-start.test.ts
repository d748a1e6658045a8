// Starts that find something in their way: a reader, a full disk, a damage that shows while it runs.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import Database from 'better-sqlite3';
import { openCache } from '../../src/cache/open-cache.ts';
import { readCache } from '../../src/cache/reader.ts';
import type { CacheClient } from '../../src/cache/types.ts';
import { chunk, config, folder, gated, START_MS, tag } from './rig.ts';

// Each starts several processes one after the other.
jest.setTimeout(30_000);

let place: ReturnType<typeof folder>;
beforeEach(() => {
  place = folder();
});
afterEach(() => place.remove());

const OPTIONS = { version: '0.0.0', targets: [{ name: 'cloud', required: true }] };
async function start(): Promise<CacheClient> {
  const cache = gated(await openCache(config(place.path, { commitInterval: '20ms' }), OPTIONS));
  cache.registerTag(tag(0, 'plc/x'));
  return cache;
}
async function commit(cache: CacheClient, from: number, rows = 50): Promise<void> {
  cache.append({ chunk: chunk(Array.from({ length: rows }, (_, i) => [0, START_MS + from + i, from + i])) });
  await cache.committed();
}
function stored(): number {
  const reader = readCache(place.path);
  const { length } = reader.range('plc/x', 0, 1e15);
  expect(reader.verify().ok).toBe(true);
  reader.close();
  return length;
}

describe('a process that reads the cache and holds its snapshot', () => {
  const hold = `
    const db = require(process.argv[1])(process.argv[2], { readonly: true });
    db.exec('BEGIN'); db.prepare('SELECT count(*) FROM journal').get();
    console.log('holds'); setInterval(() => {}, 1000);`;

  test('keeps no start waiting, and no commit', async () => {
    let cache = await start();
    await commit(cache, 0);
    const sqlite = fileURLToPath(new URL('../../node_modules/better-sqlite3', import.meta.url));
    const reader: ChildProcess = spawn(process.execPath, ['-e', hold, sqlite, join(place.path, 'cache.db')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      if (reader.stdout === null) throw new Error('no output');
      await once(createInterface({ input: reader.stdout }), 'line');
      await commit(cache, 50);
      await cache.close();
      cache = await start();
      await commit(cache, 100);
      await cache.close();
    } finally {
      reader.kill('SIGKILL');
      await once(reader, 'exit');
    }
    expect(stored()).toBe(150);
  });
});

describe('a disk without any room', () => {
  const promise = 'is started on with the room of the ballast, and what was there is there';
  const root = process.platform === 'linux' && process.getuid?.() === 0;
  (root ? test : test.skip)(root ? promise : `${promise} (skipped: mounting needs root)`, async () => {
    expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=48m,mode=700', 'tmpfs', place.path]).status).toBe(0);
    try {
      const settings = config(join(place.path, 'cache'), { commitInterval: '20ms', diskFreeMin: '0MB' });
      let cache = await openCache(settings, OPTIONS);
      cache.registerTag(tag(0, 'plc/x'));
      await commit(cache, 0);
      await cache.close();
      const fill = () => {
        for (;;) appendFileSync(join(place.path, 'fill'), Buffer.alloc(65_536));
      };
      expect(fill).toThrow(/ENOSPC/);
      cache = await openCache(settings, OPTIONS);
      expect((await cache.stats()).ledger.targets.cloud?.plc).toMatchObject({ pending: 50 });
      await cache.close();
    } finally {
      spawnSync('umount', ['-l', place.path]);
    }
  });
});

describe('damage that shows while the cache runs', () => {
  test('ends the process once; the next start finds it, sets the file aside and goes on, with all that can be read kept', async () => {
    let cache = await start();
    const letter = { atMs: START_MS, source: 'plc', subject: 'x', reason: 'test', original: new Uint8Array(10) };
    cache.append({ deadLetters: [letter, letter] });
    for (let i = 0; i < 20; i++) await commit(cache, i * 50);
    await cache.close();
    damage('dead_letters');
    cache = await start();
    cache.append({ deadLetters: [letter] });
    await expect(commit(cache, 10_000)).rejects.toMatchObject({ code: 'cache.corrupt' });
    await cache.close().catch(() => {});
    expect(existsSync(join(place.path, 'suspect'))).toBe(true);

    cache = await start();
    expect(cache.damage).toMatchObject([{ what: 'file', pendingReadings: 1000 }]);
    await commit(cache, 20_000);
    expect((await cache.stats()).damage).toHaveLength(1);
    await cache.close();
    expect(existsSync(join(place.path, 'suspect'))).toBe(false);
    expect(stored()).toBe(50);
    const [aside] = readdirSync(place.path).filter((name) => /damaged-[^-]+$/.test(name));
    const old = readCache(join(place.path, aside ?? ''));
    expect(old.range('plc/x', 0, 1e15)).toHaveLength(1000);
    old.close();
  });

  /** Makes the pages of a table, its root left, no pages any more. */
  function damage(table: string): void {
    const file = join(place.path, 'cache.db');
    const db = new Database(file);
    const { rootpage } = db.prepare('SELECT rootpage FROM sqlite_master WHERE name = ?').get(table) as {
      rootpage: number;
    };
    const pageBytes = Number(db.pragma('page_size', { simple: true }));
    db.close();
    const bytes = readFileSync(file);
    bytes.fill(0xff, (rootpage - 1) * pageBytes + 8, rootpage * pageBytes);
    writeFileSync(file, bytes);
    expect(statSync(file).size).toBe(bytes.length);
  }
});
