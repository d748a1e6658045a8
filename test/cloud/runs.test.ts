import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { chainPositions } from '../../src/cloud/runs.ts';
import { ANSWER_BYTES_MAX } from '../../src/wire/answer.ts';
import { hex } from '../../src/wire/bytes.ts';
import { CLASS } from '../../src/wire/classes.ts';
import { count } from '../../src/wire/ranges.ts';
import { Stand } from './cloud.ts';
import { block, columnsOf, cut, polls, START_MS } from './gateway.ts';

let stand: Stand;
beforeEach(async () => {
  stand = new Stand();
  await stand.start();
});
afterEach(() => stand.end());

const cloudAlarms = async () => (await stand.ask('/v1/alarms?active=true')).json.cloud;
const normal = async () => (await stand.ask('/v1/devices')).json.devices[0].runs[0].classes.normal;

describe('a GAP', () => {
  const all = columnsOf(block(polls(4), 1));
  const part = { from: 5, to: 8 };

  test('before its rows is beaten by them', async () => {
    const { gateway } = stand;
    await stand.deliver(gateway.seal([gateway.records([gateway.gap([part])], 1)]));
    expect(await normal()).toMatchObject({ held: 0, explained: 4 });
    const answer = await stand.deliver(gateway.seal([gateway.readings(cut(all, [{ from: 1, to: 20 }]))]));
    expect(answer.duplicates).toBe(0);
    expect(await normal()).toMatchObject({ held: 20, explained: 0, missing: 0 });
  });

  test('after its rows changes nothing, and the answer says which were held', async () => {
    const { gateway } = stand;
    await stand.deliver(gateway.seal([gateway.readings(cut(all, [{ from: 1, to: 6 }]))]));
    const gap = gateway.seal([gateway.records([gateway.gap([part])], 1)]);
    const expected = [{ run: new Uint8Array(gateway.run), class: CLASS.normal, held: [{ from: 5, to: 6 }] }];
    expect((await stand.deliver(gap)).heldGaps).toEqual(expected);
    // The answer may have been lost: asked again, it says the same.
    expect((await stand.deliver(gap)).heldGaps).toEqual(expected);
    expect(await normal()).toMatchObject({ held: 6, explained: 2, missing: 0 });
  });
});

describe('SETTLED', () => {
  test('over a hole raises a loss, which clears when the hole is filled', async () => {
    const { gateway } = stand;
    const all = columnsOf(block(polls(4), 1));
    await stand.deliver(
      gateway.seal([
        gateway.readings(
          cut(all, [
            { from: 1, to: 6 },
            { from: 9, to: 20 },
          ]),
        ),
      ]),
    );
    expect(await cloudAlarms()).toEqual([]);
    await stand.deliver(gateway.seal([gateway.records([gateway.settled(20)], 1)]));
    expect(await cloudAlarms()).toMatchObject([{ kind: 'loss', gateway: 'line3', active: true }]);
    await stand.deliver(gateway.seal([gateway.readings(cut(all, [{ from: 7, to: 7 }]))]));
    expect(await cloudAlarms()).toHaveLength(1);
    await stand.deliver(gateway.seal([gateway.records([gateway.gap([{ from: 8, to: 8 }])], 2)]));
    expect(await cloudAlarms()).toEqual([]);
    expect((await stand.ask('/v1/alarms')).json.cloud).toMatchObject([{ kind: 'loss', active: false }]);
  });
});

describe('a fork', () => {
  test('is seen when two runs follow the same one, in whatever order they come', async () => {
    const { gateway } = stand;
    const first = gateway.run;
    await stand.deliver(gateway.seal([gateway.records([gateway.runOpen()], 1)]));
    for (const expected of [0, 1]) {
      gateway.run = randomBytes(16);
      await stand.deliver(gateway.seal([gateway.records([gateway.runOpen({ run: first, last: [0, 1, 0, 0, 0] })], 1)]));
      expect(await cloudAlarms()).toHaveLength(expected);
    }
  });

  test('is seen when a run begins anew beside the old ones, and not when the first run comes late', async () => {
    const { gateway } = stand;
    const [first, second] = [gateway.run, randomBytes(16)];
    gateway.run = second;
    await stand.deliver(gateway.seal([gateway.records([gateway.runOpen({ run: first, last: [0, 1, 0, 0, 0] })], 1)]));
    gateway.run = first;
    await stand.deliver(gateway.seal([gateway.records([gateway.runOpen()], 1)]));
    expect(await cloudAlarms()).toEqual([]);
    gateway.run = randomBytes(16);
    await stand.deliver(gateway.seal([gateway.records([gateway.runOpen()], 1)]));
    expect(await cloudAlarms()).toMatchObject([{ kind: 'fork' }]);
  });

  test.each(['before', 'after'])(
    'is seen when a restored backup knows less than the cloud: rows come %s',
    async (when) => {
      const { gateway } = stand;
      const first = gateway.run;
      const rows = gateway.seal([gateway.readings(block(polls(4), 1))]);
      if (when === 'before') await stand.deliver(rows);
      gateway.run = randomBytes(16);
      await stand.deliver(
        gateway.seal([gateway.records([gateway.runOpen({ run: first, last: [0, 0, 0, 19, 0] })], 1)]),
      );
      if (when === 'after') await stand.deliver(rows);
      expect(await cloudAlarms()).toMatchObject([{ kind: 'fork', subject: hex(gateway.run) }]);
    },
  );

  test('stays until a person closes it, and then stays closed', async () => {
    const { gateway } = stand;
    for (let i = 0; i < 2; i++) {
      gateway.run = randomBytes(16);
      await stand.deliver(gateway.seal([gateway.records([gateway.runOpen()], 1)]));
    }
    const [alarm] = await cloudAlarms();
    const close = await fetch(`${stand.url}/v1/alarms/${alarm.id}/close`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"by":"anna"}',
    });
    expect(await close.json()).toEqual({ closed: alarm.id, by: 'anna' });
    gateway.run = randomBytes(16);
    await stand.deliver(gateway.seal([gateway.records([gateway.runOpen()], 1)]));
    expect(await cloudAlarms()).toEqual([]);
  });
});

describe('alarms of a gateway', () => {
  const alarm = (id: string, state: string, at: number) => ({
    ...{ type: 'ALARM', id, condition: 'hi', text: `${id} too hot` },
    ...{ tag: 'boiler/flow_temp', state, at, value: 99.5, limit: 90 },
  });
  const gatewayAlarms = async (query = '') => (await stand.ask(`/v1/alarms${query}`)).json.gateways;

  test('go by run and number, not by arrival', async () => {
    const { gateway } = stand;
    const [first, second] = [gateway.run, randomBytes(16)];
    gateway.run = second;
    await stand.deliver(gateway.seal([gateway.records([gateway.runOpen({ run: first, last: [2, 1, 0, 0, 0] })], 1)]));
    await stand.deliver(gateway.seal([gateway.records([alarm('a', 'acknowledged', START_MS + 3)], 1, CLASS.alarm)]));
    gateway.run = first;
    await stand.deliver(gateway.seal([gateway.records([alarm('a', 'cleared', START_MS + 9)], 2, CLASS.alarm)]));
    await stand.deliver(gateway.seal([gateway.records([alarm('a', 'raised', START_MS)], 1, CLASS.alarm)]));
    expect(await gatewayAlarms()).toMatchObject([
      { id: 'a', state: 'acknowledged', active: true, gateway: 'line3', value: 99.5 },
    ]);
  });

  test('that a later run does not mention have ended with the run before', async () => {
    const { gateway } = stand;
    const first = gateway.run;
    await stand.deliver(
      gateway.seal([
        gateway.records([gateway.runOpen()], 1),
        gateway.records([alarm('a', 'raised', START_MS)], 1, CLASS.alarm),
      ]),
    );
    expect(await gatewayAlarms('?active=true')).toHaveLength(1);
    gateway.run = randomBytes(16);
    await stand.deliver(gateway.seal([gateway.records([gateway.runOpen({ run: first, last: [1, 1, 0, 0, 0] })], 1)]));
    expect(await gatewayAlarms('?active=true')).toEqual([]);
    expect(await gatewayAlarms()).toMatchObject([{ id: 'a', state: 'ended', active: false }]);
  });
});

test('held rows of many torn gaps are named as far as an answer goes, and it stays readable', async () => {
  const { gateway } = stand;
  // Of two runs every other row is held; then gaps over all of them.
  const rows = 60_000;
  const all = columnsOf(
    block(
      Array.from({ length: rows }, (_, i) => ({ tag: 0, timeMs: START_MS + i, value: 1 })),
      1,
    ),
  );
  const odd = Array.from({ length: rows / 2 }, (_, i) => ({ from: 1 + 2 * i, to: 1 + 2 * i }));
  const gaps: object[] = [];
  for (let run = 0; run < 2; run++) {
    gateway.run = randomBytes(16);
    await stand.deliver(gateway.seal([gateway.readings(cut(all, odd))]));
    gaps.push(...Array.from({ length: 60 }, (_, i) => gateway.gap(odd.slice(500 * i, 500 * i + 500))));
  }
  const envelope = gateway.seal([gateway.records(gaps, 1)]);
  const { body } = await stand.post('/v1/batches', envelope);
  expect(body.length).toBeGreaterThan(65_536);
  expect(body.length).toBeLessThanOrEqual(ANSWER_BYTES_MAX);
  const { heldGaps } = gateway.verify(body, envelope);
  expect(heldGaps.map(({ held }) => count(held))).toEqual([30_000, 20_000]);
}, 20_000);

test('positions in a chain end, even when somebody made it go round', () => {
  const chain = [
    { run: 'c', previous: 'b' },
    { run: 'a', previous: null },
    { run: 'b', previous: 'a' },
    { run: 'x', previous: 'y' },
    { run: 'y', previous: 'x' },
  ];
  const positions = chainPositions(chain);
  expect([positions.get('a'), positions.get('b'), positions.get('c')]).toEqual([0, 1, 2]);
  expect(positions.size).toBe(5);
});
