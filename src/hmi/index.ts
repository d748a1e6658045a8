/**
 * The HMI broker: current values, windows, alarms and states over MQTT to people beside the machine. Without `hmi.mqtt` in the
 * configuration there is none, and everything below costs nothing.
 *
 * Values are looked up when they are sent, so what a panel gets is the latest, also right after it subscribed. A tag is sent
 * at most once in `minInterval`; what changed meanwhile is sent once, at its end.
 */
import type { HmiConfig, HmiMqttConfig } from '../config/hmi.ts';
import type { Clock } from '../runtime/clock.ts';
import { Access } from './access.ts';
import { Audience } from './audience.ts';
import type { HmiBroker } from './broker.ts';
import { answerCommand, type CommandParts } from './commands.ts';
import type { LiveView } from './live.ts';
import type { RememberedValue } from './remembered.ts';
import { isoTime, readingFields, stateJson, Topics } from './topics.ts';

export type { LiveView };

export interface HmiStats {
  readonly clients: number;
  readonly connections: number;
  readonly listeners: number;
  readonly messages: number;
  /** Connections turned away: too many, wrong credentials, a Will. */
  readonly refused: number;
  /** Clients dropped for a packet over the limit, and for not reading. */
  readonly oversize: number;
  readonly slow: number;
}

export interface Hmi {
  readonly port: number | undefined;
  /** Values or qualities of these tags changed, going stale included. Cheap, and free while nobody listens. */
  changed(indexes: Uint32Array | readonly number[]): void;
  source(name: string, state: object): void;
  alarm(id: string, state: object): void;
  window(name: string, periodLabel: string, window: object): void;
  /** The value of a tag that is not registered yet; undefined when it is. */
  remember(name: string, value: RememberedValue | undefined): void;
  /** Nothing may be left of a tag's values: who listens is sent an empty payload where one was. */
  forget(name: string, index: number | undefined): void;
  stats(): HmiStats;
  /** Tells the clients that the gateway is offline, and lets them go. */
  stop(): Promise<void>;
}

export interface HmiOptions extends CommandParts {
  readonly gateway: string;
  readonly clock: Clock;
  readonly logger?: { warn(facts: object, message: string): void };
}

const NO_STATS: HmiStats = { clients: 0, connections: 0, listeners: 0, messages: 0, refused: 0, oversize: 0, slow: 0 };

export async function startHmi(config: HmiConfig, live: LiveView, options: HmiOptions): Promise<Hmi> {
  if (config.mqtt !== undefined) return MqttHmi.start(config.mqtt, live, options);
  return {
    port: undefined,
    changed: () => {},
    source: () => {},
    alarm: () => {},
    window: () => {},
    remember: () => {},
    forget: () => {},
    stats: () => NO_STATS,
    stop: async () => {},
  };
}

class MqttHmi implements Hmi {
  readonly #config: HmiMqttConfig;
  readonly #live: LiveView;
  readonly #clock: Clock;
  readonly #topics: Topics;
  readonly #audience: Audience;
  #broker: HmiBroker | undefined;
  /** States and windows by topic; as many as there are sources, alarms, and tags times windows. */
  readonly #documents = new Map<string, object>();
  readonly #tagTopics: string[] = [];

  private constructor(config: HmiMqttConfig, live: LiveView, options: HmiOptions) {
    this.#config = config;
    this.#live = live;
    this.#clock = options.clock;
    this.#topics = new Topics(options.gateway);
    const content = {
      documents: () => this.#documents.keys(),
      document: (topic: string) => this.#document(topic),
      tagCount: () => live.size(),
      tagTopic: (index: number) => this.#tagTopic(index),
      tagPayload: (index: number) => this.#tagPayload(index),
    };
    this.#audience = new Audience(content, options.clock, config.minInterval);
  }

  static async start(config: HmiMqttConfig, live: LiveView, options: HmiOptions): Promise<MqttHmi> {
    const hmi = new MqttHmi(config, live, options);
    const access = new Access(config, hmi.#topics.commands);
    hmi.#tell(hmi.#topics.state, { state: 'online', t: isoTime(options.clock.wallMs()) });
    // The broker's library takes 13 MB: only where panels are served.
    const { HmiBroker } = await import('./broker.ts');
    hmi.#broker = await HmiBroker.start({
      config,
      topics: hmi.#topics,
      access,
      audience: hmi.#audience,
      clock: options.clock,
      onCommand: (command, payload, user, clientId) => {
        const may = (tag: string) => access.maySubscribe(user, hmi.#topics.tag(tag));
        const { name, write } = user;
        void answerCommand(command, payload, { name, write, may }, options).then((answer) =>
          hmi.#audience.say(hmi.#topics.replies(clientId), JSON.stringify(answer), clientId),
        );
      },
      warn: (facts, message) => options.logger?.warn(facts, message),
    });
    return hmi;
  }

  get port(): number | undefined {
    return this.#broker?.port;
  }

  changed(indexes: Uint32Array | readonly number[]): void {
    this.#audience.tagsChanged(indexes);
  }

  source(name: string, state: object): void {
    this.#tell(this.#topics.source(name), state);
  }

  alarm(id: string, state: object): void {
    this.#tell(this.#topics.alarm(id), state);
  }

  window(name: string, periodLabel: string, window: object): void {
    if (this.#config.windows.some((label) => label === periodLabel)) {
      this.#tell(this.#topics.window(name, periodLabel), window);
    }
  }

  remember(name: string, known: RememberedValue | undefined): void {
    const topic = this.#topics.tag(name);
    if (known === undefined) this.#documents.delete(topic);
    else this.#tell(topic, readingFields(known.value, known.timeMs, known.quality, known.definition));
  }

  forget(name: string, index: number | undefined): void {
    const windows = this.#config.windows.map((label) => this.#topics.window(name, label));
    const topics = index === undefined ? [this.#topics.tag(name), ...windows] : windows;
    for (const topic of topics) if (this.#documents.delete(topic)) this.#audience.documentGone(topic);
    if (index !== undefined) this.#audience.tagGone(index);
  }

  stats(): HmiStats {
    if (this.#broker === undefined) return NO_STATS;
    const { counts, clients } = this.#broker;
    return { ...counts, clients, listeners: this.#audience.size, messages: this.#audience.messages };
  }

  async stop(): Promise<void> {
    const state = { state: 'offline', t: isoTime(this.#clock.wallMs()) };
    this.#audience.say(this.#topics.state, stateJson(state));
    await this.#broker?.stop();
  }

  #tell(topic: string, state: object): void {
    this.#documents.set(topic, state);
    this.#audience.documentChanged(topic);
  }

  #document(topic: string): string | undefined {
    const state = this.#documents.get(topic);
    return state === undefined ? undefined : stateJson(state);
  }

  #tagTopic(index: number): string | undefined {
    const known = this.#tagTopics[index];
    if (known !== undefined) return known;
    const tag = this.#live.tag(index);
    if (tag === undefined) return undefined;
    const topic = this.#topics.tag(tag.name);
    this.#tagTopics[index] = topic;
    return topic;
  }

  #tagPayload(index: number): string | undefined {
    const reading = this.#live.read(index);
    if (reading === undefined) return undefined;
    const { value, timeMs, quality } = reading;
    return JSON.stringify(readingFields(value, timeMs, quality, this.#live.tag(index)));
  }
}
