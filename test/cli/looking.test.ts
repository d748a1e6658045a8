// The commands that look at a cache: while the gateway has it open, and after it has ended.
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type CacheClient, openCache, readCache } from '../../src/cache/index.ts';
import { ChunkBuilder } from '../../src/reading.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { config, device, gated, tag } from '../cache/rig.ts';
import { gatewayConfig, Place, sluice, sluiceJson } from './rig.ts';

const NOBODY = 65_534;
const READINGS = 300;

let place: Place;
let cache: CacheClient | undefined;
let path: string;
let startMs: number;

beforeEach(async () => {
  place = new Place();
  path = join(place.path, 'cache');
  // Five minutes ago, on the minute, one reading a second: windows of 1 s and 10 s are closed, and of a minute.
  startMs = Math.floor(systemClock.wallMs() / 60_000) * 60_000 - 360_000;
  const targets = [{ name: 'cloud', required: true }];
  cache = gated(await openCache(config(path, { commitInterval: '50ms' }), { version: '0.0.0', targets, device }));
  cache.registerTag(tag(0, 'plc/flow'));
  cache.registerTag(tag(1, 'plc/state', 'text'));
  const builder = new ChunkBuilder();
  for (let i = 0; i < READINGS; i++) {
    builder.push(0, startMs + i * 1000, i, 0);
    builder.push(0, startMs + i * 1000 + 500, i + 1, 0);
  }
  builder.pushText(1, startMs, 'on\u001b[2J', 0);
  cache.append({
    chunk: builder.take(),
    deadLetters: [
      { atMs: startMs, source: 'plc', subject: 'plc/x', reason: 'no number', original: Buffer.from('?\u0007?') },
    ],
  });
  await cache.committed();
});
afterEach(async () => {
  await close();
  await place.remove();
});

async function close(): Promise<void> {
  await cache?.close();
  cache = undefined;
}

/** The same question twice: while the cache is open, and after it was closed. */
async function both(look: () => Promise<void>): Promise<void> {
  await look();
  await close();
  await look();
}

const from = () => new Date(startMs).toISOString();

describe('ledger', () => {
  test('accounts for every reading, open and closed, and proves it', () =>
    both(async () => {
      const { code, out } = await sluice('ledger', '--cache', path, '--verify', '--dead-letters');
      expect(code).toBe(0);
      expect(out).toMatch(/to cloud/);
      expect(out).toMatch(/601 readings/);
      expect(out).toMatch(/It adds up\./);
      expect(out).toMatch(/plc\/x +no number +\?·\?/);
      const json = await sluiceJson('ledger', '--cache', path, '--verify', '--dead-letters');
      expect(json).toMatchObject({
        code: 0,
        facts: {
          verify: { ok: true, readings: 601 },
          deadLetters: [{ subject: 'plc/x', original: Buffer.from('?\u0007?').toString('base64') }],
        },
      });
    }));
});

describe('status', () => {
  test('tells a gateway that runs from one that does not', async () => {
    const running = await sluice('status', '--cache', path);
    expect(running.code).toBe(0);
    expect(running.out).toMatch(new RegExp(`runs as process ${process.pid}\\.`));
    expect(running.out).toMatch(/pending +601 .* to cloud/);
    expect(await sluiceJson('status', '--cache', path)).toMatchObject({
      code: 0,
      facts: { cache: path, holder: { pid: process.pid }, tags: 2, alarms: [] },
    });
    await close();
    const ended = await sluice('status', '--cache', path);
    expect(ended.code).toBe(1);
    expect(ended.out).toMatch(/NOT RUNNING/);
    expect(ended.out).not.toMatch(/did not end in order/);
    expect(await sluiceJson('status', '--cache', path)).toMatchObject({ code: 1, facts: { runs: [{ clean: true }] } });
  });

  test('reads the cache that the configuration names', async () => {
    const file = place.file('sluice.yaml', gatewayConfig('./cache'));
    expect((await sluice('status', '-c', file)).out).toMatch(/that needs http:/);
  });

  test('says that there is no cache, where there is none', async () => {
    const { code, problems } = await sluice('status', '--cache', join(place.path, 'none'));
    expect(code).toBe(1);
    expect(problems).toMatch(/there is no cache at/);
  });

  test('says who may look, to one who may not', async () => {
    await close();
    const isRoot = process.geteuid?.() === 0;
    chmodSync(path, isRoot ? 0o700 : 0);
    if (isRoot) chmodSync(place.path, 0o755);
    if (isRoot) process.seteuid?.(NOBODY);
    try {
      const expected = { code: 'cache.denied', hint: expect.stringMatching(isRoot ? /sudo -u root/ : /your own/) };
      for (const asked of [path, join(path, 'cache.db')]) {
        expect(() => readCache(asked)).toThrow(/permission denied: .*cache is .*'s/);
        expect(thrownBy(() => readCache(asked))).toMatchObject(expected);
      }
    } finally {
      if (isRoot) process.seteuid?.(0);
      chmodSync(path, 0o700);
    }
  });
});

function thrownBy(work: () => unknown): unknown {
  try {
    return work();
  } catch (thrown) {
    return thrown;
  }
}

describe('tail', () => {
  test('shows the last readings, open and closed', () =>
    both(async () => {
      const { code, out } = await sluice('tail', 'plc/flow', '--no-follow', '-n', '2', '--cache', path);
      expect(code).toBe(0);
      expect(out.split('\n')).toEqual([
        expect.stringMatching(/^\S+Z {2}plc\/flow {2}299$/),
        expect.stringMatching(/^\S+Z {2}plc\/flow {2}300$/),
      ]);
      const json = await sluice('tail', 'plc/flow', '--no-follow', '-n', '1', '--cache', path, '--json');
      expect(JSON.parse(json.out)).toEqual({
        tag: 'plc/flow',
        timeMs: startMs + 299_500,
        value: 300,
        status: 'good',
        reason: null,
      });
    }));

  test('names the tag that was probably meant', async () => {
    const { code, problems } = await sluice('tail', 'plc/flwo', '--no-follow', '--cache', path);
    expect(code).toBe(1);
    expect(problems).toBe('no reading of plc/flwo; did you mean plc/flow?');
  });
});

describe('query', () => {
  const ask = (name: string, ...more: string[]) => ['query', name, '--cache', path, '--from', from(), ...more] as const;

  test('gives readings in order of time, open and closed', () =>
    both(async () => {
      const { code, out } = await sluice(...ask('plc/flow', '--limit', '2'));
      expect(code).toBe(0);
      expect(out.split('\n').map((line) => line.split(/ +/).slice(1))).toEqual([
        ['value', 'quality'],
        ['299', 'good'],
        ['300', 'good'],
      ]);
      const json = await sluiceJson(...ask('plc/flow'));
      expect(json.code).toBe(0);
      expect(json.facts).toHaveLength(2 * READINGS);
    }));

  test('gives windows that were closed', async () => {
    await close();
    const { code, facts } = await sluiceJson(...ask('plc/flow', '--window', '1min'));
    expect(code).toBe(0);
    expect((facts as unknown[])[0]).toMatchObject({ startMs, count: 120, min: 0, max: 60, first: 0, last: 60 });
    // A value every half second: 0, 1, 1, 2, 2, … 60.
    const values = Array.from({ length: 120 }, (_, i) => Math.ceil(i / 2));
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const stddev = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 119);
    expect((facts as { stddev: number }[])[0]?.stddev).toBeCloseTo(stddev, 9);
    expect((facts as unknown[])[0]).toMatchObject({ periodMs: 60_000, twa: expect.closeTo(mean, 9), good: 1 });
    const text = await sluice(...ask('plc/flow', '--window', '1min', '--limit', '1'));
    expect(text.code).toBe(0);
    expect(text.out).toMatch(/^from +n +min +mean +max +first +last\n\S+Z +120 /);
  });

  test('gives so many points, of readings or of the shortest windows that fit, and says which and why', () =>
    both(async () => {
      const all = await sluiceJson(...ask('plc/flow', '--points', '10000'));
      expect(all).toMatchObject({ code: 0, facts: { resolution: 'readings', periodMs: null, why: 'all of them fit' } });
      const few = await sluiceJson(...ask('plc/flow', '--points', '100'));
      expect(few).toMatchObject({ code: 0, facts: { resolution: '10s', periodMs: 10_000, readings: [] } });
      const { windows } = few.facts as { windows: { count: number }[] };
      expect(windows.reduce((sum, { count }) => sum + count, 0)).toBe(2 * READINGS);
      const { out } = await sluice(...ask('plc/flow', '--points', '100'));
      expect(out).toMatch(/^windows of 10s: the shortest that fit; more than 100 readings\nfrom +n /);
    }));

  test('names the windows there are instead of one that is not kept', async () => {
    await close();
    const { code, problems } = await sluice(...ask('plc/flow', '--window', '7s'));
    expect(code).toBe(2);
    expect(problems).toMatch(/no windows of 7s\n {2}it has windows of 1s, 10s, 1min/);
  });

  test('takes a configured window that none was closed of as empty, not as unknown', async () => {
    await close();
    const file = place.file('sluice.yaml', gatewayConfig('./cache'));
    const { code, problems } = await sluice('query', 'plc/flow', '-c', file, '--window', '1h', '--from', '1s');
    expect({ code, problems }).toEqual({
      code: 1,
      problems: expect.stringMatching(/^no window of 1h of plc\/flow ended/),
    });
  });

  test('gives windows of one reading, which are not stored', async () => {
    const builder = new ChunkBuilder();
    for (let minute = 0; minute < 4; minute++) builder.push(2, startMs + minute * 60_000, 10 + minute, 0);
    cache?.registerTag(tag(2, 'plc/rare'));
    cache?.append({ chunk: builder.take() });
    await cache?.committed();
    await close();
    const { facts } = await sluiceJson(...ask('plc/rare', '--window', '1min'));
    expect(facts).toMatchObject([0, 1, 2, 3].map((i) => ({ startMs: startMs + i * 60_000, count: 1, first: 10 + i })));
    expect(await sluice(...ask('plc/state', '--window', '1min'))).toMatchObject({ code: 1 });
  });

  test.each([
    ['plc/flw', 'did you mean plc/flow?'],
    ['flow', 'did you mean plc/flow?'],
    ['zzzzzzzzzzzzzz', 'there are plc/flow, plc/state'],
  ])('says of %s what there is instead', async (name, instead) => {
    const { code, problems } = await sluice(...ask(name));
    expect(code).toBe(1);
    expect(problems).toBe(`nothing of ${name} in that time; ${instead}`);
  });

  test('says of a cloud that is not there that it does not answer', async () => {
    const { code, problems } = await sluice('query', 'plc/flow', '--url', 'http://127.0.0.1:1');
    expect(code).toBe(1);
    expect(problems).toMatch(/does not answer/);
  });
});
