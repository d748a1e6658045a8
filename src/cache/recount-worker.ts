/** A thread that counts the cache again beside the running one, on a connection of its own that only reads. */
import { parentPort, workerData } from 'node:worker_threads';
import { sleep, systemClock } from '../runtime/clock.ts';
import { errorFacts } from './protocol.ts';
import { recountBlocks, recountDirectory } from './recount.ts';
import type { RecountAnswer, RecountOptions } from './recount-client.ts';
import { openSnapshot } from './snapshot.ts';

/** It has all night: so many times longer than it works it rests. */
const REST = 9;

async function recount({ path, keys, contents }: RecountOptions): Promise<RecountAnswer> {
  const { db, close } = openSnapshot(path, () => keys);
  try {
    const differences = recountDirectory(db);
    let blocks = 0;
    const wrong: number[] = [];
    for (let next = contents ? -1 : undefined; next !== undefined; ) {
      const startedMs = systemClock.monoMs();
      const page = recountBlocks(db, next);
      blocks += page.blocks;
      wrong.push(...page.wrong);
      next = page.next;
      await sleep(systemClock, REST * (systemClock.monoMs() - startedMs));
    }
    return { report: { differences, blocks, wrong } };
  } finally {
    close();
  }
}

// Given by recount-client.ts.
recount(workerData as RecountOptions)
  .catch((thrown: unknown): RecountAnswer => ({ error: errorFacts(thrown) }))
  .then((answer) => parentPort?.postMessage(answer));
