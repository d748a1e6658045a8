/** One attempt to deliver one sealed batch: its bytes out, a verified outcome back. Each lane has connections of its own. */
import type { UplinkConfig } from '../config/uplink.ts';
import type { Clock } from '../runtime/clock.ts';
import { ANSWER_CONTENT_TYPE, ENVELOPE_CONTENT_TYPE } from '../wire/answer.ts';
import { LANES, type Lane } from '../wire/classes.ts';
import type { CloudPublic } from '../wire/keys.ts';
import { errorOutcome, readReply } from './answers.ts';
import { type Connect, type ConnectionOptions, connectHttp, type Link } from './connection.ts';
import { tlsOptions } from './tls.ts';
import type { IgnoredAnswers, Send } from './types.ts';

/** Ours have some hundred bytes; one about many fragmented gaps some kB. */
const ANSWER_BYTES_MAX = 65_536;

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
  readonly #device: Uint8Array;
  readonly #keys: CloudPublic;

  constructor(
    config: UplinkConfig,
    clock: Clock,
    device: Uint8Array,
    keys: CloudPublic,
    connect: Connect = connectHttp,
  ) {
    const { base, ...shared } = connectionOptions(config, clock);
    this.#path = `${base}/v1/batches`;
    this.#clock = clock;
    this.#device = device;
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
      const { ignored } = this;
      return readReply(reply, batch, { device: this.#device, keys: this.#keys, ignored, wallMs: this.#clock.wallMs() });
    } catch (error) {
      return { outcome: errorOutcome(error) };
    }
  };

  async close(): Promise<void> {
    await Promise.all(LANES.map((lane) => this.#connections[lane].close()));
  }
}
