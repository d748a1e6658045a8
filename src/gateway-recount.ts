/**
 * Looks now and then whether the ledger still adds up: at the start, every night with all blocks, and hourly while it does
 * not. A difference that nobody can explain is an alarm; it clears when the account adds up again.
 */
import { type CacheClient, differenceLine, type RecountReport, recountCache } from './cache/index.ts';
import type { CacheConfig } from './config/cache.ts';
import { asError, describe } from './errors.ts';
import type { Pipeline } from './pipeline/index.ts';
import { startCalendar } from './runtime/calendar.ts';
import type { Clock, Timer } from './runtime/clock.ts';
import type { Logger } from './runtime/log.ts';

const ALARM = 'ledger_difference';
/** After the day's report, when plants are quiet. */
const NIGHTLY_AT = '02:30';
const AGAIN_MS = 3_600_000;
/** Of the differences; all are in the log. */
const SHOWN_MAX = 3;

export interface Recounted {
  readonly config: { readonly cache: CacheConfig };
  readonly pipeline: Pick<Pipeline, 'gatewayAlarm'>;
  readonly cache: Pick<CacheClient, 'account'>;
  readonly clock: Clock;
  readonly logger: Pick<Logger, 'info' | 'warn' | 'error'>;
}

export function startRecount({ config, pipeline, cache, clock, logger }: Recounted): { stop(): Promise<void> } {
  const stopping = new AbortController();
  let running: Promise<void> | undefined;
  let timer: Timer | undefined;
  const tell = (report: RecountReport, contents: boolean) => {
    const text = differenceText(report);
    if (text === undefined) logger.info({ blocks: report.blocks }, 'the ledger was counted again and adds up');
    else logger.error({ ...report }, text);
    pipeline.gatewayAlarm(ALARM, text !== undefined, text ?? 'the ledger adds up again');
    if (text !== undefined) later(AGAIN_MS, contents);
  };
  const look = async (contents: boolean) => {
    try {
      tell(await recountCache(config.cache, contents, stopping.signal), contents);
    } catch (thrown) {
      if (stopping.signal.aborted) return;
      logger.warn({ err: asError(thrown) }, `the ledger could not be counted again: ${describe(thrown)}`);
    }
  };
  const start = (contents: boolean) => {
    // One at a time: a night that is not over yet is looking already.
    running ??= look(contents).finally(() => {
      running = undefined;
    });
  };
  const later = (delayMs: number, contents: boolean) => {
    timer?.cancel();
    timer = clock.after(delayMs, () => start(contents));
  };
  // The cache looked while it was opened: a thread at every start would cost 4 MB that are not given back.
  if (cache.account === undefined) start(false);
  else tell(cache.account, false);
  const calendar = startCalendar(clock);
  calendar.daily(NIGHTLY_AT, () => start(true));
  return {
    async stop() {
      calendar.stop();
      timer?.cancel();
      stopping.abort(new Error('the gateway ends'));
      await running;
    },
  };
}

/** Undefined when it adds up. */
export function differenceText({ differences, wrong }: RecountReport): string | undefined {
  const shown = differences.slice(0, SHOWN_MAX).map(differenceLine);
  const more = differences.length > SHOWN_MAX ? [`${differences.length - SHOWN_MAX} more`] : [];
  const ids = wrong.length > SHOWN_MAX ? [...wrong.slice(0, SHOWN_MAX), '…'] : wrong;
  const blocks = wrong.length === 0 ? [] : [`blocks that do not hold what the directory says: ${ids.join(', ')}`];
  const facts = [...shown, ...more, ...blocks];
  return facts.length === 0 ? undefined : `the ledger does not add up: ${facts.join('; ')} (sluice ledger --verify)`;
}
