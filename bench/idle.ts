/** What a gateway costs that has little to do: 500 simulated tags at 1 Hz, delivered to a cloud. And how fast it starts. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type Undo, undoing, watch } from './cleanup.ts';
import { tags } from './plant-trace.mjs';
import { memoryOf, since, threadsOf } from './procfs.ts';
import type { BenchResult } from './result.ts';
import { type Gateway, Rig } from './rig.ts';

const STARTS = 5;
/** Until V8 has given back what the start took, and the uplink has sent a few times. */
const SETTLE_MS = 30_000;
const SETTLE_QUICK_MS = 2000;
const RSS_MB_MAX = 110;
const US_A_MS = 1000;
const SOURCES = {
  plant: { driver: 'simulator', every: '1s', tags: [{ name: 't', count: tags.length, shape: 'random-walk' }] },
};

/** Gateways are started one after the other, then idle beside each other: each is measured as a process. */
export async function benchIdle({ quick, runs }: { quick: boolean; runs: number }): Promise<BenchResult[][]> {
  return undoing(async (undo) => {
    const rig = new Rig(undo);
    const cloud = await rig.cloud();
    const results: BenchResult[][] = [];
    const idle: Gateway[] = [];
    for (let start = 0; start < Math.max(STARTS, runs); start++) {
      const gateway = await rig.gateway({ sources: SOURCES, cloudUrl: cloud.part.fact('url') });
      results.push([{ name: 'start-up, process to ready line', value: gateway.startMs, unit: 'ms' }]);
      if (start < runs) idle.push(gateway);
      else await gateway.stop();
    }
    results.push([{ name: 'idle, Node bare: RSS', value: await bareNodeMb(undo), unit: 'MB' }]);
    const settleMs = quick ? SETTLE_QUICK_MS : SETTLE_MS;
    const before = idle.map((gateway) => gateway.usage());
    await new Promise((resolve) => setTimeout(resolve, settleMs));
    idle.forEach((gateway, at) => {
      const start = before[at] ?? gateway.usage();
      const usage = since(start, gateway.usage());
      results.push([
        { name: 'idle, 500 tags at 1 Hz: RSS', value: memoryOf(gateway.pid).rssMb, unit: 'MB', target: RSS_MB_MAX },
        { name: 'idle, 500 tags at 1 Hz: CPU', value: (usage.cpuUs / US_A_MS / settleMs) * 100, unit: '% of a core' },
        { name: 'idle, 500 tags at 1 Hz: threads', value: threadsOf(gateway.pid), unit: '' },
      ]);
    });
    return results;
  });
}

/** What no gateway on Node can be below. */
async function bareNodeMb(undo: Undo): Promise<number> {
  const child = spawn(process.execPath, ['-e', 'console.log(); setInterval(() => {}, 1e6)'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  undo.add(watch(child.pid));
  undo.child(child);
  await once(child.stdout, 'data');
  return memoryOf(child.pid ?? 0).rssMb;
}
