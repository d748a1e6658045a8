/** The cloud receiver: takes what gateways deliver, keeps it, answers questions about it. */
import { randomBytes } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { type FastifyInstance, fastify } from 'fastify';
import type { Logger } from 'pino';
import { asError, SluiceError } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';
import { hex } from '../wire/bytes.ts';
import type { CloudKey } from '../wire/keys.ts';
import { registerAccess } from './api/access.ts';
import { AlarmRoutes } from './api/alarms.ts';
import { Api, type ApiOptions } from './api/api.ts';
import { registerExport } from './api/export.ts';
import { registerForget } from './api/forget.ts';
import { OPENAPI } from './api/openapi/document.ts';
import { ReadingRoutes } from './api/readings.ts';
import { type Guard, guard } from './auth.ts';
import { Deliveries } from './deliveries.ts';
import { DeviceBook } from './device-book.ts';
import type { DeviceList } from './devices.ts';
import { EnrolDesk } from './enrol-desk.ts';
import { EnrolTokens } from './enrol-tokens.ts';
import { TierFeed } from './feed.ts';
import { ForgetDesk } from './forget/desk.ts';
import { type ForwardOptions, forwardTier } from './forward.ts';
import { HelloDesk } from './hello-desk.ts';
import { sendError } from './http-errors.ts';
import { requireOwnKeyList } from './key-list.ts';
import { KeyRoutes } from './key-routes.ts';
import { CLOUD_LIMITS, type CloudLimits } from './limits.ts';
import { listener, type TlsMaterial } from './listener.ts';
import { cloudMetrics } from './metrics.ts';
import { Retention, type RetentionLimits } from './retention.ts';
import { openStore, type Store } from './store.ts';

export interface CloudOptions {
  /** Without any token only loopback. */
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly dataDir: string;
  readonly keys: CloudKey;
  /** These keys, signed by the root. Without it gateways know the keys themselves, and nobody can enrol. */
  readonly keyList?: Uint8Array | undefined;
  readonly devices: DeviceList;
  /** A reader's, beside those of the table. */
  readonly readToken?: string | undefined;
  /** An operator's, beside those of the table. */
  readonly operatorToken?: string | undefined;
  /** All, without it. */
  readonly keep?: RetentionLimits | undefined;
  /** Plain HTTP without it. */
  readonly tls?: TlsMaterial | undefined;
  /** Hands every reading on, too. */
  readonly forward?: ForwardOptions | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits?: Partial<CloudLimits>;
}

export interface Cloud {
  readonly port: number;
  readonly url: string;
  /** 32 hex digits, random each start: tells gateways to ask anew what is held. */
  readonly incarnation: string;
  /** Rejects when the disk can no longer be trusted: the process must end, and the next start checks. */
  readonly failed: Promise<never>;
  /** For connections from now on. @throws cloud.tls_unusable; the old one stays in force */
  renewTls(tls: TlsMaterial): void;
  /** Finishes what is being applied, then closes. Idempotent. */
  close(): Promise<void>;
}

const INCARNATION_BYTES = 16;
/** Gateways send a live batch every 2 s: their connection should last. */
const KEEP_ALIVE_MS = 75_000;
/** Of a JSON body: closing an alarm takes some 100 bytes. */
const JSON_BYTES_MAX = 16 * 1024;

/**
 * @throws cloud.key_list_mismatch, keylist.malformed, keylist.signature_invalid, cloud.token_missing, cloud.token_weak, cloud.data_unusable, cloud.schema_newer, cloud.listen_failed
 */
export async function startCloud(options: CloudOptions): Promise<Cloud> {
  const { host, port, dataDir, keys, keyList, devices, clock, logger } = options;
  if (keyList !== undefined) requireOwnKeyList(keyList, keys);
  const limits = { ...CLOUD_LIMITS, ...options.limits };
  const door = listener(options.tls, { requestTimeoutMs: limits.bodyMs, keepAliveMs: KEEP_ALIVE_MS });
  const incarnation = new Uint8Array(randomBytes(INCARNATION_BYTES));
  const store = openStore(dataDir, clock);
  const doorkeeper = guarded(options, store);
  let onBroken = (_cause: unknown): void => {};
  // Nobody's catch: whoever does not watch it ends with it, which is right.
  const failed = new Promise<never>((_resolve, reject) => {
    onBroken = reject;
  });
  const metrics = cloudMetrics({ alarms: store.cloudAlarms, requests: () => deliveries.requests, feeds: () => feeds });
  const book = new DeviceBook({ devices, db: store.db, audit: store.audit, logger });
  const onSigned = (kid: Uint8Array) => book.used(kid);
  const hello = new HelloDesk({ ...store, keys, devices, incarnation, sizeMax: limits.envelopeBytesMax, onSigned });
  const feeds = feedsOf(options, store, limits);
  const deliveries = new Deliveries({
    keys,
    devices,
    receiver: store.receiver,
    hello,
    incarnation,
    limits,
    clock,
    logger,
    metrics,
    onSigned,
    onStored: (readings) => {
      for (const feed of feeds) feed.added(readings);
    },
    pressure: () => (feeds.some(({ holds }) => holds) ? limits.retryAfterS : undefined),
    onBroken,
  });
  const app = fastify({
    bodyLimit: JSON_BYTES_MAX,
    serverFactory: (handler) => door.create(handler),
    // Names of tags go into the query, nothing long into the path.
    routerOptions: { maxParamLength: 100 },
    forceCloseConnections: 'idle',
  });
  errors(app, logger, limits);
  deliveries.register(app);
  const enrol = new EnrolDesk({ tokens: new EnrolTokens(store.db), book, audit: store.audit, keyList, clock });
  new KeyRoutes({ ...{ keys, keyList, book, enrol, incarnation, clock, logger }, audit: store.audit }).register(app);
  const desk = new ForgetDesk(store.forgetting, clock, logger);
  const retention = new Retention(options.keep ?? {}, { ...store, blocks: store.tier.blocks, clock, logger });
  answers(app, store, devices, desk, { guard: doorkeeper, clock, logger, limits, metrics });
  try {
    await app.listen({ host, port });
  } catch (cause) {
    desk.stop();
    retention.stop();
    for (const feed of feeds) await feed.stop();
    store.close();
    throw new SluiceError('cloud.listen_failed', 'stop', `cannot listen on ${host}:${port}`, {
      hint: 'Another process may have the port; --port 0 takes a free one.',
      cause,
    });
  }
  const bound = boundPort(app);
  const url = `${door.scheme}://${host.includes(':') ? `[${host}]` : host}:${bound}`;
  logger.info({ url, incarnation: hex(incarnation), devices: devices.entries().length }, 'cloud receiver listens');
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    // A body that trickles, or a slow reader, must not hold the end up; a gateway sends again what was not answered.
    const hurry = clock.after(limits.closeMs, () => app.server.closeAllConnections());
    await app.close();
    hurry.cancel();
    await deliveries.idle();
    desk.stop();
    retention.stop();
    for (const feed of feeds) await feed.stop();
    store.close();
    logger.info('cloud receiver closed');
  };
  return {
    port: bound,
    url,
    incarnation: hex(incarnation),
    failed,
    renewTls: (tls) => door.renew(tls),
    close() {
      closing ??= close();
      return closing;
    },
  };
}

/** @throws cloud.token_missing, cloud.token_weak; the store is closed then */
function guarded({ host, readToken, operatorToken, clock }: CloudOptions, store: Store): Guard {
  try {
    const tokens = { read: readToken, operate: operatorToken };
    return guard({ tokens, access: store.access, audit: store.audit, host, clock });
  } catch (thrown) {
    store.close();
    throw thrown;
  }
}

function feedsOf({ forward, devices, clock, logger }: CloudOptions, store: Store, limits: CloudLimits): TierFeed[] {
  if (forward === undefined) return [];
  const tier = forwardTier(forward, { ...store, devices, clock });
  return [new TierFeed({ db: store.db, tier, clock, logger, lagReadingsMax: limits.lagReadingsMax })];
}

/** What people and programs ask. */
function answers(app: FastifyInstance, store: Store, devices: DeviceList, desk: ForgetDesk, options: ApiOptions): void {
  const { metrics, clock } = options;
  const api = new Api(app, options);
  const parts = { ...store, devices, nowMs: () => clock.wallMs() };
  new ReadingRoutes(parts).register(api);
  registerExport(api, parts);
  new AlarmRoutes(parts).register(api);
  registerAccess(api, parts);
  registerForget(api, { ...parts, desk });
  api.route('GET', '/metrics', 'reader', ({ reply }) => {
    reply.type(metrics.contentType);
    return metrics.text();
  });
  // Neither says anything about anybody's data.
  app.get('/healthz', async () => ({ status: 'ok' }));
  app.get('/openapi.json', async () => OPENAPI);
}

function errors(app: FastifyInstance, logger: Logger, limits: CloudLimits): void {
  app.setErrorHandler((error, request, reply) => {
    if (sendError(reply, error, limits.retryAfterS))
      logger.error({ err: asError(error), path: request.url }, 'request failed');
  });
  app.setNotFoundHandler((_request, reply) => {
    reply.code(404).send({ code: 'http.not_found', message: 'there is nothing here', hint: 'GET /openapi.json' });
  });
}

function boundPort(app: FastifyInstance): number {
  // A TCP listener's address is never a string.
  return (app.server.address() as AddressInfo).port;
}
