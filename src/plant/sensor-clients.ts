/** Climate sensors that tell over MQTT, each a client of its own, and the account of what they told. */
import { connectAsync, type MqttClient } from 'mqtt';
import { type Clock, systemClock, type Timer } from '../runtime/clock.ts';

/** A sensor that lost its broker tries again so often. */
const RECONNECT_MS = 200;
/** For the last acknowledgements; a broker that is gone gives none. */
const STOP_MS = 5000;
/** What the account keeps; then the oldest tenth goes. Ten sensors at ten messages a second fill it in about three hours. */
const PUBLISHED_MAX = 1_000_000;

export interface SensorOptions {
  /** `mqtt://host:port` of the plant's broker. */
  readonly url: string;
  readonly count?: number;
  readonly everyMs: number;
  /** What sensor `sensor` (from 0) says as its `seq`-th message. */
  readonly reading: (sensor: number, seq: number, nowMs: number) => string;
  readonly clock?: Clock;
}

export interface Published {
  readonly topic: string;
  readonly payload: string;
}

export interface Sensors {
  /** What the broker has taken over (acknowledged), in the order of its acknowledgements. */
  published(): readonly Published[];
  /** Told but not acknowledged yet; sent again after a lost connection. */
  inFlight(): number;
  /** Stops telling, waits (five seconds at most) until everything told is acknowledged, and disconnects. */
  stop(): Promise<void>;
}

const SENSORS = 10;

/** Topics are `sensors/00/climate` and so on. */
export async function startSensors(options: SensorOptions): Promise<Sensors> {
  const { url, count = SENSORS, clock = systemClock } = options;
  const published: Published[] = [];
  const sensors: Sensor[] = [];
  try {
    for (let number = 0; number < count; number++) {
      const clientId = `plant-sensor-${number}`;
      // The library's store keeps what is in flight over a lost connection (QoS 1).
      const client = await connectAsync(url, { clientId, clean: false, reconnectPeriod: RECONNECT_MS });
      sensors.push(new Sensor(number, client, options, clock, published));
    }
  } catch (error) {
    await Promise.all(sensors.map((sensor) => sensor.abandon()));
    throw error;
  }
  for (const sensor of sensors) sensor.start();
  return {
    published: () => published,
    inFlight: () => sensors.reduce((sum, sensor) => sum + sensor.inFlight, 0),
    async stop() {
      await Promise.all(sensors.map((sensor) => sensor.stop()));
    },
  };
}

class Sensor {
  inFlight = 0;
  readonly #topic: string;
  readonly #number: number;
  readonly #client: MqttClient;
  readonly #options: SensorOptions;
  readonly #clock: Clock;
  readonly #published: Published[];
  #timer: Timer | undefined;
  #seq = 0;
  #startMs = 0;
  #onIdle = () => {};

  constructor(number: number, client: MqttClient, options: SensorOptions, clock: Clock, published: Published[]) {
    this.#topic = `sensors/${String(number).padStart(2, '0')}/climate`;
    this.#number = number;
    this.#client = client;
    this.#options = options;
    this.#clock = clock;
    this.#published = published;
    // It reconnects by itself; without a listener the process would end.
    client.on('error', () => {});
  }

  start(): void {
    this.#startMs = this.#clock.monoMs();
    this.#tell();
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
    if (this.inFlight > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
        this.#timer = this.#clock.after(STOP_MS, resolve);
      });
      this.#timer?.cancel();
    }
    await this.abandon();
  }

  async abandon(): Promise<void> {
    await this.#client.endAsync(this.inFlight > 0);
  }

  #tell(): void {
    const payload = this.#options.reading(this.#number, this.#seq++, this.#clock.wallMs());
    this.inFlight++;
    this.#client.publish(this.#topic, payload, { qos: 1 }, (error) => {
      this.inFlight--;
      if (!error) {
        if (this.#published.length >= PUBLISHED_MAX) this.#published.splice(0, PUBLISHED_MAX / 10);
        this.#published.push({ topic: this.#topic, payload });
      }
      if (this.inFlight === 0) this.#onIdle();
    });
    // Counted from the start: the pace does not slip with each timer's delay.
    const nextMs = this.#startMs + this.#seq * this.#options.everyMs;
    this.#timer = this.#clock.after(nextMs - this.#clock.monoMs(), () => this.#tell());
  }
}
