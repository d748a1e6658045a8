/** Counts a cache again in a thread of its own, while the gateway goes on. */
import { Worker } from 'node:worker_threads';
import type { CacheConfig } from '../config/cache.ts';
import { SluiceError } from '../errors.ts';
import { builtFile } from '../runtime/built.ts';
import type { RecountReport } from './account.ts';
import type { AtRestKeys } from './at-rest.ts';
import { readAtRestKeys } from './at-rest-key.ts';
import { type ErrorFacts, fromFacts } from './protocol.ts';

export interface RecountOptions {
  readonly path: string;
  readonly keys: AtRestKeys;
  /** What the blocks hold, too: minutes for a full cache. */
  readonly contents: boolean;
}

export type RecountAnswer = { readonly report: RecountReport } | { readonly error: ErrorFacts };

/** What a thread took for a second is not given back for long: it shall take little. */
const YOUNG_GENERATION_MB = 2;

/** @throws the signal's reason; cache.… as `openSnapshot`, `readAtRestKeys` */
export async function recountCache(
  config: Pick<CacheConfig, 'path' | 'encryptAtRest'>,
  contents: boolean,
  signal: AbortSignal,
): Promise<RecountReport> {
  signal.throwIfAborted();
  const workerData: RecountOptions = { path: config.path, keys: readAtRestKeys(config.encryptAtRest), contents };
  const worker = new Worker(builtFile(import.meta.url, './recount-worker.js'), {
    workerData,
    name: 'recount',
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
  });
  try {
    return await new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      worker.once('message', (answer: RecountAnswer) => {
        if ('report' in answer) resolve(answer.report);
        else reject(fromFacts(answer.error));
      });
      worker.once('error', reject);
      worker.once('exit', () =>
        reject(new SluiceError('cache.recount', 'retry', 'the recount ended without a result')),
      );
    });
  } finally {
    await worker.terminate();
  }
}
