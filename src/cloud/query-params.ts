/** What may be asked: strictly read, every finding with its place. Times are ISO 8601 or milliseconds since 1970. */
import { z } from 'zod';
import { duration } from '../config/fields.ts';
import { SluiceError } from '../errors.ts';

export const READINGS_LIMIT = 10_000;
/** One answer: some 10 MB of JSON. */
export const READINGS_LIMIT_MAX = 100_000;
export const WINDOWS_MAX = 100_000;
const LATEST_LIMIT = 10_000;
const ALARMS_LIMIT = 1000;
/** Where no `from` is given. */
const SPAN_MS = 3_600_000;
/** Below 1 ms a window is no aggregate. */
const PERIOD_MS_MIN = 1;
const TAG_LENGTH_MAX = 1024;

const NUMBER = /^-?\d+(\.\d+)?$/;
const ISO = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$/;

const time = z.string().transform((text, context) => {
  const ms = NUMBER.test(text) ? Number(text) : ISO.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isFinite(ms)) return ms;
  context.addIssue('expected an ISO time such as 2026-01-31T10:00:00Z, or milliseconds since 1970');
  return z.NEVER;
});
const limit = (byDefault: number, max: number) =>
  z
    .string()
    .regex(/^[1-9]\d{0,8}$/, { error: 'expected a whole number from 1 on' })
    .transform(Number)
    .refine((value) => value <= max, { error: `at most ${max}` })
    .default(byDefault);
const tag = z.string().min(1).max(TAG_LENGTH_MAX);
const gateway = z.string().min(1).max(TAG_LENGTH_MAX).optional();
const format = z.enum(['json', 'ndjson', 'csv']).default('json');

export const readingsQuery = z.strictObject({
  gateway,
  tag,
  from: time.optional(),
  to: time.optional(),
  limit: limit(READINGS_LIMIT, READINGS_LIMIT_MAX),
  format,
});
export const latestQuery = z.strictObject({
  gateway,
  tag: tag.default('*'),
  limit: limit(LATEST_LIMIT, READINGS_LIMIT_MAX),
});
export const windowsQuery = z.strictObject({
  gateway,
  tag,
  from: time.optional(),
  to: time.optional(),
  period: z
    .union([z.string().regex(NUMBER).transform(Number), duration()], {
      error: 'expected a duration such as 1min, or milliseconds',
    })
    .refine((ms) => ms >= PERIOD_MS_MIN, { error: `at least ${PERIOD_MS_MIN} ms` }),
  format,
});
export const alarmsQuery = z.strictObject({
  gateway,
  active: z
    .enum(['true', 'false'])
    .default('false')
    .transform((text) => text === 'true'),
  limit: limit(ALARMS_LIMIT, READINGS_LIMIT_MAX),
});
export const digestQuery = z.strictObject({ gateway: z.string().min(1).max(TAG_LENGTH_MAX) });
export const noQuery = z.strictObject({});
export const alarmId = z.strictObject({
  id: z
    .string()
    .regex(/^[1-9]\d{0,14}$/)
    .transform(Number),
});
export const closeBody = z.strictObject({ by: z.string().min(1).max(256) });

/** @throws query.invalid with every finding */
export function parseQuery<Schema extends z.ZodType>(schema: Schema, input: unknown): z.output<Schema> {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const findings = result.error.issues.map(({ path, message }) =>
    path.length > 0 ? `${path.join('.')}: ${message}` : message,
  );
  throw new SluiceError('query.invalid', 'discard', findings.join('; '), {
    hint: 'GET /openapi.json says what may be asked.',
  });
}

/** @throws query.invalid when it ends before it begins */
export function spanOf(query: { from?: number | undefined; to?: number | undefined }, nowMs: number) {
  // A reading of this very millisecond belongs to "now"; the end of a span is not in it.
  const toMs = query.to ?? nowMs + 1;
  const fromMs = query.from ?? toMs - SPAN_MS;
  if (fromMs > toMs) throw new SluiceError('query.invalid', 'discard', 'from is later than to');
  return { fromMs, toMs };
}
