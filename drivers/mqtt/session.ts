/** One connection to a broker: mqtt.js speaks, the gate sends the acknowledgements, the listener takes the messages. */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { type IClientOptions, MqttClient } from 'mqtt';
import type { DriverContext, ListenSession, ListenSink } from '../../src/driver.ts';
import { asError, isSluiceError, SluiceError } from '../../src/errors.ts';
import type { Timer } from '../../src/runtime/clock.ts';
import { AckGate } from './gate.ts';
import { Listener } from './listener.ts';
import { compileRule } from './rule.ts';
import type { MqttConfig } from './schema.ts';

const PORTS: Readonly<Record<string, number>> = { 'mqtt:': 1883, 'mqtts:': 8883 };
/** How often the broker is asked whether it has read our acknowledgements: receipts are kept for about so long. */
const CONFIRM_EVERY_MS = 1000;
/**
 * A broker sends what was in flight when it takes us back, most before they answer our subscriptions. Some (aedes) mix old
 * messages with new ones then; the old ones come in their order, and those we had committed first.
 */
const RESUME_MS = 2000;
/** From then on, for what a broker sends again late. A quiet source says nothing that would end its resumption. */
const RESUME_GRACE_MS = 30_000;
/** For a DISCONNECT to leave before the socket is torn down. */
const CLOSE_MS = 500;
const DOOR_HINT = 'Check that the broker listens at this address, and that it speaks MQTT there (with TLS for mqtts).';
const REFUSED_BIT = 0x80;
/** mqtt.js has a time-out of its own for the CONNACK; ours covers more and runs on the clock that was passed in. */
const NO_TIMEOUT_MS = 2 ** 31 - 1;
/** Return codes of MQTT 3.1.1 (section 3.2.2.3) and reason codes of MQTT 5 that are about who we are. */
const CREDENTIAL_CODES = [4, 5, 134, 135];

export async function openSession(
  config: MqttConfig,
  context: DriverContext,
  sink: ListenSink,
  signal: AbortSignal,
): Promise<ListenSession> {
  signal.throwIfAborted();
  const session = new MqttSession(config, context, sink);
  const onAbort = () => session.fail(asError(signal.reason));
  signal.addEventListener('abort', onAbort, { once: true });
  const timer = context.clock.after(config.connectTimeout, () =>
    session.fail(
      new SluiceError('mqtt.timeout', 'retry', `no connection to ${config.url} within ${config.connectTimeout} ms`, {
        hint: DOOR_HINT,
      }),
    ),
  );
  try {
    await session.connect();
  } catch (error) {
    await session.close();
    throw error;
  } finally {
    timer.cancel();
    signal.removeEventListener('abort', onAbort);
  }
  return session;
}

class MqttSession implements ListenSession {
  readonly mode = 'listen';
  readonly closed: Promise<void>;
  readonly #config: MqttConfig;
  readonly #context: DriverContext;
  readonly #socket: Socket;
  readonly #gate: AckGate;
  readonly #listener: Listener;
  readonly #client: MqttClient;
  readonly #released: Promise<void>;
  #settle: { resolve: () => void; reject: (error: Error) => void } = { resolve: () => {}, reject: () => {} };
  #ended = false;
  #subscribed = false;
  #confirmTimer: Timer | undefined;
  #resumeTimer: Timer | undefined;
  #lastError: Error | undefined;

  constructor(config: MqttConfig, context: DriverContext, sink: ListenSink) {
    this.#config = config;
    this.#context = context;
    this.closed = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // It is also awaited by `connect`; a session nobody watches yet must not bring the process down.
    this.closed.catch(() => {});
    this.#socket = connectSocket(config);
    this.#released = new Promise((resolve) => this.#socket.once('close', () => resolve()));
    this.#gate = new AckGate(this.#socket, {
      payloadBytesMax: config.payloadMax,
      receiveWindow: config.receiveWindow,
      keptAlive: () => this.#client.reschedulePing(true),
      acknowledged: (packetId) => this.#listener.acknowledged(packetId),
      confirmed: (packetIds) => this.#listener.confirmed(packetIds),
    });
    this.#listener = new Listener({
      rules: config.topics.map(compileRule),
      payloadBytesMax: config.payloadMax,
      sink,
      clock: context.clock,
      received: (packetId) => this.#gate.received(packetId),
      allow: (count) => {
        this.#gate.allow(count);
        this.#confirmSoon();
      },
      failed: (error) => this.fail(error),
    });
    this.#gate.on('error', (error) => this.#noteError(error));
    this.#client = new MqttClient(
      () => this.#gate,
      clientOptions(config, `sluice-${context.gateway}-${context.source}`),
    );
    this.#watch();
  }

  /** Resolves when connected and subscribed. */
  async connect(): Promise<void> {
    const connected = new Promise<void>((resolve) => this.#client.once('connect', () => resolve()));
    await Promise.race([connected, this.closed]);
    await Promise.race([this.#subscribe(), this.closed]);
    if (this.#ended) throw this.#lastError ?? new SluiceError('mqtt.lost', 'retry', 'the connection was closed');
    this.#subscribed = true;
    this.#resumeTimer = this.#context.clock.after(RESUME_MS, () => this.#gate.ping(() => this.#caughtUp()));
  }

  /** Ends the session with an error. */
  fail(error: Error): void {
    if (this.#ended) return;
    this.#lastError = error;
    this.#end();
    this.#settle.reject(error);
  }

  async close(): Promise<void> {
    if (!this.#ended) {
      this.#listener.flush();
      this.#end();
      this.#settle.resolve();
    }
    const timer = this.#context.clock.after(CLOSE_MS, () => this.#socket.destroy());
    await this.#released;
    timer.cancel();
  }

  #end(): void {
    this.#ended = true;
    this.#confirmTimer?.cancel();
    this.#resumeTimer?.cancel();
    this.#gate.disconnect();
    // Clears the timers of mqtt.js; the stream is destroyed already.
    this.#client.end(true);
  }

  #watch(): void {
    this.#client.on('packetreceive', (packet) => {
      if (packet.cmd === 'connack') this.#listener.connected(packet.sessionPresent === true);
      else if (packet.cmd === 'pingresp') this.#gate.answered();
    });
    this.#client.on('message', (topic, payload, packet) => {
      if (this.#ended) return;
      try {
        this.#listener.message(topic, payload, packet);
      } catch (error) {
        this.fail(asError(error));
      }
    });
    this.#client.on('error', (error) => this.#noteError(error));
    this.#client.on('disconnect', (packet) =>
      this.#noteError(new Error(`the broker said goodbye with reason code ${packet.reasonCode}`)),
    );
    this.#client.on('close', () => this.fail(this.#why()));
  }

  #noteError(error: Error): void {
    this.#lastError ??= error;
  }

  #why(): SluiceError {
    const cause = this.#lastError;
    if (isSluiceError(cause)) return cause;
    const details = cause === undefined ? {} : { cause };
    const { url } = this.#config;
    if (this.#subscribed) return new SluiceError('mqtt.lost', 'retry', `the connection to ${url} was lost`, details);
    // mqtt.js puts the number of a refused CONNACK there.
    const code = (cause as { code?: unknown } | undefined)?.code;
    if (typeof code === 'number') {
      const hint = CREDENTIAL_CODES.includes(code)
        ? 'Check username and password, and that the broker lets this client in.'
        : 'Check clientId and protocolVersion.';
      return new SluiceError('mqtt.refused', 'retry', `${url} refused the connection`, { ...details, hint });
    }
    return new SluiceError('mqtt.connection_failed', 'retry', `no connection to ${url}`, {
      ...details,
      hint: DOOR_HINT,
    });
  }

  #subscribe(): Promise<void> {
    const filters = this.#config.topics.map((topic) => topic.filter);
    // rh 1 (MQTT 5): retained messages come only with a subscription that is new.
    const wanted = Object.fromEntries(
      this.#config.topics.map((topic) => [topic.filter, { qos: topic.qos, rh: 1 as const }]),
    );
    return new Promise((resolve, reject) => {
      this.#client.subscribe(wanted, (error, _granted, packet) => {
        const granted = packet?.granted ?? [];
        // By position (section 3.9.3): mqtt.js tells only that one of them was refused.
        const refused = filters.filter((_, at) => (Number(granted[at] ?? 0) & REFUSED_BIT) !== 0);
        if (refused.length > 0) {
          reject(
            new SluiceError(
              'mqtt.subscription_refused',
              'retry',
              `${this.#config.url} refused to subscribe ${refused.join(', ')}`,
              {
                hint: 'Give this user the right to read these topics at the broker.',
              },
            ),
          );
        } else if (error) reject(this.#why());
        else resolve();
      });
    });
  }

  #caughtUp(): void {
    if (this.#ended) return;
    this.#listener.caughtUp();
    this.#resumeTimer = this.#context.clock.after(RESUME_GRACE_MS, () => this.#listener.endResumption());
  }

  #confirmSoon(): void {
    if (this.#ended) return;
    this.#confirmTimer ??= this.#context.clock.after(CONFIRM_EVERY_MS, () => {
      this.#confirmTimer = undefined;
      this.#gate.confirm();
    });
  }
}

function connectSocket(config: MqttConfig): Socket {
  const url = new URL(config.url);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = Number(url.port || PORTS[url.protocol]);
  if (url.protocol === 'mqtt:') return connectTcp({ host, port, noDelay: true });
  const { ca, cert, key, servername } = config.tls ?? {};
  return connectTls({
    host,
    port,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(servername === undefined ? {} : { servername }),
  });
}

function clientOptions(config: MqttConfig, clientId: string): IClientOptions {
  return {
    clientId: config.clientId ?? clientId,
    protocolVersion: config.protocolVersion,
    clean: false,
    keepalive: Math.ceil(config.keepAlive / 1000),
    // Dropped PUBACKs look written to mqtt.js: it must not take them for signs of life sent to the broker.
    reschedulePings: false,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    connectTimeout: NO_TIMEOUT_MS,
    ...(config.username === undefined ? {} : { username: config.username }),
    ...(config.password === undefined ? {} : { password: config.password }),
    ...(config.protocolVersion === 5
      ? {
          properties: {
            sessionExpiryInterval: Math.min(Math.round(config.sessionExpiry / 1000), 2 ** 32 - 1),
            receiveMaximum: config.receiveWindow,
          },
        }
      : {}),
  };
}
