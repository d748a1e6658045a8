/**
 * `uplink:`, the way to the cloud. Without this section nothing is sent: every reading stays pending on the local disk.
 */
import { z } from 'zod';
import { durationFrom, filePath, size } from './fields.ts';

/** Fresh under 5 s, and batches long enough to compress. */
const CUT_INTERVAL_MS = 2000;
/** Where compression has nearly everything it can get, and a batch is still a few ten kB. */
const ROWS_MAX = 10_000;
/** What one reading costs in the envelope check of the cloud: it refuses more than this in one batch. */
const ROWS_LIMIT = 100_000;
/** A batch over a slow link should take seconds, not minutes; far under what proxies let through. */
const BYTES_MAX = 1_000_000;
const LIVE_MAX_AGE_MS = 10_000;
/** Over all: name look-up, connection, sending, answer. A field link that needs longer for one batch gets smaller ones. */
const TIMEOUT_MS = 60_000;
const BACKLOG_PARALLEL = 4;

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

function parseUrl(text: string): URL | undefined {
  try {
    return new URL(text);
  } catch {
    return undefined;
  }
}

const url = z
  .string()
  .refine((text) => ['https:', 'http:'].includes(parseUrl(text)?.protocol ?? ''), {
    error: 'expected an address such as https://cloud.example.com',
  })
  .refine(
    (text) => {
      const parsed = parseUrl(text);
      return (
        parsed === undefined ||
        (parsed.username === '' && parsed.password === '' && parsed.search === '' && parsed.hash === '')
      );
    },
    { error: 'the address must not carry a user, a password, a query or a fragment: the device key is the credential' },
  );

const tls = z.strictObject({
  /** PEM file of the authorities to trust instead of the system's. */
  ca: filePath().optional(),
  /** PEM files of a client certificate and its key, for plants whose proxy asks for one. */
  cert: filePath().optional(),
  key: filePath().optional(),
  /** SHA-256 of the server's certificate, as `openssl x509 -fingerprint -sha256` prints it. */
  pin: z
    .string()
    .transform((text) => text.replaceAll(':', '').toLowerCase())
    .refine((text) => /^[0-9a-f]{64}$/.test(text), { error: 'expected the 64 hex digits of a SHA-256 fingerprint' })
    .optional(),
});

export const uplinkSchema = z
  .strictObject({
    url,
    /** Allows http:// to another machine. */
    allowInsecure: z.boolean().default(false),
    keys: z.strictObject({
      /** File with mode 0600, or `${credential:…}`. */
      device: filePath(),
      /** The cloud's public keys (`cloud.pub`), or the root that signs lists of them (`root.pub`). */
      cloud: filePath(),
      /** Where the newest list is kept; `cloud.list` beside a `root.pub`. */
      list: filePath().optional(),
    }),
    /** The live lane sends at most this often. */
    cutInterval: durationFrom(20, '20ms').default(CUT_INTERVAL_MS),
    /** Readings in one batch. */
    rowsMax: z.int().min(1).max(ROWS_LIMIT).default(ROWS_MAX),
    /** Size of one sealed batch; the cloud may ask for less. */
    bytesMax: size()
      .refine((bytes) => bytes >= 65_536, { error: 'must be at least 64KiB: the largest single reading must fit' })
      .default(BYTES_MAX),
    /** What is older goes the backlog way, in larger batches. */
    liveMaxAge: durationFrom(1000, '1s').default(LIVE_MAX_AGE_MS),
    timeout: durationFrom(100, '100ms').default(TIMEOUT_MS),
    /** Backlog batches in flight at once. */
    backlogParallel: z.int().min(1).max(4).default(BACKLOG_PARALLEL),
    /** brotli is a fifth smaller; deflate costs half the CPU. */
    codec: z.enum(['brotli', 'deflate']).default('brotli'),
    tls: tls.optional(),
  })
  .superRefine((config, context) => {
    const parsed = parseUrl(config.url);
    if (parsed?.protocol !== 'http:' || config.allowInsecure || LOOPBACK.test(parsed.hostname)) return;
    context.addIssue({
      code: 'custom',
      path: ['url'],
      input: config.url,
      message:
        'http:// to another machine shows everyone on the way which box sends how much and when, and lets them hold it back ' +
        '(the readings themselves are sealed): use https://, or say allowInsecure: true',
    });
  })
  .superRefine((config, context) => {
    if ((config.tls?.cert === undefined) === (config.tls?.key === undefined)) return;
    context.addIssue({ code: 'custom', path: ['tls'], input: config.tls, message: 'cert and key come together' });
  });

/** Durations in milliseconds, sizes in bytes. */
export type UplinkConfig = z.output<typeof uplinkSchema>;
