/**
 * One HTTP origin, a fixed number of connections, one request at a time on each. Everything here distrusts the far side:
 * one deadline covers name look-up, connection, sending and the last byte of the answer, and an answer is cut off at a
 * limit. Nothing is retried here but a request that met a keep-alive socket the far side had just closed: every message
 * of ours may be sent twice without harm.
 */
import type { Dispatcher } from 'undici';
// By their files: the whole of undici (fetch, WebSocket, caches, mocks) is 7 MB of memory for what is never called.
import request from 'undici/lib/api/api-request.js';
import Pool from 'undici/lib/dispatcher/pool.js';
import { codeOf, SluiceError } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';
import type { TlsOptions } from './tls.ts';

/** No handshake needs longer; the deadline over all may be shorter. */
const CONNECT_MS_MAX = 10_000;
/** undici's own idle limit would be 4 s: a live batch every 2 s should keep its connection, proxies close at 60 s. */
const KEEP_ALIVE_MS = 30_000;
const HEADER_BYTES_MAX = 16_384;

export interface Reply {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly date: string | undefined;
  /** Empty when it was longer than allowed. */
  readonly body: Uint8Array;
}

export interface ConnectionOptions {
  readonly origin: string;
  readonly connections: number;
  readonly timeoutMs: number;
  readonly tls: TlsOptions | undefined;
  readonly clock: Clock;
}

export interface Message {
  readonly path: string;
  readonly contentType: string;
  readonly accept: string;
  readonly body: Uint8Array;
  /** What is longer is not from our cloud. */
  readonly answerBytesMax: number;
}

/** A message without a body. */
export type Question = Pick<Message, 'path' | 'accept' | 'answerBytesMax'>;

/** What carries requests to the cloud. */
export type Link = Pick<Connection, 'post' | 'get' | 'close'>;
export type Connect = (options: ConnectionOptions) => Link;

export const connectHttp: Connect = (options) => new Connection(options);

/** Codes of a socket that died between two requests. */
const STALE = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

export class Connection {
  readonly #pool: Pool;
  readonly #options: ConnectionOptions;
  /** The last exchange ended well, so a socket may have been kept, and may be stale by now. */
  #warm = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#pool = new Pool(options.origin, {
      connections: options.connections,
      pipelining: 1,
      // The overall deadline rules; these would only add timers.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: HEADER_BYTES_MAX,
      connect: { timeout: Math.min(CONNECT_MS_MAX, options.timeoutMs), ...options.tls },
    });
  }

  /**
   * @throws SluiceError `uplink.timeout` past the deadline, the signal's reason when aborted, else undici's or Node's error.
   */
  post(message: Message, signal: AbortSignal): Promise<Reply> {
    return this.#within(message, signal);
  }

  /** As `post`. */
  get(question: Question, signal: AbortSignal): Promise<Reply> {
    return this.#within(question, signal);
  }

  async #within(message: Message | Question, signal: AbortSignal): Promise<Reply> {
    signal.throwIfAborted();
    const deadline = new AbortController();
    const timer = this.#options.clock.after(this.#options.timeoutMs, () =>
      deadline.abort(
        new SluiceError('uplink.timeout', 'retry', `no complete answer within ${this.#options.timeoutMs} ms`),
      ),
    );
    const onAbort = () => deadline.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await this.#exchange(message, deadline.signal);
    } catch (error) {
      // undici may put an error of its own in the place of the reason.
      throw deadline.signal.aborted ? deadline.signal.reason : error;
    } finally {
      timer.cancel();
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Drops what is open; pending requests reject. */
  async close(): Promise<void> {
    await this.#pool.destroy();
  }

  async #exchange(message: Message | Question, signal: AbortSignal): Promise<Reply> {
    const wasWarm = this.#warm;
    try {
      return await this.#once(message, signal);
    } catch (error) {
      this.#warm = false;
      if (!wasWarm || signal.aborted || !STALE.has(codeOf(error))) throw error;
      return await this.#once(message, signal);
    }
  }

  async #once(message: Message | Question, signal: AbortSignal): Promise<Reply> {
    const headers = { accept: message.accept, 'user-agent': 'sluice' };
    const response = await request.call(this.#pool, {
      path: message.path,
      ...('body' in message
        ? { method: 'POST', body: message.body, headers: { ...headers, 'content-type': message.contentType } }
        : { method: 'GET', headers }),
      signal,
    });
    const reply = {
      status: response.statusCode,
      retryAfter: single(response.headers['retry-after']),
      date: single(response.headers.date),
      body: await capped(response.body, message.answerBytesMax),
    };
    this.#warm = true;
    return reply;
  }
}

function single(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}

async function capped(body: Dispatcher.ResponseData['body'], bytesMax: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of body as AsyncIterable<Uint8Array>) {
    // undici yields Buffers; its stream type says `any`.
    length += part.length;
    // Leaving the loop destroys the stream, and with it the connection.
    if (length > bytesMax) return new Uint8Array(0);
    parts.push(part);
  }
  return Buffer.concat(parts, length);
}
