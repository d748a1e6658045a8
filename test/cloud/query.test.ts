import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ContentDigest } from '../../src/wire/digest.ts';
import { Stand } from './cloud.ts';
import { block, columnsOf, Gateway, polls, START_MS, TAGS } from './gateway.ts';

const READ = 'a-token-for-reading';
const OPERATE = 'a-token-for-operators';

let stand: Stand;
const rows = columnsOf(block(polls(120), 1));
beforeAll(async () => {
  stand = new Stand();
  const second = new Gateway(stand.keys);
  stand.devices.push({ ...second.entry, name: 'line4' });
  await stand.start({ readToken: READ, operatorToken: OPERATE });
  for (const gateway of [stand.gateway, second]) {
    const sections = [
      gateway.records([gateway.runOpen(), ...gateway.tagRows()], 1),
      gateway.readings(block(polls(120), 1)),
    ];
    await stand.deliver(gateway.seal(sections), gateway);
  }
});
afterAll(() => stand.end());

const ask = (path: string, token: string | undefined = READ) => stand.ask(path, token);

describe('a query for readings', () => {
  test('takes ISO times and milliseconds, and gives values with time, status and reason', async () => {
    const asked = `/v1/readings?tag=line3:boiler/flow_temp&from=2026-03-01T00:00:01Z&to=${START_MS + 3000}`;
    expect((await ask(asked)).json).toEqual({
      tags: [{ gateway: 'line3', tag: 'boiler/flow_temp', type: 'float32', unit: '°C' }],
      from: '2026-03-01T00:00:01.000Z',
      to: '2026-03-01T00:00:03.000Z',
      truncated: false,
      next: null,
      readings: [1, 2].map((i) => ({
        gateway: 'line3',
        tag: 'boiler/flow_temp',
        time: `2026-03-01T00:00:0${i}.000Z`,
        timeMs: START_MS + i * 1000,
        value: Math.fround(20 + Math.sin(i)),
        status: 'good',
        reason: null,
      })),
    });
  });

  test('takes patterns, and pages backwards over all they match', async () => {
    const seen: string[] = [];
    for (let cursor = String(START_MS + 1e9); cursor !== null; ) {
      const { json } = await ask(`/v1/readings?gateway=line4&tag=*&from=0&limit=77&cursor=${cursor}`);
      seen.push(...json.readings.map((reading: { tag: string; timeMs: number }) => `${reading.tag} ${reading.timeMs}`));
      cursor = json.next;
    }
    expect(seen).toHaveLength(600);
    expect(new Set(seen).size).toBe(600);
  });

  test('comes as CSV and as a line of JSON for each', async () => {
    const asked = `/v1/readings?gateway=line3&tag=boiler/energy&from=${START_MS}&to=${START_MS + 1}`;
    const time = '2026-03-01T00:00:00.000Z';
    expect((await ask(`${asked}&format=csv`)).text).toBe(
      `gateway,tag,unit,time,timeMs,value,status,reason\r\nline3,boiler/energy,Wh,${time},${START_MS},9007199254740993,good,\r\n`,
    );
    const lines = (await ask(`${asked}&format=ndjson`)).text.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([{ tag: 'boiler/energy', value: '9007199254740993' }]);
  });
});

describe('other queries', () => {
  test('latest takes patterns over gateways', async () => {
    const { json } = await ask('/v1/latest?tag=*:boiler/*_*');
    expect(json.latest.map((tag: { gateway: string; tag: string }) => `${tag.gateway}:${tag.tag}`)).toEqual([
      'line3:boiler/flow_temp',
      'line3:boiler/pump_on',
      'line4:boiler/flow_temp',
      'line4:boiler/pump_on',
    ]);
    expect(json.latest[0].timeMs).toBe(START_MS + 119_000);
  });

  test('windows are whole ones, whatever the span', async () => {
    const { json } = await ask(
      `/v1/windows?tag=line3:boiler/balance&period=1min&from=${START_MS + 90_000}&to=${START_MS + 90_001}`,
    );
    expect(json).toMatchObject({ periodMs: 60_000, tags: [{ gateway: 'line3', type: 'int64' }] });
    expect(json.windows).toEqual([
      {
        ...{ gateway: 'line3', tag: 'boiler/balance' },
        ...{ start: '2026-03-01T00:01:00.000Z', startMs: START_MS + 60_000, count: 60, good: 60, aggregated: 0 },
        ...{ min: '-120', max: '-61', mean: -90.5, first: '-61', last: '-120' },
      },
    ]);
  });

  test('the digest is that of what was sent', async () => {
    const expected = new ContentDigest();
    expected.addColumns(rows, (tag) => TAGS[tag]?.name);
    const { json } = await ask('/v1/digest?gateway=line3');
    expect(json).toEqual({ gateway: 'line3', tags: Object.fromEntries(expected.result()) });
  });

  test('devices says what is held of each run', async () => {
    const { json } = await ask('/v1/devices');
    expect(json.devices).toHaveLength(2);
    expect(json.devices[0]).toMatchObject({ name: 'line3', listed: true, revoked: false, readings: 600, batches: 1 });
    expect(json.devices[0].runs[0]).toMatchObject({
      opened: true,
      clean: true,
      previous: null,
      classes: { normal: { held: 600 } },
    });
  });

  test('metrics, health and the description of the API are there', async () => {
    expect((await ask('/metrics')).text).toContain('sluice_cloud_readings_total 1200');
    expect((await stand.ask('/healthz')).json).toEqual({ status: 'ok' });
    expect((await stand.ask('/openapi.json')).json.openapi).toBe('3.1.0');
  });
});

describe('a question that is not right is refused with what to do:', () => {
  test.each([
    ['/v1/readings', 400, 'query.invalid', /tag: /],
    ['/v1/readings?tag=line3:boiler/energy&form=1', 400, 'query.invalid', /form/],
    ['/v1/readings?tag=a&tag=b', 400, 'query.invalid', /tag: /],
    ['/v1/readings?tag=line3:boiler/energy&from=yesterday', 400, 'query.invalid', /from: expected an ISO time/],
    ['/v1/readings?tag=line3:boiler/energy&from=2&to=1', 400, 'query.invalid', /later/],
    ['/v1/readings?tag=line3:boiler/energy&limit=1000000', 400, 'query.invalid', /limit: at most/],
    ['/v1/readings?tag=line3:boiler/none', 404, 'query.not_found', /boiler\/none/],
    ["/v1/readings?tag=line3:x'%20OR%201=1--", 404, 'query.not_found', /OR 1=1/],
    ['/v1/windows?tag=boiler/energy', 400, 'query.invalid', /either period or points/],
    ['/v1/windows?tag=boiler/energy&period=1min&points=5', 400, 'query.invalid', /either period or points/],
    ['/v1/readings?tag=*&gateway=line9', 404, 'query.not_found', /line9/],
    ['/v1/export?tag=*&format=json', 400, 'query.invalid', /format/],
    ['/v1/windows?tag=line3:boiler/energy&period=1ms&from=0', 400, 'query.invalid', /windows/],
    ['/v1/windows?tag=line3:boiler/energy&period=often', 400, 'query.invalid', /period: /],
    ['/v1/digest?gateway=line9', 404, 'query.not_found', /line9/],
    ['/v1/nothing', 404, 'http.not_found', /nothing/],
  ])('%s', async (path, status, code, message) => {
    const answer = await ask(path);
    expect([answer.status, answer.json.code]).toEqual([status, code]);
    expect(answer.json.message).toMatch(message);
  });
});

describe('a token', () => {
  test.each(['/v1/readings?tag=*', '/v1/latest', '/v1/devices', '/v1/alarms', '/v1/digest?gateway=line3', '/metrics'])(
    'is needed for %s',
    async (path) => {
      const answer = await stand.ask(path);
      expect([answer.status, answer.json.code]).toEqual([401, 'cloud.unauthorized']);
    },
  );

  test('for reading does not close alarms; the one for operators does, and may read', async () => {
    const close = (token: string) =>
      fetch(`${stand.url}/v1/alarms/1/close`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: '{"by":"anna"}',
      });
    expect((await close(READ)).status).toBe(403);
    expect((await close(OPERATE)).status).toBe(404);
    expect((await ask('/v1/latest', OPERATE)).status).toBe(200);
  });

  test('guessed at earns a 429, and the right one from the same address still passes', async () => {
    for (let i = 0; i < 10; i++) expect((await ask('/v1/latest', `wrong-token-number-${i}`)).status).toBe(401);
    const answer = await ask('/v1/latest', 'wrong-token-once-more');
    expect([answer.status, answer.json.code]).toEqual([429, 'cloud.too_many_attempts']);
    expect((await ask('/v1/latest', READ)).status).toBe(200);
  });

  test('missing or weak keeps the receiver from listening to everybody', async () => {
    const other = new Stand();
    await expect(other.start({ host: '0.0.0.0' })).rejects.toMatchObject({ code: 'cloud.token_missing' });
    await expect(other.start({ readToken: 'short' })).rejects.toMatchObject({ code: 'cloud.token_weak' });
    await other.end();
  });
});
