import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { ManualClock } from '../../src/runtime/clock.ts';
import { chunk, FarSide, folder, openCore, request, START_MS, tag } from './rig.ts';

const HOUR_MS = 3_600_000;
const YEAR_MS = 365 * 24 * HOUR_MS;

let place: ReturnType<typeof folder>;
let clock: ManualClock;
let far: FarSide;

beforeEach(() => {
  place = folder();
  clock = new ManualClock(START_MS);
  far = new FarSide();
});
afterEach(() => place.remove());

/** Takes one reading, commits, and delivers everything. */
function pass(core: ReturnType<typeof openCore>): void {
  clock.advance(1000);
  core.add({ chunk: chunk([[0, clock.wallMs(), 1]]) });
  core.commit();
  for (const lane of ['alarm', 'live', 'backlog'] as const) {
    for (let batch = core.cut(request(lane)); batch !== undefined; batch = core.cut(request(lane))) {
      far.take(batch);
      core.acknowledge(batch.batchId, { code: 200, rows: batch.rows, duplicates: 0, incarnation: 'a' });
    }
  }
}

const steps = () => far.control.map(({ row }) => row).filter(({ type }) => type === 'CLOCK_STEP');

describe('a step of the wall clock', () => {
  test.each([
    ['a year on', YEAR_MS],
    ['an hour back', -HOUR_MS],
  ])('%s is said once, with where it was and by how much', (_, stepMs) => {
    const core = openCore(place.path, clock);
    core.registerTag(tag(0, 'plc/t'));
    pass(core);
    pass(core);
    clock.step(stepMs);
    const before = clock.wallMs() - stepMs;
    pass(core);
    pass(core);
    expect(steps()).toEqual([{ type: 'CLOCK_STEP', boot: '07'.repeat(16), at: before + 1000, stepMs }]);
    expect(core.stats().ledger.targets.cloud?.plc).toMatchObject({ delivered: 4, pending: 0, dropped: 0 });
    core.close();
  });

  test('small enough to be a slew is not worth a row', () => {
    const core = openCore(place.path, clock);
    core.registerTag(tag(0, 'plc/t'));
    for (let second = 0; second < 20; second++) {
      clock.step(400 * (second % 2 === 0 ? 1 : -1));
      pass(core);
    }
    expect(steps()).toEqual([]);
    core.close();
  });

  test('to a time that cannot be is a step, and the way back an offset', () => {
    const core = openCore(place.path, clock);
    core.registerTag(tag(0, 'plc/t'));
    pass(core);
    clock.step(-START_MS, false);
    pass(core);
    clock.step(START_MS, true);
    pass(core);
    expect(steps()).toMatchObject([{ stepMs: -START_MS }]);
    expect(far.control.filter(({ row }) => row.type === 'CLOCK_OFFSET')).toMatchObject([
      { row: { offsetMs: START_MS } },
    ]);
    core.close();
  });
});
