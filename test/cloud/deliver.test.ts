import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { CLASS } from '../../src/wire/classes.ts';
import { type Dictionary, dictionaryHash } from '../../src/wire/payload.ts';
import { tagId } from '../../src/wire/tag.ts';
import { Stand } from './cloud.ts';
import { BOOT, block, columnsOf, cut, Gateway, polls, START_MS, TAGS } from './gateway.ts';

let stand: Stand;
beforeEach(async () => {
  stand = new Stand();
  await stand.start();
});
afterEach(() => stand.end());

const held = async () => {
  const { json } = await stand.ask('/v1/devices');
  return json.devices[0];
};

describe('a delivered batch', () => {
  test('is held, answered under signature, and can be read', async () => {
    const { gateway } = stand;
    const answer = await stand.deliver(
      gateway.seal([
        gateway.records([gateway.runOpen(), ...gateway.tagRows()], 1),
        gateway.readings(block(polls(4), 1)),
      ]),
    );
    expect(answer).toMatchObject({ status: 200, name: 'ok', rows: 26, duplicates: 0, heldGaps: [] });
    const { json } = await stand.ask(`/v1/readings?tag=boiler/energy&from=${START_MS}`);
    expect(json.readings.map((reading: { value: string }) => reading.value)).toEqual([
      '9007199254740993',
      '9007199254740994',
      '9007199254740995',
      '9007199254740996',
    ]);
  });

  test('that comes again changes nothing and says so', async () => {
    const { gateway } = stand;
    const envelope = gateway.seal([gateway.readings(block(polls(4), 1))]);
    await stand.deliver(envelope);
    expect(await stand.deliver(envelope)).toMatchObject({ name: 'ok', rows: 20, duplicates: 20 });
    expect(await held()).toMatchObject({ rows: 20, readings: 20, duplicates: 20 });
  });

  test('cut anew over old borders adds only what is missing', async () => {
    const { gateway } = stand;
    const all = columnsOf(block(polls(10), 1));
    await stand.deliver(
      gateway.seal([
        gateway.readings(
          cut(all, [
            { from: 5, to: 20 },
            { from: 30, to: 31 },
          ]),
        ),
      ]),
    );
    const answer = await stand.deliver(gateway.seal([gateway.readings(cut(all, [{ from: 1, to: 50 }]))]));
    expect(answer).toMatchObject({ rows: 50, duplicates: 18 });
    const device = await held();
    expect(device.readings).toBe(50);
    expect(device.runs[0].classes.normal).toMatchObject({ held: 50, last: 50, missing: 0 });
  });

  test('of one device never counts for another with the same run and numbers', async () => {
    const other = new Gateway(stand.keys);
    await stand.stop();
    stand.devices = [stand.gateway.entry, { ...other.entry, name: 'line4' }];
    await stand.start();
    other.run = stand.gateway.run;
    await stand.deliver(stand.gateway.seal([stand.gateway.readings(block(polls(1), 1))]));
    const answer = await stand.deliver(other.seal([other.readings(block(polls(1), 1))]), other);
    expect(answer).toMatchObject({ name: 'ok', duplicates: 0 });
  });

  test('sent many times at once is applied once', async () => {
    const { gateway } = stand;
    const envelopes = [1, 2, 3, 4, 5, 6].map(() => gateway.seal([gateway.readings(block(polls(4), 1))]));
    const answers = await Promise.all(envelopes.map((envelope) => stand.deliver(envelope)));
    expect(answers.reduce((sum, { duplicates }) => sum + duplicates, 0)).toBe(5 * 20);
    expect((await held()).readings).toBe(20);
  });

  test('survives a restart, which has another incarnation', async () => {
    const { gateway } = stand;
    const envelope = gateway.seal([gateway.readings(block(polls(4), 1))]);
    const first = await stand.deliver(envelope);
    await stand.stop();
    await stand.start();
    const second = await stand.deliver(envelope);
    expect(second).toMatchObject({ duplicates: 20 });
    expect(second.incarnation).not.toEqual(first.incarnation);
  });
});

describe('a dictionary', () => {
  test('that was confirmed need not be sent again', async () => {
    const { gateway } = stand;
    await stand.deliver(gateway.seal([gateway.records(gateway.tagRows(), 2), gateway.readings(block(polls(1), 1))]));
    const answer = await stand.deliver(
      gateway.seal([gateway.readings(block(polls(1, START_MS + 5000), 6))], gateway.known()),
    );
    expect(answer.name).toBe('ok');
    const { json } = await stand.ask('/v1/latest?tag=line3:boiler/flow_temp');
    expect(json.latest[0]).toMatchObject({ timeMs: START_MS + 5000, gateway: 'line3', unit: '°C', status: 'good' });
  });

  test('that is not held is refused under signature, and nothing is kept of its batch', async () => {
    const { gateway } = stand;
    const rows = gateway.readings(block(polls(1), 1));
    expect(await stand.deliver(gateway.seal([rows], gateway.known()))).toMatchObject({
      status: 409,
      name: 'dictionary_unknown',
      rows: 0,
    });
    expect(await stand.deliver(gateway.seal([rows]))).toMatchObject({ name: 'ok', duplicates: 0 });
  });

  test('that is not held does not stop rows that need none', async () => {
    const { gateway } = stand;
    const alarms = gateway.records(
      [{ type: 'ALARM', id: 'boiler/flow_temp/hi', condition: 'hi', state: 'raised', at: START_MS, text: 'too hot' }],
      1,
      CLASS.alarm,
    );
    expect(await stand.deliver(gateway.seal([alarms], gateway.known()))).toMatchObject({ name: 'ok' });
  });
});

test('a dictionary that grew is known after a restart, by any of its hashes', async () => {
  const { gateway } = stand;
  const ids = TAGS.map(tagId);
  const first: Dictionary = { base: undefined, baseCount: 0, added: ids.slice(0, 2) };
  const second: Dictionary = { base: dictionaryHash(undefined, first.added), baseCount: 2, added: ids.slice(2) };
  const rows = (n0: number, tags: number) => block(polls(1).slice(0, tags), n0);
  await stand.deliver(gateway.seal([gateway.readings(rows(1, 2)), gateway.records(gateway.tagRows(), 1)], first));
  await stand.deliver(gateway.seal([gateway.readings(rows(3, 5))], second));
  await stand.stop();
  await stand.start();
  const third: Dictionary = { base: dictionaryHash(second.base, second.added), baseCount: 5, added: [] };
  expect(await stand.deliver(gateway.seal([gateway.readings(rows(8, 5))], third))).toMatchObject({ name: 'ok' });
  expect(await stand.deliver(gateway.seal([gateway.readings(rows(13, 2))], { ...third, baseCount: 4 }))).toMatchObject({
    name: 'dictionary_unknown',
  });
  const { json } = await stand.ask('/v1/digest?gateway=line3');
  expect(Object.values<{ count: number }>(json.tags).map(({ count }) => count)).toEqual([2, 3, 3, 2, 2]);
});

test('rows of a boot whose clock was not set are corrected when the offset comes', async () => {
  const { gateway } = stand;
  const boot = new Uint8Array(16).fill(0xb0);
  const rows = block(polls(2, 5000), 1);
  const clock = { boot, wallMs: 9000, monoMs: 4000 };
  await stand.deliver(
    gateway.seal([gateway.records(gateway.tagRows(), 1), gateway.readings(rows, CLASS.normal, { clock })]),
  );
  await stand.deliver(
    gateway.seal([gateway.records([{ type: 'CLOCK_OFFSET', boot: BOOT, offsetMs: START_MS - 5000 }], 6)]),
  );
  const { json } = await stand.ask(`/v1/readings?tag=boiler/balance&from=${START_MS}&to=${START_MS + 5000}`);
  expect(json.readings).toMatchObject([{ timeMs: START_MS }, { timeMs: START_MS + 1000 }]);
  expect((await stand.ask('/v1/latest?tag=boiler/balance')).json.latest).toMatchObject([{ timeMs: START_MS + 1000 }]);
});

describe('rows of a tag that is not known yet', () => {
  test('are kept under its id, and get their name when the TAG row comes', async () => {
    const { gateway } = stand;
    await stand.deliver(gateway.seal([gateway.readings(block(polls(2), 1))]));
    const before = await stand.ask('/v1/latest');
    expect(before.json.latest).toHaveLength(5);
    expect(before.json.latest[0].tag).toMatch(/^[0-9a-f]{32}$/);
    expect((await stand.ask(`/v1/readings?from=0&tag=${before.json.latest[0].tag}`)).json.readings).toHaveLength(2);
    await stand.deliver(gateway.seal([gateway.records(gateway.tagRows(), 2)]));
    const after = await stand.ask('/v1/latest?tag=*/flow_*');
    expect(after.json.latest).toMatchObject([{ tag: 'boiler/flow_temp', type: 'float32' }]);
  });
});
