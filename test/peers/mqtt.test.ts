/**
 * Our MQTT driver at a mosquitto, and mosquitto's clients at our HMI broker. They skip where the software is missing:
 * `apt-get install mosquitto mosquitto-clients openssl`.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test } from '@jest/globals';
import { connectAsync, type MqttClient } from 'mqtt';
import { hmiSchema } from '../../src/config/hmi.ts';
import type { ListenSession } from '../../src/driver.ts';
import { codeOf } from '../../src/errors.ts';
import { type Hmi, startHmi } from '../../src/hmi/index.ts';
import { Quality } from '../../src/reading.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { HandSink, KeptReceipts, openMqtt } from '../drivers/mqtt-source.ts';
import { hasMosquitto, hasOpenssl, Mosquitto } from './mosquitto.ts';

const run = promisify(execFile);
const where = hasMosquitto ? describe : describe.skip;

let broker: Mosquitto | undefined;
let session: ListenSession | undefined;
let publisher: MqttClient | undefined;
let hmi: Hmi | undefined;
const children: ChildProcess[] = [];
afterEach(async () => {
  await session?.close();
  publisher?.end(true);
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await hmi?.stop();
  await broker?.stop();
  [session, publisher, hmi, broker] = [undefined, undefined, undefined, undefined];
});

const topics = [{ filter: 'sensors/+/count', tag: '{1}', payload: 'number' }];
const numbers = (count: number, from = 0) => Array.from({ length: count }, (_, at) => from + at);
const values = (...sinks: HandSink[]) => sinks.flatMap((sink) => sink.rows.map((row) => Number(row.value)));
const inOrder = (list: readonly number[]) => [...list].sort((a, b) => a - b);

async function publish(from: Mosquitto, list: readonly number[]): Promise<void> {
  publisher ??= await connectAsync(from.url, { reconnectPeriod: 0 });
  publisher.on('error', () => {});
  await Promise.all(list.map((value) => publisher?.publishAsync('sensors/a/count', String(value), { qos: 1 })));
}

where('mqtt driver at a mosquitto', () => {
  test('takes every line of mosquitto_pub once', async () => {
    broker = await Mosquitto.start(['allow_anonymous true', 'max_queued_messages 0']);
    const sink = new HandSink();
    session = await openMqtt({ url: broker.url, topics }, sink);
    const pub = spawn('mosquitto_pub', ['-p', String(broker.port), '-q', '1', '-t', 'sensors/a/count', '-l']);
    children.push(pub);
    pub.stdin.end(`${numbers(2000).join('\n')}\n`);
    await sink.until(() => sink.rows.length >= 2000);
    expect(inOrder(values(sink))).toEqual(numbers(2000));
    expect(sink.rejected).toEqual([]);
  });

  test.each([4, 5])(
    'stores once what was committed before its acknowledgement, over MQTT version %i',
    async (protocolVersion) => {
      broker = await Mosquitto.start();
      const settings = { url: broker.url, topics, protocolVersion };
      const receipts = new KeptReceipts();
      const sinks: HandSink[] = [];
      for (let round = 0; round < 3; round++) {
        const sink = new HandSink(receipts);
        sinks.push(sink);
        session = await openMqtt(settings, sink);
        await sink.until(() => values(...sinks).length >= round * 100);
        sink.fastDisk = false;
        const publishing = publish(broker, numbers(100, round * 100));
        await sink.until(() => sink.waiting > 0);
        // In flight at mosquitto: 20, its limit. We have committed them, and the line breaks.
        await session.close();
        await publishing;
      }
      const last = new HandSink(receipts);
      session = await openMqtt(settings, last);
      await last.until(() => values(...sinks, last).length >= 300);
      expect(inOrder(values(...sinks, last))).toEqual(numbers(300));
    },
  );

  test('ends the session when mosquitto is killed, and finds its session when mosquitto is back', async () => {
    broker = await Mosquitto.start();
    const receipts = new KeptReceipts();
    const first = new HandSink(receipts);
    session = await openMqtt({ url: broker.url, topics }, first);
    await publish(broker, numbers(50));
    await first.until(() => first.rows.length >= 50);
    // A saved session, as after a reboot in good order; then kill it for good.
    await broker.kill('SIGTERM');
    expect(codeOf(await session.closed.catch((error: unknown) => error))).toBe('mqtt.lost');
    await broker.run();
    publisher = undefined;
    await publish(broker, numbers(50, 50));
    const second = new HandSink(receipts);
    session = await openMqtt({ url: broker.url, topics }, second);
    await second.until(() => second.rows.length >= 50);
    expect(inOrder(values(first, second))).toEqual(numbers(100));
    expect(receipts.clears).toBe(1);
    await broker.kill('SIGKILL');
    expect(codeOf(await session.closed.catch((error: unknown) => error))).toBe('mqtt.lost');
    expect(codeOf(await openMqtt({ url: broker.url, topics }, second).catch((error: unknown) => error))).toBe(
      'mqtt.connection_failed',
    );
  });

  test('loses none of 70,000 messages that came while it was away', async () => {
    broker = await Mosquitto.start(['allow_anonymous true', 'max_queued_messages 0', 'max_inflight_messages 65535']);
    const settings = { url: broker.url, topics };
    session = await openMqtt(settings, new HandSink());
    await session.close();
    // In slices: mosquitto drops a publisher that sends all at once.
    for (let from = 0; from < 70_000; from += 2000) await publish(broker, numbers(2000, from));
    const sink = new HandSink();
    sink.fastDisk = false;
    const disk = setInterval(() => sink.commit(), 50);
    try {
      session = await openMqtt(settings, sink);
      await sink.until(() => sink.rows.length >= 70_000);
    } finally {
      clearInterval(disk);
    }
    expect(values(sink)).toEqual(numbers(70_000));
  }, 60_000);

  test('is told apart by user and password', async () => {
    broker = await Mosquitto.start();
    spawnSync('mosquitto_passwd', ['-b', '-c', join(broker.folder, 'users'), 'box', 'right']);
    await broker.kill('SIGTERM');
    await broker.run(['allow_anonymous false', `password_file ${join(broker.folder, 'users')}`]);
    const settings = { url: broker.url, topics, username: 'box' };
    const thrown = await openMqtt({ ...settings, password: 'wrong' }, new HandSink()).catch((error: unknown) => error);
    expect(codeOf(thrown)).toBe('mqtt.refused');
    session = await openMqtt({ ...settings, password: 'right' }, new HandSink());
  });

  (hasOpenssl ? test : test.skip)('speaks TLS to the broker its CA vouches for, and to no other', async () => {
    broker = await Mosquitto.start();
    const { folder } = broker;
    const openssl = (args: string) => spawnSync('sh', ['-c', `cd ${folder} && openssl ${args}`]);
    openssl(
      'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost',
    );
    await broker.kill('SIGTERM');
    await broker.run(['allow_anonymous true', `certfile ${folder}/cert.pem`, `keyfile ${folder}/key.pem`]);
    const settings = { url: `mqtts://localhost:${broker.port}`, topics };
    const stranger = await openMqtt(settings, new HandSink()).catch((error: unknown) => error);
    expect(codeOf(stranger)).toBe('mqtt.connection_failed');
    expect(codeOf((stranger as Error).cause)).toBe('DEPTH_ZERO_SELF_SIGNED_CERT');
    const sink = new HandSink();
    session = await openMqtt({ ...settings, tls: { ca: readFileSync(join(folder, 'cert.pem'), 'utf8') } }, sink);
    const pub = ['-h', 'localhost', '-p', String(broker.port), '--cafile', join(folder, 'cert.pem')];
    await run('mosquitto_pub', [...pub, '-q', '1', '-t', 'sensors/a/count', '-m', '7']);
    await sink.until(() => sink.rows.length === 1);
  });
});

where('mosquitto clients at the HMI broker', () => {
  const acknowledged: string[] = [];
  async function startPanel(): Promise<string[]> {
    const reading = { value: 21.5, timeMs: Date.UTC(2026, 0, 31, 10), quality: Quality.good };
    const live = {
      tag: (index: number) =>
        index === 0 ? { name: 'boiler/flow_temp', type: 'float64' as const, unit: '°C' } : undefined,
      indexOf: () => 0,
      size: () => 1,
      read: () => reading,
      mark: () => {},
      isLive: () => true,
    };
    const users = [{ name: 'operator', password: 'correct horse', write: true }];
    hmi = await startHmi(hmiSchema.parse({ mqtt: { listen: '127.0.0.1:0', users } }), live, {
      gateway: 'line3',
      clock: systemClock,
      acknowledge: (id) => acknowledged.push(id) > 0,
      values: { values: async () => [] },
      history: async () => ({}),
    });
    return ['-h', '127.0.0.1', '-p', String(hmi.port), '-u', 'operator', '-P', 'correct horse'];
  }

  test('mosquitto_sub gets the current value as a retained one', async () => {
    const at = await startPanel();
    const { stdout } = await run('mosquitto_sub', [
      ...at,
      '-t',
      'sluice/line3/+/+',
      '-C',
      '1',
      '-F',
      '%r %t %p',
      '-q',
      '1',
    ]);
    expect(stdout.trim()).toBe(
      '1 sluice/line3/boiler/flow_temp {"v":21.5,"t":"2026-01-31T10:00:00.000Z","q":"good","u":"°C"}',
    );
  });

  test('mosquitto_sub -R gets only what changes afterwards', async () => {
    const at = await startPanel();
    const sub = spawn('mosquitto_sub', [...at, '-R', '-t', 'sluice/line3/boiler/#', '-C', '1', '-F', '%r %p']);
    children.push(sub);
    const said = new Promise<string>((resolve) => sub.stdout.once('data', (bytes) => resolve(String(bytes))));
    while (hmi?.stats().messages !== 1) await new Promise((resolve) => setTimeout(resolve, 5));
    hmi?.changed([0]);
    expect((await said).startsWith('0 {"v":21.5')).toBe(true);
  });

  test('mosquitto_pub may send a command, and neither a value nor a Will', async () => {
    const at = await startPanel();
    await run('mosquitto_pub', [
      ...at,
      '-q',
      '1',
      '-t',
      'sluice/line3/$cmd/ack',
      '-m',
      '{"alarm":"boiler/flow_temp/hi"}',
    ]);
    expect(acknowledged).toEqual(['boiler/flow_temp/hi']);
    const value = ['-q', '1', '-t', 'sluice/line3/boiler/flow_temp', '-m', '99'];
    // The connection ends without an acknowledgement; the client tries again for ever.
    const lying = spawn('mosquitto_pub', [...at, ...value]);
    children.push(lying);
    const heard = await run('mosquitto_sub', [...at, '-t', '#', '-W', '1', '-F', '%p']).catch((error) => error);
    expect(heard.stdout).not.toContain('99');
    const will = ['--will-topic', 'sluice/line3/boiler/flow_temp', '--will-payload', '99', '-t', '#', '-C', '1'];
    await expect(run('mosquitto_sub', [...at, ...will])).rejects.toThrow(/not authorised|refused/i);
  });

  test('a wrong password and MQTT 5 are refused with the code for it', async () => {
    const at = await startPanel();
    const wrong = [...at.slice(0, -1), 'wrong'];
    await expect(run('mosquitto_sub', [...wrong, '-t', '#', '-C', '1'])).rejects.toThrow(
      /bad user name or password|not authorised/i,
    );
    await expect(run('mosquitto_sub', [...at, '-V', 'mqttv5', '-t', '#', '-C', '1'])).rejects.toThrow();
  });
});
