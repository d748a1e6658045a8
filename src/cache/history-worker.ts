/** A thread that answers questions to the history beside the running cache, on a connection of its own that only reads. */
import { parentPort, workerData } from 'node:worker_threads';
import type { FromHistory, HistoryOptions, ToHistory } from './history-client.ts';
import { errorFacts } from './protocol.ts';
import { type CacheReader, readCache } from './reader.ts';

// Given by history-client.ts.
const { path, keys } = workerData as HistoryOptions;
let reader: CacheReader | undefined;

function answer({ id, question }: ToHistory): FromHistory {
  try {
    reader ??= readCache(path, () => keys);
    const { tag, fromMs, toMs, points } = question;
    return { id, series: reader.series(tag, fromMs, toMs, points) };
  } catch (thrown) {
    return { id, error: errorFacts(thrown) };
  }
}

parentPort?.on('message', (message: ToHistory) => parentPort?.postMessage(answer(message)));
