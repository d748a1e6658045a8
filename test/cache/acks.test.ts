// Acknowledgements are written with the next commit; until then nobody else touches their rows, and a crash costs duplicates.
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import Database from 'better-sqlite3';
import type { CacheCore } from '../../src/cache/core.ts';
import { readCache } from '../../src/cache/reader.ts';
import { chunk, drain, FarSide, folder, OK, openClock, openCore, request, START_MS, tag } from './rig.ts';

let place: ReturnType<typeof folder>;
let clock: ReturnType<typeof openClock>;
let core: CacheCore;
let far: FarSide;
let value: number;

function open(): CacheCore {
  const opened = openCore(place.path, clock);
  opened.registerTag(tag(0, 'a/x'));
  return opened;
}

beforeEach(() => {
  place = folder();
  clock = openClock();
  far = new FarSide();
  value = 0;
  core = open();
  commit(10);
  // The first batch tells the tags: that is noted at once.
  acknowledge(1000);
});
afterEach(() => place.remove());

function commit(rows: number): void {
  if (rows > 0)
    core.add({
      chunk: chunk(Array.from({ length: rows }, () => [0, START_MS + ++value, value] as [number, number, number])),
      counts: [{ source: 'a', received: rows, rejected: 0, duplicate: 0, thinned: 0 }],
    });
  expect(core.commit().done).toBe(true);
}

function acknowledge(rowsMax: number) {
  const batch = core.cut(request('live', { rowsMax }));
  if (batch === undefined || far.take(batch) !== 'ok') throw new Error('a batch');
  core.acknowledge(batch.batchId, OK);
  return batch;
}

const pendingOnDisk = () => {
  const reader = readCache(place.path);
  const rows = reader.pending().reduce((sum, each) => sum + each.rows, 0);
  const { ok } = reader.verify();
  reader.close();
  expect(ok).toBe(true);
  return rows;
};
const account = () => core.stats().ledger.targets.cloud?.a;

describe('an acknowledgement', () => {
  test('is written with the next commit, and counted as soon as it is there', () => {
    commit(10);
    acknowledge(6);
    expect(pendingOnDisk()).toBe(10);
    expect(core.backlog('cloud')).toMatchObject({ pendingRows: 4, pendingReadings: 4 });
    commit(1);
    expect(pendingOnDisk()).toBe(5);
    expect(account()).toMatchObject({ delivered: 16, pending: 5 });
  });

  test('keeps its rows from being cut again, and is not taken back by who changes his mind', () => {
    commit(10);
    const { batchId } = acknowledge(6);
    expect(core.cut(request('live'))?.rows).toBe(4);
    core.release(batchId);
    core.refuse(batchId, 'late');
    core.acknowledge(batchId, OK);
    expect(core.cut(request('live'))).toBeUndefined();
    commit(0);
    expect(account()).toMatchObject({ delivered: 16, refused: 0, pending: 4 });
  });

  test('of rows that a HELLO has marked already takes nothing off what is still pending', () => {
    commit(10);
    const batch = core.cut(request('live', { rowsMax: 6 }));
    if (batch === undefined || far.take(batch) !== 'ok') throw new Error('a batch');
    core.hello(core.helloRuns('cloud'), far.answer());
    expect(core.backlog('cloud')).toMatchObject({ pendingReadings: 4 });
    // The answer to its second send.
    core.acknowledge(batch.batchId, OK);
    expect(core.backlog('cloud')).toMatchObject({ pendingRows: 4, pendingReadings: 4 });
    expect(account()).toMatchObject({ delivered: 16, pending: 4 });
  });

  test('that a crash forgets costs nothing but duplicates', () => {
    commit(10);
    acknowledge(1000);
    core = open();
    clock.advance(60_000);
    drain(core, far);
    expect(far.duplicates).toBe(10);
    expect(far.readings()).toHaveLength(20);
    expect(account()).toMatchObject({ delivered: 20, pending: 0 });
  });

  test('does not wait for more than eight, nor for a question or the figures', () => {
    commit(20);
    for (let i = 0; i < 7; i++) acknowledge(1);
    expect(pendingOnDisk()).toBe(20);
    acknowledge(1);
    expect(pendingOnDisk()).toBe(12);
    acknowledge(1);
    core.stats();
    expect(pendingOnDisk()).toBe(11);
    acknowledge(1);
    core.hello(core.helloRuns('cloud'), far.answer());
    expect(pendingOnDisk()).toBe(10);
    acknowledge(1);
    expect(core.close()).toBe(true);
    expect(pendingOnDisk()).toBe(9);
  });
});

describe('a ledger that is damaged', () => {
  test('begins anew with what is here, and says so', () => {
    commit(10);
    acknowledge(6);
    expect(core.close()).toBe(true);
    const db = new Database(join(place.path, 'cache.db'));
    db.prepare("UPDATE ledger SET counters = x'00' || counters WHERE part = 1").run();
    db.close();
    const reader = readCache(place.path);
    expect(() => reader.ledger()).toThrow('the ledger in the cache is damaged');
    expect(reader.tail('*', 100).readings).toHaveLength(20);
    reader.close();
    clock.advance(5000);
    core = open();
    const { ledger, damage } = core.stats();
    expect(ledger.sinceMs).toBe(clock.wallMs());
    expect(damage).toMatchObject([{ what: 'ledger' }]);
    expect(ledger.sources.a).toMatchObject({ received: 20, accepted: 20 });
    expect(ledger.targets.cloud?.a).toMatchObject({ delivered: 16, pending: 4 });
    expect(pendingOnDisk()).toBeGreaterThanOrEqual(4);
    clock.advance(60_000);
    drain(core, far);
    expect(account()).toMatchObject({ delivered: 20, pending: 0 });
    expect(new Set(far.readings()).size).toBe(20);
    core.close();
    core = open();
    expect(core.stats().damage).toHaveLength(1);
    expect(core.stats().ledger.sources.a).toMatchObject({ accepted: 20 });
  });
});
