/** How the running gateway is seen: `/status`, `/metrics` and `/healthz`, and one line a day in the log. */
import type { AlarmRow, Backlog, CacheClient, CacheStats } from './cache/types.ts';
import type { Config } from './config/load.ts';
import { asError, describe } from './errors.ts';
import { publishMetrics } from './gateway-metrics.ts';
import { startHttp } from './hmi/http.ts';
import type { Hmi, HmiStats } from './hmi/index.ts';
import type { SourceState, UnitState } from './ingest/index.ts';
import type { Pipeline, TagRegistry } from './pipeline/index.ts';
import { startCalendar } from './runtime/calendar.ts';
import type { Clock } from './runtime/clock.ts';
import type { Logger } from './runtime/log.ts';
import type { Metrics } from './runtime/metrics.ts';
import { CLOUD_TARGET, type Uplink, type UplinkState } from './uplink/index.ts';

const REPORT_AT = '00:00';

/** A unit is `unknown` while its source has no connection, or has had none yet: nobody can have asked it. */
export interface UnitStatus extends Omit<UnitState, 'state'> {
  readonly state: UnitState['state'] | 'unknown';
}

export interface SourceStatus extends Omit<SourceState, 'units'> {
  readonly units: readonly UnitStatus[];
}

/** What `/status` answers and `sluice status` prints. */
export interface GatewayStatus {
  readonly gateway: string;
  readonly version: string;
  readonly pid: number;
  readonly startedMs: number;
  readonly nowMs: number;
  readonly sources: readonly SourceStatus[];
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
  const http = config.http && (await startHttp(config.http, { metrics: scrape, status, faults }));
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
    sources: sources().map(asKnown),
    tags: registry.size,
    cache: await cache.stats(),
    backlog: uplink && (await cache.backlog(CLOUD_TARGET)),
    uplink: uplink?.state(),
    hmi: hmi.stats(),
    alarms: pipeline.activeAlarms(),
  };
}

function asKnown(source: SourceState): SourceStatus {
  if (source.state === 'up' || source.state === 'degraded') return source;
  const units = source.units.map(({ unit, since }): UnitStatus => ({ unit, state: 'unknown', since }));
  return { ...source, units };
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
