/**
 * The gateway's own small HTTP server: `/healthz` for watchdogs, `/metrics` for Prometheus, `/status` for `sluice status`,
 * `/values`, `/values?tag=…` and `/history?tag=…` for programs that do not speak MQTT.
 * Loopback unless the configuration says otherwise, and then only with a token. It reads; nothing can be changed here.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { FastifyReply } from 'fastify';
import type { HttpConfig } from '../config/schema.ts';
import { codeOf, describe, isSluiceError, SluiceError } from '../errors.ts';
import { jsonReplacer } from '../runtime/json.ts';
import { type HistoryDesk, parseHistory } from './history.ts';
import { TAGS_MAX, type ValueDesk } from './values.ts';

/** Nobody sends us a body. */
const BODY_BYTES_MAX = 1024;
/** A client that does not finish its request in time is cut off (slowloris). */
const REQUEST_TIMEOUT_MS = 10_000;
const CONNECTIONS_MAX = 32;

export interface HttpView {
  readonly metrics: { readonly contentType: string; text(): Promise<string> };
  status(): Promise<unknown>;
  /** What is wrong, if anything is: the process works only when this is empty. */
  faults(): readonly string[];
  readonly values: Pick<ValueDesk, 'values' | 'all'>;
  readonly history: HistoryDesk;
}

/** As fastify parses it: what is there once is a text, else a list. */
type Query = Readonly<Record<string, string | string[] | undefined>>;

export interface HttpServer {
  readonly url: string;
  stop(): Promise<void>;
}

function noSchemas(): never {
  throw new Error('the routes of the status page have no schemas');
}

/** @throws http.listen_failed */
export async function startHttp(config: HttpConfig, view: HttpView): Promise<HttpServer> {
  // Its library takes 20 MB: only where somebody may look.
  const { fastify } = await import('fastify');
  const app = fastify({
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
    // No route has a schema: without compilers of our own fastify loads those of ajv, 130 files, for nothing.
    schemaController: { compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas } },
  });
  app.server.maxConnections = CONNECTIONS_MAX;
  if (config.token !== undefined) {
    const expected = sha256(`Bearer ${config.token}`);
    app.addHook('onRequest', async (request, reply) => {
      // Equal lengths by hashing: the comparison tells nothing by its time.
      if (timingSafeEqual(sha256(request.headers.authorization ?? ''), expected)) return;
      await reply
        .code(401)
        .header('www-authenticate', 'Bearer')
        .send({ code: 'http.unauthorized', message: 'a bearer token is needed' });
    });
  }
  app.get('/healthz', async (_request, reply) => {
    const faults = view.faults();
    return reply.code(faults.length === 0 ? 200 : 503).send({ ok: faults.length === 0, faults });
  });
  app.get('/metrics', async (_request, reply) => reply.type(view.metrics.contentType).send(await view.metrics.text()));
  app.get('/status', async (_request, reply) =>
    reply.type('application/json').send(JSON.stringify(await view.status(), jsonReplacer)),
  );
  app.get('/values', async (request, reply) => {
    const { tag } = request.query as Query;
    if (tag === undefined) return reply.type('application/json').send(Readable.from(turnByTurn(view.values.all())));
    const names = [tag].flat();
    if (names.length > TAGS_MAX)
      return refuse(reply, 400, `expected up to ${TAGS_MAX} times tag=<its name>, or none for all`);
    const values = await view.values.values(names);
    if (values.every(({ error }) => error !== undefined)) return refuse(reply, 404, 'no such tag');
    return { values };
  });
  app.get('/history', async (request, reply) => {
    const question = parseHistory(request.query as Query);
    if (typeof question === 'string') return refuse(reply, 400, question);
    try {
      return await view.history(question);
    } catch (thrown) {
      return refuse(reply, isSluiceError(thrown) && thrown.recovery === 'retry' ? 503 : 500, describe(thrown));
    }
  });
  const host = config.listen.host.includes(':') ? `[${config.listen.host}]` : config.listen.host;
  try {
    await app.listen({ host: config.listen.host, port: config.listen.port });
  } catch (cause) {
    await app.close();
    throw listenFailed(`${host}:${config.listen.port}`, cause);
  }
  const address = app.server.address();
  const port = typeof address === 'object' && address !== null ? address.port : config.listen.port;
  return { url: `http://${host}:${port}`, stop: () => app.close() };
}

/** Whatever waits comes between two groups. */
async function* turnByTurn(groups: Iterable<readonly Uint8Array[]>): AsyncGenerator<Uint8Array> {
  for (const pieces of groups) {
    yield* pieces;
    await nextTurn();
  }
}

function refuse(reply: FastifyReply, code: number, message: string): FastifyReply {
  return reply.code(code).send({ code: 'http.refused', message });
}

function listenFailed(place: string, cause: unknown): SluiceError {
  const hints: Readonly<Record<string, string>> = {
    EADDRINUSE: 'another program has this port (ss -ltnp shows which): end it, or give http.listen another port',
    EADDRNOTAVAIL: 'no interface of this box has that address: correct http.listen',
    EACCES: 'ports under 1024 are for root: give http.listen a higher one',
  };
  return new SluiceError('http.listen_failed', 'stop', `http.listen: nothing can listen on ${place}`, {
    cause,
    hint: hints[codeOf(cause)] ?? 'correct http.listen',
  });
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
