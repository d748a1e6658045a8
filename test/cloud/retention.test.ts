// What is kept and what goes; and that nothing which went comes back.
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Retention, type RetentionLimits } from '../../src/cloud/retention.ts';
import { openStore, type Store } from '../../src/cloud/store.ts';
import { ManualClock } from '../../src/runtime/clock.ts';
import { open } from '../../src/wire/envelope.ts';
import { quiet, Stand } from './cloud.ts';
import { block, polls, START_MS } from './gateway.ts';

const HOUR_MS = 3_600_000;
const HOURS = 12;

let stand: Stand;
let clock: ManualClock;
let store: Store;
let batches: Uint8Array[];
beforeEach(() => {
  stand = new Stand();
  clock = new ManualClock(START_MS + HOURS * HOUR_MS);
  store = openStore(stand.dataDir, clock);
  const { gateway } = stand;
  batches = Array.from({ length: HOURS }, (_, hour) =>
    gateway.seal([gateway.readings(block(polls(400, START_MS + hour * HOUR_MS), 1 + hour * 2000))]),
  );
  for (const batch of batches) apply(batch);
});
afterEach(async () => {
  store.close();
  await stand.end();
});

function apply(envelope: Uint8Array) {
  const keys = { signer: () => stand.gateway.key.publicKey, recipient: () => stand.keys.recipient.secretKey };
  return store.receiver.apply(open(envelope, keys), clock.wallMs());
}

function keeping(limits: RetentionLimits): Retention {
  return new Retention(limits, { ...store, blocks: store.tier.blocks, clock, logger: quiet });
}

/** Hours of which something is there. */
async function hours(): Promise<number[]> {
  const keys = store.catalog.tags(0, 1, stand.gateway.device);
  const windows = await store.tier.windows([keys], { fromMs: 0, toMs: START_MS + 1e9 }, HOUR_MS);
  return (windows[0] ?? []).map(({ startMs }) => (startMs - START_MS) / HOUR_MS);
}

test('by age: what is older goes, and is not taken again', async () => {
  const retention = keeping({ keepMs: 3 * HOUR_MS });
  clock.advance(1000);
  expect(await hours()).toEqual([9, 10, 11]);
  // The clock goes on, and so does what is kept.
  clock.advance(HOUR_MS);
  expect(await hours()).toEqual([10, 11]);
  retention.stop();
  expect(apply(batches[0] ?? new Uint8Array())).toMatchObject({ rows: 2000, duplicates: 2000, readings: 0 });
  expect(await hours()).toEqual([10, 11]);
});

test('by bytes: the oldest go until it is no more than that', async () => {
  const used = () =>
    (Number(store.db.pragma('page_count', { simple: true })) -
      Number(store.db.pragma('freelist_count', { simple: true }))) *
    Number(store.db.pragma('page_size', { simple: true }));
  const most = used() - 15_000;
  const retention = keeping({ keepBytes: most });
  clock.advance(10_000);
  retention.stop();
  const left = await hours();
  expect(used()).toBeLessThanOrEqual(most);
  // A block takes some 4 kB: no more went than had to.
  expect(used()).toBeGreaterThan(most - 10_000);
  expect(left.length).toBeGreaterThan(HOURS / 2);
  expect(left).toEqual(Array.from({ length: left.length }, (_, i) => HOURS - left.length + i));
});

test('without limits nothing goes', async () => {
  keeping({});
  clock.advance(1000 * HOUR_MS);
  expect(await hours()).toHaveLength(HOURS);
});
