/**
 * HELLO: asks what the cloud holds, at start, when an answer names a new incarnation of the cloud, and every hour. What it
 * holds is marked delivered without sending; what it lost is sent again. It also brings the cloud's time and limits.
 */
import { randomBytes } from 'node:crypto';
import type { HelloOutcome, HelloQuestion } from '../cache/types.ts';
import { codeOf, describe, isSluiceError } from '../errors.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import { hex } from '../wire/bytes.ts';
import {
  HELLO_ANSWER_CONTENT_TYPE,
  HELLO_BYTES_MAX,
  HELLO_CONTENT_TYPE,
  type HelloAnswer,
  NONCE_BYTES,
  signHello,
  verifyHelloAnswer,
} from '../wire/hello.ts';
import type { CloudPublic, DeviceKey } from '../wire/keys.ts';
import { errorOutcome, unsignedOutcome } from './answers.ts';
import { fullJitterMs } from './backoff.ts';
import type { Link } from './connection.ts';
import type { CloudNews, Outcome } from './decide.ts';
import type { CloudTime, UplinkCache, UplinkLogger } from './types.ts';

const EVERY_MS = 3_600_000;
/** While the breaker is not closed: looked at again this soon. */
const LOOK_AGAIN_MS = 1000;

export interface HelloOptions {
  readonly connection: Link;
  /** Of `POST …/v1/hello`. */
  readonly path: string;
  readonly target: string;
  readonly cache: UplinkCache;
  readonly device: DeviceKey;
  readonly keys: CloudPublic;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: UplinkLogger;
  /** Whether the cloud may be bothered now: false while the breaker is not closed. */
  readonly mayAsk: () => boolean;
  readonly onAnswer: (answer: HelloAnswer, outcome: HelloOutcome) => void;
}

export class HelloClient {
  cloudTime: CloudTime | undefined;
  lastHelloMs: number | undefined;
  /** Hex; undefined before the first answer. */
  incarnation: string | undefined;
  readonly #options: HelloOptions;
  #asking: Promise<CloudNews> | undefined;
  #failures = 0;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: HelloOptions) {
    this.#options = options;
  }

  /** An answer came from this incarnation of the cloud: a new one may hold other things than the last. */
  seen(incarnation: string, signal: AbortSignal): void {
    if (this.incarnation === undefined || this.incarnation === incarnation || this.#asking !== undefined) return;
    if (this.#options.mayAsk()) void this.ask(signal);
    else this.#arm(LOOK_AGAIN_MS, signal);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /**
   * Asks now, or joins the question on its way, and from then on asks by itself. Never rejects: says what it learned
   * about the cloud.
   */
  ask(signal: AbortSignal): Promise<CloudNews> {
    this.#asking ??= this.#askAll(signal).finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #askAll(signal: AbortSignal): Promise<CloudNews> {
    let news: CloudNews;
    let answered = false;
    try {
      const outcome = await this.#askPages(signal);
      answered = outcome === undefined;
      news = outcome === undefined ? { state: 'alive' } : newsOf(outcome);
    } catch (error) {
      // The cloud did answer when it is our disk that has no room to note down what it holds.
      const isDiskFull = codeOf(error) === 'cache.full';
      news = isDiskFull ? { state: 'alive' } : { state: 'failed', text: describe(error), pauseMs: undefined };
      if (!signal.aborted) this.#options.logger.warn({ error: describe(error) }, 'uplink: hello failed');
    }
    this.#failures = answered ? 0 : this.#failures + 1;
    this.#arm(answered ? EVERY_MS : fullJitterMs(this.#failures, this.#options.random()), signal);
    return news;
  }

  /** @returns undefined when every page was answered and applied */
  async #askPages(signal: AbortSignal): Promise<Outcome | undefined> {
    let page: number | undefined;
    do {
      const question: HelloQuestion = await this.#options.cache.helloRuns(this.#options.target, page);
      const outcome = await this.#askPage(question, signal);
      if (outcome !== undefined) return outcome;
      page = question.next;
    } while (page !== undefined);
    return undefined;
  }

  /** @returns undefined when it was answered and applied */
  async #askPage(question: HelloQuestion, signal: AbortSignal): Promise<Outcome | undefined> {
    const { clock, connection, device, keys, path } = this.#options;
    const nonce = new Uint8Array(randomBytes(NONCE_BYTES));
    const body = signHello({ nonce, sentMs: clock.wallMs(), runs: question.runs }, device);
    const message = {
      path,
      contentType: HELLO_CONTENT_TYPE,
      accept: HELLO_ANSWER_CONTENT_TYPE,
      body,
      answerBytesMax: HELLO_BYTES_MAX,
    };
    const sentMonoMs = clock.monoMs();
    let answer: HelloAnswer;
    try {
      const reply = await connection.post(message, signal);
      try {
        answer = verifyHelloAnswer(reply.body, { nonce, device: device.device }, keys);
      } catch (error) {
        this.#options.logger.warn({ status: reply.status, error: describe(error) }, 'uplink: hello was not answered');
        return unsignedOutcome(reply, false, clock.wallMs());
      }
    } catch (error) {
      return errorOutcome(error);
    }
    this.#learn(answer, sentMonoMs);
    await this.#apply(question, answer);
    return undefined;
  }

  #learn(answer: HelloAnswer, sentMonoMs: number): void {
    const { clock } = this.#options;
    const atMonoMs = clock.monoMs();
    const uncertaintyMs = (atMonoMs - sentMonoMs) / 2;
    // The cloud read its clock somewhere between sending and now: in the middle, as far as anyone knows.
    this.cloudTime = { offsetMs: answer.cloudMs + uncertaintyMs - clock.wallMs(), uncertaintyMs, atMonoMs };
    this.lastHelloMs = clock.wallMs();
    this.incarnation = hex(answer.incarnation);
  }

  async #apply(question: HelloQuestion, answer: HelloAnswer): Promise<void> {
    try {
      this.#options.onAnswer(answer, await this.#options.cache.hello(question, answer));
    } catch (error) {
      // The cache has forgotten the question; the next hello asks anew.
      if (!isSluiceError(error) || error.recovery !== 'discard') throw error;
      this.#options.logger.warn({ error: describe(error) }, 'uplink: a hello came too late');
    }
  }

  #arm(delayMs: number, signal: AbortSignal): void {
    this.#timer?.cancel();
    if (this.#stopped || signal.aborted) return;
    this.#timer = this.#options.clock.after(delayMs, () => {
      if (this.#options.mayAsk()) void this.ask(signal);
      else this.#arm(LOOK_AGAIN_MS, signal);
    });
  }
}

/** Only whether the cloud is there: a receiver without hello is, a portal is not. */
function newsOf(outcome: Outcome): CloudNews {
  if (outcome.kind === 'failed') return { state: 'failed', text: outcome.text, pauseMs: outcome.retryAfterMs };
  if (outcome.kind !== 'denied') return { state: 'alive' };
  if (outcome.code !== 'not_found')
    return { state: 'held', reason: outcome.code, text: outcome.text, hint: outcome.hint };
  return { state: 'alive' };
}
