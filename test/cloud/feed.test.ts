// A tier beside that cannot keep up: gateways wait, nothing is lost, and a killed receiver goes on where it was.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { sleep, systemClock } from '../../src/runtime/clock.ts';
import { formatCloudKey } from '../../src/wire/keys.ts';
import { nameOf, Stand } from './cloud.ts';
import { block, polls, START_MS } from './gateway.ts';

const PROGRAM = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));
const ROWS = 500;

/** What readings are handed on to: takes them when it is told to. */
class Platform {
  readonly lines: { n: number; run: string; tag: string; value: unknown }[] = [];
  readonly #held: (() => void)[] = [];
  takes = true;
  readonly server: Server = createServer((request, response) => {
    let text = '';
    request.on('data', (data) => {
      text += data;
    });
    request.on('end', () => {
      const take = (): void => this.#take(text, response);
      if (this.takes) take();
      else this.#held.push(take);
    });
  });

  #take(text: string, response: ServerResponse): void {
    for (const line of text.trim().split('\n')) this.lines.push(JSON.parse(line));
    response.writeHead(204).end();
  }

  open(): void {
    this.takes = true;
    for (const take of this.#held.splice(0)) take();
  }
}

let stand: Stand;
let platform: Platform;
let child: ChildProcess;
let url: string;
beforeEach(async () => {
  stand = new Stand();
  platform = new Platform();
  platform.server.listen(0, '127.0.0.1');
  await once(platform.server, 'listening');
  writeFileSync(join(stand.dataDir, 'cloud.key'), formatCloudKey(stand.keys), { mode: 0o600 });
  writeFileSync(join(stand.dataDir, 'devices.json'), JSON.stringify(stand.devices));
  await start();
});
afterEach(async () => {
  await kill();
  platform.server.closeAllConnections();
  platform.server.close();
  await stand.end();
});

async function start(): Promise<void> {
  const { dataDir } = stand;
  const { port } = platform.server.address() as AddressInfo;
  const files = ['--data', dataDir, '--keys', join(dataDir, 'cloud.key'), '--devices', join(dataDir, 'devices.json')];
  const forward = ['--forward', `http://127.0.0.1:${port}/readings`, '--forward-lag', String(3 * ROWS)];
  child = spawn(process.execPath, [PROGRAM, 'cloud', '--port', '0', ...files, ...forward], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (child.stdout === null) throw new Error('its output is a pipe');
  for await (const line of createInterface(child.stdout)) {
    url = /"ready":true.*"url":"([^"]+)"/.exec(line)?.[1] ?? '';
    if (url !== '') break;
  }
  // Whoever does not read on stops the process at a full pipe.
  child.stdout.resume();
}

async function kill(): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

async function send(from: number): Promise<{ name: string; retryAfter: string | null }> {
  const { gateway } = stand;
  const rows = block(polls(ROWS / 5, START_MS + from * 1000), from);
  const envelope = gateway.seal([gateway.readings(rows)]);
  const response = await fetch(`${url}/v1/batches`, { method: 'POST', body: new Uint8Array(envelope) });
  const answer = gateway.verify(new Uint8Array(await response.arrayBuffer()), envelope);
  return { name: nameOf(answer.code), retryAfter: response.headers.get('retry-after') };
}

const lag = async () =>
  Number(/^sluice_cloud_tier_lag_readings\{.*\} (\d+)$/m.exec(await (await fetch(`${url}/metrics`)).text())?.[1]);

async function until(what: string, isTrue: () => Promise<boolean> | boolean): Promise<void> {
  for (let tries = 0; !(await isTrue()); tries++) {
    if (tries > 400) throw new Error(`never came true: ${what}`);
    await sleep(systemClock, 20);
  }
}

test('gateways are told to wait while a tier lags, and all of it arrives there in the end, over a kill', async () => {
  platform.takes = false;
  let from = 1;
  for (; (await send(from)).name === 'ok'; from += ROWS) expect(from).toBeLessThan(20 * ROWS);
  // Three batches may wait, and the one that made it too many.
  expect((from - 1) / ROWS).toBe(4);
  expect(await lag()).toBe(4 * ROWS);
  expect(await send(from)).toEqual({ name: 'busy', retryAfter: '5' });
  // It holds after a kill, too: what waits is in the store.
  await kill();
  await start();
  expect(await lag()).toBe(4 * ROWS);
  expect((await send(from)).name).toBe('busy');
  platform.open();
  await until('the tier has all', async () => (await lag()) === 0);
  for (let more = 0; more < 3; more++, from += ROWS) expect((await send(from)).name).toBe('ok');
  const origins = () => new Set(platform.lines.map(({ run, n }) => `${run} ${n}`));
  await until('all arrived', () => origins().size === 7 * ROWS);
  // At least once: what was under way at the kill came twice, and is told by its origin.
  expect(platform.lines.length).toBeLessThanOrEqual(9 * ROWS);
  const energy = platform.lines.find(({ value }) => value === '9007199254740993');
  expect(energy).toMatchObject({
    gateway: 'line3',
    unit: null,
    class: 'normal',
    timeMs: START_MS + 1000,
    status: 'good',
  });
}, 20_000);

test('a tier that is away is tried again, and costs nothing but what waits', async () => {
  await send(1);
  await until('the first arrived', () => platform.lines.length === ROWS);
  platform.server.closeAllConnections();
  const { port } = platform.server.address() as AddressInfo;
  platform.server.close();
  await once(platform.server, 'close');
  expect((await send(1 + ROWS)).name).toBe('ok');
  expect(await lag()).toBe(ROWS);
  platform.server.listen(port, '127.0.0.1');
  await until('it is there after all', () => platform.lines.length === 2 * ROWS);
}, 20_000);
