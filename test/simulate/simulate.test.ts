/** Stories of faults: two hundred in CI, the first forty of them wherever a person waits. `npm run simulate` tells more. */
import { describe, expect, jest, test } from '@jest/globals';
import { simulate } from '../../src/simulate/simulate.ts';

const SEEDS = process.env.CI === 'true' ? 200 : 40;
/** A second each, or several on a busy machine. A failure does not keep the other groups from telling theirs. */
const GROUP = 20;
const GROUPS = Array.from({ length: SEEDS / GROUP }, (_, i) => ({ first: i * GROUP + 1, last: (i + 1) * GROUP }));
/**
 * Known and not understood yet: a window counted again after a late reading has a wrong time-weighted mean in these stories
 * (docs/faults.md). Nothing else may be wrong in them, and when one of them comes right it has to leave this list.
 */
const WRONG_MEAN = new Set([119]);
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

  test.each(GROUPS)('every row is in the cloud once or explained, over the seeds $first to $last', async (group) => {
    for (let seed = group.first; seed <= group.last; seed++) {
      const { problems, lastEvents } = await simulate(seed);
      if (WRONG_MEAN.has(seed)) {
        expect(problems.filter((problem) => !/ the window of .*: (area|covered ms) /.test(problem))).toEqual([]);
        expect(problems).not.toEqual([]);
        continue;
      }
      if (problems.length === 0) continue;
      const again = `npm run simulate -- --seed ${seed} --verbose`;
      throw new Error([`seed ${seed}: ${problems.join('; ')}`, `replay: ${again}`, ...lastEvents].join('\n'));
    }
  });
});
