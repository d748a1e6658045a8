// The running gateway's own recount: it sees what somebody changed in the file, and nothing where nothing is wrong.
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import Database from 'better-sqlite3';
import { type CacheClient, openCache, recountCache } from '../../src/cache/index.ts';
import { recountBlocks, recountDirectory } from '../../src/cache/recount.ts';
import { openSnapshot } from '../../src/cache/snapshot.ts';
import { differenceText } from '../../src/gateway-recount.ts';
import { toPublic } from '../../src/wire/keys.ts';
import { changeLedger } from './change-ledger.ts';
import { chunk, cloudKey, config, device, folder, gated, OK, request, START_MS, tag } from './rig.ts';

const SETTINGS = { commitInterval: '20ms' };
const never = new AbortController().signal;
let place: ReturnType<typeof folder>;
let path: string;
let cache: CacheClient | undefined;

beforeEach(async () => {
  place = folder();
  path = join(place.path, 'cache');
  cache = await open();
  // More blocks than one page, of two sources, some delivered.
  for (let commit = 0; commit < 70; commit++) {
    cache.append({ chunk: chunk(Array.from({ length: 20 }, (_, i) => [i % 2, START_MS + commit * 1000 + i, i])) });
    await cache.committed();
    if (commit !== 30) continue;
    const batch = await cache.cut(request('live'));
    if (batch !== undefined) await cache.acknowledge(batch.batchId, OK);
  }
});
afterEach(async () => {
  await cache?.close().catch(() => {});
  cache = undefined;
  place.remove();
});

async function open(): Promise<CacheClient> {
  const opened = gated(
    await openCache(config(path, SETTINGS), { version: '0.0.0', targets: [{ name: 'cloud', required: true }], device }),
  );
  opened.setRecipient('cloud', toPublic(cloudKey));
  opened.registerTag(tag(0, 'plc/x'));
  opened.registerTag(tag(1, 'meter/y'));
  return opened;
}

/** While no gateway has it open. */
async function damage(sql: string): Promise<void> {
  await cache?.close();
  cache = undefined;
  const db = new Database(join(path, 'cache.db'));
  try {
    expect(db.prepare(sql).run().changes).toBeGreaterThan(0);
  } finally {
    db.close();
  }
}

describe('a recount beside the running cache', () => {
  test('adds up while commits and acknowledgements go on', async () => {
    const client = cache;
    if (client === undefined) throw new Error('not open');
    let commits = 0;
    const recounts = Array.from({ length: 2 }, (_, i) => recountCache(config(path, SETTINGS), i === 1, never));
    const done = Promise.all(recounts).then((reports) => reports);
    let isDone = false;
    done.then(
      () => (isDone = true),
      () => (isDone = true),
    );
    while (!isDone) {
      client.append({ chunk: chunk([[0, START_MS + 1_000_000 + commits++, 1]]) });
      await client.committed();
      const batch = await client.cut(request('live', { rowsMax: 7 }));
      if (batch !== undefined) await client.acknowledge(batch.batchId, OK);
    }
    expect(commits).toBeGreaterThan(0);
    for (const { differences, wrong } of await done) expect([differences, wrong]).toEqual([[], []]);
    expect((await done)[1]?.blocks).toBeGreaterThanOrEqual(70);
  });

  test('names source and target, what the ledger expects and what the blocks hold', async () => {
    await cache?.close();
    changeLedger(path, 'meter', -3, 'delivered', 'cloud');
    cache = await open();
    const report = await recountCache(config(path, SETTINGS), false, never);
    expect(report.differences).toEqual([
      { rule: 'pending', target: 'cloud', source: 'meter', expected: expect.any(Number), found: expect.any(Number) },
    ]);
    expect(report.differences.map(({ expected, found }) => expected - found)).toEqual([3]);
    expect(differenceText(report)).toMatch(
      /^the ledger does not add up: meter to cloud: [\d,]+ expected pending, [\d,]+ found in the blocks \(/,
    );
  });

  test('finds blocks that hold something else than the directory says', async () => {
    await damage(
      'UPDATE blocks SET block = (SELECT block FROM blocks b WHERE b.id <> blocks.id ORDER BY length(block) DESC LIMIT 1) WHERE id = (SELECT max(id) FROM journal WHERE class = 3)',
    );
    const snapshot = openSnapshot(path);
    try {
      expect(recountDirectory(snapshot.db)).toEqual([]);
      const pages = [recountBlocks(snapshot.db)];
      for (let next = pages[0]?.next; next !== undefined; next = pages.at(-1)?.next)
        pages.push(recountBlocks(snapshot.db, next));
      expect(pages.length).toBeGreaterThan(1);
      expect(pages.flatMap(({ wrong }) => wrong)).toHaveLength(1);
    } finally {
      snapshot.close();
    }
    expect(differenceText(await recountCache(config(path, SETTINGS), true, never))).toMatch(
      /blocks that do not hold what the directory says: \d+ \(/,
    );
  });

  test('stops at once when the gateway ends', async () => {
    const ending = new AbortController();
    const running = recountCache(config(path, SETTINGS), true, ending.signal);
    ending.abort(new Error('the end'));
    await expect(running).rejects.toThrow('the end');
  });
});
