import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { connectAsync, type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt';
import { hmiSchema } from '../../src/config/hmi.ts';
import { type Hmi, type LiveView, startHmi } from '../../src/hmi/index.ts';
import { SLOW_MS } from '../../src/hmi/listener.ts';
import { ValueDesk } from '../../src/hmi/values.ts';
import { type PlainValue, Quality, type ValueType } from '../../src/reading.ts';
import { type Clock, ManualClock, systemClock } from '../../src/runtime/clock.ts';
import { markedBy } from './marks.ts';

const T = Date.UTC(2026, 0, 31, 10, 0, 0, 123);

class Table implements LiveView {
  readonly tags: { name: string; type: ValueType; unit?: string }[] = [];
  readonly values: { value: PlainValue; timeMs: number; quality: number }[] = [];
  reads = 0;
  tag = (index: number) => this.tags[index];
  readonly indexes = new Map<string, number>();
  indexOf = (name: string) => this.indexes.get(name);
  size = () => this.tags.length;
  mark = markedBy((index) => this.values[index]);
  isLive = (index: number) => this.values[index]?.quality === Quality.good;
  read(index: number) {
    this.reads++;
    return this.values[index];
  }
  set(name: string, value: PlainValue, quality: number = Quality.good, unit?: string): number {
    let index = this.indexOf(name);
    if (index === undefined) {
      index = this.tags.push({ name, type: 'float64', ...(unit === undefined ? {} : { unit }) }) - 1;
      this.indexes.set(name, index);
    }
    this.values[index] = { value, timeMs: T, quality };
    return index;
  }
}

/** A client and everything it was sent. */
class Panel {
  readonly client: MqttClient;
  readonly heard: { topic: string; payload: unknown; retain: boolean }[] = [];
  #watchers = new Set<() => void>();
  constructor(client: MqttClient) {
    this.client = client;
    client.on('error', () => {});
    client.on('message', (topic, payload, packet: IPublishPacket) => {
      this.heard.push({ topic, payload: JSON.parse(payload.toString()), retain: packet.retain });
      for (const watcher of this.#watchers) watcher();
    });
  }
  async until(holds: () => boolean): Promise<void> {
    if (holds()) return;
    await new Promise<void>((resolve) => {
      const watcher = () => {
        if (!holds()) return;
        this.#watchers.delete(watcher);
        resolve();
      };
      this.#watchers.add(watcher);
    });
  }
  on(topic: string) {
    return this.heard.filter((message) => message.topic === topic);
  }
}

interface User {
  readonly name: string;
  readonly password: string;
}
const OPERATOR = { name: 'operator', password: 'correct horse', write: true };
const VISITOR = { name: 'visitor', password: 'battery staple', read: ['sluice/line3/boiler/#'] };

/** The delay after a wrong password is a second; tests need not wait for it. */
const hastyClock: Clock = { ...systemClock, after: (delayMs, callback) => systemClock.after(delayMs / 50, callback) };

let table: Table;
let hmi: Hmi;
let panels: Panel[];
let sockets: Socket[];
const acknowledged: [string, string][] = [];
/** What asking a device comes to. */
let answered: (index: number) => string = () => 'tells';
beforeEach(() => {
  table = new Table();
  panels = [];
  sockets = [];
  acknowledged.length = 0;
});
afterEach(async () => {
  for (const { client } of panels) client.end(true);
  for (const socket of sockets) socket.destroy();
  await hmi.stop();
});

async function start(more: object = {}, clock: Clock = systemClock): Promise<void> {
  const config = hmiSchema.parse({
    mqtt: { listen: '127.0.0.1:0', users: [OPERATOR, VISITOR], minInterval: '10ms', ...more },
  });
  hmi = await startHmi(config, table, {
    gateway: 'line3',
    clock,
    values: new ValueDesk(table, async (index) => answered(index)),
    history: async (question) => ({ question }),
    acknowledge: (id, by) => {
      if (id !== 'boiler/flow_temp/hi') return false;
      acknowledged.push([id, by]);
      return true;
    },
  });
}

async function panel(options: IClientOptions = {}, user: User | 'nobody' = OPERATOR): Promise<Panel> {
  const client = await connectAsync(`mqtt://127.0.0.1:${hmi.port}`, {
    reconnectPeriod: 0,
    ...(user === 'nobody' ? {} : { username: user.name, password: user.password }),
    ...options,
  });
  const made = new Panel(client);
  panels.push(made);
  return made;
}

async function raw(): Promise<Socket> {
  const socket = connect(hmi.port ?? 0, '127.0.0.1');
  socket.on('error', () => {});
  sockets.push(socket);
  await once(socket, 'connect');
  return socket;
}

function connectPacket(clientId: string, user: User): Buffer {
  const fields = [clientId, user.name, user.password].map((text) =>
    Buffer.concat([Buffer.from([0, text.length]), Buffer.from(text)]),
  );
  const body = Buffer.concat([Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 0xc2, 0, 0]), ...fields]);
  return Buffer.concat([Buffer.from([0x10, body.length]), body]);
}

/** Not `once`, which takes the reset of a connection for a failure. */
function closeOf(emitter: { once(event: 'close', listener: () => void): unknown }): Promise<void> {
  return new Promise((resolve) => emitter.once('close', () => resolve()));
}

/** The code a refused CONNECT gets. */
async function refusalOf(options: IClientOptions, user: User | 'nobody'): Promise<number | undefined> {
  return panel(options, user).then(
    () => undefined,
    (error: { code?: number }) => error.code,
  );
}

describe('hmi topics', () => {
  test('gives a late subscriber every current value with the retain flag, and later changes without', async () => {
    await start();
    const flow = table.set('boiler/flow_temp', 21.5, Quality.good, '°C');
    table.set('boiler/energy', 2n ** 63n);
    table.set('boiler/name', 'Kessel "7"');
    table.set('boiler/on', true);
    table.set('boiler/broken', null, Quality.commError);
    const viewer = await panel();
    await viewer.client.subscribeAsync('sluice/line3/boiler/#', { qos: 1 });
    await viewer.until(() => viewer.heard.length === 5);
    expect(viewer.heard.every((message) => message.retain)).toBe(true);
    const t = '2026-01-31T10:00:00.123Z';
    expect(viewer.on('sluice/line3/boiler/flow_temp')[0]?.payload).toEqual({ v: 21.5, t, q: 'good', u: '°C' });
    expect(viewer.on('sluice/line3/boiler/energy')[0]?.payload).toEqual({ v: '9223372036854775808', t, q: 'good' });
    expect(viewer.on('sluice/line3/boiler/name')[0]?.payload).toEqual({ v: 'Kessel "7"', t, q: 'good' });
    expect(viewer.on('sluice/line3/boiler/on')[0]?.payload).toEqual({ v: true, t, q: 'good' });
    expect(viewer.on('sluice/line3/boiler/broken')[0]?.payload).toEqual({ v: null, t, q: 'bad', r: 'comm_error' });

    table.set('boiler/flow_temp', 22);
    hmi.changed([flow]);
    await viewer.until(() => viewer.on('sluice/line3/boiler/flow_temp').length === 2);
    expect(viewer.heard.at(-1)).toMatchObject({ payload: { v: 22 }, retain: false });
  });

  test('says that a value went stale', async () => {
    await start();
    const flow = table.set('boiler/flow_temp', 21.5);
    const viewer = await panel();
    await viewer.client.subscribeAsync('sluice/+/+/flow_temp');
    await viewer.until(() => viewer.heard.length === 1);
    table.set('boiler/flow_temp', 21.5, Quality.stale);
    hmi.changed([flow]);
    await viewer.until(() => viewer.heard.length === 2);
    expect(viewer.heard[1]?.payload).toMatchObject({ v: 21.5, q: 'uncertain', r: 'stale' });
  });

  test('sends a tag at most once an interval, the latest value last, and reads nothing that nobody wants', async () => {
    const clock = new ManualClock();
    await start({ minInterval: '1s' }, clock);
    const [flow, other] = [table.set('boiler/flow_temp', 0), table.set('boiler/other', 0)];
    hmi.changed([flow, other]);
    expect(table.reads).toBe(0);
    const viewer = await panel();
    await viewer.client.subscribeAsync('sluice/line3/boiler/flow_temp');
    await viewer.until(() => viewer.heard.length === 1);
    for (let value = 1; value <= 100; value++) {
      table.set('boiler/flow_temp', value);
      hmi.changed([flow, other]);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(viewer.heard).toHaveLength(1);
    clock.advance(1000);
    await viewer.until(() => viewer.heard.length === 2);
    expect(viewer.heard[1]?.payload).toMatchObject({ v: 100 });
    expect(table.reads).toBe(2);
  });

  test('tells a tag that appears after the subscription', async () => {
    await start();
    const viewer = await panel();
    await viewer.client.subscribeAsync('sluice/line3/#');
    await viewer.until(() => viewer.heard.length === 1);
    hmi.changed([table.set('new/tag', 1)]);
    await viewer.until(() => viewer.on('sluice/line3/new/tag').length === 1);
  });

  test('keeps states, alarms and the configured windows for who comes later', async () => {
    await start({ windows: ['1m'] });
    hmi.source('boiler', { state: 'down' });
    hmi.alarm('boiler/flow_temp/hi', { state: 'raised' });
    hmi.window('boiler/flow_temp', '1m', { count: 60, sum: 2n ** 60n });
    hmi.window('boiler/flow_temp', '1h', { count: 3600 });
    hmi.source('boiler', { state: 'up' });
    const viewer = await panel();
    await viewer.client.subscribeAsync('sluice/line3/#');
    await viewer.until(() => viewer.heard.length === 4);
    expect(viewer.heard.map(({ topic, payload, retain }) => [topic, payload, retain])).toEqual([
      ['sluice/line3/$state', expect.objectContaining({ state: 'online' }), true],
      ['sluice/line3/$sources/boiler', { state: 'up' }, true],
      ['sluice/line3/$alarms/boiler/flow_temp/hi', { state: 'raised' }, true],
      ['sluice/line3/boiler/flow_temp/1m', { count: 60, sum: '1152921504606846976' }, true],
    ]);
    hmi.alarm('boiler/flow_temp/hi', { state: 'cleared' });
    await viewer.until(() => viewer.heard.length === 5);
    expect(viewer.heard[4]).toMatchObject({ payload: { state: 'cleared' }, retain: false });
  });

  test('says offline when the gateway stops', async () => {
    await start();
    const viewer = await panel();
    await viewer.client.subscribeAsync('sluice/line3/$state');
    await viewer.until(() => viewer.heard.length === 1);
    await Promise.all([hmi.stop(), viewer.until(() => viewer.heard.length === 2)]);
    expect(viewer.heard.map((message) => message.payload)).toMatchObject([{ state: 'online' }, { state: 'offline' }]);
  });

  test('starts nothing without a broker in the configuration', async () => {
    const desks = { values: new ValueDesk(table, async () => 'tells'), history: async () => ({}) };
    hmi = await startHmi(hmiSchema.parse({}), table, {
      gateway: 'g',
      clock: systemClock,
      acknowledge: () => false,
      ...desks,
    });
    hmi.changed([1]);
    expect(hmi.port).toBeUndefined();
  });
});

describe('hmi access', () => {
  test('lets nobody in without a user, or with a wrong password', async () => {
    await start({}, hastyClock);
    expect(await refusalOf({}, 'nobody')).toBe(5);
    expect(await refusalOf({}, { name: 'operator', password: 'wrong' })).toBe(4);
    expect(await refusalOf({}, { name: 'nobody', password: 'battery staple' })).toBe(4);
    expect(hmi.stats().refused).toBe(3);
  });

  test('lets anonymous clients read where the configuration says so, and no more', async () => {
    await start({ anonymous: 'read' });
    table.set('boiler/flow_temp', 1);
    const viewer = await panel({}, 'nobody');
    await viewer.client.subscribeAsync('#');
    await viewer.until(() => viewer.on('sluice/line3/boiler/flow_temp').length === 1);
    const ended = closeOf(viewer.client);
    viewer.client.publish('sluice/line3/$cmd/ack', '{"alarm":"boiler/flow_temp/hi"}');
    await ended;
    expect(acknowledged).toEqual([]);
  });

  test('refuses a subscription beyond what the user may read', async () => {
    await start();
    table.set('boiler/flow_temp', 1);
    table.set('press/force', 2);
    const visitor = await panel({}, VISITOR);
    for (const filter of ['#', 'sluice/+/boiler/#', 'sluice/line3/press/force', 'sluice/line3/+/flow_temp', '$SYS/#']) {
      await expect(visitor.client.subscribeAsync(filter)).rejects.toThrow();
    }
    await visitor.client.subscribeAsync(['sluice/line3/boiler/#', 'sluice/line3/boiler/flow_temp']);
    await visitor.until(() => visitor.heard.length === 1);
    hmi.changed([0, 1]);
    await visitor.until(() => visitor.heard.length === 2);
    expect(new Set(visitor.heard.map((message) => message.topic))).toEqual(new Set(['sluice/line3/boiler/flow_temp']));
  });

  test('drops a client that publishes where it may not, values and retained ones included', async () => {
    await start();
    const watcher = await panel();
    await watcher.client.subscribeAsync('#');
    for (const topic of ['sluice/line3/boiler/flow_temp', '$SYS/x', 'sluice/other/$cmd/ack']) {
      const operator = await panel();
      const ended = closeOf(operator.client);
      operator.client.publish(topic, '1', { retain: true });
      await ended;
    }
    const late = await panel();
    await late.client.subscribeAsync('#');
    await late.until(() => late.heard.length === 1);
    expect([...watcher.heard, ...late.heard].map((message) => message.topic)).toEqual(
      Array(2).fill('sluice/line3/$state'),
    );
  });

  test('refuses a Will, on whatever topic', async () => {
    await start({}, hastyClock);
    for (const topic of ['sluice/line3/boiler/flow_temp', 'sluice/line3/$cmd/ack']) {
      expect(await refusalOf({ will: { topic, payload: Buffer.from('{}'), qos: 0, retain: true } }, OPERATOR)).toBe(5);
    }
  });

  test('does not let one user push another off by its client id', async () => {
    await start({}, hastyClock);
    await panel({ clientId: 'wall panel' });
    expect(await refusalOf({ clientId: 'wall panel' }, VISITOR)).toBe(2);
    const again = await panel({ clientId: 'wall panel' });
    expect(again.client.connected).toBe(true);
  });

  test('refuses connections over its limit and drops one that never signs in', async () => {
    await start({ connectionsMax: 2, connectTimeout: '100ms' });
    const [first, second] = [await raw(), await raw()];
    const third = await raw();
    await closeOf(third.resume());
    await Promise.all([closeOf(first.resume()), closeOf(second.resume())]);
    await panel();
    expect(hmi.stats()).toMatchObject({ clients: 1, refused: 1 });
  });
});

describe('hmi commands', () => {
  test('acknowledges an alarm for a user with the right to write, and answers that client alone', async () => {
    await start();
    const [operator, other] = [await panel({ clientId: 'op' }), await panel()];
    await operator.client.subscribeAsync('sluice/line3/$reply/op');
    await other.client.subscribeAsync(['sluice/line3/$reply/#', 'sluice/line3/$cmd/#']);
    const ask = (command: string, payload: string, qos: 0 | 1 | 2 = 1) =>
      operator.client.publishAsync(`sluice/line3/$cmd/${command}`, payload, { qos });
    await ask('ack', '{"alarm":"boiler/flow_temp/hi","request":7}', 2);
    await ask('ack', '{"alarm":"no/such"}');
    await ask('reboot', '{}');
    await ask('ack', 'nonsense');
    await operator.until(() => operator.heard.length === 4);
    expect(operator.heard.map((message) => message.payload)).toEqual([
      { ok: true, command: 'ack', request: 7 },
      { ok: false, command: 'ack', error: 'no such alarm, or it is acknowledged already' },
      { ok: false, command: 'reboot', error: 'no such command' },
      { ok: false, command: 'ack', error: 'expected a JSON object' },
    ]);
    expect(acknowledged).toEqual([['boiler/flow_temp/hi', 'operator']]);
    expect(other.heard).toEqual([]);
  });
});

describe('hmi limits', () => {
  test.each([
    ['before signing in', Buffer.alloc(0)],
    ['in pieces of one byte', undefined],
  ])('refuses a giant packet %s by its stated length, memory flat', async (_, start_) => {
    await start();
    const socket = await raw();
    const closed = closeOf(socket);
    // CONNECT, Remaining Length 268,435,455: the largest there is.
    const header = Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]);
    if (start_ === undefined) for (const byte of header) socket.write(Buffer.from([byte]));
    else socket.write(header);
    const before = process.memoryUsage().rss;
    const filler = Buffer.alloc(1_000_000);
    for (let sent = 0; sent < 50 && !socket.destroyed; sent++) {
      if (!socket.write(filler)) await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), closed]);
    }
    await closed;
    expect(process.memoryUsage().rss - before).toBeLessThan(30e6);
    expect(hmi.stats().oversize).toBe(1);
  });

  test('refuses a giant packet after signing in, and lets the others live', async () => {
    await start();
    const [bad, good] = [await panel(), await panel()];
    const ended = closeOf(bad.client);
    bad.client.publish('sluice/line3/$cmd/ack', 'x'.repeat(100_000));
    await ended;
    await good.client.subscribeAsync('sluice/line3/$state');
    await good.until(() => good.heard.length === 1);
  });

  test('keeps nothing for a client that does not read, drops it in time, and never lets another wait', async () => {
    const clock = new ManualClock();
    await start({ minInterval: '1s' }, clock);
    const indexes = Array.from({ length: 30_000 }, (_, at) => table.set(`load/tag_${at}`, 'x'.repeat(200)));
    const stuck = await raw();
    stuck.write(connectPacket('stuck', OPERATOR));
    stuck.write(Buffer.from([0x82, 6, 0, 1, 0, 1, 0x23, 0]));
    await Promise.race([new Promise((resolve) => stuck.once('readable', resolve)), closeOf(stuck)]);
    const good = await panel();
    await good.client.subscribeAsync('sluice/line3/load/tag_29999');
    for (let round = 0; round < 20; round++) {
      table.set('load/tag_29999', round);
      hmi.changed(indexes);
      const heard = good.heard.length;
      // The interval is being timed once the last turn is over; only then does moving the clock end it.
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
      clock.advance(1000);
      await good.until(() => good.heard.length > heard);
      expect(good.heard.at(-1)?.payload).toMatchObject({ v: round });
    }
    // 30,000 values of 300 bytes, twenty times, would have been 180 MB.
    expect(hmi.stats().messages).toBeLessThan(60_000);
    expect(hmi.stats().clients).toBe(2);
    clock.advance(SLOW_MS);
    await good.client.publishAsync('sluice/line3/$cmd/none', '', { qos: 1 });
    expect(hmi.stats()).toMatchObject({ clients: 1, slow: 1 });
  });

  test('brings 20,000 current values to a healthy client, each once', async () => {
    await start();
    const indexes = Array.from({ length: 20_000 }, (_, at) => table.set(`load/tag_${at}`, at));
    const viewer = await panel();
    await viewer.client.subscribeAsync('sluice/line3/load/#');
    hmi.changed(indexes.slice(15_000));
    await viewer.until(() => viewer.heard.length >= 20_000);
    const first = viewer.heard.slice(0, 20_000);
    expect(new Set(first.map((message) => message.topic)).size).toBe(20_000);
    expect(first.every((message) => message.retain)).toBe(true);
  });
});

describe('hmi questions', () => {
  async function ask(viewer: Panel, id: string, command: string, payload: object): Promise<Record<string, unknown>> {
    await viewer.client.subscribeAsync(`sluice/line3/$reply/${id}`);
    const before = viewer.heard.length;
    viewer.client.publish(`sluice/line3/$cmd/${command}`, JSON.stringify(payload));
    await viewer.until(() => viewer.heard.length > before);
    return viewer.heard.at(-1)?.payload as Record<string, unknown>;
  }

  test('answers with values, each as its topic has it, and says why one past its time was not read anew', async () => {
    const live = table.set('boiler/flow_temp', 21.5, Quality.good, '°C');
    const stale = table.set('boiler/level', 3, Quality.stale);
    table.set('boiler/told', 4, Quality.stale);
    const asked: number[] = [];
    answered = (index) => {
      asked.push(index);
      if (index !== stale) return 'tells';
      table.set('boiler/level', 7);
      return 'read';
    };
    await start();
    const viewer = await panel({ clientId: 'p1' });
    const tags = ['boiler/flow_temp', 'boiler/level', 'boiler/told', 'boiler/nothing'];
    expect(await ask(viewer, 'p1', 'read', { tags, request: 8 })).toEqual({
      ok: true,
      command: 'read',
      request: 8,
      values: [
        { tag: 'boiler/flow_temp', v: 21.5, t: '2026-01-31T10:00:00.123Z', q: 'good', u: '°C' },
        { tag: 'boiler/level', v: 7, t: '2026-01-31T10:00:00.123Z', q: 'good' },
        {
          ...{ tag: 'boiler/told', v: 4, t: '2026-01-31T10:00:00.123Z', q: 'uncertain', r: 'stale' },
          note: 'its source tells by itself and cannot be asked',
        },
        { tag: 'boiler/nothing', error: 'no such tag' },
      ],
    });
    expect(asked).not.toContain(live);
    expect(await ask(viewer, 'p1', 'read', { tag: 'x' })).toEqual({ ok: false, command: 'read', error: 'no such tag' });
    for (const wrong of [{}, { tags: [] }, { tags: [1] }, { tags: Array.from({ length: 101 }, () => 'x') }])
      expect(await ask(viewer, 'p1', 'read', wrong)).toMatchObject({
        ok: false,
        error: expect.stringMatching(/expected/),
      });
  });

  test('lets those who may only read ask, for what they may read, and nothing else', async () => {
    table.set('boiler/flow_temp', 1);
    table.set('secret/flow_temp', 2);
    await start();
    const viewer = await panel({ clientId: 'p2' }, VISITOR);
    const { values } = await ask(viewer, 'p2', 'read', { tags: ['boiler/flow_temp', 'secret/flow_temp'] });
    expect(values).toMatchObject([{ v: 1 }, { tag: 'secret/flow_temp', error: 'no such tag' }]);
    expect(await ask(viewer, 'p2', 'history', { tag: 'secret/flow_temp' })).toMatchObject({ error: 'no such tag' });
    const span = { tag: 'boiler/flow_temp', from: '2026-01-31T10:00:00Z', to: 1_800_000_000_000, points: 10 };
    expect(await ask(viewer, 'p2', 'history', span)).toMatchObject({
      ok: true,
      question: { tag: 'boiler/flow_temp', from: Date.UTC(2026, 0, 31, 10), to: 1_800_000_000_000, points: 10 },
    });
    for (const wrong of [{ points: 1e9 }, { from: 'yesterday' }, { from: 2, to: 1 }, { tag: 3 }])
      expect(await ask(viewer, 'p2', 'history', { ...span, ...wrong })).toMatchObject({ ok: false });
    const closed = new Promise<void>((resolve) => viewer.client.once('close', () => resolve()));
    viewer.client.publish('sluice/line3/$cmd/ack', '{"alarm":"boiler/flow_temp/hi"}');
    await closed;
    expect(acknowledged).toEqual([]);
  });

  test('a float32 is the shortest number that reads back as it', async () => {
    table.set('boiler/flow_temp', Math.fround(21.3));
    (table.tags[0] as { type: ValueType }).type = 'float32';
    await start();
    const viewer = await panel({ clientId: 'p3' });
    expect(await ask(viewer, 'p3', 'read', { tag: 'boiler/flow_temp' })).toMatchObject({ values: [{ v: 21.3 }] });
    await viewer.client.subscribeAsync('sluice/line3/boiler/flow_temp');
    await viewer.until(() => viewer.on('sluice/line3/boiler/flow_temp').length > 0);
    expect(viewer.on('sluice/line3/boiler/flow_temp')[0]?.payload).toMatchObject({ v: 21.3 });
  });
});
