/**
 * Every question goes this way: the role it takes, the time it may take, how many at once, what is measured of it, and one
 * shape for all errors. A query that takes too long, or whose client has gone, ends.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { isSluiceError, SluiceError } from '../../errors.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Role } from '../access/tokens.ts';
import type { Caller, Guard } from '../auth.ts';
import { sendError } from '../http-errors.ts';
import type { CloudLimits } from '../limits.ts';
import type { CloudMetrics } from '../metrics.ts';

export interface ApiOptions {
  readonly guard: Guard;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: CloudLimits;
  readonly metrics: CloudMetrics;
}

export interface Asked {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly caller: Caller;
  /** Aborted when the time is over, or the client gone. */
  readonly signal: AbortSignal;
  /** The time begins again: an answer in parts has it for each. */
  readonly again: () => void;
}

/** @returns what is sent as JSON, or nothing when it was sent */
export type Handler = (asked: Asked) => unknown;

export type Method = 'GET' | 'POST' | 'DELETE';

export class Api {
  readonly #app: FastifyInstance;
  readonly #options: ApiOptions;
  #running = 0;

  constructor(app: FastifyInstance, options: ApiOptions) {
    this.#app = app;
    this.#options = options;
  }

  route(method: Method, path: string, role: Role, handler: Handler): void {
    this.#app.route({
      method,
      url: path,
      handler: (request, reply) => this.#serve(path, role, handler, request, reply),
    });
  }

  async #serve(
    path: string,
    role: Role,
    handler: Handler,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply> {
    const { guard, clock, limits, logger, metrics } = this.#options;
    const startMs = clock.monoMs();
    const deadline = new Deadline(clock, limits.queryMs, reply);
    let running = false;
    try {
      const { authorization, host } = request.headers;
      const caller = guard.require(role, { authorization, host, address: request.ip });
      if (this.#running >= limits.queriesMax) {
        throw new SluiceError('cloud.busy', 'retry', `${this.#running} queries are running`, { hint: 'Come again.' });
      }
      this.#running++;
      running = true;
      const { signal } = deadline;
      const answer = await handler({ request, reply, caller, signal, again: () => deadline.again() });
      return reply.sent ? reply : reply.send(answer);
    } catch (thrown) {
      const error = deadline.reasonOf(thrown);
      // Half an answer must not look like a whole one: the connection ends without the last part.
      if (reply.raw.headersSent) reply.raw.destroy();
      else if (sendError(reply, error, limits.retryAfterS)) logger.error({ err: error, path }, 'query failed');
      return reply;
    } finally {
      if (running) this.#running--;
      deadline.end();
      metrics.queried(path, clock.monoMs() - startMs);
    }
  }
}

class Deadline {
  readonly #abort = new AbortController();
  readonly #clock: Clock;
  readonly #ms: number;
  readonly #reply: FastifyReply;
  #timer: { cancel(): void };

  constructor(clock: Clock, ms: number, reply: FastifyReply) {
    this.#clock = clock;
    this.#ms = ms;
    this.#reply = reply;
    this.#timer = this.#start();
    reply.raw.once('close', this.#onGone);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  again(): void {
    this.#timer.cancel();
    this.#timer = this.#start();
  }

  /** An aborted wait may throw its own error in the place of the reason. */
  reasonOf(thrown: unknown): unknown {
    return this.signal.aborted && !isSluiceError(thrown) ? this.signal.reason : thrown;
  }

  end(): void {
    this.#timer.cancel();
    this.#reply.raw.off('close', this.#onGone);
  }

  #start(): { cancel(): void } {
    return this.#clock.after(this.#ms, () =>
      this.#abort.abort(
        new SluiceError('query.too_long', 'retry', `the query took longer than ${this.#ms} ms`, {
          hint: 'Ask for a shorter time, or fewer tags.',
        }),
      ),
    );
  }

  readonly #onGone = (): void => {
    this.#abort.abort(new SluiceError('query.too_long', 'discard', 'the client has gone'));
  };
}
