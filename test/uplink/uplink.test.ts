/** The uplink on real sockets, against a cloud that keeps books and a network that lies. */

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from '@jest/globals';
import { uplinkSchema } from '../../src/config/uplink.ts';
import { SluiceError } from '../../src/errors.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { startUplink, type Uplink } from '../../src/uplink/index.ts';
import { signAnswer } from '../../src/wire/answer.ts';
import { envelopeDigest } from '../../src/wire/envelope.ts';
import { generateCloudKey, generateDeviceKey } from '../../src/wire/keys.ts';
import { FakeCache, rowsOf } from './fake-cache.ts';
import { ScriptedCloud } from './scripted-cloud.ts';

const HTML = '<html><body>Please accept our terms</body></html>';
const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function cloudOf(tls?: { cert: string; key: string }): Promise<ScriptedCloud> {
  const cloud = await new ScriptedCloud(tls).listen();
  stops.push(() => cloud.close());
  return cloud;
}

/** Back-offs are a hundredth of their longest: the waiting is real, but short. */
function start(cloud: Pick<ScriptedCloud, 'url' | 'device' | 'keys'>, config: Record<string, unknown> = {}) {
  const cache = new FakeCache(systemClock);
  const alarms = new Map<string, boolean>();
  const launch = (): Uplink =>
    startUplink(
      uplinkSchema.parse({ url: cloud.url, keys: { device: 'd', cloud: 'c' }, cutInterval: '20ms', ...config }),
      cache,
      {
        clock: systemClock,
        random: () => 0.01,
        logger: {
          info() {},
          warn() {},
          error(facts) {
            throw new Error(JSON.stringify(facts));
          },
        },
        device: cloud.device,
        cloudKeys: cloud.keys,
        onAlarm: (id, active) => alarms.set(id, active),
      },
    );
  return {
    cache,
    alarms,
    launch: () => {
      const uplink = launch();
      stops.push(() => uplink.stop());
      return uplink;
    },
  };
}

async function until(what: () => boolean, timeoutMs = 4000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!what()) {
    if (performance.now() > endMs) throw new Error(`never came true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe('answers', () => {
  test('an answer lost on its way: the same bytes come again and count once', async () => {
    const cloud = await cloudOf();
    const { cache, launch } = start(cloud);
    cache.commit(50);
    let lost = 3;
    cloud.script = ({ yes, answer, socket }) => {
      const body = yes();
      if (lost-- > 0) socket.destroy();
      else answer(200, body);
    };
    const uplink = launch();
    await until(() => cache.count('delivered') === 50);
    expect(new Set(cloud.bodies.map((body) => body.toString('hex'))).size).toBe(1);
    expect(cloud.held.size).toBe(50);
    expect(cache.acks).toHaveLength(1);
    expect(uplink.state()).toMatchObject({ delivered: 50, duplicates: 50, batches: 1 });
  });

  test('old, foreign, forged and garbled answers change nothing and are counted', async () => {
    const cloud = await cloudOf();
    const { cache, launch } = start(cloud);
    const stranger = generateCloudKey().answer;
    const otherDevice = generateDeviceKey().device;
    cache.commit(10);
    const uplink = launch();
    await until(() => cache.count('delivered') === 10);
    const first = cloud.bodies[0] ?? Buffer.alloc(0);
    const facts = { code: 0, rows: 10, duplicates: 0, incarnation: cloud.incarnation };
    const digestOf = envelopeDigest;
    const lies: ((body: Buffer) => Uint8Array)[] = [
      () => signAnswer(facts, cloud.device.device, digestOf(first), cloud.key.answer),
      (body) => signAnswer(facts, otherDevice, digestOf(body), cloud.key.answer),
      (body) => {
        const forged = signAnswer(facts, cloud.device.device, digestOf(body), cloud.key.answer);
        forged[5] = (forged[5] ?? 0) ^ 1;
        return forged;
      },
      (body) => signAnswer(facts, cloud.device.device, digestOf(body), { ...stranger, kid: cloud.key.answer.kid }),
      () => Buffer.from('ok'),
      (body) => signAnswer({ ...facts, rows: 9 }, cloud.device.device, digestOf(body), cloud.key.answer),
    ];
    let lie = 0;
    cloud.script = ({ body, yes, answer }) => {
      const next = lies[lie++];
      answer(200, next === undefined ? yes() : next(body));
    };
    cache.commit(10);
    await until(() => lie > 1);
    expect(cache.acks).toHaveLength(1);
    await until(() => cache.count('delivered') === 20);
    expect(lie).toBe(lies.length + 1);
    expect(cache.acks).toHaveLength(2);
    expect(uplink.state().ignored).toEqual({ foreign: 2, unsigned: 2, malformed: 1, unknownKey: 0 });
  });

  test('one signed by a key that is not in the list holds, and says so', async () => {
    const cloud = await cloudOf();
    const { cache, alarms, launch } = start(cloud);
    const stranger = generateCloudKey().answer;
    cache.commit(10);
    cloud.script = ({ body, answer, rows }) =>
      answer(
        200,
        signAnswer(
          { code: 0, rows: rows.length, duplicates: 0, incarnation: cloud.incarnation },
          cloud.device.device,
          envelopeDigest(body),
          stranger,
        ),
      );
    const uplink = launch();
    await until(() => uplink.state().holds.length > 0);
    expect(uplink.state()).toMatchObject({ breaker: 'held', holds: [{ reason: 'answer_key_unknown' }] });
    expect(alarms.get('uplink/held')).toBe(true);
    expect(cache.count('delivered')).toBe(0);
  });

  test('an answer doubled on the wire is taken once', async () => {
    const cloud = await cloudOf();
    const { cache, launch } = start(cloud);
    cloud.script = ({ yes, socket }) => {
      const body = yes();
      const head = `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n`;
      const whole = Buffer.concat([Buffer.from(head), body]);
      socket.write(Buffer.concat([whole, whole]));
    };
    cache.commit(10);
    const uplink = launch();
    await until(() => cache.count('delivered') === 10);
    cache.commit(10);
    await until(() => cache.count('delivered') === 20);
    expect(cache.acks).toHaveLength(2);
    expect(uplink.state().delivered).toBe(20);
  });

  test('a captive portal costs time, not data', async () => {
    const cloud = await cloudOf();
    const { cache, alarms, launch } = start(cloud);
    cache.commit(10);
    let portal = true;
    cloud.script = ({ yes, answer }) => answer(200, portal ? HTML : yes(), { 'content-type': 'text/html' });
    const uplink = launch();
    await until(() => uplink.state().breaker === 'open');
    expect(uplink.state().lanes.live.lastError).toContain('captive portal');
    expect(alarms.get('uplink/unreachable')).toBe(true);
    expect(cache.acks).toEqual([]);
    portal = false;
    await until(() => cache.count('delivered') === 10);
    expect(alarms.get('uplink/unreachable')).toBe(false);
    expect(uplink.state().ignored.malformed).toBeGreaterThanOrEqual(3);
  });

  test('megabytes instead of an answer are cut off', async () => {
    const cloud = await cloudOf();
    const { cache, launch } = start(cloud);
    cache.commit(10);
    let flood = true;
    let sent = 0;
    cloud.script = async ({ yes, answer, response }) => {
      if (!flood) return answer(200, yes());
      flood = false;
      response.writeHead(200);
      const flow = function* () {
        for (; sent < 65_536_000; sent += 65_536) yield Buffer.alloc(65_536);
      };
      await pipeline(Readable.from(flow()), response).catch(() => {});
    };
    launch();
    await until(() => cache.count('delivered') === 10);
    expect(sent).toBeLessThan(20_000_000);
  });
});

describe('refusals', () => {
  test('413 down to one row: the rest passes, that row is written off under a signed answer', async () => {
    const cloud = await cloudOf();
    const { cache, alarms, launch } = start(cloud);
    cache.commit(40);
    cloud.script = ({ rows, signed, yes, answer }) =>
      rows.includes(17) ? answer(413, signed('too_large')) : answer(200, yes());
    const uplink = launch();
    await until(() => cache.count('delivered') === 39);
    await until(() => cache.refusals.length > 0);
    expect(cache.refusals).toEqual([{ rows: [17], reason: 'too_large' }]);
    expect(uplink.state().refusedRows).toBe(1);
    expect(alarms.get('uplink/written-off')).toBe(true);
  });

  test("a proxy's 413 and 400 destroy nothing", async () => {
    const cloud = await cloudOf();
    const { cache, alarms, launch } = start(cloud);
    cache.commit(8);
    cloud.script = ({ rows, yes, answer }) => (rows.includes(3) ? answer(413, HTML) : answer(200, yes()));
    const uplink = launch();
    await until(() => cache.count('delivered') === 7 && uplink.state().lanes.live.parked === 1);
    expect(cache.refusals).toEqual([]);
    expect(alarms.get('uplink/parked')).toBe(true);
    expect(uplink.state().holds).toMatchObject([{ reason: 'too_large' }]);
  });

  test('a poisoned reading is found by halving while the rest flows', async () => {
    const cloud = await cloudOf();
    const { cache, launch } = start(cloud);
    cache.commit(500);
    cloud.script = ({ rows, signed, yes, answer }) =>
      rows.includes(321) ? answer(400, signed('payload_malformed')) : answer(200, yes());
    const uplink = launch();
    const feed = setInterval(() => cache.commit(1), 20);
    await until(() => cache.refusals.length > 0);
    clearInterval(feed);
    await until(() => cache.count('delivered') === cache.rows.length - 1);
    expect(cache.refusals).toEqual([{ rows: [321], reason: 'payload_malformed' }]);
    expect(uplink.state()).toMatchObject({ refusedRows: 1, breaker: 'closed' });
  });

  test('with every batch refused it halts, and nothing is written off', async () => {
    const cloud = await cloudOf();
    const { cache, launch } = start(cloud);
    cache.commit(16);
    cloud.script = ({ signed, answer }) => answer(400, signed('payload_malformed'));
    const uplink = launch();
    await until(() => uplink.state().breaker === 'held');
    expect(uplink.state().holds).toMatchObject([{ reason: 'everything_refused' }]);
    const tries = cloud.bodies.length;
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(cloud.bodies.length - tries).toBeLessThanOrEqual(1);
    expect(cache.refusals).toEqual([]);
  });

  test('systemic codes hold at once, with a hint', async () => {
    const cloud = await cloudOf();
    const { cache, launch } = start(cloud);
    cache.commit(10);
    cloud.script = ({ signed, answer }) => answer(409, signed('recipient_unknown'));
    const uplink = launch();
    await until(() => uplink.state().breaker === 'held');
    expect(cloud.bodies).toHaveLength(1);
    expect(uplink.state().holds[0]?.hint).toContain('uplink.keys.cloud');
  });

  test('an unknown dictionary is sealed anew', async () => {
    const cloud = await cloudOf();
    const { cache, launch } = start(cloud);
    cache.commit(10);
    let known = false;
    cloud.script = ({ signed, yes, answer }) => {
      if (known) return answer(200, yes());
      known = true;
      answer(409, signed('dictionary_unknown'));
    };
    launch();
    await until(() => cache.count('delivered') === 10);
    expect(cache.dictionariesForgotten).toBe(1);
    expect(cloud.bodies).toHaveLength(2);
  });

  test.each([
    [401, 'unauthorised'],
    [403, 'forbidden'],
    [302, 'redirect'],
    [404, 'not_found'],
  ])('an unsigned %i holds as %s', async (status, reason) => {
    const cloud = await cloudOf();
    const { cache, launch } = start(cloud);
    cache.commit(10);
    cloud.script = ({ answer }) => answer(status, HTML, { location: 'https://portal.test/' });
    const uplink = launch();
    await until(() => uplink.state().breaker === 'held');
    expect(uplink.state().holds).toMatchObject([{ reason }]);
    expect(cloud.bodies).toHaveLength(1);
    expect(cache.count('flight')).toBe(10);
  });

  test('429 with Retry-After is obeyed by every lane', async () => {
    const cloud = await cloudOf();
    const { cache, launch } = start(cloud);
    cache.commit(10);
    let asked = false;
    const times: number[] = [];
    cloud.script = ({ yes, answer }) => {
      times.push(performance.now());
      if (asked) return answer(200, yes());
      asked = true;
      answer(429, '', { 'retry-after': '1' });
    };
    const uplink = launch();
    await until(() => uplink.state().lanes.live.lastError !== undefined);
    cache.commit(1, 'alarm');
    uplink.nudge();
    await until(() => cache.count('delivered') === 11);
    expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThanOrEqual(990);
  });

  test.each(['-5', '1e9', 'soon', ''])('503 with Retry-After "%s" is an ordinary back-off', async (header) => {
    const cloud = await cloudOf();
    const { cache, launch } = start(cloud);
    cache.commit(10);
    let asked = 0;
    cloud.script = ({ yes, answer }) =>
      asked++ === 0 ? answer(503, '', { 'retry-after': header }) : answer(200, yes());
    launch();
    await until(() => cache.count('delivered') === 10, 900);
    expect(asked).toBe(2);
  });
});

describe('a network that fails', () => {
  test('a black hole ends at the deadline, and batches shrink', async () => {
    const cloud = await cloudOf();
    const { cache, launch } = start(cloud, { timeout: '150ms', rowsMax: 1000 });
    cache.commit(10);
    let hole = true;
    cloud.script = ({ yes, answer }) => {
      if (!hole) answer(200, yes());
    };
    const uplink = launch();
    await until(() => uplink.state().lanes.live.lastError !== undefined);
    expect(uplink.state().lanes.live.lastError).toContain('150 ms');
    expect(uplink.state().lanes.live.batchRows).toBe(500);
    hole = false;
    await until(() => cache.count('delivered') === 10);
    expect(uplink.state().lanes.live.batchRows).toBe(1000);
  });

  test('a trickled body ends at the same deadline', async () => {
    const cloud = await cloudOf();
    const { cache, launch } = start(cloud, { timeout: '200ms' });
    cache.commit(10);
    let trickle = true;
    cloud.script = ({ yes, answer, response }) => {
      if (!trickle) return answer(200, yes());
      response.writeHead(200, { 'content-length': '1000' });
      const drip = setInterval(() => response.write('x'), 10);
      response.on('close', () => clearInterval(drip));
    };
    const startedMs = performance.now();
    const uplink = launch();
    await until(() => uplink.state().lanes.live.lastError !== undefined);
    expect(performance.now() - startedMs).toBeLessThan(1000);
    expect(uplink.state().lanes.live.lastError).toContain('200 ms');
    trickle = false;
    await until(() => cache.count('delivered') === 10);
  });

  test('a keep-alive socket that the far side has closed costs no failure', async () => {
    const cloud = await cloudOf();
    const { cache, launch } = start(cloud);
    const served = new Set<Socket>();
    cloud.script = ({ socket, yes, answer }) => {
      // The second request on a connection meets a closed door.
      if (served.has(socket)) return void socket.destroy();
      served.add(socket);
      answer(200, yes());
    };
    const uplink = launch();
    for (let i = 1; i <= 4; i++) {
      cache.commit(5);
      await until(() => cache.count('delivered') === 5 * i);
    }
    expect(uplink.state()).toMatchObject({ resent: 0, batches: 4, breaker: 'closed' });
    expect(served.size).toBe(4);
  });

  test('nobody listens, then somebody does: all is delivered, alarms first', async () => {
    const reserved = createServer().listen(0, '127.0.0.1');
    await once(reserved, 'listening');
    const address = reserved.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    reserved.close();
    await once(reserved, 'close');
    const cloud = new ScriptedCloud();
    const { cache, launch } = start(
      { url: `http://127.0.0.1:${port}`, device: cloud.device, keys: cloud.keys },
      { rowsMax: 100 },
    );
    cache.commit(3000, 'reading', 60_000);
    cache.commit(20);
    const uplink = launch();
    await until(() => uplink.state().breaker === 'open');
    cache.commit(2, 'alarm');
    expect(uplink.state().lastError).toContain('ECONNREFUSED');
    await cloud.listen(port);
    stops.push(() => cloud.close());
    await until(() => cache.count('delivered') === 3022, 8000);
    expect(uplink.state()).toMatchObject({ breaker: 'closed', delivered: 3020 });
    const alarmAt = cloud.bodies.findIndex((body) => rowsOf(body).includes(3021));
    // A trial, live and four of the backlog may have been on their way.
    expect(alarmAt).toBeLessThan(10);
  });

  test('a slow cloud costs disk, not memory', async () => {
    const cloud = await cloudOf();
    const { cache, launch } = start(cloud, { rowsMax: 10 });
    cache.commit(400, 'reading', 60_000);
    cloud.script = async ({ yes, answer }) => {
      await new Promise((resolve) => setTimeout(resolve, 30));
      answer(200, yes());
    };
    launch();
    const feed = setInterval(() => cache.commit(20), 10);
    await until(() => cache.count('delivered') > 400);
    clearInterval(feed);
    expect(cache.flightMax).toBeLessThanOrEqual(6);
    expect(cloud.connections).toBeLessThanOrEqual(7);
  });
});

describe('TLS', () => {
  const file = (name: string) => fileURLToPath(new URL(`./certificates/${name}`, import.meta.url));
  const pem = (name: string) => readFileSync(file(name), 'utf8');
  const FINGERPRINT = '68:67:97:AC:55:9D:C9:D6:C3:B9:23:E3:42:98:9D:E7:8A:E9:C4:A1:1E:F9:02:9C:2C:AF:93:57:41:1C:E7:5C';

  test.each([
    ['an authority that is not trusted', 'server.pem', {}, 'uplink.tls.ca'],
    ['an expired certificate', 'expired.pem', { ca: file('expired.pem') }, 'expired'],
    [
      'another certificate than the pinned one',
      'server.pem',
      { ca: file('server.pem'), pin: '00'.repeat(32) },
      'uplink.tls.pin',
    ],
  ])('%s holds and says what to do', async (_what, cert, tls, hint) => {
    const cloud = await cloudOf({ cert: pem(cert), key: pem('server.key') });
    const { cache, launch } = start(cloud, { tls });
    cache.commit(10);
    const uplink = launch();
    await until(() => uplink.state().breaker === 'held');
    expect(uplink.state().holds).toMatchObject([{ reason: 'tls' }]);
    expect(uplink.state().holds[0]?.hint).toContain(hint);
    expect(cloud.bodies).toEqual([]);
  });

  test('a trusted and pinned certificate passes', async () => {
    const cloud = await cloudOf({ cert: pem('server.pem'), key: pem('server.key') });
    const { cache, launch } = start(cloud, { tls: { ca: file('server.pem'), pin: FINGERPRINT } });
    cache.commit(10);
    launch();
    await until(() => cache.count('delivered') === 10);
  });
});

describe('hello', () => {
  test('what the cloud holds already is not sent', async () => {
    const cloud = await cloudOf();
    const { cache, launch } = start(cloud);
    cache.commit(10);
    for (let n = 1; n <= 8; n++) cloud.held.add(n);
    launch();
    await until(() => cache.count('delivered') === 10);
    expect(cloud.bodies.map(rowsOf)).toEqual([[9, 10]]);
  });

  test("brings the cloud's time and its size limit", async () => {
    const cloud = await cloudOf();
    cloud.aheadMs = 3_600_000;
    const { cache, launch } = start(cloud);
    cache.commit(1);
    const uplink = launch();
    await until(() => cache.count('delivered') === 1);
    const time = uplink.state().cloudTime;
    expect(Math.abs((time?.offsetMs ?? 0) - 3_600_000)).toBeLessThanOrEqual((time?.uncertaintyMs ?? 0) + 5);
  });

  test('counts as answered when our own disk has no room to note down what the cloud holds, and is asked again', async () => {
    const cloud = await cloudOf();
    const { cache, launch } = start(cloud);
    cache.commit(10);
    const hello = cache.hello.bind(cache);
    let isFull = true;
    cache.hello = async (question, answer) => {
      if (isFull) throw new SluiceError('cache.full', 'retry', 'the cache is full');
      return hello(question, answer);
    };
    const uplink = launch();
    await until(() => cache.count('delivered') === 10);
    expect(uplink.state()).toMatchObject({ breaker: 'closed', lastError: undefined });
    isFull = false;
    await until(() => cloud.hellos > 1);
  });

  test('is asked again when an answer names a new incarnation', async () => {
    const cloud = await cloudOf();
    const { cache, launch } = start(cloud);
    cache.commit(1);
    launch();
    await until(() => cache.count('delivered') === 1);
    expect(cloud.hellos).toBe(1);
    cloud.incarnation = new Uint8Array(16).fill(2);
    cache.commit(1);
    await until(() => cloud.hellos === 2);
    cache.commit(1);
    await until(() => cache.count('delivered') === 3);
    expect(cloud.hellos).toBe(2);
  });
});

describe('stopping', () => {
  test('takes the answer that is on its way and gives the rest back', async () => {
    const cloud = await cloudOf();
    const { cache, launch } = start(cloud);
    cache.commit(10);
    cloud.script = async ({ yes, answer }) => {
      const body = yes();
      await new Promise((resolve) => setTimeout(resolve, 100));
      answer(200, body);
    };
    const uplink = launch();
    await until(() => cloud.bodies.length === 1);
    cache.commit(10);
    await uplink.stop();
    expect(cache.count('delivered')).toBe(10);
    expect(cache.count('pending')).toBe(10);
    expect(cache.flight.size).toBe(0);
  });

  test('during an outage is immediate and loses nothing', async () => {
    const { cache, launch } = start({
      url: 'http://127.0.0.1:9',
      device: generateDeviceKey(),
      keys: new ScriptedCloud().keys,
    });
    cache.commit(10);
    const uplink = launch();
    await until(() => uplink.state().breaker === 'open');
    await uplink.stop();
    expect(cache.count('pending')).toBe(10);
    expect(cache.flight.size).toBe(0);
  });
});
