/**
 * A file system that turns read-only, as Linux makes it after errors of a card, must not take the panel's live values away.
 * The data path ends and starts again with a stand-in for the cache, and again with the cache once it takes writes. What was
 * in memory and not committed by then is lost as in a crash: nobody was told that it was safe.
 */
import {
  type Append,
  type CacheClient,
  type CacheOptions,
  type CacheStats,
  type DamageNote,
  openCache,
  StandIn,
} from './cache/index.ts';
import type { CacheConfig } from './config/cache.ts';
import { codeOf, describe } from './errors.ts';
import type { End } from './gateway-stop.ts';
import type { Pipeline } from './pipeline/index.ts';
import type { Clock } from './runtime/clock.ts';
import type { Logger } from './runtime/log.ts';

const READ_ONLY_ALARM = 'storage/read_only';
const DAMAGE_ALARM = 'storage/damaged';
const READ_ONLY_TEXT =
  'the disk of the cache is read-only: live values go on, but nothing is kept and nothing is delivered. See dmesg, check the card, remount it';

export type OpenCache = (options: CacheOptions) => Promise<CacheClient>;

export interface ReadOnlyOptions {
  readonly logger: Pick<Logger, 'error' | 'warn' | 'info'>;
  readonly clock: Clock;
  readonly stopped: AbortSignal;
}

/**
 * @param path runs the data path until it is stopped or the cache fails.
 * @throws what `path` throws, but for what a read-only file system brings about.
 */
export async function whileReadOnly(
  config: CacheConfig,
  { logger, clock, stopped }: ReadOnlyOptions,
  path: (open: OpenCache) => Promise<End>,
): Promise<End> {
  let standIn: StandIn | undefined;
  let carried: Append = {};
  const open: OpenCache = async (options) => {
    if (standIn !== undefined) return standIn;
    const reason = Object.keys(carried).length === 0 ? {} : { reason: 'the file system was read-only' };
    const cache = await openCache(config, { ...options, ...reason });
    // An append of nothing would be counted, and never be sent: who asks what is durable would wait for it.
    if (Object.keys(carried).length > 0) cache.append(carried);
    carried = {};
    return cache;
  };
  for (;;) {
    try {
      return await path(open);
    } catch (thrown) {
      if (stopped.aborted) throw thrown;
      if (codeOf(thrown) === 'cache.read_only') {
        logger.error({ code: 'cache.read_only' }, `${describe(thrown)}: live values go on, nothing is kept`);
        standIn = new StandIn(config, clock, carried);
      } else if (codeOf(thrown) === 'cache.writable' && standIn !== undefined) {
        logger.info(describe(thrown));
        carried = standIn.carried();
        standIn = undefined;
      } else throw thrown;
    }
  }
}

/** What a person must see although the gateway runs: what was found damaged at this start, and what is found from now on. */
export function tellStorage(
  { cache, readOnly }: Pick<CacheStats, 'readOnly'> & { readonly cache: Pick<CacheClient, 'damage' | 'onDamage'> },
  pipeline: Pick<Pipeline, 'gatewayAlarm' | 'activeAlarms'>,
  logger: Pick<Logger, 'error'>,
): void {
  const log = ({ text, ...facts }: DamageNote) => logger.error({ code: 'cache.damaged', ...facts }, text);
  const alarm = (isWorse: boolean) => pipeline.gatewayAlarm(DAMAGE_ALARM, true, damageText(cache.damage), isWorse);
  for (const note of cache.damage) log(note);
  if (cache.damage.length > 0) alarm(true);
  else if (isSeen(pipeline)) pipeline.gatewayAlarm(DAMAGE_ALARM, false, 'nothing more was found damaged');
  cache.onDamage((note) => {
    log(note);
    alarm(true);
  });
  if (readOnly === true) pipeline.gatewayAlarm(READ_ONLY_ALARM, true, READ_ONLY_TEXT);
}

/** It does not pass by itself: it is over at the first start after somebody acknowledged it. */
function isSeen(pipeline: Pick<Pipeline, 'activeAlarms'>): boolean {
  return pipeline.activeAlarms().some(({ id, state }) => id === DAMAGE_ALARM && state === 'acknowledged');
}

/** A card that fails damages many blocks: the newest says what, the others are counted. */
function damageText(notes: readonly DamageNote[]): string {
  const others = notes.filter(({ what }) => what !== 'block');
  const blocks = notes.filter(({ what }) => what === 'block');
  const last = blocks.at(-1);
  const before = blocks.length > 1 ? ` (and others before: ${blocks.length - 1} in the log)` : '';
  return [...others.map(({ text }) => text), ...(last === undefined ? [] : [`${last.text}${before}`])].join('; ');
}
