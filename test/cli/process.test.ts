// The built program as a process: how it ends, and what it says when nobody listens.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { systemClock } from '../../src/runtime/clock.ts';
import { gatewayConfig, Place, sluice, sluiceJson } from './rig.ts';

/** A start takes a second on a busy machine, an end at most ten. */
const TEST_MS = 30_000;
const END_MS = 10_000;

let place: Place;
beforeEach(() => {
  place = new Place();
});
afterEach(() => place.remove());

interface Watching {
  readonly ended: Promise<number | null>;
  /** Everything it said until now. */
  readonly said: () => string;
  saw(text: string): Promise<void>;
}

function watch(child: ChildProcess): Watching {
  let said = '';
  const ended = once(child, 'close').then(([code]) => code as number | null);
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (data) => {
      said += String(data);
    });
  }
  return {
    ended,
    said: () => said,
    async saw(text) {
      while (!said.includes(text)) {
        const more = [child.stdout, child.stderr].flatMap((stream) => (stream === null ? [] : [once(stream, 'data')]));
        const isOver = await Promise.race([...more.map((each) => each.then(() => false)), ended.then(() => true)]);
        if (isOver && !said.includes(text)) throw new Error(`ended without ${text}:\n${said}`);
      }
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** `| head -0`: whoever read it is gone before the first word. */
async function unread(child: ChildProcess): Promise<number | null> {
  child.stdout?.destroy();
  child.stderr?.destroy();
  const [code] = await once(child, 'exit');
  return code;
}

describe('run', () => {
  test(
    'exits with 2 for a configuration that is not there, read or not',
    async () => {
      const read = watch(place.start('run', '-c', 'none.yaml'));
      expect(await read.ended).toBe(2);
      expect(read.said()).toMatch(/cannot be read \(ENOENT\)/);
      expect(await unread(place.start('run', '-c', 'none.yaml'))).toBe(2);
    },
    TEST_MS,
  );

  test(
    'ends at SIGTERM with 0 within 10 s',
    async () => {
      place.file('sluice.yaml', gatewayConfig('./cache'));
      const child = place.start('run', '-c', 'sluice.yaml');
      const gateway = watch(child);
      await gateway.saw('gateway is up');
      const askedMs = systemClock.monoMs();
      child.kill('SIGTERM');
      expect(await gateway.ended).toBe(0);
      expect(systemClock.monoMs() - askedMs).toBeLessThan(END_MS);
      expect(gateway.said()).toMatch(/everything taken is on disk/);
      expect((await sluice('ledger', '--verify', '--cache', join(place.path, 'cache'))).code).toBe(0);
    },
    TEST_MS,
  );

  test(
    'stops at a port of http: that is taken, names it, and has asked no source',
    async () => {
      const other = createServer();
      await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
      const { port } = other.address() as AddressInfo;
      place.file('sluice.yaml', gatewayConfig('./cache', `http: { listen: 127.0.0.1:${port} }\n`));
      const gateway = watch(place.start('run', '-c', 'sluice.yaml'));
      try {
        expect(await gateway.ended).toBe(1);
        expect(gateway.said()).toMatch(new RegExp(`http\\.listen: nothing can listen on 127\\.0\\.0\\.1:${port}`));
        expect(gateway.said()).toMatch(/another port/);
        expect(gateway.said()).not.toMatch(/is connected/);
      } finally {
        other.close();
      }
    },
    TEST_MS,
  );
});

describe('status', () => {
  test(
    'does not call a unit up whose source was never reached',
    async () => {
      const text = gatewayConfig('./cache', `http: { listen: 127.0.0.1:${await freePort()} }\n`);
      const source = `  plc:
    driver: modbus
    transport: tcp://127.0.0.1:1
    units:
      - { unit: 1, tags: [{ name: plc/x, register: holding:0 }] }
http:`;
      const config = place.file('sluice.yaml', text.replace('http:', source));
      const gateway = watch(place.start('run', '-c', 'sluice.yaml'));
      await gateway.saw('gateway is up');
      const live = await sluiceJson('status', '-c', config);
      expect(live).toMatchObject({
        code: 1,
        facts: {
          live: {
            sources: [
              { source: 'made' },
              {
                source: 'plc',
                state: expect.stringMatching(/down|connecting/),
                units: [{ unit: 'unit 1', state: 'unknown' }],
              },
            ],
          },
        },
      });
      const { code, out } = await sluice('status', '-c', config);
      expect(code).toBe(1);
      expect(out).toMatch(/^Gateway box \(\d+\.\d+\.\d+\S*\) runs as process \d+, up for /);
      expect(out).toMatch(/^plc +modbus +(down|connecting) /m);
      expect(out).not.toMatch(/unit 1/);
    },
    TEST_MS,
  );
});

describe('cloud', () => {
  test(
    'lets the token of the operator alone close alarms, and the other one ask',
    async () => {
      const [reader, operator] = ['reader-0123456789abcdef', 'operator-0123456789abcdef'];
      await sluice('keygen', '--cloud', '--dir', place.path);
      place.file('devices.json', '[]');
      place.file('reader', reader, 0o600);
      place.file('operator', operator, 0o600);
      const files = ['--data', 'data', '--keys', 'cloud.key', '--devices', 'devices.json', '--port', '0'];
      const child = place.start('cloud', ...files, '--token-file', 'reader', '--operator-token-file', 'operator');
      const cloud = watch(child);
      await cloud.saw('cloud receiver is up');
      const url = /"url":"([^"]+)"/.exec(cloud.said())?.[1];
      const close = async (token: string) => {
        const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
        return (await fetch(`${url}/v1/alarms/7/close`, { method: 'POST', headers, body: '{"by":"me"}' })).status;
      };
      expect(await close(reader)).toBe(403);
      expect(await close(operator)).toBe(404);
      expect((await fetch(`${url}/v1/alarms`, { headers: { authorization: `Bearer ${reader}` } })).status).toBe(200);
      expect(cloud.said()).not.toContain(operator);
      child.kill('SIGTERM');
      expect(await cloud.ended).toBe(0);
    },
    TEST_MS,
  );

  test(
    'refuses a token of the operator that others can read',
    async () => {
      await sluice('keygen', '--cloud', '--dir', place.path);
      place.file('devices.json', '[]');
      place.file('operator', 'operator-0123456789abcdef');
      const files = ['--data', 'data', '--keys', 'cloud.key', '--devices', 'devices.json', '--port', '0'];
      const cloud = watch(place.start('cloud', ...files, '--operator-token-file', 'operator'));
      expect(await cloud.ended).toBe(2);
      expect(cloud.said()).toMatch(/chmod 600 operator/);
    },
    TEST_MS,
  );
});

describe('a reader that goes away', () => {
  test(
    'does not change the exit code, and ends tail',
    async () => {
      place.file('sluice.yaml', gatewayConfig('./cache'));
      const child = place.start('run', '-c', 'sluice.yaml');
      const gateway = watch(child);
      await gateway.saw('gateway is up');
      const tail = place.start('tail', '-c', 'sluice.yaml');
      const tailing = watch(tail);
      await tailing.saw('made/level');
      tail.stdout?.destroy();
      expect(await tailing.ended).toBe(0);
      expect(tailing.said()).not.toMatch(/EPIPE/);
      expect(await unread(place.start('status', '--cache', 'cache'))).toBe(0);
      child.kill('SIGTERM');
      await gateway.ended;
      const status = place.start('status', '--cache', 'cache');
      const ended = watch(status);
      status.stdout?.destroy();
      expect({ code: await ended.ended, said: ended.said() }).toEqual({ code: 1, said: '' });
    },
    TEST_MS,
  );
});
