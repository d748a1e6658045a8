/** Which cache file a command looks at, and what each needs to show of a reading. */
import { drivers } from '../../drivers/index.ts';
import { type CacheReader, type ReadingView, readCache } from '../cache/index.ts';
import { type Config, loadConfig } from '../config/load.ts';
import { jsonValue, reasonOf, statusOf } from '../reading.ts';

export interface CacheChoice {
  readonly config: string;
  /** Instead of the one in the configuration: then no configuration is needed. */
  readonly cache?: string;
}

export function openLocalCache(options: CacheChoice): { cache: CacheReader; path: string; config: Config | undefined } {
  if (options.cache !== undefined) return { cache: readCache(options.cache), path: options.cache, config: undefined };
  const config = loadConfig(options.config, drivers);
  return { cache: readCache(config.cache.path), path: config.cache.path, config };
}

export function shownReading({ tag, timeMs, value, quality }: ReadingView) {
  return { tag, timeMs, value: jsonValue(value), status: statusOf(quality), reason: reasonOf(quality) || null };
}
