/** Stories of faults: two hundred in CI, the first forty of them wherever a person waits. `npm run simulate` tells more. */
import { describe, expect, jest, test } from '@jest/globals';
import { simulate } from '../../src/simulate/simulate.ts';

const SEEDS = process.env.CI === 'true' ? 200 : 40;
/** A slow machine may take its time. */
jest.setTimeout(600_000);

describe('gateway, network and cloud in simulated time', () => {
  test('the same seed tells the same story, on SQLite as in memory', async () => {
    for (const seed of [7, 8]) {
      const first = await simulate(seed);
      const again = await simulate(seed);
      expect(again).toEqual(first);
      expect(first.readings).toBeGreaterThan(100);
    }
    expect((await simulate(7)).hash).not.toBe((await simulate(9)).hash);
  });

  test(`every row is in the cloud once or explained, over ${SEEDS} seeds`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { problems, lastEvents } = await simulate(seed);
      if (problems.length === 0) continue;
      const again = `npm run simulate -- --seed ${seed} --verbose`;
      throw new Error([`seed ${seed}: ${problems.join('; ')}`, `replay: ${again}`, ...lastEvents].join('\n'));
    }
  });
});
