/**
 * The gateway, top to bottom: cache, uplink, HMI, pipeline, ingest. Readings flow the other way round, from ingest to the
 * cloud; the acknowledgement is the only thing that comes back.
 */
import { type Backlog, type CacheClient, type CacheStats, HotTable, openCache } from './cache/index.ts';
import type { AlarmRow } from './cache/types.ts';
import type { Config } from './config/load.ts';
import { asError, describe } from './errors.ts';
import { publishMetrics } from './gateway-metrics.ts';
import { startHttp } from './hmi/http.ts';
import { type Hmi, type HmiStats, startHmi } from './hmi/index.ts';
import { liveView } from './hmi/live.ts';
import { publishWindows } from './hmi/windows.ts';
import { type SourceState, startIngest } from './ingest/index.ts';
import { type Pipeline, startPipeline, TagRegistry } from './pipeline/index.ts';
import { startCalendar } from './runtime/calendar.ts';
import type { Clock } from './runtime/clock.ts';
import type { Logger } from './runtime/log.ts';
import { Metrics } from './runtime/metrics.ts';
import { CLOUD_TARGET, readUplinkKeys, startUplink, type Uplink, type UplinkState } from './uplink/index.ts';

/** What is taken at the end and not yet sent gets this long; then it waits on the disk for the next start. */
const DRAIN_MS = 4000;
const HOT_SAVE_MS = 60_000;

export interface GatewayOptions {
  readonly logger: Logger;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly version: string;
  /** Aborted when the gateway shall end. */
  readonly stopped: AbortSignal;
  /** Everything runs; where it listens. */
  readonly onReady: (facts: { readonly hmi?: string; readonly http?: string }) => void;
}

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
  readonly backlog: Backlog | undefined;
  readonly uplink: UplinkState | undefined;
  readonly hmi: HmiStats;
  readonly alarms: readonly AlarmRow[];
}

interface Stage {
  stop(): Promise<void> | void;
}

/**
 * Runs until `stopped`. Returns when all that was taken is on disk and everything is closed.
 * @throws what a part could not start for; whatever fails the cache (a dead disk: nothing may be acknowledged any more).
 */
export async function runGateway(config: Config, options: GatewayOptions): Promise<void> {
  const { logger, clock } = options;
  const startedMs = clock.wallMs();
  const stages: Stage[] = [];
  const started = <S extends Stage>(stage: S): S => {
    stages.push(stage);
    return stage;
  };
  try {
    // Built from the cloud backwards: nothing may flow before it has somewhere to go.
    const keys = config.uplink && readUplinkKeys(config.uplink.keys);
    const cache = await openCache(config.cache, {
      version: options.version,
      targets: keys === undefined ? [] : [{ name: CLOUD_TARGET, required: true }],
      ...(keys === undefined ? {} : { device: keys.device }),
    });
    started({ stop: () => cache.close() });
    const hot = new HotTable(clock, { ttlMs: config.cache.hotTtl });
    const registry = new TagRegistry(config.pipeline.tagsMax, (tag) => {
      cache.registerTag(tag);
      hot.register(tag);
    });
    const saved = await cache.loadHot();
    if (saved !== undefined) hot.load(saved);
    started(savingHot(hot, cache, clock));
    // The pipeline is built after them and they report to it: alarms of the uplink, commands of a panel.
    let pipeline: Pipeline | undefined;
    const uplink =
      config.uplink &&
      keys &&
      startUplink(config.uplink, cache, {
        ...keys,
        clock,
        logger,
        random: options.random,
        onAlarm: (id, active, text) => {
          logger[active ? 'warn' : 'info']({ alarm: id }, active ? `uplink: ${text}` : `uplink: over now: ${text}`);
          pipeline?.gatewayAlarm(id, active, text);
        },
      });
    started({ stop: () => endUplink(uplink, cache, clock) });
    const hmi: Hmi = started(
      await startHmi(config.hmi, liveView(registry, hot), {
        gateway: config.gateway.id,
        clock,
        logger,
        acknowledge: (id, by) => pipeline?.acknowledge(id, by) ?? false,
      }),
    );
    hot.onStale((indexes) => hmi.changed(indexes));
    cache.onWindows((windows) => publishWindows(windows, (index) => registry.get(index)?.definition.name, hmi));
    const metrics = new Metrics(true);
    const alarms = await cache.alarms();
    const sources = config.sources.map(({ name }) => name);
    const panels = {
      changed: (indexes: Uint32Array) => hmi.changed(indexes),
      alarm: (id: string, state: object) => {
        hmi.alarm(id, state);
        // An alarm does not wait for the next commit, nor for the lane to look: it goes as soon as it is on disk.
        if (uplink !== undefined)
          pipeline?.durable().then(
            () => uplink.nudge(),
            () => {},
          );
      },
    };
    pipeline = started(startPipeline(config.pipeline, { registry, hot, cache, hmi: panels, clock, alarms, sources }));
    const taken = pipeline;
    const ingest = started(
      startIngest(config.sources, {
        gateway: config.gateway.id,
        registry,
        pipeline,
        cache,
        clock,
        random: options.random,
        logger,
        metrics,
        onState: (state) => {
          taken.sourceState(state);
          hmi.source(state.source, state);
        },
      }),
    );

    // Sources and clouds that are away are no fault of this process: a watchdog that restarted it would help nobody.
    const faults = () => (cache.accepting() ? [] : ['the cache takes nothing: the disk is full or too slow']);
    const status = async (): Promise<GatewayStatus> => ({
      gateway: config.gateway.id,
      version: options.version,
      pid: process.pid,
      startedMs,
      nowMs: clock.wallMs(),
      sources: ingest.states(),
      tags: registry.size,
      cache: await cache.stats(),
      backlog: uplink && (await cache.backlog(CLOUD_TARGET)),
      uplink: uplink?.state(),
      hmi: hmi.stats(),
      alarms: taken.activeAlarms(),
    });
    const figures = { uplink, hmi, cache, pipeline: taken, tags: () => registry.size, stats: () => stats };
    publishMetrics(metrics, figures);
    // The ledger lives in the worker: asked for once a scrape, before the figures are read.
    let stats: CacheStats | undefined;
    const scrape = {
      contentType: metrics.contentType,
      text: async () => {
        stats = await cache.stats();
        return metrics.text();
      },
    };
    const http = config.http && started(await startHttp(config.http, { metrics: scrape, status, faults }));
    started(nightlyReport(cache, clock, logger));
    options.onReady({
      ...(hmi.port === undefined ? {} : { hmi: `mqtt://${config.hmi.mqtt?.listen.host}:${hmi.port}` }),
      ...(http === undefined ? {} : { http: http.url }),
    });
    await Promise.race([aborted(options.stopped), cache.failed]);
  } finally {
    // Stopped from the drivers forwards: each stage drains into one that still runs.
    for (const stage of stages.reverse()) await ended(stage, logger);
  }
}

/** One stage that cannot end in order must not keep the others from it. */
async function ended(stage: Stage, logger: Logger): Promise<void> {
  try {
    await stage.stop();
  } catch (error) {
    logger.error({ err: asError(error) }, `a part did not end in order: ${describe(error)}`);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

/** Sends what is still to be sent, as long as the cloud takes it, and lets go. */
async function endUplink(uplink: Uplink | undefined, cache: CacheClient, clock: Clock): Promise<void> {
  if (uplink === undefined) return;
  await cache.committed();
  await uplink.drain(clock.monoMs() + DRAIN_MS);
  await uplink.stop();
}

/** Last values survive a restart, so that a panel has something to show at once (marked stale). */
function savingHot(hot: HotTable, cache: CacheClient, clock: Clock): Stage {
  let timer = clock.after(HOT_SAVE_MS, save);
  function save(): void {
    cache.saveHot(hot.save());
    timer = clock.after(HOT_SAVE_MS, save);
  }
  return {
    stop: () => {
      timer.cancel();
      cache.saveHot(hot.save());
      hot.stop();
    },
  };
}

/** One line a day that says what came and went: what an integrator greps for. */
function nightlyReport(cache: CacheClient, clock: Clock, logger: Logger): Stage {
  const calendar = startCalendar(clock);
  calendar.daily('00:00', (date) => {
    cache.stats().then(
      ({ ledger, bytesUsed, damagedBlocks }) =>
        logger.info({ date, ledger, bytesUsed, damagedBlocks }, 'ledger of the day'),
      (error: unknown) => logger.warn({ err: asError(error) }, `no ledger report: ${describe(error)}`),
    );
  });
  return { stop: () => calendar.stop() };
}
