import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ContentDigest } from '../../src/wire/digest.ts';
import { formatCloudKey } from '../../src/wire/keys.ts';
import { nameOf, Stand } from './cloud.ts';
import { block, columnsOf, cut, polls, TAGS } from './gateway.ts';

/** The receiver as it is built, in a process of its own: prints its port, runs until it is killed. */
const CHILD = `
  import { readFileSync } from 'node:fs';
  const [built, dataDir, keyFile, devices] = process.argv.slice(1);
  const { startCloud, devicesFile } = await import(built + '/src/cloud/index.js');
  const { parseCloudKey } = await import(built + '/src/wire/keys.js');
  const { systemClock } = await import(built + '/src/runtime/clock.js');
  const { pino } = await import('pino');
  const logger = pino({ level: 'silent' });
  const cloud = await startCloud({
    host: '127.0.0.1', port: 0, dataDir, keys: parseCloudKey(readFileSync(keyFile, 'utf8')),
    devices: devicesFile(devices, logger), clock: systemClock, logger,
  });
  console.log(cloud.port);
`;
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const KILLS = 4;
const BATCHES = 150;
const ROWS_A_BATCH = 25;
const PARALLEL = 6;

const stand = new Stand();
let child: ChildProcess;
let url: string;

beforeAll(() => {
  writeFileSync(join(stand.dataDir, 'cloud.key'), formatCloudKey(stand.keys), { mode: 0o600 });
  writeFileSync(join(stand.dataDir, 'devices.json'), JSON.stringify(stand.devices));
});
afterAll(async () => {
  await kill();
  await stand.end();
});

async function start(): Promise<void> {
  const { dataDir } = stand;
  const paths = [join(ROOT, 'dist'), dataDir, join(dataDir, 'cloud.key'), join(dataDir, 'devices.json')];
  child = spawn(process.execPath, ['--input-type=module', '-e', CHILD, ...paths], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (child.stdout === null) throw new Error('its output is a pipe');
  const [port] = await once(createInterface(child.stdout), 'line');
  url = `http://127.0.0.1:${port}`;
}

async function kill(): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

/** Undefined when the receiver died meanwhile. */
async function send(envelope: Uint8Array): Promise<{ name: string; duplicates: number } | undefined> {
  try {
    const response = await fetch(`${url}/v1/batches`, { method: 'POST', body: new Uint8Array(envelope) });
    const answer = stand.gateway.verify(new Uint8Array(await response.arrayBuffer()), envelope);
    return { name: nameOf(answer.code), duplicates: answer.duplicates };
  } catch {
    return undefined;
  }
}

test('killed in the middle of batches again and again, it holds all it acknowledged, and each row once', async () => {
  const { gateway } = stand;
  const all = columnsOf(block(polls((BATCHES * ROWS_A_BATCH) / 5), 1));
  const batches = Array.from({ length: BATCHES }, (_, i) => {
    const from = 1 + i * ROWS_A_BATCH;
    return gateway.seal([gateway.readings(cut(all, [{ from, to: from + ROWS_A_BATCH - 1 }]))]);
  });
  const pending = new Set(batches.keys());
  const acknowledged: number[] = [];
  for (let round = 0; round <= KILLS; round++) {
    await start();
    // What was acknowledged before the kill is there: every row of it is a duplicate now.
    for (const i of acknowledged.splice(0)) {
      expect(await send(batches[i] ?? new Uint8Array())).toEqual({ name: 'ok', duplicates: ROWS_A_BATCH });
    }
    // Killed from the answer to some batch on, while others are under way: at another moment each round.
    const last = round === KILLS ? Number.POSITIVE_INFINITY : 5 + round * 7;
    const queue = [...pending];
    const lane = async (): Promise<void> => {
      for (let i = queue.shift(); i !== undefined; i = queue.shift()) {
        if ((await send(batches[i] ?? new Uint8Array())) === undefined) return;
        pending.delete(i);
        acknowledged.push(i);
        if (acknowledged.length === last) child.kill('SIGKILL');
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, lane));
    if (round < KILLS) await kill();
  }
  expect(pending.size).toBe(0);
  const expected = new ContentDigest();
  expected.addColumns(all, (tag) => TAGS[tag]?.name);
  await send(gateway.seal([gateway.records(gateway.tagRows(), 1)]));
  const answer = await (await fetch(`${url}/v1/digest?gateway=line3`)).json();
  expect(answer).toEqual({ gateway: 'line3', tags: Object.fromEntries(expected.result()) });
}, 60_000);
