/** Many seeds, on several threads; and what all of them together went through. */
import { Worker } from 'node:worker_threads';
import { builtFile } from '../runtime/built.ts';
import type { SimulationOptions, Verdict } from './simulate.ts';
import { told } from './told.ts';

export interface ManyOptions extends SimulationOptions {
  readonly first: number;
  readonly seeds: number;
  /** Threads; 1 tells them here. */
  readonly jobs: number;
}

/** @param onVerdict called as each is told, in no order with several threads. */
export async function tellMany(options: ManyOptions, onVerdict: (verdict: Verdict) => void): Promise<void> {
  const { first, seeds, jobs } = options;
  let next = first;
  const take = () => (next < first + seeds ? next++ : undefined);
  if (jobs > 1) {
    await Promise.all(Array.from({ length: Math.min(jobs, seeds) }, () => teller(options, take, onVerdict)));
    return;
  }
  for (let seed = take(); seed !== undefined; seed = take()) onVerdict(await told(seed, options));
}

function teller(
  { steps, from, verbose }: SimulationOptions,
  take: () => number | undefined,
  onVerdict: (verdict: Verdict) => void,
): Promise<void> {
  const workerData = { steps, from, verbose };
  const worker = new Worker(builtFile(import.meta.url, './teller.js'), { workerData });
  return new Promise((resolve, reject) => {
    const ask = () => {
      const seed = take();
      if (seed === undefined) worker.terminate().then(() => resolve(), reject);
      else worker.postMessage(seed);
    };
    worker.on('error', reject);
    worker.on('message', (verdict: Verdict) => {
      onVerdict(verdict);
      ask();
    });
    ask();
  });
}

export interface Covered {
  /** How often, over all stories. */
  readonly times: number;
  /** In how many stories. */
  readonly stories: number;
}

/** What happened in many stories. */
export class Coverage {
  readonly #covered = new Map<string, Covered>();
  stories = 0;

  add({ coverage }: Pick<Verdict, 'coverage'>): void {
    this.stories++;
    for (const [what, by] of coverage) {
      const { times, stories } = this.of(what);
      this.#covered.set(what, { times: times + by, stories: stories + 1 });
    }
  }

  of(what: string): Covered {
    return this.#covered.get(what) ?? { times: 0, stories: 0 };
  }

  text(): string {
    const names = [...this.#covered.keys()].sort();
    const widest = Math.max(0, ...names.map((name) => name.length));
    const lines = names.map((name) => {
      const { times, stories } = this.of(name);
      const percent = `${Math.round((100 * stories) / this.stories)} %`;
      return `  ${name.padEnd(widest)} ${String(times).padStart(9)}   in ${percent.padStart(5)} of the stories`;
    });
    return `${lines.join('\n')}\n`;
  }
}
