import { describe, expect, test } from '@jest/globals';
import { History } from '../../src/plant/history.ts';
import { PLANT_TAGS, PlantModel, SENSOR_COUNT, sensorMessage, sensorReading } from '../../src/plant/model.ts';

function run(seed: number, steps: number, startMs = 0): PlantModel {
  const model = new PlantModel({ seed });
  for (let step = 1; step <= steps; step++) model.step(startMs + step * 100);
  return model;
}

function snapshot(model: PlantModel) {
  return PLANT_TAGS.map(({ unit, name }) => model.value(unit, name));
}

describe('the simulated plant', () => {
  test('is the same for the same seed and step, whatever the clock says', () => {
    expect(snapshot(run(7, 300, 1e12))).toEqual(snapshot(run(7, 300)));
    expect(snapshot(run(8, 300))).not.toEqual(snapshot(run(7, 300)));
  });

  test('has every tag name once, in three units of different word order', () => {
    expect(new Set(PLANT_TAGS.map(({ name }) => name)).size).toBe(PLANT_TAGS.length);
    expect(new Set(PLANT_TAGS.map(({ unit, order }) => `${unit} ${order}`)).size).toBe(3);
    expect(new Set(PLANT_TAGS.map(({ type }) => type)).size).toBe(10);
  });

  test('moves like a plant: within bounds, counters upwards, machines that start and stop', () => {
    const model = new PlantModel({ seed: 1 });
    const seen = { burner: new Set<unknown>(), pump: new Set<unknown>(), loaded: new Set<unknown>() };
    let [coldest, hottest] = [100, 0];
    let total = model.value(2, 'pump/total') as bigint;
    expect(total).toBeGreaterThan(2n ** 53n);
    for (let step = 1; step <= 6000; step++) {
      model.step(step * 100);
      seen.burner.add(model.value(1, 'boiler/burner'));
      seen.pump.add(model.value(2, 'pump/running'));
      seen.loaded.add(model.value(3, 'compressor/loaded'));
      const flowTemp = model.value(1, 'boiler/flow_temp') as number;
      coldest = Math.min(coldest, flowTemp);
      hottest = Math.max(hottest, flowTemp);
      const next = model.value(2, 'pump/total') as bigint;
      if (next < total) throw new Error(`the total ran backwards at step ${step}`);
      total = next;
    }
    expect(coldest).toBeGreaterThan(55);
    expect(hottest).toBeLessThan(85);
    for (const states of Object.values(seen)) expect(states.size).toBe(2);
  });

  test('says exactly when a register held a value', () => {
    const model = new PlantModel({ seed: 3 });
    const first = model.value(2, 'pump/total') ?? null;
    model.step(1_000);
    const second = model.value(2, 'pump/total') ?? null;
    model.step(1_100);
    const third = model.value(2, 'pump/total') ?? null;
    model.step(1_200);
    expect(new Set([first, second, third]).size).toBe(3);
    expect(model.held(2, 'pump/total', first, 0, 999)).toBe(true);
    expect(model.held(2, 'pump/total', second, 0, 999)).toBe(false);
    expect(model.held(2, 'pump/total', second, 1_050, 1_060)).toBe(true);
    expect(model.held(2, 'pump/total', second, 1_101, 5_000)).toBe(false);
    expect(model.held(2, 'pump/total', third, 1_050, 1_250)).toBe(true);
    expect(model.held(2, 'no/such', third, 1_050, 1_250)).toBe(false);
    expect(model.held(3, 'pump/total', third, 1_050, 1_250)).toBe(false);
  });

  test('forgets what is older than it promises to keep, and nothing younger', () => {
    const history = new History(1_000);
    for (let at = 0; at < 20_000; at++) history.record(at, at);
    expect(history.held(18_999, 18_999, 18_999)).toBe(true);
    expect(history.held(19_500, 19_400, 19_600)).toBe(true);
    expect(history.held(18_000, 0, 20_000)).toBe(false);
    expect(history.latest).toBe(19_999);
  });
});

describe('the climate sensors', () => {
  test('say the same thing for the same sequence number, in the agreed shape', () => {
    for (let sensor = 0; sensor < SENSOR_COUNT; sensor++) {
      const { t, h, p } = sensorReading(sensor, 41);
      expect(sensorReading(sensor, 41)).toEqual({ t, h, p, seq: 41 });
      expect(JSON.parse(sensorMessage(sensor, 41, 1_800_000_000_000))).toEqual({
        ts: 1_800_000_000_000,
        t,
        h,
        p,
        seq: 41,
      });
      expect(t).toBe(Number(t.toFixed(1)));
    }
  });

  test('differ from each other and move', () => {
    const readings = Array.from({ length: 100 }, (_, seq) => sensorReading(2, seq).t);
    expect(new Set(readings).size).toBeGreaterThan(5);
    expect(sensorReading(0, 5)).not.toEqual(sensorReading(9, 5));
  });
});
