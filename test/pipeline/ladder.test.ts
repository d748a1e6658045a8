// What the steps of the degradation ladder do in the pipeline.
import { describe, expect, test } from '@jest/globals';
import type { LadderLevel, LadderState } from '../../src/cache/types.ts';
import { ladderText, slowdownAt } from '../../src/pipeline/index.ts';
import { Plant } from './plant.ts';

const LEVELS: readonly LadderLevel[] = [0, 1, 2, 3, 4, 5];

describe('deadbands', () => {
  test('of low-priority tags widen by 2, 4 and 8 and come back; others stay as they are', () => {
    const plant = new Plant();
    const low = plant.tag('low', 'float64', { deadband: 1, priority: 'low' });
    const normal = plant.tag('normal', 'float64', { deadband: 1 });
    const none = plant.tag('none', 'float64', { priority: 'low' });
    const kept = LEVELS.map((level) => {
      plant.pipeline.ladder(level);
      const before = plant.flush().cache.rows().length;
      for (let i = 0; i < 64; i++) {
        plant.clock.advance(100);
        for (const tag of [low, normal, none]) plant.push({ tag, value: level * 1000 + i });
      }
      const rows = plant.flush().cache.rows().slice(before);
      return [low, normal, none].map((tag) => rows.filter((row) => row.tag === tag && row.quality < 128).length);
    });
    expect(kept.slice(0, 5)).toEqual([
      [64, 64, 64],
      [64, 64, 64],
      [32, 64, 64],
      [16, 64, 64],
      [8, 64, 64],
    ]);
    // Level 5 takes none at all.
    expect(kept[5]).toEqual([0, 0, 0]);
    plant.pipeline.ladder(0);
    plant.push({ tag: low, value: 9001 }, { tag: low, value: 9002 });
    expect(
      plant
        .flush()
        .cache.rows()
        .slice(-2)
        .map(({ quality }) => quality),
    ).toEqual([0, 0]);
    plant.cache.ledger();
  });
});

describe('level 5', () => {
  test('takes nothing, counts it at once, and shows and judges it all the same', () => {
    const plant = new Plant();
    const tag = plant.tag('x', 'float64', { alarm: { hi: { limit: 10 } } });
    plant.push({ tag, value: 1 });
    plant.flush();
    plant.pipeline.ladder(5);
    expect(plant.pipeline.pressed()).toBe(true);
    expect(plant.push({ tag, value: 11 }, { tag, value: 12 })).toBe(false);
    plant.flush();
    expect(plant.cache.rows()).toHaveLength(1);
    expect(plant.cache.ledger()).toEqual({ received: 3, rejected: 2, duplicate: 0, thinned: 0, accepted: 1 });
    expect(plant.pipeline.rejections().get('no_room')).toBe(2);
    expect(plant.hot.at(-1)).toMatchObject({ value: 12 });
    expect(plant.cache.alarms()).toMatchObject([{ id: 'plc/x:hi', state: 'raised' }]);
    plant.pipeline.ladder(4);
    expect(plant.pipeline.pressed()).toBe(false);
    expect(plant.push({ tag, value: 5 })).toBe(true);
  });

  test('a message that waits for its acknowledgement is not taken with its receipt', () => {
    const plant = new Plant();
    const tag = plant.tag('x');
    plant.pipeline.ladder(5);
    expect(plant.push({ tag, value: 1 })).toBe(false);
    expect(plant.flush().cache.appends.every(({ receipts }) => receipts === undefined)).toBe(true);
  });
});

describe('the alarm of the box', () => {
  test('changes its text as it goes, is raised anew when it gets worse, and stays acknowledged when it gets better', () => {
    const plant = new Plant();
    const states = () => plant.pipeline.activeAlarms().map(({ state, text, by }) => [state, text, by]);
    plant.pipeline.gatewayAlarm('storage/pressure', true, 'level 1', true);
    expect(plant.pipeline.acknowledge('storage/pressure', 'anna')).toBe(true);
    plant.pipeline.gatewayAlarm('storage/pressure', true, 'level 2', true);
    expect(states()).toEqual([['raised', 'level 2', undefined]]);
    expect(plant.pipeline.acknowledge('storage/pressure', 'anna')).toBe(true);
    plant.pipeline.gatewayAlarm('storage/pressure', true, 'level 1');
    plant.pipeline.gatewayAlarm('storage/pressure', true, 'level 1');
    expect(states()).toEqual([['acknowledged', 'level 1', 'anna']]);
    plant.pipeline.gatewayAlarm('storage/pressure', false, 'room again');
    expect(states()).toEqual([]);
    expect(
      plant
        .flush()
        .cache.alarms()
        .map(({ state, text }) => `${state} ${text}`),
    ).toEqual([
      'raised level 1',
      'acknowledged level 1',
      'raised level 2',
      'acknowledged level 2',
      'acknowledged level 1',
      'cleared room again',
    ]);
  });

  test('says level, cause and what is done, for every level and cause', () => {
    for (const level of LEVELS) {
      for (const cause of ['disk', 'free_disk', 'memory', 'age', 'full'] as const) {
        const state: LadderState = { level, cause, disk: 0.834, memory: 0.5, age: 0.91 };
        const text = ladderText(state);
        if (level === 0) expect(text).toMatch(/has room again/);
        else expect(text).toMatch(new RegExp(`level ${level} of 5: .+ What is done: .+`));
      }
      expect(slowdownAt(level)).toBe([1, 1, 2, 4, 8, 8][level]);
    }
    const text = ladderText({ level: 3, cause: 'disk', disk: 0.834, memory: 0, age: 0 });
    expect(text).toMatch(/83 % of the space for readings/);
    expect(text).toMatch(/averages of a minute; low-priority tags are read 4 times less often/);
  });
});
