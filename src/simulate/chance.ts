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

/** What a story is about, besides everything else: what presses on the cache. */
const THEMES = { plain: 50, disk: 24, 'free disk': 9, age: 10, memory: 7 } as const;
export type Theme = keyof typeof THEMES;

export function theme(random: Random): Theme {
  return random.weighted<Theme>(THEMES);
}

/** So little beyond an empty file fills up in every outage; no commit is a tenth of it. */
const SMALL_BYTES_MAX = [60_000, 80_000, 120_000] as const;
const SMALL_UNCOMMITTED_BYTES_MAX = 5000;

export function settings(random: Random, about: Theme): BoxSettings {
  const cache = cacheSchema.parse({ path: '-', windows: WINDOWS_MS.map((ms) => `${ms}ms`) });
  // Small enough that history must make room for what comes.
  const bytesMax =
    about === 'disk'
      ? random.pick(SMALL_BYTES_MAX)
      : about === 'plain' && random.chance(0.4)
        ? random.pick([60_000, 300_000])
        : 2_000_000;
  const isShortLived = about === 'age' || (about === 'plain' && random.chance(0.5));
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
    commitIntervalMs: random.pick(about === 'disk' ? [250, 1000] : about === 'memory' ? [3000] : [250, 1000, 3000]),
    uncommittedBytesMax: about === 'memory' ? SMALL_UNCOMMITTED_BYTES_MAX : random.chance(0.3) ? 20_000 : 1_000_000,
    writeBudget: random.chance(0.2) ? 100_000 : 1_000_000_000,
    core: {
      ...cache,
      bytesMax,
      diskFreeMin: random.pick([0, 50_000]),
      ageMax: isShortLived ? 60_000 : 86_400_000,
      checkpointInterval: random.pick([5000, 600_000]),
      deadLettersMax: 50,
      // Small blocks all: as soon and as often as they may, or hardly ever.
      thinning: { lookEveryRows: 6, gainRowsMin: 3, stepsKept: 3, deliveredBytesMax: 2_000 },
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
