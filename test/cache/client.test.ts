// The cache behind its thread: what the main thread sees.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import Database from 'better-sqlite3';
import { type CacheClient, type ClosedWindows, openCache, readCache } from '../../src/cache/index.ts';
import { toPublic } from '../../src/wire/keys.ts';
import { chunk, cloudKey, config, device, FarSide, folder, OK, request, START_MS, tag } from './rig.ts';

const OPTIONS = { version: '0.0.0', targets: [{ name: 'cloud', required: true }], device };
let place: ReturnType<typeof folder>;
let cache: CacheClient | undefined;

beforeEach(() => {
  place = folder();
});
afterEach(async () => {
  await cache?.close().catch(() => {});
  cache = undefined;
  place.remove();
});

async function opened(more: Record<string, unknown> = {}): Promise<CacheClient> {
  const client = await openCache(config(join(place.path, 'cache'), { commitInterval: '50ms', ...more }), OPTIONS);
  cache = client;
  client.registerTag(tag(0, 'plc/x'));
  client.registerTag(tag(1, 'plc/n', 'int64'));
  return client;
}

/** Resolves when a commit failed for want of room. */
async function fullOf(client: CacheClient): Promise<void> {
  while (!(await client.stats()).full) await client.stats();
}

describe('the client', () => {
  test('takes a chunk, says when it is on disk, and delivers it', async () => {
    const client = await opened();
    client.setRecipient('cloud', toPublic(cloudKey));
    for (let i = 0; i < 10; i++) client.append({ chunk: chunk([[0, START_MS + i, i]]) });
    client.append({ chunk: chunk(Array.from({ length: 500 }, (_, i) => [0, START_MS + 10 + i, 10 + i])) });
    expect(client.uncommittedBytes()).toBeGreaterThan(510 * 21 - 1);
    await client.committed();
    expect(client.uncommittedBytes()).toBe(0);
    const far = new FarSide();
    const batch = await client.cut(request('live'));
    if (batch === undefined) throw new Error('nothing cut');
    far.take(batch);
    await client.acknowledge(batch.batchId, OK);
    expect(far.readings()).toHaveLength(510);
    expect(await client.backlog('cloud')).toMatchObject({ pendingRows: 0 });
    expect((await client.stats()).ledger.targets.cloud?.plc).toMatchObject({ delivered: 510, pending: 0 });
  });

  test('resolves at once when nothing is waiting, and one promise serves all who wait for the same', async () => {
    const client = await opened();
    await client.committed();
    client.append({ chunk: chunk([[0, START_MS, 1]]) });
    expect(client.committed()).toBe(client.committed());
    await client.committed();
  });

  test('keeps 64-bit integers as they are through joining and the disk', async () => {
    const client = await opened();
    const value = new Float64Array(3);
    new BigInt64Array(value.buffer).set([-1n, -(2n ** 62n), 2n ** 53n + 1n]);
    const some = {
      ...chunk([
        [1, START_MS, 0],
        [1, START_MS + 1, 0],
        [1, START_MS + 2, 0],
      ]),
      value,
    };
    client.append({ chunk: some });
    await client.committed();
    const reader = readCache(join(place.path, 'cache'));
    expect(reader.range('plc/n', 0, 1e15).map((reading) => reading.value)).toEqual([-1n, -(2n ** 62n), 2n ** 53n + 1n]);
    reader.close();
  });

  test('refuses an append past the cap, which stays with the caller, and takes it after the commit', async () => {
    const client = await opened({ uncommittedBytesMax: '1MB' });
    const rows = Array.from({ length: 30_000 }, (_, i): [number, number, number] => [0, START_MS + i, i]);
    client.append({ chunk: chunk(rows) });
    expect(client.accepting()).toBe(true);
    client.append({ chunk: chunk(rows.slice(0, 12_000)) });
    expect(client.accepting()).toBe(false);
    const third = chunk(rows);
    expect(() => client.append({ chunk: third })).toThrow(
      expect.objectContaining({ code: 'cache.busy', recovery: 'retry' }),
    );
    expect(third.value.length).toBe(30_000);
    await client.committed();
    client.append({ chunk: third });
    await client.committed();
    expect((await client.stats()).readingsCommitted).toBe(72_000);
  });

  test('reports closed windows by registry index', async () => {
    const client = await opened();
    const got = new Promise<ClosedWindows>((resolve) => client.onWindows(resolve));
    client.append({
      chunk: chunk([
        [0, START_MS, 1],
        [0, START_MS + 500, 3],
        [0, START_MS + 1500, 5],
      ]),
    });
    const windows = await got;
    expect(windows).toMatchObject({ periodMs: 1000, length: 1 });
    expect([windows.tag[0], windows.startMs[0], windows.count[0], windows.mean[0], windows.good[0]]).toEqual([
      0,
      START_MS,
      2,
      2,
      1,
    ]);
  });

  test('keeps the last values across a restart', async () => {
    const client = await opened();
    const state = {
      ids: ['aa'],
      timeMs: Float64Array.of(1),
      value: Float64Array.of(2),
      quality: Uint8Array.of(0),
      texts: ['x'],
    };
    client.saveHot(state);
    await client.close();
    expect(await (await opened()).loadHot()).toMatchObject(state);
  });

  test('commits what is there when it closes, and takes nothing after', async () => {
    const client = await opened({ commitInterval: '60s' });
    client.append({ chunk: chunk([[0, START_MS, 1]]) });
    await client.close();
    expect(() => client.append({ chunk: chunk([[0, START_MS, 1]]) })).toThrow(
      expect.objectContaining({ code: 'cache.closed' }),
    );
    const reader = readCache(join(place.path, 'cache'));
    expect(reader.range('plc/x', 0, 1e15)).toHaveLength(1);
    expect(reader.runs()[0]?.clean).toBe(true);
    reader.close();
  });

  test('says how many readings were lost when there was no room for the last ones', async () => {
    const client = await opened({ bytesMax: '16MB', windows: [] });
    const rows = Array.from({ length: 60_000 }, (_, i): [number, number, number] => [0, START_MS + i, Math.random()]);
    client.setRecipient('cloud', toPublic(cloudKey));
    let isFull = false;
    const full = fullOf(client).then(() => (isFull = true));
    while (!isFull) {
      client.append({ chunk: chunk(rows) });
      await Promise.race([client.committed(), full]);
      // What is on its way is not given up for newer readings.
      for (const lane of ['live', 'backlog'] as const)
        while (!isFull && (await client.cut(request(lane, { rowsMax: 100_000, bytesMax: 4_000_000 }))) !== undefined);
    }
    cache = undefined;
    await expect(client.close()).rejects.toMatchObject({ code: 'cache.full', facts: { readings: 60_000 } });
  }, 30_000);

  test('is readable by its owner only', async () => {
    const client = await opened();
    client.append({ chunk: chunk([[0, START_MS, 1]]) });
    await client.committed();
    const mode = (name: string) => statSync(join(place.path, 'cache', name)).mode & 0o777;
    expect([mode('.'), mode('cache.db'), mode('cache.db-wal'), mode('cache.db-shm'), mode('lock')]).toEqual([
      0o700, 0o600, 0o600, 0o600, 0o600,
    ]);
  });
});

describe('a second instance', () => {
  test('in the same process is refused by name', async () => {
    await opened();
    const second = openCache(config(join(place.path, 'cache')), OPTIONS);
    await expect(second).rejects.toMatchObject({
      code: 'cache.locked',
      message: expect.stringContaining(`pid ${process.pid}`),
    });
  });

  test('in another process is refused, and welcome once the first was killed', async () => {
    const path = join(place.path, 'cache');
    const script = fileURLToPath(new URL('./crash-child.mjs', import.meta.url));
    const first = spawn(process.execPath, [script, path, '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(first.stdout, 'data');
    const second = openCache(config(path), OPTIONS);
    await expect(second).rejects.toMatchObject({
      code: 'cache.locked',
      message: expect.stringContaining(`pid ${first.pid}`),
    });
    first.kill('SIGKILL');
    await once(first, 'exit');
    await opened();
  });
});

describe('a cache of a newer version', () => {
  test('is refused, and not a byte of it changes', async () => {
    await (await opened()).close();
    const file = join(place.path, 'cache', 'cache.db');
    const db = new Database(file);
    db.pragma('user_version = 99');
    db.pragma('wal_checkpoint(TRUNCATE)');
    db.close();
    const before = readFileSync(file);
    await expect(opened()).rejects.toMatchObject({ code: 'cache.newer', recovery: 'stop' });
    expect(readFileSync(file).equals(before)).toBe(true);
    expect(() => readCache(file)).toThrow(expect.objectContaining({ code: 'cache.newer' }));
  });
});
