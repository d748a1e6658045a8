/** How the running gateway is seen: `/status`, `/metrics` and `/healthz`, and one line a day in the log. */
import type { AlarmRow, Backlog, CacheClient, CacheStats } from './cache/types.ts';
import type { Config } from './config/load.ts';
import { asError, describe } from './errors.ts';
import { publishMetrics } from './gateway-metrics.ts';
import { type HttpView, startHttp } from './hmi/http.ts';
import type { Hmi, HmiStats } from './hmi/index.ts';
import type { SourceState } from './ingest/index.ts';
import type { Pipeline, TagRegistry } from './pipeline/index.ts';
import { startCalendar } from './runtime/calendar.ts';
import type { Clock } from './runtime/clock.ts';
import type { Logger } from './runtime/log.ts';
import type { Metrics } from './runtime/metrics.ts';
import { CLOUD_TARGET, type Uplink, type UplinkState } from './uplink/index.ts';

const REPORT_AT = '00:00';

/** What `/status` answers and `sluice status` prints. */
export interface GatewayStatus {
  readonly gateway: string;
  readonly version: string;
  readonly pid: number;
  readonly startedMs: number;
  readonly nowMs: number;
  readonly sources: readonly SourceState[];
  readonly tags: number;
  readonly cache: CacheStats;
  /** Undefined without an uplink, as the next one. */
  readonly backlog: Backlog | undefined;
  readonly uplink: UplinkState | undefined;
  readonly hmi: HmiStats;
  readonly alarms: readonly AlarmRow[];
}

export interface Watched {
  readonly config: Config;
  readonly version: string;
  readonly startedMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly registry: TagRegistry;
  readonly cache: CacheClient;
  readonly uplink: Uplink | undefined;
  readonly hmi: Hmi;
  readonly pipeline: Pipeline;
  readonly desks: Pick<HttpView, 'values' | 'history'>;
  /** In the order of the config; none before they were started. */
  readonly sources: () => readonly SourceState[];
}

export interface Watch {
  /** Where HTTP listens; undefined without `http:`. */
  readonly url: string | undefined;
  stop(): Promise<void>;
}

/** @throws http.listen_failed */
export async function startWatch(watched: Watched): Promise<Watch> {
  const { config, cache, metrics } = watched;
  let stats: CacheStats | undefined;
  publishMetrics(metrics, { ...watched, stats: () => stats });
  const scrape = {
    contentType: metrics.contentType,
    // The ledger lives in the worker: asked for once a scrape, before the figures are read.
    text: async () => {
      stats = await cache.stats();
      return metrics.text();
    },
  };
  // Sources and clouds that are away are no fault of this process: a watchdog that restarted it would help nobody.
  const faults = () => faultsOf(watched);
  const status = () => statusOf(watched);
  const http = config.http && (await startHttp(config.http, { metrics: scrape, status, faults, ...watched.desks }));
  const calendar = nightlyReport(watched);
  return {
    url: http?.url,
    async stop() {
      calendar.stop();
      await http?.stop();
    },
  };
}

function faultsOf({ pipeline }: Pick<Watched, 'pipeline'>): string[] {
  if (pipeline.closed) return ['storage is at level 5 of 5: no readings are taken'];
  return pipeline.pressed() ? ['the cache takes nothing: the disk is full or too slow'] : [];
}

async function statusOf(watched: Watched): Promise<GatewayStatus> {
  const { config, version, startedMs, clock, registry, cache, uplink, hmi, pipeline, sources } = watched;
  return {
    gateway: config.gateway.id,
    version,
    pid: process.pid,
    startedMs,
    nowMs: clock.wallMs(),
    sources: sources(),
    tags: registry.size,
    cache: await cache.stats(),
    backlog: uplink && (await cache.backlog(CLOUD_TARGET)),
    uplink: uplink?.state(),
    hmi: hmi.stats(),
    alarms: pipeline.activeAlarms(),
  };
}

/** What came and went, where an integrator looks for it. */
function nightlyReport({ cache, clock, logger }: Watched): { stop(): void } {
  const calendar = startCalendar(clock);
  calendar.daily(REPORT_AT, (date) => {
    cache.stats().then(
      ({ ledger, bytesUsed, damagedBlocks }) =>
        logger.info({ date, ledger, bytesUsed, damagedBlocks }, 'the ledger today'),
      (error: unknown) => logger.warn({ err: asError(error) }, `no ledger report: ${describe(error)}`),
    );
  });
  return calendar;
}
