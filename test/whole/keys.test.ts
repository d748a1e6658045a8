// The life of keys with real processes: enrolled, the cloud's changed, the box's changed, killed in between, revoked, enrolled anew.
// Every reading that was taken is in the cloud once at the end.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { request } from 'undici';
import { readCache } from '../../src/cache/index.ts';
import { Part } from '../../src/demo/process.ts';
import type { GatewayStatus } from '../../src/gateway.ts';
import { sleep, systemClock } from '../../src/runtime/clock.ts';
import { sluice } from '../cli/rig.ts';
import { freePort } from '../peers/modbus-ports.ts';

const WITHIN_MS = 30_000;
let path: string;
let ports: { cloud: number; http: number };
let cloud: Part | undefined;
let gateway: Part | undefined;
const at = (name: string) => join(path, name);

beforeEach(async () => {
  path = mkdtempSync(join(tmpdir(), 'sluice-keys-'));
  ports = { cloud: await freePort(), http: await freePort() };
  mkdirSync(at('data'));
});
afterEach(async () => {
  await gateway?.kill();
  await cloud?.kill();
  rmSync(path, { recursive: true, force: true });
});

const part = (name: string, args: readonly string[]) =>
  Part.start({ name, args, env: { NO_COLOR: '1' }, logFile: at(`${name}.log`), clock: systemClock });
const startCloud = async (key: string) => {
  cloud = await part('cloud', ['cloud', '--port', String(ports.cloud), '--data', at('data'), '--keys', at(key)]);
};
const startGateway = async () => {
  gateway = await part('gateway', ['run', '-c', at('sluice.yaml')]);
};
const log = () => readFileSync(at('gateway.log'), 'utf8');

async function run(...args: string[]): Promise<string> {
  const { code, out, problems } = await sluice(...args);
  expect([args, code, code === 0 ? '' : problems]).toEqual([args, 0, '']);
  return out;
}

async function status(): Promise<GatewayStatus> {
  const { body } = await request(`http://127.0.0.1:${ports.http}/status`);
  return (await body.json()) as GatewayStatus; // the gateway's own
}

async function until(what: string, holds: (status: GatewayStatus) => boolean): Promise<GatewayStatus> {
  const endMs = systemClock.monoMs() + WITHIN_MS;
  for (;;) {
    const now = await status();
    if (holds(now)) return now;
    if (systemClock.monoMs() > endMs) throw new Error(`${what}: not in time\n${log().slice(-4000)}`);
    await sleep(systemClock, 50);
  }
}

/** So many more are delivered than now. */
async function flows(readings = 100): Promise<void> {
  const before = (await status()).uplink?.delivered ?? 0;
  await until('it flows', ({ uplink }) => (uplink?.delivered ?? 0) >= before + readings);
}

/** Of all readings in the cache: how many were accepted, and how many of them the cloud confirmed. */
function account(): { accepted: number; delivered: number } {
  const reader = readCache(at('cache'));
  try {
    const { sources, targets } = reader.ledger();
    const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
    return {
      accepted: sum(Object.values(sources).map(({ accepted }) => accepted)),
      delivered: sum(Object.values(targets.cloud ?? {}).map(({ delivered }) => delivered)),
    };
  } finally {
    reader.close();
  }
}

test('keys come, change on both sides and go, and no reading is lost or waits for them', async () => {
  await run('keygen', '--root', '--dir', path);
  await run('keygen', '--cloud', '--dir', path);
  const sign = (pub: string) =>
    run('cloud', 'keys', '--root', at('root.key'), '--cloud', at(pub), '--out', at('data/cloud.list'));
  await sign('cloud.pub');
  await startCloud('cloud.key');
  const url = `http://127.0.0.1:${ports.cloud}`;
  const enroll = async () => {
    const token = await run('cloud', 'token', '--data', at('data'), '--name', 'box');
    await run('enroll', '--url', url, '--token', token, '--out', at('keys'));
  };
  await enroll();
  const tags = Array.from({ length: 20 }, (_, i) => ({ name: `t${i}`, shape: 'sine', amplitude: 5, period: '1min' }));
  const config = {
    gateway: { id: 'box' },
    http: { listen: `127.0.0.1:${ports.http}` },
    cache: { path: at('cache'), commitInterval: '100ms' },
    sources: { made: { driver: 'simulator', every: '100ms', tags } },
    uplink: { url, cutInterval: '200ms', keys: { device: at('keys/device.key'), cloud: at('keys/root.pub') } },
  };
  writeFileSync(at('sluice.yaml'), JSON.stringify(config)); // JSON is YAML
  await startGateway();
  await flows();

  // The cloud's keys: killed, and there again with the next ones.
  await run('keygen', '--cloud', '--rotate', '--dir', path);
  await sign('cloud-2.pub');
  await cloud?.kill();
  await startCloud('cloud-2.key');
  await until('the newer list', () => log().includes('a newer key list is in force'));
  await flows();

  // The box's key: killed as soon as it signs with the new one.
  await run('keygen', '--rotate', '-c', at('sluice.yaml'));
  await until('the new key', () => log().includes('signing with the new device key'));
  await gateway?.kill();
  await startGateway();
  await flows();
  expect(JSON.parse(readFileSync(at('data/devices.json'), 'utf8'))).toHaveLength(1);
  expect(log()).not.toContain('uplink/held');

  // The newest list is on disk, for the next start.
  expect(JSON.parse(readFileSync(at('keys/cloud.list'), 'utf8'))).toMatchObject({ version: 2 });

  // Revoked, without a restart of anything; and enrolled anew under the same id.
  await run('cloud', 'revoke', 'box', '--data', at('data'));
  const held = await until('the hold', ({ uplink }) => uplink?.breaker === 'held');
  expect(held.uplink?.holds).toMatchObject([{ reason: 'signer_revoked', hint: expect.stringContaining('revoked') }]);
  await enroll();
  await flows();

  expect(await gateway?.stop()).toBe(0);
  gateway = undefined;
  const { accepted, delivered } = account();
  expect(delivered).toBe(accepted);
  const { body } = await request(`${url}/v1/digest?gateway=box`);
  const { tags: kept } = (await body.json()) as { tags: Record<string, { count: number }> };
  expect(Object.values(kept).reduce((sum, { count }) => sum + count, 0)).toBe(accepted);
}, 120_000);
