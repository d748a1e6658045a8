/**
 * What gateways say: `POST /v1/batches` and `POST /v1/hello`. Once the device and the bytes are known every answer is signed,
 * refusals too: a gateway marks, or writes off, only under a signature over the very bytes it sent.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { codeOf, describe, isSluiceError, SluiceError } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';
import {
  ANSWER_CODES,
  ANSWER_CONTENT_TYPE,
  type AnswerInput,
  type AnswerName,
  answerCode,
  refusalCode,
  signAnswer,
} from '../wire/answer.ts';
import { hex } from '../wire/bytes.ts';
import { authenticate, type EnvelopeLimits, openSigned } from '../wire/envelope.ts';
import { HELLO_ANSWER_CONTENT_TYPE, HELLO_BYTES_MAX } from '../wire/hello.ts';
import { type CloudKey, recipientSecret } from '../wire/keys.ts';
import { type Body, readBody } from './body.ts';
import type { DeviceList } from './devices.ts';
import { Gate } from './gate.ts';
import type { HelloDesk } from './hello-desk.ts';
import { sendError } from './http-errors.ts';
import type { CloudLimits } from './limits.ts';
import type { CloudMetrics } from './metrics.ts';
import { DeviceRates } from './rates.ts';
import type { Receiver } from './receiver.ts';
import { RefusalLog } from './refusal-log.ts';

export interface DeliveryOptions {
  readonly keys: CloudKey;
  readonly devices: DeviceList;
  readonly receiver: Receiver;
  readonly hello: HelloDesk;
  readonly incarnation: Uint8Array;
  readonly limits: CloudLimits;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: CloudMetrics;
  /** Seconds to wait while what keeps the readings cannot keep up; undefined when it can. */
  readonly pressure?: () => number | undefined;
  /** So many new readings were stored. */
  readonly onStored?: (readings: number) => void;
  /** A batch signed by this key was applied. */
  readonly onSigned?: (kid: Uint8Array) => void;
  /** The store can no longer be trusted: the process must end. */
  readonly onBroken: (cause: unknown) => void;
}

/** Where each message says whose it is. */
const ENVELOPE_DEVICE_AT = 24;
const HELLO_DEVICE_AT = 4;
/** SQLite's errors after which a clean-looking page may not be on disk. */
const BROKEN = /^SQLITE_(IOERR|CORRUPT|NOTADB)/;

const HELLO_REFUSALS: Readonly<Record<string, AnswerName>> = {
  'hello.malformed': 'hello_malformed',
  'hello.signature_invalid': 'hello_signature_invalid',
  'hello.signer_unknown': 'signer_unknown',
  'hello.signer_revoked': 'signer_revoked',
  'hello.device_foreign': 'device_foreign',
};

/** What passes by itself: the gateway comes again. */
const WAITS: Readonly<Record<string, AnswerName>> = {
  'cloud.busy': 'busy',
  'cloud.tier_lags': 'busy',
  'cloud.rate_limited': 'rate_limited',
};

/** A body that was read whole, and who sent it. */
interface Message {
  readonly kind: 'batch' | 'hello';
  readonly body: Body;
  readonly bytes: Uint8Array | undefined;
  readonly device: Uint8Array;
}

export class Deliveries {
  readonly #options: DeliveryOptions;
  readonly #gate: Gate;
  readonly #rates: DeviceRates;
  readonly #log: RefusalLog;
  #broken = false;

  constructor(options: DeliveryOptions) {
    this.#options = options;
    const { requestsMax, requestBytesMax, waitingPerDeviceMax } = options.limits;
    this.#log = new RefusalLog(options.logger, options.clock);
    this.#rates = new DeviceRates(options.limits, options.clock);
    this.#gate = new Gate({ requestsMax, bytesMax: requestBytesMax, waitingPerDeviceMax });
  }

  register(app: FastifyInstance): void {
    // In a scope of its own: bodies are read by us, whatever their type says.
    app.register(async (scope) => {
      scope.removeAllContentTypeParsers();
      scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
      scope.post('/v1/batches', (request, reply) => this.#serve(request, reply, 'batch'));
      scope.post('/v1/hello', (request, reply) => this.#serve(request, reply, 'hello'));
    });
  }

  /** Requests under way. */
  get requests(): number {
    return this.#gate.requests;
  }

  /** Resolves when the batches being applied are through. */
  idle(): Promise<void> {
    return this.#gate.idle();
  }

  async #serve(request: FastifyRequest, reply: FastifyReply, kind: 'batch' | 'hello'): Promise<FastifyReply> {
    const { limits, clock, metrics, logger } = this.#options;
    let leave = (): void => {};
    try {
      const visitor = this.#gate.enter();
      leave = visitor.leave;
      const body = await readBody(request.raw, clock, {
        bytesMax: kind === 'batch' ? limits.envelopeBytesMax : HELLO_BYTES_MAX,
        deadlineMs: limits.bodyMs,
        deviceAt: kind === 'batch' ? ENVELOPE_DEVICE_AT : HELLO_DEVICE_AT,
        keep: visitor.keep,
      });
      if (body.device === undefined) {
        // Too short to say whose it is: nobody could check a signature.
        throw new SluiceError('query.invalid', 'discard', `${body.length} bytes are no ${kind}`);
      }
      const message = { kind, body, bytes: body.bytes, device: body.device };
      return kind === 'batch' ? await this.#batch(reply, message) : await this.#hello(reply, message);
    } catch (thrown) {
      metrics.unsigned(codeOf(thrown));
      // Whatever of the body has not come yet is not worth reading.
      reply.header('connection', 'close');
      if (sendError(reply, thrown, limits.retryAfterS)) logger.error({ err: thrown }, `${kind} failed`);
      return reply;
    } finally {
      leave();
    }
  }

  async #batch(reply: FastifyReply, message: Message): Promise<FastifyReply> {
    const { receiver, devices, clock, metrics, incarnation } = this.#options;
    const device = hex(message.device);
    try {
      if (this.#broken) throw new SluiceError('cloud.broken', 'stop', 'the store has failed');
      const { bytes } = message;
      if (bytes === undefined) throw new SluiceError('envelope.too_large', 'discard', 'larger than is taken');
      // Known by its signature before it takes a place in the device's line or counts against its share.
      const header = authenticate(bytes, devices, this.#limits());
      this.#requireRoom(device, header.rows, bytes.length);
      const startMs = clock.monoMs();
      const applied = await this.#gate.inTurn(device, () => {
        const done = receiver.apply(openSigned(bytes, header, this.#recipient, this.#limits()), clock.wallMs());
        this.#options.onSigned?.(header.signerKid);
        return done;
      });
      this.#options.onStored?.(applied.readings);
      metrics.applied(applied, bytes.length, clock.monoMs() - startMs);
      return this.#sign(reply, message, { code: ANSWER_CODES.ok, ...applied, incarnation });
    } catch (thrown) {
      return this.#refuse(reply, message, thrown, refusalCode(thrown));
    }
  }

  async #hello(reply: FastifyReply, message: Message): Promise<FastifyReply> {
    const { hello, clock, metrics } = this.#options;
    try {
      const { bytes } = message;
      if (bytes === undefined) throw new SluiceError('envelope.too_large', 'discard', 'larger than a HELLO');
      const asked = hello.check(bytes);
      const answer = await this.#gate.inTurn(hex(message.device), () => hello.answerTo(asked, clock.wallMs()));
      metrics.answered('hello', 'ok');
      return reply.code(200).type(HELLO_ANSWER_CONTENT_TYPE).send(Buffer.from(answer));
    } catch (thrown) {
      const name = HELLO_REFUSALS[codeOf(thrown)];
      return this.#refuse(reply, message, thrown, name === undefined ? refusalCode(thrown) : ANSWER_CODES[name]);
    }
  }

  #limits(): EnvelopeLimits {
    const { envelopeBytesMax, plainBytesMax, rowsMax } = this.#options.limits;
    return { envelopeBytesMax, plainBytesMax, rowsMax };
  }

  readonly #recipient = { recipient: (kid: Uint8Array) => recipientSecret(this.#options.keys, kid) };

  /** @throws cloud.rate_limited, cloud.tier_lags: come again after so many seconds */
  #requireRoom(device: string, rows: number, bytes: number): void {
    const lagsS = this.#options.pressure?.();
    if (lagsS !== undefined) throw later('cloud.tier_lags', 'what keeps the readings cannot keep up', lagsS);
    const waitS = this.#rates.take(device, rows, bytes);
    if (waitS !== undefined) throw later('cloud.rate_limited', 'this gateway sends too much', waitS);
  }

  #refuse(reply: FastifyReply, message: Message, thrown: unknown, refusal: number): FastifyReply {
    const { incarnation, limits, logger, onBroken } = this.#options;
    const wait = WAITS[codeOf(thrown)];
    const code = wait === undefined ? refusal : ANSWER_CODES[wait];
    if (wait !== undefined) reply.header('retry-after', retryAfterOf(thrown) ?? limits.retryAfterS);
    const facts = { kind: message.kind, device: hex(message.device), reason: describe(thrown) };
    if (code === ANSWER_CODES.internal) logger.error({ ...facts, err: thrown }, 'message failed');
    else this.#log.refused(answerCode(code)?.name ?? String(code), facts);
    if (BROKEN.test(codeOf(thrown)) && !this.#broken) {
      this.#broken = true;
      onBroken(thrown);
    }
    return this.#sign(reply, message, { code, rows: 0, duplicates: 0, incarnation });
  }

  #sign(reply: FastifyReply, { kind, body, device }: Message, answer: AnswerInput): FastifyReply {
    const { keys, metrics } = this.#options;
    const known = answerCode(answer.code);
    metrics.answered(kind, known?.name ?? 'unknown');
    const signed = signAnswer(answer, device, body.digest, keys.answer);
    return reply
      .code(known?.http ?? 500)
      .type(ANSWER_CONTENT_TYPE)
      .send(Buffer.from(signed));
  }
}

function later(code: string, message: string, retryAfterS: number): SluiceError {
  return new SluiceError(code, 'retry', message, { facts: { retryAfterS } });
}

function retryAfterOf(thrown: unknown): number | undefined {
  const seconds = isSluiceError(thrown) ? thrown.facts.retryAfterS : undefined;
  return typeof seconds === 'number' ? seconds : undefined;
}
