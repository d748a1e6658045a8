/**
 * One run of a benchmark that needs no other process, in a process of its own: nothing that ran before warms it, fills its
 * memory or counts as its CPU. `node dist/bench/in-process.js <what> [--quick]` prints the results as JSON.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { watch } from './cleanup.ts';
import type { BenchResult } from './result.ts';

/** Only what runs is loaded: it counts in the memory that is measured. */
const BENCHES = {
  wire: async () => (await import('./wire.ts')).benchWire(),
  pipeline: async () => (await import('./pipeline.ts')).benchPipeline(),
  throughput: async (run) => (await import('./cache.ts')).benchThroughput(run),
  'plant-rate': async (run) => (await import('./cache.ts')).benchPlantRate(run),
  written: async (run) => (await import('./written.ts')).benchWritten(run),
  steps: async () => (await import('./steps.ts')).benchSteps(),
  history: async (run) => (await import('./history.ts')).benchHistory(run),
} satisfies Record<string, (run: { quick: boolean }) => Promise<BenchResult[]>>;

export type InProcess = keyof typeof BENCHES;

const run = promisify(execFile);

export async function inOwnProcess(what: InProcess, { quick }: { quick: boolean }): Promise<BenchResult[]> {
  const args = [fileURLToPath(import.meta.url), what, ...(quick ? ['--quick'] : [])];
  const running = run(process.execPath, args);
  // It has a folder to remove.
  const forget = watch(running.child.pid, 'SIGTERM');
  const { stdout } = await running.finally(forget);
  return JSON.parse(stdout) as BenchResult[];
}

function isBench(name: string | undefined): name is InProcess {
  return name !== undefined && Object.hasOwn(BENCHES, name);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , name, option] = process.argv;
  if (!isBench(name)) throw new Error(`no such benchmark: ${name}`);
  console.log(JSON.stringify(await BENCHES[name]({ quick: option === '--quick' })));
}
