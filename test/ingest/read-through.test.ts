// Values that somebody asks for: one read however many ask, never at the cost of the schedule.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Ingest } from '../../src/ingest/index.ts';
import { ANSWER_MS, ASKERS_MAX } from '../../src/ingest/read-through.ts';
import { FakeDevice, type GroupSpec, Surroundings, settled } from './fake-source.ts';

const HOUR_MS = 3_600_000;
const every = (everyMs: number, unit: string, ...tags: string[]): GroupSpec => ({ unit, everyMs, tags });

let around: Surroundings;
let device: FakeDevice;
let ingest: Ingest;
beforeEach(() => {
  around = new Surroundings();
  device = new FakeDevice(around.clock);
});
afterEach(async () => {
  const stopped = ingest.stop();
  for (let i = 0; i < 3; i++) await around.pass(5_000, 5_000);
  await stopped;
});

async function run(...groups: GroupSpec[]): Promise<void> {
  ingest = around.run(device.source('plc', groups));
  await around.pass(2_000);
  device.rounds.length = 0;
}
const index = (name: string) => around.registry.byName(`plc/${name}`)?.index ?? -1;
const ask = (name: string, times = 1) => Promise.all(Array.from({ length: times }, () => ingest.ask(index(name))));

describe('a value that is asked for', () => {
  test('is read at once, once for a hundred who ask, and pushed as any other', async () => {
    await run(every(HOUR_MS, 'unit 1', 'a', 'b'), every(1000, 'unit 2', 'c'));
    const pushed = around.pushed.length;
    device.readMs = 30;
    const answers = ask('a', 100);
    await around.pass(100, 10);
    expect(new Set(await answers)).toEqual(new Set(['read']));
    expect(device.rounds.filter(({ groups }) => groups.includes(0))).toHaveLength(1);
    expect(around.pushed.slice(pushed).filter(({ tags }) => tags.includes('plc/a'))).toMatchObject([
      { tags: ['plc/a', 'plc/b'], qualities: [0, 0] },
    ]);
    expect(ingest.states()[0]).toMatchObject({ asked: 1, skipped: 0, overruns: 0 });
  });

  test('joins a read of its group that is under way, and one that is due within half a second', async () => {
    await run(every(10_000, 'unit 1', 'a'));
    const first = () => device.rounds[0]?.atMs ?? Number.NaN;
    while (device.rounds.length === 0) await around.pass(10, 10);
    const dueMs = first() + 10_000;
    device.readMs = 200;
    await around.pass(dueMs - around.clock.monoMs() - 300, 10);
    const before = ask('a', 10);
    await around.pass(350, 10);
    // Under way now.
    const during = ask('a', 10);
    expect(device.rounds).toHaveLength(2);
    await around.pass(200, 10);
    expect(new Set([...(await before), ...(await during)])).toEqual(new Set(['read']));
    expect(device.rounds.map(({ atMs }) => Math.round(atMs))).toEqual([first(), dueMs].map(Math.round));
  });

  test('of a unit that is given up is answered at once, and asks nothing', async () => {
    device.deadUnits.add('unit 2');
    await run(every(1000, 'unit 1', 'a'), every(1000, 'unit 2', 'b'), every(HOUR_MS, 'unit 2', 'c'));
    await around.pass(2_000);
    device.rounds.length = 0;
    expect(await ask('c', 50)).toEqual(Array.from({ length: 50 }, () => 'down'));
    expect(device.rounds).toEqual([]);
  });

  test('of a source without a connection, of a full cache, of a source that tells: each is answered at once', async () => {
    await run(every(HOUR_MS, 'unit 1', 'a'));
    around.pressed = true;
    expect(await ask('a')).toEqual(['full']);
    around.pressed = false;
    device.refuses = true;
    device.hangUp();
    await settled();
    expect(await ask('a')).toEqual(['down']);
    expect(await ingest.ask(12_345)).toBe('tells');
    expect(device.rounds).toEqual([]);
  });

  test('is answered without a reading when the connection breaks meanwhile, or the device takes its time', async () => {
    await run(every(HOUR_MS, 'unit 1', 'a'));
    device.hangs = true;
    const late = ask('a', 3);
    await around.pass(ANSWER_MS + 100);
    expect(await late).toEqual(['late', 'late', 'late']);
    const lost = ask('a', 3);
    await settled();
    device.hangUp();
    await settled();
    expect(await lost).toEqual(['down', 'down', 'down']);
  });

  test('keeps so many waiting, and turns the rest away', async () => {
    await run(every(HOUR_MS, 'unit 1', 'a'));
    device.readMs = 50;
    const answers = ask('a', ASKERS_MAX + 7);
    await around.pass(100, 10);
    const outcomes = await answers;
    expect(outcomes.filter((each) => each === 'read')).toHaveLength(ASKERS_MAX);
    expect(outcomes.filter((each) => each === 'busy')).toHaveLength(7);
  });
});

describe('a storm of questions', () => {
  test('moves no poll by more than one extra read, and takes at most a fifth of the time', async () => {
    const slow = Array.from({ length: 20 }, (_, i) => every(HOUR_MS, `unit ${i % 4}`, `s${i}`));
    await run(every(1000, 'unit 0', 'fast'), ...slow);
    device.readMs = 40;
    const startedMs = around.clock.monoMs();
    for (let i = 0; i < 1000; i++) {
      for (let s = 0; s < 20; s++) void ingest.ask(index(`s${s}`));
      await around.pass(20, 10);
    }
    const passedMs = around.clock.monoMs() - startedMs;
    const regular = device.rounds.filter(({ groups }) => groups.includes(0)).map(({ atMs }) => atMs);
    expect(regular.length).toBeGreaterThanOrEqual(Math.floor(passedMs / 1000) - 1);
    const late = regular.map((atMs) => ((atMs - (regular[0] ?? 0) + 500) % 1000) - 500);
    expect(Math.max(...late.map(Math.abs))).toBeLessThanOrEqual(50);
    expect(ingest.states()[0]).toMatchObject({ skipped: 0, overruns: 0 });
    const extra = device.rounds.filter(({ groups }) => groups.some((group) => group > 0));
    expect(extra.length).toBeGreaterThan(50);
    expect(extra.length * 40).toBeLessThanOrEqual(passedMs / 5 + 40);
    // One group a unit.
    for (const { groups } of extra) {
      const units = groups.filter((group) => group > 0).map((group) => (group - 1) % 4);
      expect(new Set(units).size).toBe(units.length);
    }
    // Everybody's turn comes.
    expect(new Set(extra.flatMap(({ groups }) => groups)).size).toBeGreaterThanOrEqual(20);
  });

  test('on a line that is never free rides with the polls, and still gets its answers', async () => {
    await run(every(100, 'unit 0', 'fast'), every(HOUR_MS, 'unit 1', 'slow'));
    device.readMs = 90;
    const answers: string[] = [];
    for (let i = 0; i < 300; i++) {
      void ingest.ask(index('slow')).then((outcome) => answers.push(outcome));
      await around.pass(100, 10);
    }
    expect(answers.filter((each) => each === 'read').length).toBeGreaterThan(200);
    const extra = device.rounds.filter(({ groups }) => groups.includes(1)).length;
    expect(extra).toBeGreaterThan(20);
    expect(extra).toBeLessThanOrEqual(300 / 5 + 1);
  });
});
