/** In process: columns in, durable out. Two measurements, each in a process of its own (in-process.ts). */
import { type CacheClient, openCache } from '../src/cache/index.ts';
import { cacheSchema } from '../src/config/cache.ts';
import { sleep, systemClock } from '../src/runtime/clock.ts';
import { undoing } from './cleanup.ts';
import { chunksOf, registerPlantTags, sliceTrace } from './plant-chunks.ts';
import { type PlantTrace, plantTrace, tags } from './plant-trace.mjs';
import { memoryOf, since, type Usage, usageOf } from './procfs.ts';
import type { BenchResult } from './result.ts';

const TRACE_SECONDS = 600;
const PASS_MS = TRACE_SECONDS * 1000;
const CHUNK_ROWS = 2000;
/** As many chunks as one turn of the event loop brings. */
const CHUNKS_A_TURN = 8;
/** What is made ahead of a round counts in the memory that is measured: 5 MB. */
const ROUND_ROWS = 250_000;
const ROUNDS = 12;
const ROUNDS_QUICK = 3;
const WARM_UP_ROWS = 600_000;
const READINGS_PER_SECOND_MIN = 1_000_000;
const MAIN_US_MAX = 0.1;
const RSS_MB_MAX = 150;

export interface CacheRun {
  readonly quick: boolean;
}

/** As fast as it goes. Chunks are made before the clock runs: making them is the generator's cost. */
export async function benchThroughput({ quick }: CacheRun): Promise<BenchResult[]> {
  const trace = plantTrace({ seconds: TRACE_SECONDS });
  return undoing(async (undo) => {
    const cache = await open(undo.folder());
    undo.add(() => cache.close());
    const warmUp = quick ? WARM_UP_ROWS / 4 : WARM_UP_ROWS;
    await feed(cache, trace, 0, warmUp);
    const stored = (await cache.stats()).bytesUsed;
    const count = quick ? ROUNDS_QUICK : ROUNDS;
    const rounds: Fed[] = [];
    for (let round = 0; round < count; round++)
      rounds.push(await feed(cache, trace, warmUp + round * ROUND_ROWS, ROUND_ROWS));
    const { bytesUsed } = await cache.stats();
    const sum = (of: (round: Fed) => number) => rounds.reduce((total, round) => total + of(round), 0);
    const readings = ROUND_ROWS * count;
    const cpuUs = sum(({ usage }) => usage.cpuUs);
    const mainUs = sum(({ usage }) => usage.mainUs);
    const perSecond = readings / sum(({ seconds }) => seconds);
    return [
      {
        name: 'cache: in process → durable',
        value: perSecond,
        unit: 'readings/s',
        target: READINGS_PER_SECOND_MIN,
        atLeast: true,
      },
      { name: 'cache: main thread', value: mainUs / readings, unit: 'µs/reading', target: MAIN_US_MAX },
      { name: 'cache: both threads', value: cpuUs / readings, unit: 'µs/reading' },
      ...written('at full speed', sum(({ usage }) => usage.deviceBytes) / readings),
      { name: 'cache: stored', value: (bytesUsed - stored) / readings, unit: 'B/reading' },
      { name: 'cache: RSS peak at full speed', value: memoryOf(process.pid).peakMb, unit: 'MB', target: RSS_MB_MAX },
    ];
  });
}

interface Fed {
  readonly seconds: number;
  readonly usage: Usage;
}

async function feed(cache: CacheClient, trace: PlantTrace, fromRow: number, rows: number): Promise<Fed> {
  const chunks = [...chunksOf(trace, { fromRow, rows, chunkRows: CHUNK_ROWS, passMs: PASS_MS })];
  const before = usageOf(process.pid);
  const startMs = performance.now();
  let inTurn = 0;
  for (const chunk of chunks) {
    while (!cache.accepting()) await nextTurn();
    cache.append({ chunk });
    if (++inTurn % CHUNKS_A_TURN === 0) await nextTurn();
  }
  await cache.committed();
  return { seconds: (performance.now() - startMs) / 1000, usage: since(before, usageOf(process.pid)) };
}

/** What a plant of 500 tags costs the card: one second of the trace a second, committed once a second. */
export async function benchPlantRate({ quick }: CacheRun): Promise<BenchResult[]> {
  const seconds = quick ? 3 : 20;
  const trace = plantTrace({ seconds: seconds + 2 });
  const laterMs = Date.now() - (trace.timeMs[0] ?? 0);
  return undoing(async (undo) => {
    const cache = await open(undo.folder());
    undo.add(() => cache.close());
    let at = 0;
    const second = async () => {
      cache.append({ chunk: sliceTrace(trace, at * tags.length, (at + 1) * tags.length, laterMs) });
      at++;
      await sleep(systemClock, 1000);
    };
    await second();
    await second();
    await cache.committed();
    const before = usageOf(process.pid);
    const { commits, bytesUsed } = await cache.stats();
    while (at < seconds + 2) await second();
    await cache.committed();
    const usage = since(before, usageOf(process.pid));
    const after = await cache.stats();
    const readings = seconds * tags.length;
    return [
      ...written('500 tags at 1 Hz, commit 1 s', usage.deviceBytes / readings),
      {
        name: 'cache: written to the device a commit of 500',
        value: usage.deviceBytes / (after.commits - commits),
        unit: 'B',
      },
      {
        name: 'cache: stored, 500 tags at 1 Hz, commit 1 s',
        value: (after.bytesUsed - bytesUsed) / readings,
        unit: 'B/reading',
      },
      { name: 'cache: CPU, 500 tags at 1 Hz', value: usage.cpuUs / readings, unit: 'µs/reading' },
    ];
  });
}

/** A file system in memory writes nothing. */
function written(when: string, value: number): BenchResult[] {
  return [{ name: `cache: written to the device, ${when}`, value, unit: 'B/reading' }];
}

async function open(path: string): Promise<CacheClient> {
  const config = cacheSchema.parse({ path, bytesMax: '4GB' });
  const cache = await openCache(config, { version: 'bench', targets: [{ name: 'cloud', required: true }] });
  registerPlantTags(cache);
  return cache;
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
