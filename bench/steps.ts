/**
 * How long the cache's thread is deaf at most: the longest commit that takes an acknowledgement of a part of a rolled block,
 * and the longest step of what it does in the background. 500 tags at 1 Hz, the core on a real file; time of this thread's
 * process, so that a busy disk or neighbour does not count.
 */
import { CacheCore, type CoreOptions } from '../src/cache/core.ts';
import { openDatabase } from '../src/cache/database.ts';
import { makeFolder } from '../src/cache/folder.ts';
import { SqliteStore } from '../src/cache/store-sqlite.ts';
import { cacheSchema } from '../src/config/cache.ts';
import { ManualClock } from '../src/runtime/clock.ts';
import { generateCloudKey, generateDeviceKey, toPublic } from '../src/wire/keys.ts';
import { undoing } from './cleanup.ts';
import { PLANT_SOURCE, sliceTrace, TYPES } from './plant-chunks.ts';
import { type PlantTrace, plantTrace, tags } from './plant-trace.mjs';
import type { BenchResult } from './result.ts';

const SECONDS = 420;
const SECOND_MS = 1000;
const RUN_BYTES = 16;
const STEP_MS_MAX = 10;
const BATCH_ROWS = 10_000;
const MICROSECONDS_A_MS = 1000;
/** The first of each kind compiles what it runs. */
const ROUNDS = 2;

type Longest = Map<string, number>;

export async function benchSteps(): Promise<BenchResult[]> {
  const trace = plantTrace({ seconds: SECONDS });
  let longest: Longest = new Map();
  for (let round = 0; round < ROUNDS; round++) {
    longest = new Map();
    for (const work of [acknowledged, forgotten, thinned])
      await undoing(async (undo) => work(undo.folder(), trace, longest));
  }
  return [...longest].map(([what, value]) => ({
    name: `cache: longest ${what}`,
    value,
    unit: 'ms',
    target: STEP_MS_MAX,
  }));
}

function timed<T>(longest: Longest, what: string, work: () => T): T {
  const before = process.cpuUsage();
  const result = work();
  const { user, system } = process.cpuUsage(before);
  const ms = (user + system) / MICROSECONDS_A_MS;
  longest.set(what, Math.max(ms, longest.get(what) ?? 0));
  return result;
}

function open(
  path: string,
  clock: ManualClock,
  priority: 'normal' | 'low',
  more: Partial<CoreOptions> = {},
): CacheCore {
  makeFolder(path);
  const core = new CacheCore(new SqliteStore(openDatabase(path)), {
    ...cacheSchema.parse({ path, bytesMax: '4GB' }),
    clock,
    boot: new Uint8Array(RUN_BYTES),
    targets: [{ name: 'cloud', required: true }],
    device: generateDeviceKey(),
    version: 'bench',
    reason: 'start',
    ...more,
  });
  core.setRecipient('cloud', toPublic(generateCloudKey()));
  for (const { id, name, kind } of tags) {
    const definition = { name: name.replace(/^[^/]*/, PLANT_SOURCE), type: TYPES[kind] };
    core.registerTag({ index: id, source: PLANT_SOURCE, definition, fields: { priority }, periodMs: SECOND_MS });
  }
  return core;
}

/** Committed by the second, and nothing of it delivered. */
function fill(core: CacheCore, clock: ManualClock, trace: PlantTrace): void {
  for (let row = 0; row < trace.length; row += tags.length) {
    clock.advance(SECOND_MS);
    core.add({ chunk: sliceTrace(trace, row, row + tags.length, 0) });
    core.commit();
  }
}

function roll(core: CacheCore, clock: ManualClock, longest: Longest): void {
  clock.advance(180 * SECOND_MS);
  while (timed(longest, 'step of rolling up', () => core.rollUp()));
}

function acknowledged(path: string, trace: PlantTrace, longest: Longest): void {
  const clock = new ManualClock(trace.timeMs[0] ?? 0);
  const core = open(path, clock, 'normal');
  fill(core, clock, trace);
  roll(core, clock, longest);
  const request = {
    target: 'cloud',
    lane: 'backlog' as const,
    rowsMax: BATCH_ROWS,
    bytesMax: 1_000_000,
    liveMs: 10_000,
  };
  for (;;) {
    const batch = timed(longest, 'cut of 10,000 rows of a rolled block', () => core.cut(request));
    if (batch === undefined) break;
    timed(longest, 'commit with an acknowledgement of 10,000 rows of a rolled block', () => {
      core.acknowledge(batch.batchId, { code: 0, rows: 0, duplicates: 0, incarnation: '00' });
      core.commit();
    });
    clock.advance(SECOND_MS);
  }
  core.close();
}

function forgotten(path: string, trace: PlantTrace, longest: Longest): void {
  const clock = new ManualClock(trace.timeMs[0] ?? 0);
  const core = open(path, clock, 'normal');
  fill(core, clock, trace);
  roll(core, clock, new Map());
  const [name = ''] = tags.map((tag) => tag.name.replace(/^[^/]*/, PLANT_SOURCE));
  core.forgetting.request({ id: 'a', tag: name, reason: 'a measurement', by: 'bench', atMs: clock.wallMs() });
  while (timed(longest, 'step of forgetting a tag', () => core.forgetting.step()));
  core.close();
}

function thinned(path: string, trace: PlantTrace, longest: Longest): void {
  const clock = new ManualClock(trace.timeMs[0] ?? 0);
  const core = open(path, clock, 'low');
  fill(core, clock, trace);
  roll(core, clock, new Map());
  core.close();
  const smaller = open(path, clock, 'low', { bytesMax: 240_000 });
  clock.advance(2 * SECOND_MS);
  for (let steps = 0; steps < 50 && timed(longest, 'step of the ladder', () => smaller.ladderStep()); steps++);
  smaller.close();
}
