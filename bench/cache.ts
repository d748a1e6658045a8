/** The cache alone: columns in, durable out, on the main thread and its worker together. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CacheClient, openCache } from '../src/cache/index.ts';
import { cacheSchema } from '../src/config/cache.ts';
import type { Chunk } from '../src/reading.ts';
import { plantTrace, tags } from './plant-trace.mjs';
import type { BenchResult } from './result.ts';

const CHUNK_ROWS = 2000;
const SECONDS_OF_TRACE = 600;
/** Trace repeated this often, later in time each time. */
const PASSES = 12;
const PASS_MS = SECONDS_OF_TRACE * 1000;
const QUIET_SECONDS = 15;
const MB = 1e6;

export async function benchCache(): Promise<BenchResult[]> {
  const trace = plantTrace({ seconds: SECONDS_OF_TRACE });
  return [...(await throughput(trace)), ...(await atPlantRate(trace))];
}

type Trace = ReturnType<typeof plantTrace>;

function slice(trace: Trace, from: number, to: number, laterMs: number): Chunk {
  const length = to - from;
  const timeMs = trace.timeMs.slice(from, to);
  for (let i = 0; i < length; i++) timeMs[i] = (timeMs[i] ?? 0) + laterMs;
  return {
    length,
    tag: Uint32Array.from(trace.tag.subarray(from, to)),
    timeMs,
    value: trace.value.slice(from, to),
    quality: new Uint8Array(length),
    texts: [],
  };
}

async function open(path: string): Promise<CacheClient> {
  const config = cacheSchema.parse({ path, bytesMax: '4GB' });
  const cache = await openCache(config, { version: 'bench', targets: [{ name: 'cloud', required: true }] });
  for (const { id, name, kind } of tags) {
    const type = kind === 'state' ? 'bool' : kind === 'vibration' ? 'float32' : 'float64';
    cache.registerTag({
      index: id,
      source: 'plant1',
      definition: { name, type },
      fields: { priority: 'normal' },
      periodMs: 1000,
    });
  }
  return cache;
}

async function inFolder<T>(work: (path: string) => Promise<T>): Promise<T> {
  const path = mkdtempSync(join(process.env.BENCH_DIR ?? tmpdir(), 'sluice-bench-cache-'));
  try {
    return await work(path);
  } finally {
    rmSync(path, { recursive: true, force: true });
  }
}

/** As fast as it goes: chunks are made beforehand, the clock runs from the first append to the last commit. */
async function throughput(trace: Trace): Promise<BenchResult[]> {
  return inFolder(async (path) => {
    const cache = await open(path);
    await feed(cache, trace, 2, 0); // warm-up
    const cpu = process.cpuUsage();
    const written = bytesWritten();
    const { seconds, appendSeconds, rows } = await feed(cache, trace, PASSES, 2 * PASS_MS);
    const { user, system } = process.cpuUsage(cpu);
    const rss = process.memoryUsage().rss;
    const { bytesUsed, readingsCommitted, commitSeconds } = await cache.stats();
    const bytes = bytesWritten() - written;
    await cache.close();
    return [
      { name: 'cache: in process → durable', value: rows / seconds, unit: 'readings/s', target: 1_000_000 },
      { name: 'cache: CPU, both threads', value: (user + system) / rows, unit: 'µs/reading' },
      { name: 'cache: worker in commits', value: (commitSeconds * 1e6) / readingsCommitted, unit: 'µs/reading' },
      { name: 'cache: append, main thread', value: (appendSeconds * 1e6) / rows, unit: 'µs/reading', target: 0.1 },
      { name: 'cache: bytes written at full speed', value: bytes / rows, unit: 'B/reading' },
      { name: 'cache: file', value: bytesUsed / readingsCommitted, unit: 'B/reading' },
      { name: 'cache: RSS at full speed', value: rss / MB, unit: 'MB' },
    ];
  });
}

async function feed(cache: CacheClient, trace: Trace, passes: number, laterMs: number) {
  let rows = 0;
  let appendMs = 0;
  const started = performance.now();
  let making = 0;
  for (let pass = 0; pass < passes; pass++) {
    for (let from = 0; from < trace.length; from += CHUNK_ROWS) {
      const makingFrom = performance.now();
      const chunk = slice(trace, from, Math.min(from + CHUNK_ROWS, trace.length), laterMs + pass * PASS_MS);
      making += performance.now() - makingFrom;
      while (!cache.accepting()) await new Promise((resolve) => setImmediate(resolve));
      const appendFrom = performance.now();
      rows += chunk.length;
      cache.append({ chunk });
      appendMs += performance.now() - appendFrom;
      // The sources' turn of the event loop, in which the messages go out: their cost is the main thread's as well.
      if (from % (CHUNK_ROWS * 8) === 0) {
        const turn = performance.now();
        await new Promise((resolve) => setImmediate(resolve));
        appendMs += performance.now() - turn;
      }
    }
  }
  await cache.committed();
  return { rows, seconds: (performance.now() - started) / 1000, appendSeconds: appendMs / 1000, making };
}

/** What a plant of 500 tags costs the card: one second of the trace a second, committed once a second. */
async function atPlantRate(trace: Trace): Promise<BenchResult[]> {
  return inFolder(async (path) => {
    const cache = await open(path);
    const second = (at: number) => slice(trace, at * tags.length, (at + 1) * tags.length, 0);
    cache.append({ chunk: second(0) });
    await cache.committed();
    const written = bytesWritten();
    const cpu = process.cpuUsage();
    for (let at = 1; at <= QUIET_SECONDS; at++) {
      cache.append({ chunk: second(at) });
      await cache.committed();
    }
    const rows = QUIET_SECONDS * tags.length;
    const { user, system } = process.cpuUsage(cpu);
    const bytes = bytesWritten() - written;
    await cache.close();
    return [
      { name: 'cache: bytes written, 500 tags at 1 Hz, commit 1 s', value: bytes / rows, unit: 'B/reading' },
      { name: 'cache: bytes written a commit of 500', value: bytes / QUIET_SECONDS, unit: 'B' },
      { name: 'cache: CPU at 500 tags, commit 1 s', value: (user + system) / rows, unit: 'µs/reading' },
    ];
  });
}

/** What this process has given to the kernel for files. NaN where /proc does not tell. */
function bytesWritten(): number {
  try {
    return Number(/wchar: (\d+)/.exec(readFileSync('/proc/self/io', 'utf8'))?.[1]);
  } catch {
    return Number.NaN;
  }
}
