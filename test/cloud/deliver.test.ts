import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { CLASS } from '../../src/wire/classes.ts';
import { Stand } from './cloud.ts';
import { block, columnsOf, cut, Gateway, polls, START_MS } from './gateway.ts';

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
