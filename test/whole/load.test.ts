// The whole gateway under more than it can deliver, and beside sources that misbehave.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import { systemClock } from '../../src/runtime/clock.ts';
import { sums, Whole } from './rig.ts';

const isCi = process.env.CI === 'true';
/** Two minutes where a machine waits. */
const LOAD_MS = isCi ? 120_000 : 8_000;
const TAGS = 500;
const EVERY_MS = 10;
const CACHE_BYTES = 16_000_000;
/** Older than what the live lane still hopes to send, with time for the backlog lane. */
const YOUNG_MS = 20_000;
/** What Node, the libraries, the buffers and the heaps of two threads take; it must not grow with what waits. */
const RSS_MB_MAX = 320;

let whole: Whole | undefined;
const servers: { server: Server; sockets: Set<Socket> }[] = [];

afterEach(async () => {
  await whole?.stop();
  for (const { server, sockets } of servers.splice(0)) {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  }
});

function rssMb(pid: number): number {
  const kb = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kb) / 1000;
}

/** Takes connections and says nothing. */
async function blackHole(): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.resume();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  servers.push({ server, sockets });
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

describe('a cloud that is away while far more comes in than the cache may hold', () => {
  test(
    'costs neither memory nor the account: what is not kept is written off by name',
    async () => {
      const fast = await Whole.make({
        sources: {
          plant: {
            driver: 'simulator',
            every: `${EVERY_MS}ms`,
            tags: [{ name: 't', count: TAGS, shape: 'random-walk' }],
          },
        },
        cache: { bytesMax: '16MB', windows: [] },
      });
      whole = fast;
      await fast.startCloud();
      await fast.startGateway();
      await fast.until('the first delivery', (status) => (sums(status).delivered ?? 0) > 0);
      await fast.killCloud();
      const endMs = systemClock.monoMs() + LOAD_MS;
      let peakMb = 0;
      await fast.until(
        'the load is over',
        () => {
          peakMb = Math.max(peakMb, rssMb(fast.pid));
          return systemClock.monoMs() >= endMs;
        },
        LOAD_MS + 30_000,
      );
      expect(peakMb).toBeLessThan(RSS_MB_MAX);
      const status = await fast.status();
      expect(status.cache.bytesUsed).toBeLessThanOrEqual(CACHE_BYTES);
      await fast.startCloud();
      // What the live lane leaves is the backlog's after ten seconds: nothing older waits.
      const young = ({ nowMs, backlog }: Awaited<ReturnType<Whole['status']>>) =>
        nowMs - (backlog?.oldestMs ?? nowMs) < YOUNG_MS;
      await fast.until('all that is old is told', young, 90_000);
      expect(await fast.stopGateway()).toBe(0);
      const { ok, ledger } = fast.read((reader) => ({ ok: reader.verify(), ledger: reader.ledger() }));
      expect(ok).toMatchObject({ ok: true, damaged: [], differences: [] });
      const account = sums({ cache: { ledger } as never });
      const { received = 0, rejected = 0, duplicate = 0, thinned = 0, accepted = 0 } = account;
      expect(received).toBe(rejected + duplicate + thinned + accepted);
      const { delivered = 0, pending = 0, dropped = 0, aggregated = 0 } = account;
      expect(accepted).toBe(delivered + pending + dropped + aggregated);
    },
    LOAD_MS + 240_000,
  );
});

describe('a source that is dead, one that is stuck, and one that floods', () => {
  test('change nothing in the schedule of the healthy one beside them', async () => {
    const closedPort = 9; // discard: nobody listens there
    const stuckPort = await blackHole();
    const unit = { unit: 1, every: '100ms', tags: [{ name: 'x', register: 'holding:0', type: 'uint16' }] };
    const rig = await Whole.make({
      sources: {
        dead: { driver: 'modbus', transport: `tcp://127.0.0.1:${closedPort}`, units: [unit] },
        stuck: { driver: 'modbus', transport: `tcp://127.0.0.1:${stuckPort}`, units: [unit] },
        flood: { driver: 'simulator', every: '1ms', tags: [{ name: 'f', count: 50, shape: 'random-walk' }] },
        healthy: { driver: 'simulator', every: '100ms', tags: [{ name: 'h', count: 10, shape: 'counter' }] },
      },
    });
    whole = rig;
    await rig.startCloud();
    await rig.startGateway();
    const of = (status: Awaited<ReturnType<Whole['status']>>) => status.cache.ledger.sources.healthy?.accepted ?? 0;
    const first = await rig.until('the healthy one is read', (status) => of(status) >= 50);
    const startMs = first.nowMs;
    const last = await rig.until('and read again', (status) => of(status) >= of(first) + 600);
    const rounds = (of(last) - of(first)) / 10;
    const due = (last.nowMs - startMs) / 100;
    // A commit a second: what is counted lags by as much at either end.
    expect(Math.abs(rounds - due)).toBeLessThanOrEqual(13);
    const { sources } = last;
    expect(sources.find(({ source }) => source === 'healthy')).toMatchObject({ state: 'up' });
    expect(sources.find(({ source }) => source === 'flood')).toMatchObject({ state: 'up' });
    expect(sources.find(({ source }) => source === 'dead')?.state).not.toBe('up');
    expect(sources.find(({ source }) => source === 'stuck')?.state).not.toBe('up');
  }, 60_000);
});
