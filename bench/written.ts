/**
 * What 500 tags at 1 Hz cost the card, with a cloud that acknowledges every 2 s: hours of it, by a clock that is set by hand,
 * so that checkpoints and the roll-up are in the figure. The cache's core on a real file; bytes by the kernel's account.
 */
import { CacheCore } from '../src/cache/core.ts';
import { openDatabase } from '../src/cache/database.ts';
import { makeFolder } from '../src/cache/folder.ts';
import { SqliteStore } from '../src/cache/store-sqlite.ts';
import { cacheSchema } from '../src/config/cache.ts';
import { ManualClock } from '../src/runtime/clock.ts';
import { generateCloudKey, generateDeviceKey, toPublic } from '../src/wire/keys.ts';
import { undoing } from './cleanup.ts';
import { registerPlantTags, sliceTrace } from './plant-chunks.ts';
import { type PlantTrace, plantTrace, tags } from './plant-trace.mjs';
import { since, usageOf } from './procfs.ts';
import type { BenchResult } from './result.ts';

const SECONDS = 3600;
const SECONDS_QUICK = 300;
const WARM_UP_SECONDS = 60;
const ACKNOWLEDGED_EVERY_MS = 2000;
const SECOND_MS = 1000;
const INTERVALS_MS = [250, 1000, 10_000];
/** At the default of 1 s. */
const BYTES_A_READING_MAX = 40;
const BACKGROUND_STEPS_MAX = 500;
const RUN_BYTES = 16;

export async function benchWritten({ quick }: { readonly quick: boolean }): Promise<BenchResult[]> {
  const seconds = quick ? SECONDS_QUICK : SECONDS;
  const trace = plantTrace({ seconds: seconds + WARM_UP_SECONDS });
  const results: BenchResult[] = [];
  for (const intervalMs of INTERVALS_MS) {
    const value = await undoing(async (undo) => measure(undo.folder(), trace, seconds, intervalMs));
    const name = `cache: written to the device, 500 tags at 1 Hz, acknowledged, commit ${intervalMs / SECOND_MS} s`;
    const isDefault = intervalMs === SECOND_MS;
    results.push({ name, value, unit: 'B/reading', ...(isDefault ? { target: BYTES_A_READING_MAX } : {}) });
  }
  return results;
}

async function measure(path: string, trace: PlantTrace, seconds: number, intervalMs: number): Promise<number> {
  makeFolder(path);
  const clock = new ManualClock(trace.timeMs[0] ?? 0);
  const core = new CacheCore(new SqliteStore(openDatabase(path)), {
    ...cacheSchema.parse({ path, bytesMax: '4GB' }),
    clock,
    boot: new Uint8Array(RUN_BYTES),
    targets: [{ name: 'cloud', required: true }],
    device: generateDeviceKey(),
    version: 'bench',
    reason: 'start',
  });
  core.setRecipient('cloud', toPublic(generateCloudKey()));
  registerPlantTags(core);
  let row = 0;
  const live = (untilSecond: number) => {
    const stepMs = Math.min(intervalMs, SECOND_MS);
    const rows = (tags.length * stepMs) / SECOND_MS;
    for (; row < untilSecond * tags.length; row += rows) {
      clock.advance(stepMs);
      core.add({ chunk: sliceTrace(trace, row, row + rows, 0) });
      const nowMs = ((row + rows) / tags.length) * SECOND_MS;
      if (nowMs % intervalMs === 0) core.commit();
      for (let steps = 0; steps < BACKGROUND_STEPS_MAX && core.rollUp(); steps++);
      if (nowMs % ACKNOWLEDGED_EVERY_MS === 0) deliver(core);
    }
  };
  live(WARM_UP_SECONDS);
  const before = usageOf(process.pid);
  live(WARM_UP_SECONDS + seconds);
  const { deviceBytes } = since(before, usageOf(process.pid));
  core.close();
  return deviceBytes / (seconds * tags.length);
}

function deliver(core: CacheCore): void {
  for (const lane of ['alarm', 'live', 'backlog'] as const) {
    const batch = core.cut({ target: 'cloud', lane, rowsMax: 10_000, bytesMax: 1_000_000, liveMs: 10_000 });
    if (batch !== undefined) core.acknowledge(batch.batchId, { code: 0, rows: 0, duplicates: 0, incarnation: '00' });
  }
}
