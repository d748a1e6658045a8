// A whole gateway with a real Modbus slave, and panels that ask: one read for all, history, something to show after a start.
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { connectAsync, type MqttClient } from 'mqtt';
import { postForget } from '../../src/cache/forget/spool.ts';
import { startPlantBroker } from '../../src/plant/broker.ts';
import { exception, honest, reply, ScriptedSlave } from '../drivers/modbus/slave.ts';
import { freePort } from '../peers/modbus-ports.ts';
import { Site } from './in-process.ts';

interface Message {
  readonly topic: string;
  /** Of an empty one as well; `isEmpty` tells. */
  readonly payload: Record<string, unknown>;
  readonly isEmpty: boolean;
  readonly retain: boolean;
}

let site: Site;
let slave: ScriptedSlave;
let clients: MqttClient[];
let hmiPort: number;
beforeEach(async () => {
  site = new Site();
  slave = await ScriptedSlave.start();
  clients = [];
  hmiPort = await freePort();
});
afterEach(async () => {
  for (const client of clients) client.end(true);
  await site.stop();
  await slave.stop();
});

const settings = (timeout = '200ms') => ({
  hmi: { mqtt: { listen: `127.0.0.1:${hmiPort}`, anonymous: 'read', windows: ['1s'] } },
  sources: {
    plc: {
      driver: 'modbus',
      transport: slave.transport,
      timeout,
      retries: 0,
      units: [
        { unit: 1, every: '100ms', tags: [{ name: 'fast', register: 'holding:7' }] },
        { unit: 1, every: '1h', tags: [{ name: 'slow', register: 'holding:100', unit: 'bar' }] },
        { unit: 2, every: '1s', tags: [{ name: 'dead', register: 'holding:200' }] },
      ],
    },
  },
});

/** A panel that hears all of a filter. */
async function panel(
  filter: string,
  id: string,
): Promise<{ client: MqttClient; heard: Message[]; until(holds: () => boolean): Promise<void> }> {
  const client = await connectAsync(`mqtt://127.0.0.1:${hmiPort}`, { clientId: id, reconnectPeriod: 0 });
  clients.push(client);
  const heard: Message[] = [];
  let look = () => {};
  client.on('message', (topic, payload, { retain }) => {
    const text = payload.toString();
    heard.push({ topic, payload: text === '' ? {} : JSON.parse(text), isEmpty: text === '', retain });
    look();
  });
  const until = (holds: () => boolean) =>
    new Promise<void>((resolve) => {
      look = () => {
        if (holds()) resolve();
      };
      look();
    });
  await client.subscribeAsync(filter);
  return { client, heard, until };
}

test('a hundred who ask for one value that is past its time cost its device one request', async () => {
  // The first answer of the slow register gets lost, of the dead unit all of them.
  let isQuiet = true;
  slave.script = (asked) => {
    if (asked.unit === 2 || (isQuiet && asked.address === 100)) return undefined;
    return asked.address === 100 ? setTimeout(() => asked.socket.write(reply(asked)), 30) && undefined : reply(asked);
  };
  await site.start(settings());
  await site.until(
    'unit 2 is given up',
    ({ sources }) => sources[0]?.units.some(({ state }) => state === 'down') === true,
  );
  isQuiet = false;
  const requests = (address: number) => slave.asked.filter((asked) => asked.address === address).length;
  const [before, deadBefore] = [requests(100), requests(200)];
  const { client, heard, until } = await panel('sluice/box/$reply/p1', 'p1');
  for (let i = 0; i < 80; i++) client.publish('sluice/box/$cmd/read', JSON.stringify({ tag: 'plc/slow', request: i }));
  const overHttp = await Promise.all(Array.from({ length: 20 }, () => site.ask('/values?tag=plc/slow')));
  await until(() => heard.length === 80);
  const answer = { tag: 'plc/slow', v: 100, q: 'good', u: 'bar' };
  for (const { payload } of heard) expect(payload).toMatchObject({ ok: true, values: [answer] });
  for (const { code, text } of overHttp) expect([code, JSON.parse(text)]).toMatchObject([200, { values: [answer] }]);
  expect(requests(100) - before).toBe(1);
  // It was journaled and counted as any other.
  await site.until('it is counted', ({ sources }) => sources[0]?.asked === 1);
  // Of a unit that is given up nothing is asked.
  const dead = JSON.parse((await site.ask('/values?tag=plc/dead&tag=plc/none')).text);
  expect(dead.values).toMatchObject([
    { tag: 'plc/dead', v: null, q: 'bad', r: 'comm_error', note: 'its source or unit does not answer' },
    { tag: 'plc/none', error: 'no such tag' },
  ]);
  expect(requests(200) - deadBefore).toBeLessThanOrEqual(1);
  expect((await site.ask('/values?tag=plc/none')).code).toBe(404);
  // All at once, as they are known.
  const all = await site.ask('/values');
  const slow = JSON.parse((await site.ask('/values?tag=plc/slow')).text).values[0];
  expect(JSON.parse(all.text).values).toContainEqual(slow);
  expect(JSON.parse(all.text).values.map(({ tag }: { tag: string }) => tag)).toContain('plc/dead');
  expect((await site.ask(`/values?${'tag=plc/slow&'.repeat(101)}`)).code).toBe(400);
});

test('a panel has values, windows and history at once after a start, though its device says nothing, marked as old', async () => {
  slave.script = (asked) => (asked.address === 200 ? exception(asked, 2) : honest(asked));
  await site.start(settings('4s'));
  const first = await panel('sluice/box/plc/fast/1s', 'p1');
  await first.until(() => first.heard.length >= 3);
  await site.end();
  // Takes the connection, and says nothing.
  slave.script = () => undefined;
  const startedMs = Date.now();
  await site.start(settings('4s'));
  const { heard, until, client } = await panel('#', 'p2');
  const of = (topic: string) => heard.filter((message) => message.topic === `sluice/box/${topic}`)[0]?.payload;
  await until(() => ['plc/fast', 'plc/slow', 'plc/fast/1s'].every((topic) => of(topic) !== undefined));
  expect(of('plc/fast')).toMatchObject({ v: 7, q: 'uncertain', r: 'stale' });
  expect(of('plc/slow')).toMatchObject({ v: 100, q: 'uncertain', r: 'stale', u: 'bar' });
  const sources = heard.filter(({ topic }) => topic === 'sluice/box/$sources/plc');
  for (const { payload } of sources)
    expect((payload.units as { state: string }[]).map(({ state }) => state)).toEqual(['unknown', 'unknown']);
  expect(of('plc/fast/1s')).toMatchObject({ q: 'uncertain', r: 'stale', min: 7, max: 7 });
  expect(Date.parse(String(of('plc/fast/1s')?.from))).toBeLessThan(startedMs);

  await client.subscribeAsync('sluice/box/$reply/p2');
  client.publish('sluice/box/$cmd/history', JSON.stringify({ tag: 'plc/fast', points: 500 }));
  await until(() => of('$reply/p2') !== undefined);
  const values = of('$reply/p2')?.values as { v: number; q: string }[];
  expect(values.length).toBeGreaterThan(20);
  expect(values.filter(({ q }) => q === 'good').every(({ v }) => v === 7)).toBe(true);
  const few = JSON.parse((await site.ask('/history?tag=plc/fast&points=10&from=0')).text);
  expect(few.windows.length).toBeGreaterThan(0);
  expect(few.windows.length).toBeLessThanOrEqual(10);
  expect((await site.ask('/history?tag=plc/fast&points=100000')).code).toBe(400);
}, 60_000);

test('a tag that tells is shown as it was before the start until it speaks again', async () => {
  const broker = await startPlantBroker();
  try {
    const url = `mqtt://127.0.0.1:${broker.port}`;
    const topics = [{ filter: 'hall/+', tag: '{topic}', payload: 'number' }];
    const telling = { ...settings(), sources: { hall: { driver: 'mqtt', url, topics } } };
    await site.start(telling);
    const sensor = await connectAsync(url);
    clients.push(sensor);
    const first = await panel('sluice/box/hall/#', 'p1');
    await site.until('it listens', ({ sources }) => sources[0]?.state === 'up');
    await sensor.publishAsync('hall/temp', '21.25', { qos: 1 });
    await first.until(() => first.heard.length > 0);
    await site.end();
    await site.start(telling);
    const second = await panel('sluice/box/hall/#', 'p2');
    await second.until(() => second.heard.length > 0);
    expect(second.heard[0]).toMatchObject({
      topic: 'sluice/box/hall/hall/temp',
      payload: { v: 21.25, q: 'uncertain', r: 'stale' },
      retain: true,
    });
    const asked = JSON.parse((await site.ask('/values?tag=hall/hall/temp')).text);
    expect(asked.values).toMatchObject([
      { v: 21.25, r: 'stale', note: 'its source tells by itself and cannot be asked' },
    ]);
    // Another restart in which it says nothing takes nothing away.
    await site.end();
    await site.start(telling);
    const again = JSON.parse((await site.ask('/values?tag=hall/hall/temp')).text);
    expect(again.values).toMatchObject([{ v: 21.25, r: 'stale' }]);
    await site.end();
    await site.start(telling);
    const { heard, until } = await panel('sluice/box/hall/#', 'p4');
    await until(() => heard.length > 0);
    expect(heard[0]).toMatchObject({ payload: { v: 21.25 }, retain: true });
    await site.until('it listens', ({ sources }) => sources[0]?.state === 'up');
    await sensor.publishAsync('hall/temp', '22.5', { qos: 1 });
    await until(() => heard.some(({ payload }) => payload.v === 22.5 && payload.q === 'good'));
    const late = await panel('sluice/box/hall/#', 'p3');
    await late.until(() => late.heard.length > 0);
    expect(late.heard).toMatchObject([{ payload: { v: 22.5, q: 'good' }, retain: true }]);
  } finally {
    await broker.close();
  }
}, 60_000);

test('a tag that is forgotten is gone from panels that show it, and from those that come, without a restart', async () => {
  // One answer to each: nothing comes of it afterwards.
  const answered = new Set<number>();
  slave.script = (asked) => {
    if (answered.has(asked.address)) return undefined;
    answered.add(asked.address);
    return honest(asked);
  };
  await site.start(settings('4s'));
  const open = await panel('sluice/box/plc/#', 'p1');
  const last = ({ heard }: typeof open, topic: string) =>
    heard.findLast((message) => message.topic === `sluice/box/${topic}`);
  await open.until(() => ['plc/slow', 'plc/fast'].every((topic) => last(open, topic) !== undefined));
  expect(last(open, 'plc/slow')?.payload).toMatchObject({ v: 100 });
  postForget(site.cache, { tag: 'plc/slow', reason: null, by: 'test', atMs: Date.now() });
  await open.until(() => open.heard.some(({ topic, isEmpty }) => isEmpty && topic === 'sluice/box/plc/slow'));
  // Its windows as well, those that were shown.
  const windows = last(open, 'plc/slow/1s');
  expect(windows === undefined || windows.isEmpty).toBe(true);
  expect(last(open, 'plc/fast')?.isEmpty).toBe(false);

  const late = await panel('sluice/box/plc/#', 'p2');
  await late.until(() => last(late, 'plc/fast') !== undefined);
  // That its device gives no answer may have come by now; a value has not.
  expect(last(late, 'plc/slow')?.payload.v ?? null).toBeNull();
  const { values } = JSON.parse((await site.ask('/values?tag=plc/slow')).text);
  expect(values).toMatchObject([{ tag: 'plc/slow', v: null }]);
  const history = JSON.parse((await site.ask('/history?tag=plc/slow')).text);
  for (const { v, min } of [...(history.values ?? []), ...(history.windows ?? [])])
    expect([v ?? null, min ?? null]).toEqual([null, null]);
  // Nor after an end at once, which saves the last values once more.
  await site.end();
  slave.script = () => undefined;
  await site.start(settings('4s'));
  const after = await panel('sluice/box/plc/#', 'p3');
  await after.until(() => last(after, 'plc/fast') !== undefined);
  expect(last(after, 'plc/slow')?.payload.v ?? null).toBeNull();
}, 60_000);
