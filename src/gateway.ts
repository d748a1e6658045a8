/**
 * The gateway, top to bottom: cache, uplink, HMI, pipeline, ingest. Readings flow the other way round, from ingest to the
 * cloud; the acknowledgement is the only thing that comes back.
 */
import type { ForgetDone } from './cache/index.ts';
import type { Config } from './config/load.ts';
import { watchKey } from './gateway-key.ts';
import { followLadder } from './gateway-ladder.ts';
import { watchLog } from './gateway-log-pinned.ts';
import { keepHot, openDesks, warmWindows } from './gateway-panels.ts';
import { type OpenCache, tellStorage, whileReadOnly } from './gateway-read-only.ts';
import { startRecount } from './gateway-recount.ts';
import { type End, endAll, endPipeline, endUplink, type Stage } from './gateway-stop.ts';
import { startWatch } from './gateway-watch.ts';
import { type Hmi, startHmi } from './hmi/index.ts';
import { liveView } from './hmi/live.ts';
import { publishWindows } from './hmi/windows.ts';
import { type Ingest, startIngest } from './ingest/index.ts';
import { type Pipeline, startPipeline, TagRegistry } from './pipeline/index.ts';
import { aborted } from './runtime/abort.ts';
import type { Clock } from './runtime/clock.ts';
import type { Logger } from './runtime/log.ts';
import { Metrics } from './runtime/metrics.ts';
import { CLOUD_TARGET, readUplinkKeys, startUplink, type Uplink } from './uplink/index.ts';

export type { GatewayStatus } from './gateway-watch.ts';

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

/**
 * Runs until `stopped`, and ends within 10 s.
 * @returns whether all that was taken is on disk and everything is closed.
 * @throws what a part could not start for; whatever fails the cache (a dead disk: nothing may be acknowledged any more).
 */
export async function runGateway(config: Config, options: GatewayOptions): Promise<End> {
  return whileReadOnly(config.cache, options, (open) => runPath(config, options, open));
}

async function runPath(config: Config, options: GatewayOptions, openCache: OpenCache): Promise<End> {
  const { logger, clock, random, version } = options;
  const startedMs = clock.wallMs();
  const metrics = new Metrics(true);
  const stages: Stage[] = [];
  const started = <S extends Omit<Stage, 'name'>>(name: string, stage: S): S => {
    stages.push({ name, stop: () => stage.stop() });
    return stage;
  };
  // What earlier parts ask of later ones: alarms of the uplink, what a panel acknowledges, how the sources are.
  const late: { hmi?: Hmi; pipeline?: Pipeline; ingest?: Ingest; forgotten?: (done: ForgetDone) => void } = {};
  let end: End;
  try {
    // Built from the cloud backwards: nothing may flow before it has somewhere to go.
    const keys = config.uplink && readUplinkKeys(config.uplink.keys);
    const cache = await openCache({
      version,
      targets: [{ name: CLOUD_TARGET, required: keys !== undefined, dormant: keys === undefined }],
      ...(keys === undefined ? {} : { device: keys.device }),
      onForgotten: (done) => late.forgotten?.(done),
    });
    started('the cache', { stop: () => cache.close() });
    const { readOnly } = await cache.stats();
    const { table: hot, remembered } = started('the last values', await keepHot(config, cache, clock));
    late.forgotten = ({ report, ids }) => {
      logger.warn({ forgotten: report }, `forgotten for ${report.by}: all readings of ${report.tag} on this disk`);
      hot.forget(ids);
      remembered.forget(ids);
      late.hmi?.forget(report.tag, registry.byName(report.tag)?.index);
      // One that was saved meanwhile may have the value.
      cache.saveHot(hot.save());
    };
    const registry = new TagRegistry(config.pipeline.tagsMax, (tag) => {
      cache.registerTag(tag);
      hot.register(tag);
      if (remembered.drop(tag.definition.name)) late.hmi?.remember(tag.definition.name, undefined);
    });
    const onAlarm = (id: string, active: boolean, text: string) => {
      logger[active ? 'warn' : 'info']({ alarm: id }, active ? `uplink: ${text}` : `uplink, over now: ${text}`);
      late.pipeline?.gatewayAlarm(id, active, text);
    };
    // What stands in for a cache that cannot be written has nothing to send.
    const sending = readOnly ? undefined : config.uplink;
    const uplink = sending && keys && startUplink(sending, cache, { ...keys, clock, logger, random, onAlarm });
    if (uplink) started('the uplink', { stop: () => endUplink(uplink, cache, clock) });
    const acknowledge = (id: string, by: string) => late.pipeline?.acknowledge(id, by) ?? false;
    const gateway = config.gateway.id;
    const live = liveView(registry, hot, remembered);
    const desks = started(
      'the history',
      openDesks(config, live, clock, () => late.ingest, readOnly !== true),
    );
    const panel = { gateway, clock, logger, acknowledge, values: desks.values, history: desks.history };
    const hmi = started('the HMI', await startHmi(config.hmi, live, panel));
    late.hmi = hmi;
    for (const [name, value] of remembered.all()) hmi.remember(name, value);
    hot.onStale((indexes) => hmi.changed(indexes));
    // Without a broker nobody looks, and the worker need not hand them over.
    const tagOf = (index: number) => registry.get(index)?.definition;
    if (hmi.port !== undefined) cache.onWindows((windows) => publishWindows(windows, tagOf, hmi));
    const pipeline = startPipeline(config.pipeline, {
      registry,
      hot,
      cache,
      clock,
      hmi: hastening(hmi, () => late.pipeline?.durable(), uplink),
      alarms: await cache.alarms(),
      sources: config.sources.map(({ name }) => name),
    });
    started('the pipeline', { stop: () => endPipeline(pipeline) });
    late.pipeline = pipeline;
    tellStorage({ cache, readOnly }, pipeline, logger);
    started('the key', watchKey({ cache, pipeline, clock, logger }));
    const slowable = () => late.ingest?.slowable() ?? [];
    const ladder = await followLadder({ cache, pipeline, uplink, hot, slowable, logger });
    const sources = () => late.ingest?.states() ?? [];
    const seen = {
      config,
      version,
      startedMs,
      clock,
      logger,
      metrics,
      registry,
      cache,
      uplink,
      hmi,
      pipeline,
      sources,
      desks,
    };
    // Before the sources: a port that is taken stops the start while no device has been asked anything.
    const { url } = started('the status page', await startWatch(seen));
    late.ingest = started(
      'the sources',
      startIngest(config.sources, {
        ...{ gateway, registry, pipeline, cache, clock, random, logger, metrics },
        onState: (state) => {
          pipeline.sourceState(state);
          hmi.source(state.source, state);
        },
      }),
    );
    ladder.sourcesKnown();
    for (const state of sources()) hmi.source(state.source, state);
    await warmWindows(config, cache, registry, hmi);
    started('the look at the log', watchLog({ path: config.cache.path, pipeline, clock }));
    started('the recount', startRecount({ config, pipeline, cache, clock, logger }));
    const host = config.hmi.mqtt?.listen.host;
    const hmiUrl = hmi.port === undefined ? {} : { hmi: `mqtt://${host}:${hmi.port}` };
    options.onReady({ ...hmiUrl, ...(url === undefined ? {} : { http: url }) });
    await Promise.race([aborted(options.stopped), cache.failed]);
    logger.info('gateway ends: sources first, then what is still to be sent');
  } finally {
    // Stopped from the drivers forwards: each stage drains into one that still runs.
    end = await endAll(stages, clock, logger);
  }
  return end;
}

/** An alarm waits neither for the next commit nor for its lane to look: it goes to the cloud as soon as it is on disk. */
function hastening(hmi: Hmi, durable: () => Promise<void> | undefined, uplink: Uplink | undefined) {
  return {
    changed: (indexes: Uint32Array) => hmi.changed(indexes),
    alarm: (id: string, state: object) => {
      hmi.alarm(id, state);
      if (uplink === undefined) return;
      // What cannot be committed ends the gateway by `cache.failed`, not here.
      durable()?.then(
        () => uplink.nudge(),
        () => {},
      );
    },
  };
}
