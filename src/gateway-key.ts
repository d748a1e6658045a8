/** A key that encrypts the cache wears out with the rows it seals: told in the log and by an alarm, long before it matters. */
import { type CacheClient, keyWornText } from './cache/index.ts';
import type { Pipeline } from './pipeline/index.ts';
import type { Clock, Timer } from './runtime/clock.ts';
import type { Logger } from './runtime/log.ts';

const ALARM = 'storage/key_worn';
const LOOK_MS = 6 * 3_600_000;

interface Watched {
  readonly cache: Pick<CacheClient, 'stats'>;
  readonly pipeline: Pick<Pipeline, 'gatewayAlarm'>;
  readonly clock: Pick<Clock, 'after'>;
  readonly logger: Pick<Logger, 'warn'>;
}

export function watchKey({ cache, pipeline, clock, logger }: Watched): { stop(): Promise<void> } {
  let timer: Timer | undefined;
  let isStopped = false;
  const look = async () => {
    const text = keyWornText((await cache.stats()).atRestKey);
    if (isStopped) return;
    if (text !== undefined) logger.warn({ code: 'cache.key_worn' }, text);
    pipeline.gatewayAlarm(ALARM, text !== undefined, text ?? 'another key encrypts the cache');
    later(LOOK_MS);
  };
  // A cache that does not answer has failed, and ends the gateway by itself.
  const later = (delayMs: number) => {
    timer = clock.after(delayMs, () => void look().catch(() => {}));
  };
  later(0);
  return {
    async stop() {
      isStopped = true;
      timer?.cancel();
    },
  };
}
