/** One attempt to deliver one sealed batch: its bytes out, a verified outcome back. Each lane has connections of its own. */
import type { UplinkConfig } from '../config/uplink.ts';
import type { Clock } from '../runtime/clock.ts';
import { ANSWER_BYTES_MAX, ANSWER_CONTENT_TYPE, answerKid, ENVELOPE_CONTENT_TYPE } from '../wire/answer.ts';
import { sameBytes } from '../wire/bytes.ts';
import { LANES, type Lane } from '../wire/classes.ts';
import { kidsOf } from '../wire/envelope.ts';
import { errorOutcome, readReply } from './answers.ts';
import type { CloudKeys } from './cloud-keys.ts';
import { type Connect, type ConnectionOptions, connectHttp, type Link } from './connection.ts';
import type { Outcome } from './decide.ts';
import type { Signer } from './signer.ts';
import { tlsOptions } from './tls.ts';
import type { Attempt, IgnoredAnswers, Send } from './types.ts';

const CHANGED: Outcome = { kind: 'keysChanged' };

/** What every connection to the cloud shares. `base` is the path before `/v1`, without a slash at its end. */
export function connectionOptions(
  config: UplinkConfig,
  clock: Clock,
): Omit<ConnectionOptions, 'connections'> & { base: string } {
  const { origin, protocol, pathname } = new URL(config.url);
  const tls = protocol === 'https:' ? tlsOptions(config.tls) : undefined;
  return { origin, tls, clock, timeoutMs: config.timeout, base: pathname.replace(/\/+$/, '') };
}

export class Sender {
  readonly ignored: IgnoredAnswers = { unsigned: 0, foreign: 0, unknownKey: 0, malformed: 0 };
  readonly #connections: Readonly<Record<Lane, Link>>;
  readonly #path: string;
  readonly #clock: Clock;
  readonly #signer: Signer;
  readonly #keys: CloudKeys;

  constructor(config: UplinkConfig, clock: Clock, signer: Signer, keys: CloudKeys, connect: Connect = connectHttp) {
    const { base, ...shared } = connectionOptions(config, clock);
    this.#path = `${base}/v1/batches`;
    this.#clock = clock;
    this.#signer = signer;
    this.#keys = keys;
    this.#connections = {
      alarm: connect({ ...shared, connections: 1 }),
      live: connect({ ...shared, connections: 1 }),
      backlog: connect({ ...shared, connections: config.backlogParallel }),
    };
  }

  readonly send: Send = async (lane, batch, signal) => {
    const message = {
      path: this.#path,
      contentType: ENVELOPE_CONTENT_TYPE,
      accept: ANSWER_CONTENT_TYPE,
      body: batch.envelope,
      answerBytesMax: ANSWER_BYTES_MAX,
    };
    try {
      const reply = await this.#connections[lane].post(message, signal);
      const kid = answerKid(reply.body);
      // The very answer is judged by the newer list: nothing is held, and nothing is sent twice.
      if (kid !== undefined && !this.#keys.knows(kid)) await this.#keys.newerThan(this.#keys.version, signal);
      const { ignored } = this;
      const { device } = this.#signer.key;
      const attempt = readReply(reply, batch, { device, keys: this.#keys, ignored, wallMs: this.#clock.wallMs() });
      return (await this.#isOfOldKeys(attempt, batch.envelope, signal)) ? { ...attempt, outcome: CHANGED } : attempt;
    } catch (error) {
      return { outcome: errorOutcome(error) };
    }
  };

  /** Whether it was refused for a key that was good when it was sealed, and is not the newest any more. */
  async #isOfOldKeys({ outcome }: Attempt, envelope: Uint8Array, signal: AbortSignal): Promise<boolean> {
    if (outcome.kind !== 'denied') return false;
    const sealed = kidsOf(envelope);
    if (outcome.code === 'recipient_unknown' && this.#keys.follows) {
      const isNewest = () => sameBytes(sealed.recipient, this.#keys.current?.recipient.kid ?? sealed.recipient);
      return !isNewest() || ((await this.#keys.newerThan(this.#keys.version, signal)) && !isNewest());
    }
    const isAboutSigner = outcome.code === 'signer_unknown' || outcome.code === 'signer_revoked';
    return isAboutSigner && this.#signer.hasChanged && !sameBytes(sealed.signer, this.#signer.key.kid);
  }

  async close(): Promise<void> {
    await Promise.all(LANES.map((lane) => this.#connections[lane].close()));
  }
}
