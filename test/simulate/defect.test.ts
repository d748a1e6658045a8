// What a bug of ours throws in the simulated worker must not pass for one of the crashes that the story makes anyway.
import { expect, test } from '@jest/globals';
import type { CacheCore } from '../../src/cache/core.ts';
import { SluiceError } from '../../src/errors.ts';
import { ManualClock } from '../../src/runtime/clock.ts';
import { localCache } from '../../src/simulate/local-cache.ts';
import { Random } from '../../src/simulate/random.ts';

function cacheThat(throws: () => never): { defects: string[]; run: () => Promise<void> } {
  const clock = new ManualClock();
  const defects: string[] = [];
  const run = new Uint8Array(16);
  // Only what is called here.
  const core = {
    runs: { current: { run, boot: run } },
    commit: throws,
    backlog: throws,
    add: () => {},
    uncommitted: () => {},
    forgetting: { step: () => false, takeDone: () => [] },
  };
  const { client: cache } = localCache({
    core: core as unknown as CacheCore,
    clock,
    random: new Random(1),
    commitIntervalMs: 1000,
    uncommittedBytesMax: 1_000_000,
    onDefect: (error) => void defects.push(error.message),
    writeBudget: 1_000_000_000,
    forgets: new Map(),
    onForgotten: () => {},
  });
  const settle = async () => {
    for (let i = 0; i < 50; i++) {
      clock.advance(100);
      await Promise.resolve();
    }
  };
  return {
    defects,
    run: async () => {
      cache.append({ counts: [] });
      cache.backlog('cloud').catch(() => {});
      cache.committed().catch(() => {});
      await settle();
    },
  };
}

test('a TypeError in a call and in a commit is told, a disk that fails is not', async () => {
  const broken = cacheThat(() => {
    throw new TypeError('x is undefined');
  });
  await broken.run();
  expect(broken.defects).toEqual(['x is undefined', 'x is undefined']);
  const disk = cacheThat(() => {
    throw new SluiceError('cache.disk', 'stop', 'the simulated disk failed');
  });
  await disk.run();
  expect(disk.defects).toEqual([]);
});
