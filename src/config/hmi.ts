/** The `hmi:` section: what people beside the machine see, and who may see it. */
import { z } from 'zod';
import { duration, durationFrom, listenAddress, size } from './fields.ts';

/** Loopback: an HMI on the LAN is one deliberate line. */
const LISTEN = '127.0.0.1:1883';
/** Faster than people see; a panel gets the latest value at this pace. */
const MIN_INTERVAL_MS = 100;
const CONNECTIONS_MAX = 100;
/** About 10,000 values: a client that far behind is not looking. */
const QUEUE_BYTES_MAX = 1_000_000;
const CONNECT_TIMEOUT_MS = 10_000;
const PASSWORD_CHARACTERS_MIN = 8;

const filter = () =>
  z.string().refine((text) => text.split('/').every(isFilterLevel), {
    error: 'a topic filter has levels separated by /, + for one of them, # for all the rest at the end',
  });

const user = z.strictObject({
  name: z.string().min(1).max(256),
  /** No default, and none is empty. Take it from `${credential:…}` or `${file:…}`. */
  password: z.string().min(PASSWORD_CHARACTERS_MIN),
  /** Topic filters that this user may subscribe to, or parts of them. */
  read: z.array(filter()).default(['#']),
  /** Whether this user may send commands (`sluice/<gateway>/$cmd/…`). */
  write: z.boolean().default(false),
});

const mqttSchema = z.strictObject({
  listen: listenAddress().prefault(LISTEN),
  users: z.array(user).max(1000).default([]),
  /** `read`: clients without a user name may read everything. */
  anonymous: z.enum(['none', 'read']).default('none'),
  /** A tag is published at most this often; the latest value wins. */
  minInterval: duration().default(MIN_INTERVAL_MS),
  /** Which windows are published, each under its tag: `…/<tag>/1m`. */
  windows: z.array(z.enum(['1s', '10s', '1m', '1h'])).default(['1m']),
  /** More are refused. */
  connectionsMax: z.int().min(1).max(10_000).default(CONNECTIONS_MAX),
  /** A client that has so much unread is dropped; it can come back for the latest values. */
  queueMax: size()
    .refine((bytes) => bytes >= 65_536, { error: 'must be at least 64KiB' })
    .default(QUEUE_BYTES_MAX),
  /** From the connection to its CONNECT packet. */
  connectTimeout: durationFrom(100, '100ms').default(CONNECT_TIMEOUT_MS),
});

export const hmiSchema = z.strictObject({
  /** The MQTT broker; without this there is none. */
  mqtt: mqttSchema.optional(),
});
export type HmiConfig = z.output<typeof hmiSchema>;
export type HmiMqttConfig = z.output<typeof mqttSchema>;

function isFilterLevel(level: string, at: number, levels: readonly string[]): boolean {
  if (level === '#') return at === levels.length - 1;
  return level === '+' || !/[+#\0]/.test(level);
}
