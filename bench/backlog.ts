/** A backlog on the disk, drained by a gateway to a cloud on the same machine: how fast, at what cost, how many bytes. */
import { cpSync } from 'node:fs';
import { openCache } from '../src/cache/index.ts';
import { cacheSchema } from '../src/config/cache.ts';
import { CLOUD_TARGET } from '../src/uplink/index.ts';
import { undoing } from './cleanup.ts';
import { chunksOf, registerPlantTags } from './plant-chunks.ts';
import { plantTrace } from './plant-trace.mjs';
import { memoryOf, since } from './procfs.ts';
import type { BenchResult } from './result.ts';
import { type Gateway, Rig } from './rig.ts';

const TRACE_SECONDS = 600;
const PASS_MS = TRACE_SECONDS * 1000;
/** At 10,000 readings a batch, block and envelope included (design: under 2.5). */
const WIRE_BYTES_MAX = 2.5;
const LOOK_MS = 50;
const DRAINED_WITHIN_MS = 120_000;

interface Backlog {
  readonly name: string;
  readonly readings: number;
  readonly quickReadings: number;
  /** Readings of one commit: how large the blocks are that have to be joined into batches. */
  readonly commitRows: number;
}

const BACKLOGS: readonly Backlog[] = [
  { name: 'commits of 5,000', readings: 2_000_000, quickReadings: 200_000, commitRows: 5000 },
  // What 500 tags at 1 Hz leave behind, and the worst case: a batch is made of twenty commits.
  { name: 'commits of 500', readings: 150_000, quickReadings: 50_000, commitRows: 500 },
];

/** Each backlog is filled once; every run drains a copy of it. */
export async function benchBacklog({ quick, runs }: { quick: boolean; runs: number }): Promise<BenchResult[][]> {
  return undoing(async (undo) => {
    const rig = new Rig(undo);
    const filled: { backlog: Backlog; path: string }[] = [];
    for (const planned of BACKLOGS) {
      const backlog = { ...planned, readings: quick ? planned.quickReadings : planned.readings };
      filled.push({ backlog, path: await fill(rig, backlog) });
    }
    const results: BenchResult[][] = [];
    for (let run = 0; run < runs; run++) {
      for (const { backlog, path } of filled) results.push(await drain(rig, backlog, path));
    }
    return results;
  });
}

/** As a gateway leaves it whose cloud was away. */
async function fill(rig: Rig, { readings, commitRows }: Backlog): Promise<string> {
  const path = rig.folder('backlog');
  const trace = plantTrace({ seconds: TRACE_SECONDS });
  const passes = Math.ceil(readings / trace.length);
  const laterMs = Date.now() - passes * PASS_MS - (trace.timeMs[0] ?? 0);
  const cache = await openCache(cacheSchema.parse({ path }), {
    version: 'bench',
    targets: [{ name: CLOUD_TARGET, required: true }],
    device: rig.device,
  });
  registerPlantTags(cache);
  for (const chunk of chunksOf(trace, { rows: readings, chunkRows: commitRows, laterMs, passMs: PASS_MS })) {
    cache.append({ chunk });
    await cache.committed();
  }
  await cache.close();
  return path;
}

async function drain(rig: Rig, { name, readings }: Backlog, filled: string): Promise<BenchResult[]> {
  const cachePath = rig.folder('cache');
  cpSync(filled, cachePath, { recursive: true });
  const cloud = await rig.cloud();
  const gateway = await rig.gateway({ sources: {}, cloudUrl: cloud.part.fact('url'), cachePath });
  const drained = await watchDrain(gateway);
  const memory = memoryOf(gateway.pid);
  await gateway.stop();
  await cloud.stop();
  const title = `backlog, ${name}`;
  return [
    { name: `${title}: drained`, value: drained.readings / drained.seconds, unit: 'readings/s' },
    { name: `${title}: gateway CPU`, value: drained.cpuUs / drained.readings, unit: 'µs/reading' },
    { name: `${title}: gateway CPU, main thread`, value: drained.mainUs / drained.readings, unit: 'µs/reading' },
    { name: `${title}: gateway RSS peak`, value: memory.peakMb, unit: 'MB' },
    { name: `${title}: sent`, value: drained.bytesSent / readings, unit: 'B/reading', target: WIRE_BYTES_MAX },
    { name: `${title}: readings a batch`, value: readings / drained.batches, unit: 'readings' },
  ];
}

interface Drained {
  /** Delivered while the clock ran: it starts when the gateway is up, which has sent its first batches by then. */
  readonly readings: number;
  readonly seconds: number;
  readonly cpuUs: number;
  readonly mainUs: number;
  /** Of the whole backlog. */
  readonly bytesSent: number;
  readonly batches: number;
}

async function watchDrain(gateway: Gateway): Promise<Drained> {
  const first = await gateway.status();
  const before = gateway.usage();
  const startMs = performance.now();
  const last = await gateway.until('the drain', ({ backlog }) => backlog?.pendingReadings === 0, {
    everyMs: LOOK_MS,
    withinMs: DRAINED_WITHIN_MS,
  });
  const seconds = (performance.now() - startMs) / 1000;
  const { cpuUs, mainUs } = since(before, gateway.usage());
  const { bytesSent = Number.NaN, batches = Number.NaN } = last.uplink ?? {};
  return { readings: first.backlog?.pendingReadings ?? Number.NaN, seconds, cpuUs, mainUs, bytesSent, batches };
}
