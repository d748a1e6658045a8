/** The listening side: sockets, sign-in, subscriptions, commands. What is published is the audience's business. */
import { createServer, type Server, type Socket } from 'node:net';
import { Aedes, type AuthErrorCode, type AuthenticateError, type Client } from 'aedes';
import type { HmiMqttConfig } from '../config/hmi.ts';
import { SluiceError } from '../errors.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import type { Access, User } from './access.ts';
import type { Audience } from './audience.ts';
import { GuardedSocket, type Offence } from './guard.ts';
import { NothingKept } from './persistence.ts';
import type { Topics } from './topics.ts';

/** A client that guesses passwords gets an answer so often, on each of its connections. */
const REFUSAL_DELAY_MS = 1000;
/** For what is written (the last words) to leave before the sockets are torn down. */
const CLOSE_MS = 500;
/** Filters of one client; `#` does for more. */
const FILTERS_MAX = 1000;
const COMMANDS_IN_FLIGHT_MAX = 16;
/** A peer that vanished without a word is noticed by the system. */
const TCP_KEEP_ALIVE_MS = 60_000;
const [IDENTIFIER_REJECTED, BAD_CREDENTIALS, NOT_AUTHORIZED] = [2, 4, 5];

export interface BrokerCounts {
  connections: number;
  refused: number;
  oversize: number;
  slow: number;
}

export interface BrokerOptions {
  readonly config: HmiMqttConfig;
  readonly topics: Topics;
  readonly access: Access;
  readonly audience: Audience;
  readonly clock: Clock;
  readonly onCommand: (command: string, payload: Buffer, user: User, clientId: string) => void;
  readonly warn: (facts: object, message: string) => void;
}

interface Session {
  readonly user: User;
  readonly socket: GuardedSocket;
}

export class HmiBroker {
  readonly counts: BrokerCounts = { connections: 0, refused: 0, oversize: 0, slow: 0 };
  readonly #options: BrokerOptions;
  readonly #aedes: Aedes;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Map<Client, Session>();
  readonly #withWill = new WeakSet<Client>();
  readonly #refusals = new Set<Timer>();

  private constructor(options: BrokerOptions, aedes: Aedes) {
    this.#options = options;
    this.#aedes = aedes;
    this.#server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: TCP_KEEP_ALIVE_MS });
    this.#server.maxConnections = options.config.connectionsMax;
    this.#server.on('connection', (socket) => this.#accept(socket));
    this.#server.on('drop', () => this.counts.refused++);
    this.#guardEntrance();
    this.#followSubscriptions();
  }

  static async start(options: BrokerOptions): Promise<HmiBroker> {
    const aedes = await Aedes.createBroker({
      persistence: new NothingKept(),
      connectTimeout: options.config.connectTimeout,
      maxInflightInbound: COMMANDS_IN_FLIGHT_MAX,
    });
    const broker = new HmiBroker(options, aedes);
    await broker.#listen();
    return broker;
  }

  get clients(): number {
    return this.#sessions.size;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  async stop(): Promise<void> {
    for (const timer of this.#refusals) timer.cancel();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await new Promise<void>((resolve) => this.#aedes.close(resolve));
    const timer = this.#options.clock.after(CLOSE_MS, () => {
      for (const socket of this.#sockets) socket.destroy();
    });
    for (const socket of this.#sockets) socket.destroySoon();
    await closed;
    timer.cancel();
  }

  #listen(): Promise<void> {
    const { host, port } = this.#options.config.listen;
    return new Promise((resolve, reject) => {
      this.#server.once('error', (cause) => {
        this.#aedes.close();
        reject(
          new SluiceError('hmi.listen_failed', 'stop', `the HMI broker cannot listen on ${host}:${port}`, {
            cause,
            hint: 'Another broker may hold the port: choose another hmi.mqtt.listen.',
          }),
        );
      });
      this.#server.listen(port, host, () => {
        this.#server.removeAllListeners('error');
        this.#server.on('error', (error) =>
          this.#options.warn({ error: error.message }, 'the HMI broker cannot accept'),
        );
        resolve();
      });
    });
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    this.counts.connections++;
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.counts.connections--;
    });
    const peer = socket.remoteAddress ?? '';
    const guard = new GuardedSocket(socket, this.#options.config.queueMax, (offence) => this.#onOffence(offence, peer));
    // The broker listens too; this one covers the time before and after.
    guard.on('error', () => {});
    this.#aedes.handle(guard);
  }

  #onOffence(offence: Offence, peer: string): void {
    this.counts[offence]++;
    const why = offence === 'slow' ? 'it does not read what it subscribed to' : 'its packet is over the limit';
    this.#options.warn({ peer, offence }, `an HMI client was dropped: ${why}`);
  }

  #guardEntrance(): void {
    const { access, topics, clock } = this.#options;
    this.#aedes.preConnect = (client, packet, done) => {
      if (packet.will !== undefined) this.#withWill.add(client);
      done(null, true);
    };
    this.#aedes.authenticate = (client, name, password, done) => {
      const refuse = (code: number, message: string) => {
        this.counts.refused++;
        const timer = clock.after(REFUSAL_DELAY_MS, () => {
          this.#refusals.delete(timer);
          done(refusal(code, message), false);
        });
        this.#refusals.add(timer);
      };
      const user = access.login(name, password);
      if (user === undefined) refuse(name === undefined ? NOT_AUTHORIZED : BAD_CREDENTIALS, 'unknown user or password');
      // A Will is a publication: nobody but the gateway publishes.
      else if (this.#withWill.has(client)) refuse(NOT_AUTHORIZED, 'no Will is taken');
      else if (this.#isTaken(client.id, user))
        refuse(IDENTIFIER_REJECTED, 'this client id belongs to another user now');
      else {
        // Only GuardedSockets are handed to the broker.
        this.#sessions.set(client, { user, socket: client.conn as GuardedSocket });
        done(null, true);
      }
    };
    this.#aedes.authorizeSubscribe = (client, subscription, done) => {
      const user = this.#sessions.get(client)?.user;
      const { topic } = subscription;
      const own = topics.replies(client.id);
      const allowed = user !== undefined && (topic === own || access.maySubscribe(user, topic));
      done(null, allowed ? subscription : null);
    };
    this.#aedes.authorizePublish = (client, packet, done) => {
      const user = client === null ? undefined : this.#sessions.get(client)?.user;
      done(
        user !== undefined && access.mayPublish(user, packet.topic)
          ? null
          : new Error('only commands may be published'),
      );
    };
    this.#aedes.authorizeForward = () => null;
  }

  #followSubscriptions(): void {
    const { audience, topics, onCommand } = this.#options;
    this.#aedes.on('subscribe', (subscriptions, client) => {
      const socket = this.#sessions.get(client)?.socket;
      if (socket === undefined) return;
      // A refused one has 128 where the granted QoS is.
      const granted = subscriptions.filter(({ qos }) => Number(qos) <= 2).map(({ topic }) => topic);
      if (granted.length > 0 && audience.subscribe(client.id, socket, granted) > FILTERS_MAX) socket.offend('oversize');
    });
    this.#aedes.on('unsubscribe', (filters, client) => audience.unsubscribe(client.id, filters));
    this.#aedes.on('publish', (packet, client) => {
      const user = client === null ? undefined : this.#sessions.get(client)?.user;
      if (client === null || user === undefined || !packet.topic.startsWith(topics.commands)) return;
      onCommand(packet.topic.slice(topics.commands.length), Buffer.from(packet.payload), user, client.id);
    });
    const gone = (client: Client) => {
      const session = this.#sessions.get(client);
      if (session === undefined) return;
      this.#sessions.delete(client);
      audience.leave(client.id, session.socket);
    };
    this.#aedes.on('clientDisconnect', gone);
    this.#aedes.on('clientError', gone);
    this.#aedes.on('connectionError', gone);
  }

  #isTaken(clientId: string, user: User): boolean {
    for (const [client, session] of this.#sessions) {
      if (client.id === clientId && session.user !== user) return true;
    }
    return false;
  }
}

function refusal(code: number, message: string): AuthenticateError {
  // The type is a const enum of a package without code for it: its numbers are those of MQTT 3.1.1, section 3.2.2.3.
  return Object.assign(new Error(message), { returnCode: code as AuthErrorCode });
}
