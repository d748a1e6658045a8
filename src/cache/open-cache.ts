/** Starts the cache's thread. */
import { existsSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { CacheConfig } from '../config/cache.ts';
import { SluiceError } from '../errors.ts';
import { builtFile } from '../runtime/built.ts';
import { type DeviceKey, formatDeviceKey } from '../wire/keys.ts';
import { readAtRestKeys } from './at-rest-key.ts';
import { type CachePort, Client } from './client.ts';
import type { ForgetDone } from './forget/forgetting.ts';
import type { FromWorker, ToWorker, WorkerOptions } from './protocol.ts';
import type { TargetConfig } from './targets.ts';
import type { CacheClient } from './types.ts';

export interface CacheOptions {
  /** Of this program, for RUN_OPEN. */
  readonly version: string;
  /** Why the process started, for RUN_OPEN; default `start`. */
  readonly reason?: string;
  readonly targets: readonly TargetConfig[];
  /** Signs batches; without it nothing is cut. */
  readonly device?: DeviceKey;
  /** A tag was forgotten: `sluice forget` asked for it, here or before a restart. */
  readonly onForgotten?: (done: ForgetDone) => void;
}

/** The worker works on columns outside the heap: more room for young objects, 48 MB by default, only delays their end. */
const YOUNG_GENERATION_MB = 6;
/** @throws cache.locked, cache.newer, cache.corrupt, cache.disk, cache.key… (stop) */
export async function openCache(config: CacheConfig, options: CacheOptions): Promise<CacheClient> {
  const { version, reason = 'start', targets, device } = options;
  const keys = readAtRestKeys(config.encryptAtRest);
  const workerData: WorkerOptions = {
    config,
    targets,
    keys,
    version,
    reason,
    device: device && formatDeviceKey(device),
  };
  const resourceLimits = { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB };
  const worker = new Worker(workerFile(), { workerData, name: 'cache', resourceLimits });
  worker.on('message', (message: FromWorker) => {
    if (message.type !== 'forgotten') return;
    options.onForgotten?.(message.done);
    const heard: ToWorker = { type: 'heard', request: message.done.report.id };
    worker.postMessage(heard);
  });
  const client = new Client(portOf(worker), config.uncommittedBytesMax);
  await client.ready;
  return client;
}

function portOf(worker: Worker): CachePort {
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    onMessage: (receive) => worker.on('message', receive),
    onEnd: (end) => {
      worker.on('error', end);
      worker.on('exit', () => end());
    },
    soon: setImmediate,
    terminate: () => worker.terminate(),
  };
}

function workerFile(): string {
  const file = builtFile(import.meta.url, './worker.js');
  if (existsSync(file)) return file;
  throw new SluiceError('cache.not_built', 'stop', `${file} does not exist`, { hint: 'Run npm run build.' });
}
