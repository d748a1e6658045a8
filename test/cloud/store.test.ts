import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { openStore, type Store } from '../../src/cloud/store.ts';
import { CLASS } from '../../src/wire/classes.ts';
import { ContentDigest } from '../../src/wire/digest.ts';
import { open } from '../../src/wire/envelope.ts';
import { generateCloudKey } from '../../src/wire/keys.ts';
import { count, type Range, rangeSet, subtract } from '../../src/wire/ranges.ts';
import { NOW_MS, standing } from './cloud.ts';
import { block, columnsOf, cut, Gateway, polls, TAGS } from './gateway.ts';

let folder: string;
let store: Store;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-store-'));
  store = openStore(folder, standing());
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true, force: true });
});

const ROWS = 100;
const someRange = fc
  .tuple(fc.integer({ min: 1, max: ROWS }), fc.integer({ min: 1, max: ROWS }))
  .map(([a, b]): Range => ({ from: Math.min(a, b), to: Math.max(a, b) }));

test('a second receiver on the same data is refused, and the first goes on', () => {
  expect(() => openStore(folder, standing())).toThrow('another receiver uses');
  expect(store.receiver).toBeDefined();
  store.close();
  store = openStore(folder, standing());
});

test('any cutting, repeating and reordering of the same rows gives the same content, each row once', async () => {
  const keys = generateCloudKey();
  const all = columnsOf(block(polls(ROWS / 5), 1));
  const expected = new ContentDigest();
  expected.addColumns(all, (tag) => TAGS[tag]?.name);
  const opened = (gateway: Gateway, envelope: Uint8Array) =>
    open(envelope, { signer: () => gateway.key.publicKey, recipient: () => keys.recipient.secretKey });

  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(someRange, { minLength: 1, maxLength: 4 }), { maxLength: 8 }),
      fc.nat(8),
      async (cuts, control) => {
        const gateway = new Gateway(keys);
        // Whatever was cut at random, the rest comes too; the control rows at any place among them.
        const sections = [...cuts, [{ from: 1, to: ROWS }]].map((ranges) =>
          gateway.readings(cut(all, rangeSet(ranges))),
        );
        const records = [
          gateway.runOpen(),
          ...gateway.tagRows(),
          gateway.gap([{ from: 10, to: 20 }]),
          gateway.settled(ROWS),
        ];
        sections.splice(Math.min(control, sections.length), 0, gateway.records(records, 1));
        let fresh = 0;
        for (const section of sections) {
          const { rows, duplicates } = store.receiver.apply(opened(gateway, gateway.seal([section])), NOW_MS);
          fresh += rows - duplicates;
        }
        expect(fresh).toBe(ROWS + records.length);
        expect(await store.tier.digest(gateway.device, store.catalog.namesOf(gateway.device))).toEqual(
          expected.result(),
        );
        expect(store.cloudAlarms.list(gateway.device, true, 10)).toEqual([]);
        const latest = await store.tier.latest(store.catalog.tagsNamed('boiler/balance', gateway.device));
        expect(latest.map((reading) => reading?.value)).toEqual([-BigInt(ROWS / 5)]);
      },
    ),
    { numRuns: 25 },
  );
});

test('held ranges are the set of what was added, as few ranges as there can be', () => {
  let run = 0;
  fc.assert(
    fc.property(fc.array(someRange, { maxLength: 30 }), someRange, (added, wanted) => {
      run++;
      for (const range of added) store.ranges.add('held', run, CLASS.normal, range);
      const expected = rangeSet(added);
      expect(store.ranges.all('held', run, CLASS.normal)).toEqual(expected);
      const missing = subtract([wanted], expected);
      expect(subtract([wanted], store.ranges.within('held', run, CLASS.normal, wanted))).toEqual(missing);
      store.ranges.settle(run, CLASS.normal, ROWS);
      expect(count(store.ranges.holes(run, CLASS.normal))).toBe(ROWS - count(expected));
    }),
  );
});

test('a full disk takes nothing of a batch, and the same batch passes once there is room', async () => {
  const keys = generateCloudKey();
  const gateway = new Gateway(keys);
  const opened = (envelope: Uint8Array) =>
    open(envelope, { signer: () => gateway.key.publicKey, recipient: () => keys.recipient.secretKey });
  const batch = opened(
    gateway.seal([gateway.records([gateway.runOpen()], 1), gateway.readings(block(polls(2000), 1))]),
  );
  const pages = Number(store.db.pragma('page_count', { simple: true }));
  store.db.pragma(`max_page_count = ${pages + 3}`);
  expect(() => store.receiver.apply(batch, NOW_MS)).toThrow(expect.objectContaining({ code: 'SQLITE_FULL' }));
  expect(store.catalog.devices()).toEqual([]);
  expect((await store.tier.digest(gateway.device, (id) => id)).size).toBe(0);
  store.db.pragma('max_page_count = 1000000');
  expect(store.receiver.apply(batch, NOW_MS)).toMatchObject({ rows: 10_001, duplicates: 0, readings: 10_000 });
});

describe('the database', () => {
  test('syncs every commit', () => {
    expect(store.db.pragma('synchronous', { simple: true })).toBe(2);
    expect(store.db.pragma('journal_mode', { simple: true })).toBe('wal');
  });

  test('of a later version is refused, untouched', () => {
    store.close();
    const db = new Database(join(folder, 'cloud.sqlite'));
    db.pragma('user_version = 99');
    db.close();
    expect(() => openStore(folder, standing())).toThrow(expect.objectContaining({ code: 'cloud.schema_newer' }));
    store = openStore(mkdtempSync(join(tmpdir(), 'sluice-store-')), standing());
  });
});
