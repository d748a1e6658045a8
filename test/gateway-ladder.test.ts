// The gateway follows the cache's ladder with all its parts, and tells people once a step.
import { expect, test } from '@jest/globals';
import type { CacheStats, LadderState } from '../src/cache/types.ts';
import { followLadder } from '../src/gateway-ladder.ts';

function state(level: LadderState['level'], cause: LadderState['cause'] = 'disk'): LadderState {
  return { level, cause, disk: 0.1 + level * 0.18, memory: 0, age: 0 };
}

/** All parts, writing down what they are told. */
function gateway(atStart: LadderState) {
  const told: unknown[] = [];
  let listener: (state: LadderState) => void = () => {};
  let tags: number[] = [];
  const followers = {
    cache: {
      onLadder: (each: typeof listener) => {
        listener = each;
      },
      stats: async () => ({ ladder: atStart }) as CacheStats,
    },
    pipeline: {
      ladder: (level: number) => told.push(['pipeline', level]),
      gatewayAlarm: (id: string, isActive: boolean, _: string, isWorse?: boolean) => told.push([id, isActive, isWorse]),
    },
    uplink: { press: (isPressed: boolean) => told.push(['uplink', isPressed]) },
    hot: { slowed: (factor: number, indexes: readonly number[]) => told.push(['hot', factor, indexes]) },
    slowable: () => tags,
    logger: {
      info: (_: object, text: string) => told.push(['info', /level \d|room again/.exec(text)?.[0]]),
      warn: (_: object, text: string) => told.push(['warn', /level \d|room again/.exec(text)?.[0]]),
    } as unknown as Parameters<typeof followLadder>[0]['logger'],
  };
  const taken = () => told.splice(0);
  return { followers, taken, step: (to: LadderState) => listener(to), know: (indexes: number[]) => (tags = indexes) };
}

test('each step up warns, each step down informs, and the alarm is there from level 1 on', async () => {
  const { followers, taken, step, know } = gateway(state(0));
  const ladder = await followLadder(followers);
  expect(taken()).toEqual([]);
  know([3, 4]);
  ladder.sourcesKnown();
  expect(taken()).toEqual([['hot', 1, [3, 4]]]);
  step(state(1));
  expect(taken()).toEqual([
    ['pipeline', 1],
    ['uplink', true],
    ['hot', 1, [3, 4]],
    ['warn', 'level 1'],
    ['storage/pressure', true, true],
  ]);
  step(state(4, 'age'));
  step(state(4, 'disk'));
  step(state(5, 'full'));
  step(state(2));
  expect(taken().filter((each) => (each as string[])[0] !== 'uplink' && (each as string[])[0] !== 'pipeline')).toEqual([
    ['hot', 8, [3, 4]],
    ['warn', 'level 4'],
    ['storage/pressure', true, true],
    ['hot', 8, [3, 4]],
    ['warn', 'level 5'],
    ['storage/pressure', true, true],
    ['hot', 2, [3, 4]],
    ['info', 'level 2'],
    ['storage/pressure', true, false],
  ]);
  step(state(0));
  expect(taken()).toEqual([
    ['pipeline', 0],
    ['uplink', false],
    ['hot', 1, [3, 4]],
    ['info', 'room again'],
    ['storage/pressure', false, false],
  ]);
});

test('a gateway that starts on a full disk is closed before any source is asked', async () => {
  const { followers, taken } = gateway(state(5));
  await followLadder(followers);
  expect(taken()).toEqual([
    ['pipeline', 5],
    ['uplink', true],
    ['hot', 8, []],
    ['warn', 'level 5'],
    ['storage/pressure', true, true],
  ]);
});
