// What a program gets: columns, CSV, streams without an end in memory, pages, and nothing at all when nothing is new.
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { asSeries, csv, csvHead } from '../../src/cloud/api/formats.ts';
import { periodFor, windowsOver } from '../../src/cloud/api/params.ts';
import { matches } from '../../src/cloud/tag-names.ts';
import { sleep, systemClock } from '../../src/runtime/clock.ts';
import { Stand } from './cloud.ts';
import { block, Gateway, polls, START_MS } from './gateway.ts';

const POLLS = 13_000;
const BLOCKS = 4;

let stand: Stand;
beforeAll(async () => {
  stand = new Stand();
  const second = new Gateway(stand.keys);
  stand.devices.push({ ...second.entry, name: 'line4' });
  await stand.start();
  const { gateway } = stand;
  await stand.deliver(gateway.seal([gateway.records([gateway.runOpen(), ...gateway.tagRows()], 1)]));
  for (let i = 0; i < BLOCKS; i++) {
    const rows = block(polls(POLLS, START_MS + i * POLLS * 1000), 1 + i * POLLS * 5);
    await stand.deliver(gateway.seal([gateway.readings(rows)]));
  }
  const few = second.seal([
    second.records([second.runOpen(), ...second.tagRows()], 1),
    second.readings(block(polls(2), 1)),
  ]);
  await stand.deliver(few, second);
}, 30_000);
afterAll(() => stand.end());

const NARROW = `from=${START_MS}&to=${START_MS + 2000}`;

test('columns are an array for each column of each tag', async () => {
  const { json } = await stand.ask(`/v1/readings?gateway=line3&source=boiler&tag=*_*&${NARROW}&format=columns`);
  expect(json.series).toHaveLength(2);
  expect(json.series[0]).toEqual({
    gateway: 'line3',
    tag: 'boiler/flow_temp',
    unit: '°C',
    columns: {
      timeMs: [START_MS, START_MS + 1000],
      value: [20, Math.fround(20 + Math.sin(1))],
      status: ['good', 'good'],
      reason: [null, null],
    },
  });
});

test.each([
  ['gateway=line*&source=boiler&tag=pump_on', ['line3:boiler/pump_on', 'line4:boiler/pump_on']],
  ['gateway=*4&tag=boiler/e*', ['line4:boiler/energy']],
  ['source=boil*&tag=*e', ['line3:boiler/state', 'line3:boiler/balance', 'line4:boiler/state', 'line4:boiler/balance']],
  ['source=pump&tag=*', []],
])('patterns of gateway, source and tag: %s', async (pattern, expected) => {
  const { json } = await stand.ask(`/v1/latest?${pattern}`);
  expect(json.latest.map(({ gateway, tag }: { gateway: string; tag: string }) => `${gateway}:${tag}`)).toEqual(
    expected,
  );
});

describe('an export', () => {
  const ALL = `gateway=line3&tag=*&from=0&to=${START_MS + 1e9}`;

  test('is all of it, in order of time, once', async () => {
    const { text, status } = await stand.ask(`/v1/export?${ALL}&format=ndjson`);
    expect(status).toBe(200);
    const lines = text.trim().split('\n');
    expect(lines).toHaveLength(BLOCKS * POLLS * 5);
    const seen = new Set<string>();
    let before = 0;
    let inOrder = true;
    for (const line of lines) {
      const { tag, timeMs } = JSON.parse(line);
      inOrder &&= timeMs >= before;
      before = timeMs;
      seen.add(`${tag} ${timeMs}`);
    }
    expect(inOrder).toBe(true);
    expect(seen.size).toBe(lines.length);
  });

  test('of one tag as CSV has exact integers, and a head even when it is empty', async () => {
    const { text } = await stand.ask(
      `/v1/export?tag=line3:boiler/energy&from=${START_MS}&to=${START_MS + 1}&format=csv`,
    );
    expect(text).toBe(
      `gateway,tag,unit,time,timeMs,value,status,reason\r\nline3,boiler/energy,Wh,2026-03-01T00:00:00.000Z,${START_MS},9007199254740993,good,\r\n`,
    );
    const none = await stand.ask('/v1/export?tag=line3:boiler/energy&from=0&to=1&format=csv');
    expect(none.text).toBe('gateway,tag,unit,time,timeMs,value,status,reason\r\n');
  });

  test('keeps a part of it in memory when nobody reads, and gives up on who never does', async () => {
    await stand.stop();
    await stand.start({ limits: { queryMs: 1500 } });
    const { hostname, port } = new URL(stand.url);
    const socket = connect(Number(port), hostname);
    socket.pause();
    const before = process.memoryUsage().rss;
    socket.write(`GET /v1/export?${ALL} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`);
    await once(socket, 'readable');
    const closed = once(socket, 'close');
    // It was cut off: what is in the buffers comes, the last chunk does not.
    let text = '';
    const isOver = /cloud_query_seconds_count\{route="\/v1\/export"\} 1/;
    while (!isOver.test((await stand.ask('/metrics')).text)) await sleep(systemClock, 50);
    const grown = process.memoryUsage().rss - before;
    socket.on('data', (data) => {
      text += data.toString('latin1');
    });
    socket.on('error', () => {}).resume();
    await closed;
    expect(text).toMatch(/^HTTP\/1\.1 200 /);
    expect(text.endsWith('0\r\n\r\n')).toBe(false);
    // 40 MB of lines in all.
    expect(grown).toBeLessThan(150e6);
    await stand.stop();
    await stand.start();
  });
});

test('latest is answered with 304 while nothing is new, and with news when there is', async () => {
  const first = await fetch(`${stand.url}/v1/latest?gateway=line4`);
  const etag = first.headers.get('etag') ?? '';
  expect(etag).toMatch(/^W\/"/);
  await first.text();
  const again = await fetch(`${stand.url}/v1/latest?gateway=line4`, { headers: { 'if-none-match': etag } });
  expect([again.status, await again.text()]).toEqual([304, '']);
  const other = await fetch(`${stand.url}/v1/latest?gateway=line3`, { headers: { 'if-none-match': etag } });
  expect(other.status).toBe(200);
});

test('latest comes in pages', async () => {
  const seen: string[] = [];
  for (let path: string | undefined = '/v1/latest?limit=3&format=ndjson'; path !== undefined; ) {
    const response: Response = await fetch(stand.url + path);
    seen.push(...(await response.text()).trim().split('\n'));
    path = /^<([^>]+)>; rel="next"$/.exec(response.headers.get('link') ?? '')?.[1];
  }
  expect(seen).toHaveLength(10);
});

describe('the planner of points', () => {
  test('takes the shortest usual period that gives no more windows than asked for', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 4e12 }),
        fc.integer({ min: 1, max: 4e11 }),
        fc.integer({ min: 2, max: 10_000 }),
        (fromMs, lengthMs, points) => {
          const span = { fromMs, toMs: fromMs + lengthMs };
          const periodMs = periodFor(span, points);
          const { count, fromMs: first, toMs: last } = windowsOver(span, periodMs);
          expect(count).toBeLessThanOrEqual(points);
          expect(first <= span.fromMs && last >= span.toMs).toBe(true);
        },
      ),
    );
    expect(periodFor({ fromMs: 0, toMs: 3_600_000 }, 60)).toBe(60_000);
    expect(periodFor({ fromMs: 0, toMs: 3_600_000 }, 59)).toBe(120_000);
  });

  test('is what the query uses', async () => {
    const { json } = await stand.ask(
      `/v1/windows?gateway=line3&tag=boiler/*_*&points=10&from=${START_MS}&to=${START_MS + 600_000}`,
    );
    expect(json.periodMs).toBe(60_000);
    expect(json.windows).toHaveLength(20);
  });
});

test('a pattern matches what the same regular expression matches', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', '/', '.', '*', ':', '\\'), maxLength: 12 });
  fc.assert(
    fc.property(letters, letters, (pattern, text) => {
      const source = pattern.replace(/[.*+?^${}()|[\]\\/]/g, (c) => (c === '*' ? '[^]*' : `\\${c}`));
      expect(matches(pattern, text)).toBe(new RegExp(`^${source}$`).test(text));
    }),
    { numRuns: 2000 },
  );
});

test('what any text says comes back out of CSV', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.string({ unit: fc.constantFrom('a', '"', ',', '\r', '\n', ' ') }), fc.string()), {
        minLength: 1,
      }),
      (rows) => {
        const text =
          csvHead(['a', 'b']) +
          csv(
            ['a', 'b'],
            rows.map(([a, b]) => ({ a, b })),
          );
        expect(parseCsv(text)).toEqual([['a', 'b'], ...rows]);
      },
    ),
  );
});

test('all arrays of a series are of one length', () => {
  const lines = [
    { gateway: 'g', tag: 't', unit: null, timeMs: 1, value: 2 },
    { gateway: 'g', tag: 't', unit: null, timeMs: 2, value: null },
  ];
  expect(asSeries(['gateway', 'tag', 'unit', 'time', 'timeMs', 'value'], lines)).toEqual([
    { gateway: 'g', tag: 't', unit: null, columns: { timeMs: [1, 2], value: [2, null] } },
  ]);
});

/** RFC 4180, section 2. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  for (let at = 0; at < text.length; ) {
    const [whole = '', quoted, plain, end = ''] =
      /^(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/.exec(text.slice(at)) ?? [];
    if (whole === '') throw new Error(`no CSV from ${at} on`);
    row.push(quoted?.replaceAll('""', '"') ?? plain ?? '');
    at += whole.length;
    if (end === ',') continue;
    rows.push(row);
    row = [];
  }
  return rows;
}
