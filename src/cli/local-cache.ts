/** Which cache file a command looks at, and what each needs to show of a reading. */
import { drivers } from '../../drivers/index.ts';
import { type CacheReader, type ReadingView, readAtRestKeyFile, readAtRestKeys, readCache } from '../cache/index.ts';
import { type Config, loadConfig } from '../config/load.ts';
import { nearest } from '../config/near.ts';
import { codeOf, SluiceError } from '../errors.ts';
import { jsonValue, reasonOf, statusOf } from '../reading.ts';

/** More names than these help nobody. */
const NAMES_SHOWN = 8;

export interface CacheChoice {
  readonly config: string;
  /** Instead of the one in the configuration: then no configuration is needed. */
  readonly cache?: string;
  /** The key of `cache.encryptAtRest`, instead of those in the configuration. */
  readonly keyFile?: string;
}

export function openLocalCache(options: CacheChoice): { cache: CacheReader; path: string; config: Config | undefined } {
  const { keyFile } = options;
  const fromFile = keyFile === undefined ? undefined : () => readAtRestKeyFile(keyFile);
  if (options.cache !== undefined)
    return { cache: readCache(options.cache, fromFile), path: options.cache, config: undefined };
  const config = loadConfig(options.config, drivers);
  const { path, encryptAtRest } = config.cache;
  try {
    return { cache: readCache(path, fromFile ?? (() => readAtRestKeys(encryptAtRest))), path, config };
  } catch (cause) {
    if (codeOf(cause) !== 'cache.missing') throw cause;
    throw new SluiceError('cache.missing', 'stop', `there is no cache at ${path} yet`, {
      cause,
      hint: `A gateway with this configuration makes it when it starts: sluice run -c ${options.config}`,
    });
  }
}

export function shownReading({ tag, timeMs, value, quality }: ReadingView) {
  return { tag, timeMs, value: jsonValue(value), status: statusOf(quality), reason: reasonOf(quality) || null };
}

/** Which tags there are instead of one that is not there; undefined when it is. @param tag a name or a pattern. */
export function otherTags(tag: string, cache: CacheReader): string | undefined {
  const names = cache.tags().map(({ name }) => name);
  if (names.includes(tag)) return undefined;
  if (names.length === 0) return 'the cache holds no tags yet';
  // Left out more often than mistyped: the levels before.
  const meant = nearest(tag, names) ?? names.find((name) => name.endsWith(`/${tag}`));
  if (meant !== undefined) return `did you mean ${meant}?`;
  return `there are ${names.slice(0, NAMES_SHOWN).join(', ')}${names.length > NAMES_SHOWN ? ', …' : ''}`;
}
