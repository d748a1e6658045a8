/** The whole config but the drivers' own settings: sections of `sluice.yaml` and what each source may say to the runner. */
import { z } from 'zod';
import { cacheSchema } from './cache.ts';
import { durationFrom, listenAddress, name } from './fields.ts';
import { hmiSchema } from './hmi.ts';
import { pipelineSchema } from './pipeline.ts';
import { uplinkSchema } from './uplink.ts';

/** Above what a driver's own time-outs and retries add up to for one round of a big source; a last resort. */
const READ_TIMEOUT_MS = 30_000;
/** Metrics and health beside Prometheus' own range of ports. */
const HTTP_LISTEN = '127.0.0.1:9633';
/** Short ones are guessed within an afternoon. */
const HTTP_TOKEN_LETTERS_MIN = 16;

/** What every source may say, whatever its driver; the rest of its settings are the driver's. */
export const sourceSchema = z.strictObject({
  /** One round of reads of this source ends after this long, answered or not, and the connection is made anew. */
  readTimeout: durationFrom(100, '100ms').default(READ_TIMEOUT_MS),
});

const gatewaySchema = z.strictObject({
  /** Part of every topic and of what the cloud sees: `line3`. */
  id: name(),
  site: z.string().min(1).max(128).optional(),
  location: z.strictObject({ lat: z.number().min(-90).max(90), lon: z.number().min(-180).max(180) }).optional(),
});

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/;
/** /metrics, /healthz and the status for `sluice status`. Without this section nothing listens. */
const httpSchema = z
  .strictObject({
    listen: listenAddress().prefault(HTTP_LISTEN),
    /** Asked for as a bearer token; needed when others than this machine can connect. */
    token: z.string().min(HTTP_TOKEN_LETTERS_MIN).optional(),
  })
  .superRefine((http, context) => {
    if (LOOPBACK.test(http.listen.host) || http.token !== undefined) return;
    context.addIssue({ code: 'custom', path: ['listen'], message: 'lets other machines connect: give http.token too' });
  });

const logSchema = z.strictObject({
  level: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace']).default('info'),
  /** `auto` is pretty on a terminal and JSON elsewhere. */
  format: z.enum(['auto', 'json', 'pretty']).default('auto'),
});

export const configSchema = z.strictObject({
  gateway: gatewaySchema,
  /** By name; the name is the first level of each tag's full name. The settings are the driver's and checked by it. */
  sources: z.record(name(), z.record(z.string(), z.unknown())),
  pipeline: pipelineSchema.prefault({}),
  cache: cacheSchema.prefault({}),
  /** Without it nothing is sent, and readings wait on the disk. */
  uplink: uplinkSchema.optional(),
  hmi: hmiSchema.prefault({}),
  http: httpSchema.optional(),
  log: logSchema.prefault({}),
});

export type SourceSettings = Readonly<z.output<typeof sourceSchema>>;
export type GatewayConfig = Readonly<z.output<typeof gatewaySchema>>;
export type HttpConfig = Readonly<z.output<typeof httpSchema>>;
export type LogConfig = Readonly<z.output<typeof logSchema>>;
