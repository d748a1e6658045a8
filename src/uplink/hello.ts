/**
 * HELLO: asks what the cloud holds, at start, when an answer names a new incarnation of the cloud, and every hour. What it
 * holds is marked delivered without sending; what it lost is sent again. It also brings the cloud's time and limits.
 */
import { randomBytes } from 'node:crypto';
import type { HelloOutcome, HelloQuestion } from '../cache/types.ts';
import { codeOf, describe, isSluiceError } from '../errors.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import { answerKid } from '../wire/answer.ts';
import { hex } from '../wire/bytes.ts';
import { envelopeDigest } from '../wire/envelope.ts';
import {
  HELLO_ANSWER_CONTENT_TYPE,
  HELLO_BYTES_MAX,
  HELLO_CONTENT_TYPE,
  type HelloAnswer,
  helloAnswerKid,
  NONCE_BYTES,
  signHello,
  verifyHelloAnswer,
} from '../wire/hello.ts';
import { errorOutcome, readReply } from './answers.ts';
import { fullJitterMs } from './backoff.ts';
import type { CloudKeys } from './cloud-keys.ts';
import type { Link, Reply } from './connection.ts';
import type { CloudNews, Outcome } from './decide.ts';
import type { Signer } from './signer.ts';
import type { CloudTime, IgnoredAnswers, UplinkCache, UplinkLogger } from './types.ts';

const EVERY_MS = 3_600_000;
/** While the breaker is not closed: looked at again this soon. */
const LOOK_AGAIN_MS = 1000;

export interface HelloOptions {
  readonly connection: Link;
  /** Of `POST …/v1/hello`. */
  readonly path: string;
  readonly target: string;
  readonly cache: UplinkCache;
  readonly signer: Signer;
  readonly keys: CloudKeys;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: UplinkLogger;
  /** Whether the cloud may be bothered now: false while the breaker is not closed. */
  readonly mayAsk: () => boolean;
  readonly onAnswer: (answer: HelloAnswer, outcome: HelloOutcome) => void;
  /** The cloud, or something that keeps us from it, said no to this gateway as a whole. */
  readonly onDenied: (news: Denial) => void;
}
type Denial = Extract<CloudNews, { state: 'held' }>;

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
  /** Of HELLOs; those of batches are counted apart. */
  readonly #ignored: IgnoredAnswers = { unsigned: 0, foreign: 0, unknownKey: 0, malformed: 0 };

  constructor(options: HelloOptions) {
    this.#options = options;
  }

  /** An answer came from this incarnation of the cloud: a new one may hold other things than the last. */
  seen(incarnation: string, signal: AbortSignal): void {
    if (this.incarnation === undefined || this.incarnation === incarnation || this.#asking !== undefined) return;
    if (this.#options.mayAsk()) void this.askAndTell(signal);
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

  /** Asks, and says when the cloud will not have us. Never rejects. */
  async askAndTell(signal: AbortSignal): Promise<void> {
    const news = await this.ask(signal);
    if (news.state === 'held' && !signal.aborted) this.#options.onDenied(news);
  }

  async #askAll(signal: AbortSignal): Promise<CloudNews> {
    let news: CloudNews;
    let answered = false;
    try {
      const outcome = await this.#askPages(signal);
      answered = outcome === undefined;
      news = outcome === undefined ? { state: 'alive' } : this.#newsOf(outcome);
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
    const { clock, connection, keys, path } = this.#options;
    const device = this.#options.signer.key;
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
      const kid = helloAnswerKid(reply.body) ?? answerKid(reply.body);
      if (kid !== undefined && !keys.knows(kid)) await keys.newerThan(keys.version, signal);
      try {
        answer = verifyHelloAnswer(reply.body, { nonce, device: device.device }, keys);
      } catch (error) {
        return this.#notAnswered(reply, body, device.device, error);
      }
    } catch (error) {
      return errorOutcome(error);
    }
    this.#learn(answer, sentMonoMs);
    await this.#apply(question, answer);
    return undefined;
  }

  /** A refusal is signed as that of a batch is, about the bytes of the HELLO. */
  #notAnswered(reply: Reply, body: Uint8Array, device: Uint8Array, error: unknown): Outcome {
    const { clock, keys, logger } = this.#options;
    const asked = { digest: envelopeDigest(body), rows: 0 };
    const reader = { device, keys, ignored: this.#ignored, wallMs: clock.wallMs() };
    const { outcome, incarnation } = readReply(reply, asked, reader);
    if (incarnation === undefined) {
      logger.warn({ status: reply.status, error: describe(error) }, 'uplink: hello was not answered');
    } else {
      const code = 'code' in outcome ? outcome.code : outcome.kind;
      logger.warn({ status: reply.status, code }, 'uplink: the cloud refused our hello');
    }
    return outcome.kind === 'acknowledged'
      ? { kind: 'failed', cause: 'status', text: 'a yes that answers no hello', retryAfterMs: undefined }
      : outcome;
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
      if (this.#options.mayAsk()) void this.askAndTell(signal);
      else this.#arm(LOOK_AGAIN_MS, signal);
    });
  }

  /** Whether the cloud is there and takes us: a receiver without hello is there, a portal is not. */
  #newsOf(outcome: Outcome): CloudNews {
    const isReady = this.#options.keys.current !== undefined;
    if (outcome.kind === 'failed' && isReady) {
      return { state: 'failed', text: outcome.text, pauseMs: outcome.retryAfterMs };
    }
    // Without its keys there is nothing that could be sent, and nothing else that would tell of it.
    if (!isReady && (outcome.kind === 'failed' || outcome.kind === 'denied')) {
      const hint = 'this gateway knows the root of its cloud, and no key list yet: it needs to reach the cloud once';
      return { state: 'held', reason: 'no_key_list', text: `no key list yet: ${outcome.text}`, hint };
    }
    if (outcome.kind !== 'denied' || outcome.code === 'not_found') return { state: 'alive' };
    return { state: 'held', reason: outcome.code, text: outcome.text, hint: outcome.hint };
  }
}
