// What the command line sees of a cache, while the daemon has it open.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import Database from 'better-sqlite3';
import type { CacheCore } from '../../src/cache/core.ts';
import { HotTable } from '../../src/cache/hot.ts';
import { readCache } from '../../src/cache/reader.ts';
import { ChunkBuilder, Quality } from '../../src/reading.ts';
import type { ManualClock } from '../../src/runtime/clock.ts';
import { chunk, drain, FarSide, folder, openClock, openCore, START_MS, tag } from './rig.ts';

let place: ReturnType<typeof folder>;
let clock: ManualClock;
let core: CacheCore;
beforeEach(() => {
  place = folder();
  clock = openClock();
  core = openCore(place.path, clock);
  core.registerTag(tag(0, 'plc/flow'));
  core.registerTag(tag(1, 'plc/state', 'text'));
  core.registerTag(tag(2, 'other/n', 'uint64'));
});
afterEach(() => {
  core.close();
  place.remove();
});

function fill(): void {
  const builder = new ChunkBuilder();
  for (let i = 0; i < 100; i++) builder.push(0, START_MS + i * 100, i, i === 50 ? Quality.commError : 0);
  builder.pushText(1, START_MS + 5, 'on', 0);
  builder.pushText(1, START_MS + 6, 'off', 0);
  builder.pushInt64(2, START_MS, 2n ** 64n - 1n, 0);
  core.add({
    chunk: builder.take(),
    deadLetters: [{ atMs: START_MS, source: 'plc', subject: 'plc/x', reason: 'no number', original: Buffer.from('?') }],
  });
  core.commit();
}

describe('the reader', () => {
  test('finds ranges, last values and tags, in their types', () => {
    fill();
    const reader = readCache(place.path);
    expect(reader.tags().map(({ name }) => name)).toEqual(['plc/flow', 'plc/state', 'other/n']);
    expect(reader.latest('plc/*')).toEqual([
      { tag: 'plc/flow', timeMs: START_MS + 9900, value: 99, quality: 0 },
      { tag: 'plc/state', timeMs: START_MS + 6, value: 'off', quality: 0 },
    ]);
    expect(reader.latest('other/n')[0]?.value).toBe(2n ** 64n - 1n);
    const some = reader.range('plc/flow', START_MS + 4900, START_MS + 5100);
    expect(some.map(({ value, quality }) => [value, quality])).toEqual([
      [49, 0],
      [null, Quality.commError],
      [51, 0],
    ]);
    expect(reader.range('plc/flow', 0, 1e15, 2).map(({ value }) => value)).toEqual([98, 99]);
    expect(reader.deadLetters(5)).toMatchObject([{ subject: 'plc/x', reason: 'no number' }]);
    reader.close();
  });

  test('sees commits made after it was opened', () => {
    const reader = readCache(place.path);
    expect(reader.latest()).toEqual([]);
    fill();
    expect(reader.latest()).toHaveLength(3);
    reader.close();
  });

  test('shows the last value of a tag that has been silent longer than it looks back', () => {
    const hot = new HotTable(clock, { ttlMs: 1000 });
    hot.register(tag(0, 'plc/flow'));
    hot.update(chunk([[0, START_MS, 7]]));
    fill();
    core.saveHot(hot.save());
    core.commit();
    const db = new Database(`${place.path}/cache.db`);
    db.exec('DELETE FROM journal; DELETE FROM blocks');
    db.close();
    const reader = readCache(place.path);
    expect(reader.latest()).toEqual([{ tag: 'plc/flow', timeMs: START_MS, value: 7, quality: 0 }]);
    reader.close();
  });

  test('digests content, not order or borders', () => {
    fill();
    const reader = readCache(place.path);
    const digest = reader.digest();
    expect(digest.get('plc/flow')?.count).toBe(100);
    drain(core, new FarSide());
    expect(reader.digest()).toEqual(digest);
    expect(reader.pending()).toEqual([]);
    reader.close();
  });

  test('says what is missing when there is no cache', () => {
    expect(() => readCache(`${place.path}/nowhere`)).toThrow(expect.objectContaining({ code: 'cache.missing' }));
  });
});
