import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { ListenSink } from '../../src/driver.ts';
import type { Ingest } from '../../src/ingest/index.ts';
import { Quality } from '../../src/reading.ts';
import { FakeDevice, Surroundings, settled } from './fake-source.ts';

let around: Surroundings;
let device: FakeDevice;
let ingest: Ingest;
beforeEach(async () => {
  around = new Surroundings();
  device = new FakeDevice(around.clock);
});
afterEach(async () => {
  const stopped = ingest.stop();
  await around.pass(6_000, 1_000);
  await stopped;
});

async function listen(): Promise<ListenSink> {
  ingest = around.run(device.source('broker', [], 'listen'));
  for (let i = 0; i < 3; i++) await settled();
  return sink();
}

function sink(): ListenSink {
  if (device.sink === undefined) throw new Error('the source is not open');
  return device.sink;
}

function hear(name: string, value: number): void {
  const index = sink().tag(name, { type: 'float64' });
  if (index !== undefined) sink().chunk.push(index, around.clock.wallMs(), value, Quality.good);
}

describe('a listening source', () => {
  test('registers tags as they come, under its own name, and hands on what it heard', async () => {
    await listen();
    hear('hall/temp', 21);
    hear('hall/temp', 22);
    sink().deliver();
    sink().deliver();
    expect(around.pushed).toMatchObject([{ source: 'broker', tags: ['broker/hall/temp', 'broker/hall/temp'] }]);
    expect(around.registry.byName('broker/hall/temp')).toMatchObject({
      periodMs: undefined,
      fields: { priority: 'normal' },
    });
    expect(ingest.states()[0]).toMatchObject({ state: 'up', reads: 1 });
  });

  test('keeps receipts in the same append as the readings they stand for', async () => {
    const to = await listen();
    to.receipts.add(7, 'aa');
    hear('t', 1);
    to.deliver();
    to.receipts.add(8, 'bb');
    to.reject('topic', 'nonsense', 'is no JSON');
    to.deliver();
    to.receipts.release([7]);
    expect(around.pushed.map(({ receipts }) => receipts)).toEqual([
      [{ source: 'broker', packetId: 7, digest: 'aa' }],
      [{ source: 'broker', packetId: 8, digest: 'bb' }],
    ]);
    expect(around.rejected).toEqual([{ source: 'broker', subject: 'topic', reason: 'is no JSON' }]);
    expect(around.released).toEqual([7]);
    await to.durable();
  });

  test('knows a message that was committed before by id and digest, once', async () => {
    around.committed = [{ source: 'broker', packetId: 7, digest: 'aa' }];
    const { receipts } = await listen();
    // What earlier sessions pushed is made durable before the list is read.
    expect(around.durables).toBe(1);
    expect(receipts.unseen()).toEqual([7]);
    expect([receipts.seen(7, 'bb'), receipts.seen(7, 'aa'), receipts.seen(7, 'aa')]).toEqual([false, true, false]);
    expect(receipts.unseen()).toEqual([]);
    expect(around.duplicates).toBe(1);
    receipts.clear();
    expect(around.cleared).toBe(1);
  });

  test('ends with the gateway, also while it waits for a cache that has no room', async () => {
    around.stuck = true;
    ingest = around.run(device.source('broker', [], 'listen'));
    await settled();
    await ingest.stop();
    expect(device.opens).toBe(0);
  });

  test('does not call durable what the cache had no room for', async () => {
    const to = await listen();
    around.full = true;
    hear('t', 1);
    to.deliver();
    await expect(to.durable()).rejects.toMatchObject({ code: 'ingest.no_room', recovery: 'retry' });
    around.full = false;
    hear('t', 1);
    to.deliver();
    await expect(to.durable()).resolves.toBeUndefined();
  });

  test('is not told that messages were lost when only what nobody asked for was', async () => {
    const to = await listen();
    around.full = true;
    hear('qos0', 1);
    to.deliver();
    around.full = false;
    to.receipts.add(7, 'aa');
    hear('qos1', 1);
    to.deliver();
    await expect(to.durable()).resolves.toBeUndefined();
    // Of one burst that went in several chunks each counts.
    to.receipts.add(8, 'bb');
    hear('qos1', 2);
    to.deliver();
    around.full = true;
    hear('qos1', 3);
    to.deliver();
    around.full = false;
    hear('qos1', 4);
    to.deliver();
    await expect(to.durable()).rejects.toMatchObject({ code: 'ingest.no_room' });
    await expect(to.durable()).resolves.toBeUndefined();
  });

  test('marks all it ever told of bad when the connection is lost, and ignores a session that is over', async () => {
    const old = await listen();
    hear('a', 1);
    hear('b', 1);
    old.deliver();
    device.hangUp();
    await around.pass(3_000);
    expect(around.pushed.at(-1)).toMatchObject({
      tags: ['broker/a', 'broker/b'],
      qualities: [Quality.commError, Quality.commError],
    });
    expect(sink()).not.toBe(old);
    const pushed = around.pushed.length;
    old.chunk.push(0, around.clock.wallMs(), 5, Quality.good);
    old.deliver();
    expect(around.pushed.length).toBe(pushed);
    await expect(old.durable()).rejects.toMatchObject({ code: 'ingest.no_room' });
  });

  test('that invents tags without end is stopped at the limit, counted, and named once in the log', async () => {
    await listen();
    for (let i = 0; i < 10_050; i++) hear(`t${i}`, i);
    sink().deliver();
    expect(ingest.states()[0]).toMatchObject({ tagsRefused: 50 });
    expect(around.logged.filter(({ level }) => level === 'warn')).toHaveLength(1);
    expect(around.pushed.at(-1)?.tags).toHaveLength(10_000);
  });
});
