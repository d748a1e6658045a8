/**
 * What people and programs ask: readings, latest values, windows, alarms, the state of each gateway. Needs the read token where
 * one is set. A query that takes too long, or whose client has gone, ends; more than a few at once are told to come again.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { isSluiceError, SluiceError } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Guard, Right } from './auth.ts';
import type { Catalog } from './catalog.ts';
import { isoTime, sendLines, shownReading, shownValue } from './formats.ts';
import { sendError } from './http-errors.ts';
import type { CloudLimits } from './limits.ts';
import type { CloudMetrics } from './metrics.ts';
import { OPENAPI } from './openapi.ts';
import { type OverviewStores, overview } from './overview.ts';
import * as params from './query-params.ts';
import { type NamedTag, TagNames } from './tag-names.ts';
import type { Tier, TierReading } from './tier.ts';

export interface QueryOptions extends OverviewStores {
  readonly catalog: Catalog;
  readonly tier: Tier;
  readonly guard: Guard;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: CloudLimits;
  readonly metrics: CloudMetrics;
}

type Handler = (request: FastifyRequest, reply: FastifyReply, signal: AbortSignal) => Promise<unknown>;

/** Tags of one query of readings: `*` of a large gateway would otherwise read everything there is. */
const TAGS_MAX = 1000;

export class Queries {
  readonly #options: QueryOptions;
  readonly #names: TagNames;
  #running = 0;

  constructor(options: QueryOptions) {
    this.#options = options;
    this.#names = new TagNames(options.catalog, options.devices);
  }

  register(app: FastifyInstance): void {
    const route = (path: string, handler: Handler, right: Right = 'read', method: 'GET' | 'POST' = 'GET'): void => {
      app.route({ method, url: path, handler: (request, reply) => this.#serve(path, right, handler, request, reply) });
    };
    route('/v1/readings', (request, reply, signal) => this.#readings(request, reply, signal));
    route('/v1/latest', (request) => this.#latest(request));
    route('/v1/windows', (request, reply, signal) => this.#windows(request, reply, signal));
    route('/v1/alarms', async (request) => this.#alarms(request));
    route('/v1/alarms/:id/close', async (request) => this.#close(request), 'operate', 'POST');
    route('/v1/devices', async (request) => {
      params.parseQuery(params.noQuery, request.query);
      return { devices: overview(this.#options) };
    });
    route('/v1/digest', (request, _reply, signal) => this.#digest(request, signal));
    route('/metrics', async (_request, reply) => {
      reply.type(this.#options.metrics.contentType);
      return this.#options.metrics.text();
    });
    // Neither says anything about anybody's data.
    app.get('/healthz', async () => ({ status: 'ok' }));
    app.get('/openapi.json', async () => OPENAPI);
  }

  async #serve(
    path: string,
    right: Right,
    handler: Handler,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply> {
    const { guard, clock, limits, logger, metrics } = this.#options;
    const startMs = clock.monoMs();
    const abort = new AbortController();
    const timer = clock.after(limits.queryMs, () =>
      abort.abort(
        new SluiceError('query.too_long', 'retry', `the query took longer than ${limits.queryMs} ms`, {
          hint: 'Ask for a shorter time, or fewer tags.',
        }),
      ),
    );
    const onGone = (): void => abort.abort(new SluiceError('query.too_long', 'discard', 'the client has gone'));
    reply.raw.once('close', onGone);
    let running = false;
    try {
      guard.require(right, request.headers.authorization, request.ip);
      if (this.#running >= limits.queriesMax) {
        throw new SluiceError('cloud.busy', 'retry', `${this.#running} queries are running`, { hint: 'Come again.' });
      }
      this.#running++;
      running = true;
      const answer = await handler(request, reply, abort.signal);
      return reply.sent ? reply : reply.send(answer);
    } catch (thrown) {
      // An aborted wait may throw its own error in the place of the reason.
      const error = abort.signal.aborted && !isSluiceError(thrown) ? abort.signal.reason : thrown;
      if (sendError(reply, error, limits.retryAfterS)) logger.error({ err: error, path }, 'query failed');
      return reply;
    } finally {
      if (running) this.#running--;
      timer.cancel();
      reply.raw.off('close', onGone);
      metrics.queried(path, clock.monoMs() - startMs);
    }
  }

  async #readings(request: FastifyRequest, reply: FastifyReply, signal: AbortSignal): Promise<unknown> {
    const query = params.parseQuery(params.readingsQuery, request.query);
    const span = params.spanOf(query, this.#options.clock.wallMs());
    const { tags, truncated: tooMany } = this.#names.matching(query.tag, query.gateway, TAGS_MAX);
    if (tooMany) {
      throw new SluiceError('query.invalid', 'discard', `more than ${TAGS_MAX} tags match`, { hint: 'Ask for fewer.' });
    }
    const rows = tags.flatMap((tag) =>
      tag.rows.map(({ device, tag: id }) => ({ named: tag, key: { device, tag: id } })),
    );
    const found = await this.#options.tier.range(
      rows.map(({ key }) => key),
      span,
      query.limit,
      signal,
    );
    const lines = found.readings.map(({ key, ...reading }) => ({
      gateway: rows[key]?.named.gateway ?? '',
      tag: rows[key]?.named.name ?? '',
      ...shownReading(reading),
    }));
    const facts = { from: isoTime(span.fromMs), to: isoTime(span.toMs), truncated: found.truncated };
    return sendLines(reply, query.format, 'readings', lines, { tags: tags.map(describeTag), ...facts });
  }

  async #latest(request: FastifyRequest): Promise<unknown> {
    const query = params.parseQuery(params.latestQuery, request.query);
    const { tags, truncated } = this.#names.matching(query.tag, query.gateway, query.limit);
    const found = await this.#options.tier.latest(tags.flatMap(({ rows }) => rows));
    const nowMs = this.#options.clock.wallMs();
    let at = 0;
    const latest = tags.flatMap((tag) => {
      const readings = found.slice(at, at + tag.rows.length);
      at += tag.rows.length;
      const newest = newestOf(readings);
      // How old a value may be is the box's to know: here it is said how old it is.
      const age = { ageMs: nowMs - (newest?.timeMs ?? nowMs) };
      return newest === undefined ? [] : [{ ...describeTag(tag), ...shownReading(newest), ...age }];
    });
    return { latest, truncated };
  }

  async #windows(request: FastifyRequest, reply: FastifyReply, signal: AbortSignal): Promise<unknown> {
    const query = params.parseQuery(params.windowsQuery, request.query);
    const asked = params.spanOf(query, this.#options.clock.wallMs());
    const periodMs = query.period;
    // Whole windows: one that is cut off looks like a drop in the plant.
    const fromMs = Math.floor(asked.fromMs / periodMs) * periodMs;
    const toMs = Math.ceil(asked.toMs / periodMs) * periodMs;
    if ((toMs - fromMs) / periodMs > params.WINDOWS_MAX) {
      throw new SluiceError('query.invalid', 'discard', `more than ${params.WINDOWS_MAX} windows`, {
        hint: 'Ask for a longer period or a shorter time.',
      });
    }
    const tag = this.#names.one(query.tag, query.gateway);
    const windows = await this.#options.tier.windows(tag.rows, { fromMs, toMs }, periodMs, signal);
    const lines = windows.map(({ startMs, min, max, first, last, ...counts }) => ({
      start: isoTime(startMs),
      startMs,
      ...counts,
      min: shownValue(min),
      max: shownValue(max),
      first: shownValue(first),
      last: shownValue(last),
    }));
    return sendLines(reply, query.format, 'windows', lines, { ...describeTag(tag), periodMs });
  }

  #alarms(request: FastifyRequest): unknown {
    const { cloudAlarms, deviceAlarms, devices, catalog } = this.#options;
    const { gateway, active, limit } = params.parseQuery(params.alarmsQuery, request.query);
    const device = gateway === undefined ? undefined : this.#names.device(gateway);
    const cloud = cloudAlarms.list(device, active, limit).map(({ raisedMs, clearedMs, ...alarm }) => ({
      ...alarm,
      gateway: devices.nameOf(alarm.device),
      active: clearedMs === null,
      raised: isoTime(raisedMs),
      cleared: clearedMs === null ? null : isoTime(clearedMs),
    }));
    const gateways = catalog
      .devices()
      .filter((row) => device === undefined || row.device === device)
      .flatMap((row) =>
        deviceAlarms
          .list(row.id)
          .map(({ at, ...alarm }) => ({ ...alarm, gateway: devices.nameOf(row.device), time: isoTime(at) })),
      )
      .filter((alarm) => alarm.active || !active)
      .slice(0, limit);
    return { cloud, gateways };
  }

  #close(request: FastifyRequest): unknown {
    const { id } = params.parseQuery(params.alarmId, request.params);
    const { by } = params.parseQuery(params.closeBody, request.body);
    if (this.#options.cloudAlarms.close(id, by, this.#options.clock.wallMs())) return { closed: id, by };
    throw new SluiceError('query.not_found', 'discard', `no open alarm has the number ${id}`);
  }

  async #digest(request: FastifyRequest, signal: AbortSignal): Promise<unknown> {
    const { gateway } = params.parseQuery(params.digestQuery, request.query);
    const device = this.#names.device(gateway);
    const digests = await this.#options.tier.digest(device, this.#options.catalog.namesOf(device), signal);
    return { gateway, tags: Object.fromEntries(digests) };
  }
}

function describeTag({ gateway, name, definition }: NamedTag) {
  return { gateway, tag: name, type: definition?.type ?? null, unit: definition?.unit ?? null };
}

function newestOf(readings: readonly (TierReading | undefined)[]): TierReading | undefined {
  let newest: TierReading | undefined;
  for (const reading of readings) {
    if (reading !== undefined && (newest === undefined || reading.timeMs >= newest.timeMs)) newest = reading;
  }
  return newest;
}
