/**
 * The network between gateways and cloud: requests and answers that are lost, late, doubled, overtaken, replaced by older
 * or forged ones, and things on the way that answer in the cloud's place.
 */

import { SluiceError } from '../errors.ts';
import type { Timer } from '../runtime/clock.ts';
import type { Connect, Message, Reply } from '../uplink/connection.ts';
import { ANSWER_CODES, signAnswer } from '../wire/answer.ts';
import { envelopeDigest, readHeader } from '../wire/envelope.ts';
import { type CloudKey, type DeviceKey, generateCloudKey } from '../wire/keys.ts';
import type { CloudReply, SimulatedCloud } from './cloud.ts';
import type { ProcessClock, World } from './world.ts';

type Fault =
  | 'none'
  | 'request lost'
  | 'answer lost'
  | 'reset'
  | 'doubled'
  | 'late'
  | 'very late'
  | 'old answer'
  | 'flipped'
  | 'forged'
  | 'portal'
  | 'redirect'
  | 'unsigned 400'
  | 'unsigned 401'
  | 'unsigned 413'
  | 'unsigned 429'
  | 'unsigned 503';

type Weights = Readonly<Partial<Record<Fault, number>>>;

/** How the network is, for a while. */
export const WEATHER = {
  fine: { none: 1 },
  lossy: { none: 10, 'request lost': 2, 'answer lost': 4, reset: 2, doubled: 2, late: 2 },
  dark: { 'request lost': 1, reset: 3 },
  deaf: { 'answer lost': 1 },
  slow: { late: 3, 'very late': 1, none: 1, doubled: 1 },
  lying: { none: 4, 'old answer': 2, flipped: 2, forged: 2, doubled: 1, portal: 1 },
  portal: { portal: 4, redirect: 1 },
  proxy: { none: 6, 'unsigned 400': 1, 'unsigned 401': 1, 'unsigned 413': 1, 'unsigned 429': 1, 'unsigned 503': 2 },
} as const satisfies Record<string, Weights>;
export type Weather = keyof typeof WEATHER;

const PORTAL = new TextEncoder().encode('<html>Welcome! Please accept our terms.</html>');
const FORGERS = generateCloudKey();
const ANSWERS_KEPT = 8;
/** How much later the same request may arrive once more. */
export const DOUBLE_MS_MAX = 60_000;

export class Network {
  #weather: Weather = 'fine';
  /** Until then there is no way to the cloud, whatever the weather. */
  outageEndsMs = 0;
  readonly #world: World;
  readonly #cloud: SimulatedCloud;
  readonly #device: DeviceKey;
  /** Answers that once were true, of batches and of hellos. */
  readonly #answers: Uint8Array[] = [];
  #exchanges = 0;

  constructor(world: World, cloud: SimulatedCloud, device: DeviceKey) {
    this.#world = world;
    this.#cloud = cloud;
    this.#device = device;
  }

  get weather(): Weather {
    return this.#world.nowMs < this.outageEndsMs ? 'dark' : this.#weather;
  }
  set weather(weather: Weather) {
    this.#weather = weather;
  }

  /** How one process reaches the cloud. @param inFlight told with each request that begins (+1) or ends (−1). */
  connect(name: string, clock: ProcessClock, inFlight: (by: number) => void): Connect {
    return ({ timeoutMs }) => ({
      post: (message, signal) => this.#post(name, clock, message, signal, timeoutMs, inFlight),
      // The gateways of the simulation know their cloud's keys.
      get: () => Promise.reject(new SluiceError('simulate.nothing_there', 'retry', 'there is no key list')),
      close: async () => {},
    });
  }

  #post(
    name: string,
    clock: ProcessClock,
    message: Message,
    signal: AbortSignal,
    timeoutMs: number,
    inFlight: (by: number) => void,
  ): Promise<Reply> {
    if (signal.aborted) return Promise.reject(signal.reason);
    const { random } = this.#world;
    const fault = random.weighted<Fault>(WEATHER[this.weather]);
    const exchange = ++this.#exchanges;
    const what = message.path.slice('/v1/'.length);
    this.#world.log(
      `${name} → ${what} #${exchange}, ${message.body.length} bytes${fault === 'none' ? '' : `: ${fault}`}`,
    );
    inFlight(1);
    return new Promise<Reply>((resolve, reject) => {
      let timer: Timer | undefined;
      let isOver = false;
      const end = (settle: () => void, how: string) => {
        if (isOver) return;
        isOver = true;
        timer?.cancel();
        signal.removeEventListener('abort', onAbort);
        // Nobody is there any more to hear it.
        if (!clock.alive) return;
        inFlight(-1);
        this.#world.log(`${name} ← #${exchange} ${how}`);
        settle();
      };
      const onAbort = () => end(() => reject(signal.reason), 'given up');
      signal.addEventListener('abort', onAbort, { once: true });
      const timedOut = () => new SluiceError('uplink.timeout', 'retry', `no complete answer within ${timeoutMs} ms`);
      timer = clock.after(timeoutMs, () => end(() => reject(timedOut()), 'timed out'));
      this.#carry(fault, message, {
        answer: ({ status, retryAfter, body }) =>
          end(() => resolve({ status, retryAfter, date: undefined, body: body.slice() }), `${status}`),
        fail: (code) => end(() => reject(Object.assign(new Error(code), { code })), code),
      });
    });
  }

  #carry(fault: Fault, message: Message, to: { answer(reply: CloudReply): void; fail(code: string): void }): void {
    const { random } = this.#world;
    const wayMs = () => random.exponential(fault === 'late' ? 3000 : fault === 'very late' ? 40_000 : 15);
    const [thereMs, backMs] = [wayMs(), wayMs()];
    const body = message.body.slice();
    if (fault === 'request lost') return;
    if (fault.startsWith('unsigned') || fault === 'portal' || fault === 'redirect') {
      this.#world.after(thereMs, () => to.answer(stranger(fault)));
      return;
    }
    if (fault === 'doubled') {
      const laterMs = Math.min(DOUBLE_MS_MAX, random.exponential(20_000));
      this.#world.after(thereMs + laterMs, () => this.#deliver(message, body));
    }
    // A liar may keep the request to himself.
    const isKept = (fault === 'forged' || fault === 'old answer') && random.chance(0.7);
    this.#world.after(thereMs, () => {
      const reply = isKept ? { status: 200, body: PORTAL } : this.#deliver(message, body);
      if (fault === 'answer lost') return;
      this.#world.after(backMs, () => {
        if (reply === undefined) to.fail('ECONNREFUSED');
        else if (fault === 'reset') to.fail('ECONNRESET');
        else to.answer(this.#tampered(fault, reply, body));
      });
    });
  }

  #deliver(message: Message, body: Uint8Array): CloudReply | undefined {
    if (!this.#cloud.isUp) return undefined;
    const reply = this.#cloud.post(message.path, body);
    this.#answers.push(reply.body);
    if (this.#answers.length > ANSWERS_KEPT) this.#answers.shift();
    return reply;
  }

  #tampered(fault: Fault, reply: CloudReply, request: Uint8Array): CloudReply {
    const { random } = this.#world;
    switch (fault) {
      case 'old answer':
        return { ...reply, body: this.#answers.length > 0 ? random.pick(this.#answers) : reply.body };
      case 'flipped': {
        const body = reply.body.slice();
        const at = random.below(body.length);
        body[at] = (body[at] ?? 0) ^ (1 << random.below(8));
        return { ...reply, body };
      }
      case 'forged':
        return { status: 200, body: this.#forge(request, random.chance(0.5) ? FORGERS : this.#halfKnown()) };
      default:
        return reply;
    }
  }

  /** "All is well", by somebody who does not have the key. */
  #forge(request: Uint8Array, keys: CloudKey): Uint8Array {
    const rows = startsLikeAnEnvelope(request) ? readHeader(request).rows : 1;
    const answer = { code: ANSWER_CODES.ok, rows, duplicates: 0, incarnation: new Uint8Array(16) };
    return signAnswer(answer, this.#device.device, envelopeDigest(request), keys.answer);
  }

  /** The right name of the key, the wrong key. */
  #halfKnown(): CloudKey {
    return { ...FORGERS, answer: { ...FORGERS.answer, kid: this.#cloud.keys.answer.kid } };
  }
}

function stranger(fault: Fault): CloudReply {
  const status = fault === 'portal' ? 200 : fault === 'redirect' ? 302 : Number(fault.slice(-3));
  return { status, body: PORTAL, ...(status === 429 ? { retryAfter: '5' } : {}) };
}

function startsLikeAnEnvelope(request: Uint8Array): boolean {
  return new TextDecoder().decode(request.subarray(0, 4)) === 'SLC1';
}
