// A receiver that is killed while it forgets goes on forgetting when it starts again.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { AccessTokens } from '../../src/cloud/access/tokens.ts';
import { openStore } from '../../src/cloud/store.ts';
import { sleep, systemClock } from '../../src/runtime/clock.ts';
import { open } from '../../src/wire/envelope.ts';
import { formatCloudKey } from '../../src/wire/keys.ts';
import { Stand } from './cloud.ts';
import { block, polls, START_MS } from './gateway.ts';

const PROGRAM = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));
const BLOCKS = 400;
const POLLS = 200;

let stand: Stand;
let admin: string;
let child: ChildProcess;
let url: string;
beforeEach(() => {
  stand = new Stand();
  const { gateway, dataDir } = stand;
  const store = openStore(dataDir, systemClock);
  admin = new AccessTokens(store.db, systemClock).add('root', 'admin');
  const keys = { signer: () => gateway.key.publicKey, recipient: () => stand.keys.recipient.secretKey };
  for (let i = 0; i < BLOCKS; i += 20) {
    const sections = Array.from({ length: 20 }, (_, j) =>
      gateway.readings(block(polls(POLLS, START_MS + (i + j) * POLLS * 1000), 1 + (i + j) * POLLS * 5)),
    );
    const first = i === 0 ? [gateway.records([gateway.runOpen(), ...gateway.tagRows()], 1)] : [];
    store.receiver.apply(open(gateway.seal([...first, ...sections]), keys), systemClock.wallMs());
  }
  store.close();
  writeFileSync(join(dataDir, 'cloud.key'), formatCloudKey(stand.keys), { mode: 0o600 });
  writeFileSync(join(dataDir, 'devices.json'), JSON.stringify(stand.devices));
});
afterEach(async () => {
  await kill();
  await stand.end();
});

async function start(): Promise<void> {
  const { dataDir } = stand;
  const files = ['--data', dataDir, '--keys', join(dataDir, 'cloud.key'), '--devices', join(dataDir, 'devices.json')];
  child = spawn(process.execPath, [PROGRAM, 'cloud', '--port', '0', ...files], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (child.stdout === null) throw new Error('its output is a pipe');
  for await (const line of createInterface(child.stdout)) {
    url = /"ready":true.*"url":"([^"]+)"/.exec(line)?.[1] ?? '';
    if (url !== '') break;
  }
  child.stdout.resume();
}

async function kill(): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

// biome-ignore lint/suspicious/noExplicitAny: tests say what they expect of it
async function ask(path: string, body?: object): Promise<any> {
  const response = await fetch(url + path, {
    ...(body && { method: 'POST', body: JSON.stringify(body) }),
    headers: { authorization: `Bearer ${admin}`, ...(body && { 'content-type': 'application/json' }) },
  });
  return response.json();
}

test('killed again and again, it removes all of the tag, once, and nothing else', async () => {
  await start();
  const before = (await ask('/v1/digest?gateway=line3')).tags;
  await ask('/v1/forget', { gateway: 'line3', tag: 'boiler/state' });
  await kill();
  let job = { phase: '', removed: { readings: 0 } };
  let kills = 1;
  for (; job.phase !== 'done'; kills++) {
    await start();
    job = await ask('/v1/forget/1');
    // Later each time, so that it gets somewhere.
    await sleep(systemClock, kills * 10);
    job = await ask('/v1/forget/1');
    if (job.phase !== 'done') await kill();
    expect(kills).toBeLessThan(15);
  }
  expect(job.removed).toMatchObject({ readings: BLOCKS * POLLS, blocks: 0, tags: 1 });
  delete before['boiler/state'];
  expect((await ask('/v1/digest?gateway=line3')).tags).toEqual(before);
}, 20_000);
