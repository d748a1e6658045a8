import { describe, expect, test } from '@jest/globals';
import type { AlarmRow } from '../../src/cache/types.ts';
import { Quality } from '../../src/reading.ts';
import { Plant, START_MS } from './plant.ts';

const states = (plant: Plant) =>
  plant
    .flush()
    .cache.alarms()
    .map(({ state }) => state);

describe('limits', () => {
  // One value a second; what the alarm did at each.
  test.each([
    ['is raised above the limit, not at it', { hi: { limit: 10 } }, [10, 10.1], ['-', 'raised']],
    ['clears at the limit without hysteresis', { hi: { limit: 10 } }, [11, 10], ['raised', 'cleared']],
    [
      'stays until it is back by the hysteresis',
      { hi: { limit: 10, hysteresis: 2 } },
      [11, 9, 8.1, 8],
      ['raised', '-', '-', 'cleared'],
    ],
    [
      'is raised below a low limit',
      { lo: { limit: 5, hysteresis: 1 } },
      [5, 4, 5.5, 6],
      ['-', 'raised', '-', 'cleared'],
    ],
    ['waits for the delay', { hi: { limit: 10, delay: '2s' } }, [11, 11, 11], ['-', '-', 'raised']],
    [
      'starts the delay anew when the value was back',
      { hi: { limit: 10, delay: '2s' } },
      [11, 11, 9, 11, 11, 11],
      ['-', '-', '-', '-', '-', 'raised'],
    ],
    ['is raised once', { hi: { limit: 10 } }, [11, 12, 13], ['raised', '-', '-']],
  ])('an alarm %s', (_, alarm, values, expected) => {
    for (const periodMs of [1_000, undefined]) {
      const plant = new Plant();
      const tag = plant.tag('t', 'float64', { alarm }, periodMs);
      const seen = values.map((value) => {
        const before = plant.shownAlarms.length;
        plant.push({ tag, value });
        plant.clock.advance(1_000);
        return plant.shownAlarms[before]?.[1] ?? '-';
      });
      expect(seen).toEqual(expected);
    }
  });

  test('tell in words, with value and limit, under a stable id', () => {
    const plant = new Plant();
    const tag = plant.registry.register(
      'plc',
      { name: 'plc/oil', type: 'int64', unit: '°C' },
      {
        priority: 'normal',
        alarm: { hi: { limit: 80, hysteresis: 0, delay: 0 } },
      },
    );
    plant.push({ tag: tag ?? -1, value: 85n });
    plant.push({ tag: tag ?? -1, value: 70n });
    plant.flush();
    expect(plant.cache.appends.flatMap(({ alarms = [] }) => alarms)).toEqual([
      {
        type: 'ALARM',
        id: 'plc/oil:hi',
        tag: 'plc/oil',
        condition: 'hi',
        state: 'raised',
        at: START_MS,
        value: 85,
        limit: 80,
        text: 'plc/oil is 85 °C, above 80 °C',
      },
      {
        type: 'ALARM',
        id: 'plc/oil:hi',
        tag: 'plc/oil',
        condition: 'hi',
        state: 'cleared',
        at: START_MS,
        value: 70,
        limit: 80,
        text: 'plc/oil is back at 70 °C',
      },
    ]);
  });

  test('see what the deadband thins, and nothing in a bad reading', () => {
    const plant = new Plant();
    const tag = plant.tag('t', 'float64', { deadband: 5, alarm: { hi: { limit: 10 }, lo: { limit: -1 } } });
    plant.push({ tag, value: 9 });
    plant.push({ tag, value: 11 });
    plant.push({ tag, value: 0, quality: Quality.commError });
    expect(states(plant)).toEqual(['raised']);
  });

  test('of polled tags are not fooled by a step of the wall clock', () => {
    const plant = new Plant();
    const tag = plant.tag('t', 'float64', { alarm: { hi: { limit: 10, delay: '1h' } } }, 1_000);
    plant.push({ tag, value: 11 });
    plant.clock.step(365 * 86_400_000);
    plant.push({ tag, value: 11 });
    expect(states(plant)).toEqual([]);
    plant.clock.advance(3_600_000);
    plant.push({ tag, value: 11 });
    expect(states(plant)).toEqual(['raised']);
  });

  test('of tags that tell count the time of the readings, which may come all at once', () => {
    const plant = new Plant();
    const tag = plant.tag('t', 'float64', { alarm: { hi: { limit: 10, delay: '2s' } } });
    plant.push(...[0, 1_000, 2_000].map((ms) => ({ tag, value: 11, timeMs: START_MS - 5_000 + ms })));
    expect(plant.flush().cache.alarms()).toMatchObject([{ state: 'raised', at: START_MS - 3_000 }]);
  });
});

describe('acknowledging', () => {
  test('is recorded once, with who did it, and the alarm stays active', () => {
    const plant = new Plant();
    const tag = plant.tag('t', 'float64', { alarm: { hi: { limit: 10 } } });
    expect(plant.pipeline.acknowledge('plc/t:hi', 'anna')).toBe(false);
    plant.push({ tag, value: 11 });
    expect(plant.pipeline.acknowledge('plc/t:hi', 'anna')).toBe(true);
    expect(plant.pipeline.acknowledge('plc/t:hi', 'ben')).toBe(false);
    expect(plant.pipeline.activeAlarms()).toMatchObject([{ id: 'plc/t:hi', state: 'acknowledged', by: 'anna' }]);
    plant.push({ tag, value: 1 });
    expect(states(plant)).toEqual(['raised', 'acknowledged', 'cleared']);
    expect(plant.pipeline.activeAlarms()).toEqual([]);
  });
});

describe('sources', () => {
  const health = (state: 'connecting' | 'up' | 'degraded' | 'down', unit: 'up' | 'down' = 'up') => ({
    source: 'plc',
    state,
    error: { message: 'refused' },
    units: [{ unit: 'unit 3', state: unit, error: { message: 'no reply' } }],
  });

  test('raise an alarm when they are down for ten seconds, and clear it at once', () => {
    const plant = new Plant();
    plant.pipeline.sourceState(health('down'));
    plant.clock.advance(9_000);
    plant.pipeline.sourceState(health('up'));
    plant.clock.advance(60_000);
    expect(states(plant)).toEqual([]);
    plant.pipeline.sourceState(health('down'));
    plant.clock.advance(10_000);
    plant.pipeline.sourceState(health('up'));
    expect(plant.flush().cache.alarms()).toMatchObject([
      { id: 'plc:fault', state: 'raised', text: 'plc is down: refused' },
      { id: 'plc:fault', state: 'cleared', text: 'plc answers again' },
    ]);
  });

  test('have an alarm for each dead unit, but not while all is dead', () => {
    const plant = new Plant();
    plant.pipeline.sourceState(health('down', 'down'));
    plant.clock.advance(30_000);
    plant.pipeline.sourceState(health('degraded', 'down'));
    plant.clock.advance(30_000);
    plant.pipeline.sourceState(health('up'));
    expect(
      plant
        .flush()
        .cache.alarms()
        .map(({ id, state }) => `${id} ${state}`),
    ).toEqual(['plc:fault raised', 'plc:fault cleared', 'plc:fault:unit 3 raised', 'plc:fault:unit 3 cleared']);
  });
});

describe('after a restart', () => {
  const row = (id: string, state: AlarmRow['state'], more: Partial<AlarmRow> = {}): AlarmRow => ({
    type: 'ALARM',
    id,
    tag: id.split(':')[0] ?? '',
    condition: 'hi',
    state,
    at: 1,
    text: 'before',
    ...more,
  });

  test('what was active is active, is told again, and clears by the value', () => {
    const plant = new Plant(
      {},
      {
        alarms: [
          row('plc/t:hi', 'raised'),
          row('plc/u:hi', 'raised'),
          row('plc/u:hi', 'cleared'),
          row('plc/t:hi', 'acknowledged', { by: 'anna' }),
        ],
      },
    );
    expect(plant.shownAlarms).toEqual([['plc/t:hi', 'acknowledged']]);
    const tag = plant.tag('t', 'float64', { alarm: { hi: { limit: 10 } } });
    plant.push({ tag, value: 11 });
    plant.push({ tag, value: 1 });
    expect(states(plant)).toEqual(['acknowledged', 'cleared']);
  });

  test('alarms of limits and sources that are gone are cleared', () => {
    const plant = new Plant({}, { alarms: [row('plc/t:hi', 'raised'), row('old/t:hi', 'raised')], sources: ['plc'] });
    plant.push({ tag: plant.tag('t'), value: 1 });
    expect(
      plant
        .flush()
        .cache.alarms()
        .map(({ id, state }) => `${id} ${state}`),
    ).toEqual(['plc/t:hi raised', 'old/t:hi raised', 'old/t:hi cleared', 'plc/t:hi cleared']);
  });

  test('alarms of the box itself start afresh', () => {
    const { tag: _, ...own } = row('uplink:held', 'raised');
    const plant = new Plant({}, { alarms: [own], sources: ['plc'] });
    plant.pipeline.gatewayAlarm('uplink:held', true, 'the cloud refuses our key');
    plant.pipeline.gatewayAlarm('uplink:held', true, 'the cloud refuses our key');
    plant.pipeline.gatewayAlarm('uplink:held', false, 'delivering again');
    expect(states(plant)).toEqual(['raised', 'cleared', 'raised', 'cleared']);
  });

  test('a source that is still connecting leaves its alarm as it was', () => {
    const plant = new Plant({}, { alarms: [{ ...row('plc:fault', 'raised'), source: 'plc', condition: 'fault' }] });
    plant.pipeline.sourceState({ source: 'plc', state: 'connecting', units: [] });
    expect(plant.pipeline.activeAlarms()).toHaveLength(1);
  });
});
