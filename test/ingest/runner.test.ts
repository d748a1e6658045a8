import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Ingest } from '../../src/ingest/index.ts';
import { Quality } from '../../src/reading.ts';
import { FakeDevice, type GroupSpec, Surroundings, settled } from './fake-source.ts';

const second = (unit: string, ...tags: string[]): GroupSpec => ({ unit, everyMs: 1000, tags });

let around: Surroundings;
let device: FakeDevice;
let ingest: Ingest | undefined;
beforeEach(() => {
  around = new Surroundings();
  device = new FakeDevice(around.clock);
});
afterEach(async () => {
  const stopped = ingest?.stop();
  // A session that does not close is given up by the clock.
  for (let i = 0; i < 3; i++) await around.pass(5_000, 5_000);
  await stopped;
  ingest = undefined;
});

describe('a source that answers', () => {
  test('is read at once, then on its grid, all groups of a moment in one round', async () => {
    ingest = around.run(device.source('plc', [second('unit 1', 'a', 'b'), second('unit 1', 'c')]));
    await settled();
    expect(device.rounds).toEqual([{ atMs: 0, groups: [0, 1] }]);
    await around.pass(5_000);
    const gaps = device.rounds.slice(2).map(({ atMs }, i) => atMs - (device.rounds[i + 1]?.atMs ?? 0));
    expect(gaps.every((gap) => Math.abs(gap - 1000) < 1e-6)).toBe(true);
    expect(device.rounds.length).toBeGreaterThanOrEqual(5);
    expect(around.pushed[0]).toMatchObject({ tags: ['plc/a', 'plc/b', 'plc/c'], qualities: [0, 0, 0] });
    expect(ingest.states()[0]).toMatchObject({
      source: 'plc',
      driver: 'fake',
      state: 'up',
      skipped: 0,
      overruns: 0,
      connects: 1,
    });
  });

  test('that is slower than its period overruns: reads are skipped and counted, never queued', async () => {
    device.readMs = 2_500;
    ingest = around.run(device.source('plc', [second('unit 1', 'a')]));
    await around.pass(30_000);
    const [state] = ingest.states();
    expect(device.rounds.length).toBeLessThanOrEqual(12);
    expect(state?.overruns).toBeGreaterThanOrEqual(9);
    // A read or a skip for every second that passed.
    expect((state?.reads ?? 0) + (state?.skipped ?? 0)).toBeGreaterThanOrEqual(26);
    expect((state?.reads ?? 0) + (state?.skipped ?? 0)).toBeLessThanOrEqual(31);
  });

  test('is read once after an hour of suspend, not 3600 times', async () => {
    ingest = around.run(device.source('plc', [second('unit 1', 'a')]));
    await around.pass(3_000);
    const before = device.rounds.length;
    around.clock.advance(3_600_000);
    await settled();
    await settled();
    expect(device.rounds.length - before).toBeLessThanOrEqual(2);
    expect(ingest.states()[0]?.skipped).toBeGreaterThanOrEqual(3_598);
    await around.pass(2_000);
    expect(device.rounds.length - before).toBeLessThanOrEqual(4);
  });

  test('is not read while the cache is full, and the reads left out are counted', async () => {
    ingest = around.run(device.source('plc', [second('unit 1', 'a')]));
    await around.pass(2_000);
    const before = device.rounds.length;
    around.pressed = true;
    await around.pass(5_000);
    expect(device.rounds.length).toBe(before);
    expect(ingest.states()[0]?.skipped).toBe(5);
    around.pressed = false;
    await around.pass(2_000);
    expect(device.rounds.length).toBe(before + 2);
  });
});

describe('a source that fails', () => {
  test('is tried for ever when it is down at start, is logged once, and its tags are bad once', async () => {
    device.refuses = true;
    ingest = around.run(device.source('plc', [second('unit 1', 'a', 'b')]));
    await around.pass(600_000, 500);
    expect(device.attempts).toBeGreaterThanOrEqual(600 / 16);
    expect(device.attempts).toBeLessThan(60);
    expect(around.logged.filter(({ level }) => level === 'warn')).toEqual([
      {
        level: 'warn',
        text: 'plc is down: connection refused',
        facts: expect.objectContaining({ code: 'fake.refused', hint: 'plug it in' }),
      },
    ]);
    expect(around.pushed.map(({ qualities }) => qualities)).toEqual([[Quality.commError, Quality.commError]]);
    expect(ingest.states()[0]).toMatchObject({ state: 'down', error: { code: 'fake.refused' } });
    device.refuses = false;
    await around.pass(31_000);
    expect(ingest.states()[0]).toMatchObject({ state: 'up' });
    expect(ingest.states()[0]?.error).toBeUndefined();
    expect(around.logged.at(-1)).toMatchObject({
      level: 'info',
      text: 'plc is connected again',
      facts: { downMs: expect.any(Number) },
    });
    expect(around.states.map(({ state }) => state)).toEqual(['down', 'up']);
  });

  test('is marked bad as soon as the cache has room for it, before anything else is said of its tags', async () => {
    ingest = around.run(device.source('plc', [second('unit 1', 'a')]));
    await around.pass(2_000);
    device.refuses = true;
    around.full = true;
    around.pressed = true;
    device.hangUp();
    await around.pass(60_000);
    expect(around.pushed.at(-1)?.qualities).toEqual([Quality.good]);
    around.full = false;
    around.pressed = false;
    await around.pass(2_000);
    expect(around.pushed.at(-1)?.qualities).toEqual([Quality.commError]);
    device.refuses = false;
    await around.pass(60_000);
    expect(around.pushed.filter(({ qualities }) => qualities.includes(Quality.commError))).toHaveLength(1);
  });

  test('is not called bad late, when it was read again', async () => {
    ingest = around.run(device.source('plc', [second('unit 1', 'a')]));
    await around.pass(2_000);
    around.full = true;
    device.hangUp();
    await around.pass(20_000);
    expect(ingest.states()[0]).toMatchObject({ state: 'up' });
    around.full = false;
    await around.pass(3_000);
    expect(around.pushed.every(({ qualities }) => qualities.every((quality) => quality === Quality.good))).toBe(true);
  });

  test('marks its tags bad once when the connection is lost, and reads again over a new one', async () => {
    ingest = around.run(device.source('plc', [second('unit 1', 'a')]));
    await around.pass(2_000);
    device.refuses = true;
    device.hangUp();
    await around.pass(20_000);
    expect(around.pushed.filter(({ qualities }) => qualities.includes(Quality.commError))).toHaveLength(1);
    expect(device.closes).toBe(1);
    device.refuses = false;
    await around.pass(31_000);
    expect(around.pushed.at(-1)?.qualities).toEqual([Quality.good]);
    expect(device.opens - device.closes).toBe(1);
  });

  test.each([
    ['heeds', false],
    ['ignores', true],
  ])('that hangs is cut off by the time-out over all when it %s the signal', async (_, ignoresAbort) => {
    ingest = around.run(device.source('plc', [second('unit 1', 'a')], 'poll', 2_000));
    await settled();
    device.hangs = true;
    device.ignoresAbort = ignoresAbort;
    await around.pass(1_500);
    expect(ingest.states()[0]?.state).toBe('up');
    await around.pass(3_500);
    expect(ingest.states()[0]).toMatchObject({ state: 'down', error: { code: 'ingest.read_timeout' } });
    expect(device.closes).toBeGreaterThanOrEqual(1);
    // It takes connections all the while: that is no recovery, and no news for the log.
    await around.pass(60_000);
    expect(around.logged.filter(({ level }) => level !== 'debug')).toHaveLength(2);
    device.hangs = false;
    await around.pass(33_000);
    expect(ingest.states()[0]?.state).toBe('up');
    expect(device.opens - device.closes).toBe(1);
  });

  test('delays no other: neighbours of a dead, a hanging and a flooding source keep their grid', async () => {
    const [dead, hanging, flooding] = [
      new FakeDevice(around.clock),
      new FakeDevice(around.clock),
      new FakeDevice(around.clock),
    ];
    dead.refuses = true;
    hanging.hangs = true;
    hanging.ignoresAbort = true;
    ingest = around.run(
      dead.source('dead', [second('unit 1', 'a')]),
      hanging.source('hanging', [second('unit 1', 'a')]),
      flooding.source('flooding', [{ unit: 'unit 1', everyMs: 1, tags: ['a'] }]),
      device.source('plc', [second('unit 1', 'a')]),
    );
    await around.pass(20_000, 10);
    const times = device.rounds.slice(1).map(({ atMs }) => atMs);
    const lateness = times.map((at) => (at - (times[0] ?? 0)) % 1000);
    expect(times.length).toBeGreaterThanOrEqual(19);
    expect(Math.max(...lateness.map((late) => Math.min(late, 1000 - late)))).toBeLessThan(1e-3);
  });
});

describe('a unit that is dead', () => {
  const groups = [second('unit 1', 'a'), second('unit 2', 'b', 'c'), { unit: 'unit 2', everyMs: 60_000, tags: ['d'] }];

  test('is given up after three cycles, probed by its smallest group at 5, 10, 20, 40, 60 s, and its tags are bad once', async () => {
    ingest = around.run(device.source('bus', groups));
    await around.pass(1_000);
    device.deadUnits.add('unit 2');
    device.rounds.length = 0;
    await around.pass(240_000);
    expect(ingest.states()[0]).toMatchObject({
      state: 'degraded',
      units: [
        { unit: 'unit 1', state: 'up' },
        { unit: 'unit 2', state: 'down', error: { code: 'fake.timeout' } },
      ],
    });
    const cycles = device.rounds.filter(({ groups: read }) => read.includes(1));
    expect(cycles).toHaveLength(3);
    const probes = device.rounds
      .filter(({ groups: read }) => read.includes(2) && !read.includes(1))
      .map(({ atMs }) => atMs);
    const waits = probes.map((at, i) => Math.round((at - (probes[i - 1] ?? cycles[2]?.atMs ?? 0)) / 100) / 10);
    // random is 0.5: each wait is a tenth shorter.
    expect(waits).toEqual([4.5, 9, 18, 36, 54, 54, 54]);
    // The neighbour was read every second all the while.
    expect(device.rounds.filter(({ groups: read }) => read.includes(0)).length).toBeGreaterThanOrEqual(239);
    expect(around.logged.filter(({ level }) => level === 'warn').map(({ text }) => text)).toEqual([
      'bus, unit 2 does not answer: no reply',
    ]);
    const whole = around.pushed.filter(({ tags }) => tags.length === 3 && tags.includes('bus/d'));
    expect(whole).toHaveLength(1);
  });

  test('is read whole at once when a probe is answered', async () => {
    ingest = around.run(device.source('bus', groups));
    device.deadUnits.add('unit 2');
    await around.pass(10_000);
    expect(ingest.states()[0]?.state).toBe('degraded');
    device.deadUnits.clear();
    device.rounds.length = 0;
    await around.pass(10_000);
    const probe = device.rounds.findIndex(({ groups: read }) => read.includes(2));
    expect(device.rounds[probe + 1]).toEqual({ atMs: device.rounds[probe]?.atMs, groups: [1] });
    expect(ingest.states()[0]?.state).toBe('up');
    expect(around.logged.at(-1)).toMatchObject({ level: 'info', text: 'bus, unit 2 answers again' });
  });
});

test('stopping closes every session and pushes nothing more', async () => {
  const hanging = new FakeDevice(around.clock);
  hanging.hangs = true;
  ingest = around.run(device.source('plc', [second('unit 1', 'a')]), hanging.source('slow', [second('unit 1', 'a')]));
  await around.pass(3_000);
  const stopped = ingest.stop();
  const pushed = around.pushed.length;
  await around.pass(6_000);
  await stopped;
  expect([device.closes, hanging.closes]).toEqual([1, 1]);
  expect(around.pushed.length).toBe(pushed);
});

test('planned tags that do not fit the registry stop the start before anything is opened', () => {
  const many = Array.from({ length: 10_001 }, (_, i) => `t${i}`);
  expect(() => around.run(device.source('plc', [second('unit 1', ...many)]))).toThrow(
    expect.objectContaining({ code: 'registry.full' }),
  );
  expect(device.opens).toBe(0);
});
