/** What the seed decides once for a story, or for one fault of it. */
import { cacheSchema } from '../config/cache.ts';
import { uplinkSchema } from '../config/uplink.ts';
import type { BoxSettings } from './box.ts';
import type { Ambush } from './faulty-store.ts';
import type { Random } from './random.ts';

export const WINDOWS_MS: readonly number[] = [1000, 10_000, 60_000, 3_600_000];

export function ambush(random: Random): Ambush {
  const countdown = 1 + Math.floor(random.exponential(40));
  // What is on the disk already found room.
  if (random.chance(0.4)) return { countdown, at: random.pick(['write', 'before commit'] as const), what: 'no room' };
  const at = random.pick(['write', 'before commit', 'after commit'] as const);
  return { countdown, at, what: random.chance(0.8) ? 'crash' : 'disk error' };
}

export function settings(random: Random): BoxSettings {
  const cache = cacheSchema.parse({ path: '-', windows: WINDOWS_MS.map((ms) => `${ms}ms`) });
  // Small enough that history must make room for what comes; the smallest fills up in every outage.
  const bytesMax = random.chance(0.4) ? (random.chance(0.5) ? 140_000 : 400_000) : 2_000_000;
  return {
    uplink: uplinkSchema.parse({
      url: 'http://127.0.0.1:1',
      keys: { device: '-', cloud: '-' },
      cutInterval: random.pick(['1s', '5s']),
      liveMaxAge: random.pick(['2s', '10s']),
      rowsMax: random.pick([20, 200, 10_000]),
      timeout: random.pick(['5s', '60s']),
      backlogParallel: random.pick([1, 4]),
      codec: random.pick(['brotli', 'deflate']),
    }),
    commitIntervalMs: random.pick([250, 1000, 3000]),
    uncommittedBytesMax: random.chance(0.3) ? 20_000 : 1_000_000,
    core: {
      ...cache,
      bytesMax,
      diskFreeMin: 0,
      ageMax: random.pick([60_000, 86_400_000]),
      checkpointInterval: random.pick([5000, 600_000]),
      deadLettersMax: 50,
      // Small blocks all: as soon and as often as they may, or hardly ever.
      rollUp: random.pick([
        { ageMinMs: 0, rowsEnough: 60, rowsMin: 10, rowsMinAgeMs: 5_000, blocksMin: 2, blocksMinAgeMs: 5_000 },
        {
          ageMinMs: 10_000,
          rowsEnough: 1_000,
          rowsMin: 100,
          rowsMinAgeMs: 20_000,
          blocksMin: 8,
          blocksMinAgeMs: 60_000,
        },
      ]),
    },
  };
}
