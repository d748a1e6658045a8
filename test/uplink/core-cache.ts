/** The real cache without its thread: every call is answered in order, as messages to the worker are. */
import { randomBytes } from 'node:crypto';
import { CacheCore } from '../../src/cache/core.ts';
import { openDatabase } from '../../src/cache/database.ts';
import { makeFolder } from '../../src/cache/folder.ts';
import { SqliteStore } from '../../src/cache/store-sqlite.ts';
import { cacheSchema } from '../../src/config/cache.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import type { UplinkCache } from '../../src/uplink/types.ts';
import type { DeviceKey } from '../../src/wire/keys.ts';

export function openCore(folder: string, device: DeviceKey): CacheCore {
  makeFolder(folder);
  return new CacheCore(new SqliteStore(openDatabase(folder)), {
    ...cacheSchema.parse({ path: folder }),
    clock: systemClock,
    boot: new Uint8Array(randomBytes(16)),
    targets: [{ name: 'cloud', required: true }],
    device,
    version: 'test',
    reason: 'start',
  });
}

export function asyncCache(core: CacheCore): UplinkCache {
  const soon = async <T>(work: () => T): Promise<T> => {
    await new Promise((resolve) => setImmediate(resolve));
    return work();
  };
  return {
    cut: (request) => soon(() => core.cut(request)),
    acknowledge: (batchId, answer) => soon(() => core.acknowledge(batchId, answer)),
    release: (batchId) => soon(() => core.release(batchId)),
    refuse: (batchId, reason) => soon(() => core.refuse(batchId, reason)),
    helloRuns: (target, page) => soon(() => core.helloRuns(target, page)),
    hello: (question, answer) => soon(() => core.hello(question, answer)),
    forgetDictionary: (target) => soon(() => core.forgetDictionary(target)),
    setRecipient: (...args) => core.setRecipient(...args),
    backlog: (target) => soon(() => core.backlog(target)),
  };
}
