/** What may be asked: strictly read, every finding with its place. Times are ISO 8601 or milliseconds since 1970. */
import { z } from 'zod';
import { duration } from '../../config/fields.ts';
import { SluiceError } from '../../errors.ts';
import { FORMATS } from './formats.ts';

export const READINGS_LIMIT = 10_000;
/** One answer: some 10 MB of JSON. */
export const READINGS_LIMIT_MAX = 100_000;
/** Of one answer, over all its tags. */
export const WINDOWS_MAX = 100_000;
const LATEST_LIMIT = 10_000;
const ALARMS_LIMIT = 1000;
const AUDIT_LIMIT = 1000;
/** Where no `from` is given. */
const SPAN_MS = 3_600_000;
/** Below 1 ms a window is no aggregate. */
const PERIOD_MS_MIN = 1;
const TAG_LENGTH_MAX = 1024;
/** More points than any screen has. */
const POINTS_MAX = 10_000;
/** Periods that people know: where only a number of points is asked for, the shortest that gives no more. */
const [SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS] = [1000, 60_000, 3_600_000, 86_400_000];
const PERIODS_MS = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((n) => n * SECOND_MS),
  ...[1, 2, 5, 10, 15, 30].map((n) => n * MINUTE_MS),
  ...[1, 2, 3, 6, 12].map((n) => n * HOUR_MS),
  ...[1, 2, 7, 14, 28].map((n) => n * DAY_MS),
];

const NUMBER = /^-?\d+(\.\d+)?$/;
const ISO = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$/;

const time = z.string().transform((text, context) => {
  const ms = NUMBER.test(text) ? Number(text) : ISO.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isFinite(ms)) return ms;
  context.addIssue('expected an ISO time such as 2026-01-31T10:00:00Z, or milliseconds since 1970');
  return z.NEVER;
});
const whole = (max: number) =>
  z
    .string()
    .regex(/^[1-9]\d{0,8}$/, { error: 'expected a whole number from 1 on' })
    .transform(Number)
    .refine((value) => value <= max, { error: `at most ${max}` });
const limit = (byDefault: number, max: number) => whole(max).default(byDefault);
const name = z.string().min(1).max(TAG_LENGTH_MAX);
const id = z
  .string()
  .regex(/^[1-9]\d{0,14}$/, { error: 'expected a number' })
  .transform(Number);
const format = z.enum(FORMATS).default('json');
const tags = { gateway: name.optional(), source: name.optional(), tag: name };
const span = { from: time.optional(), to: time.optional() };

export const readingsQuery = z.strictObject({
  ...tags,
  ...span,
  limit: limit(READINGS_LIMIT, READINGS_LIMIT_MAX),
  cursor: time.optional(),
  format,
});
export const exportQuery = z.strictObject({
  ...tags,
  ...span,
  format: z.enum(['ndjson', 'csv', 'columns']).default('ndjson'),
});
export const latestQuery = z.strictObject({
  ...tags,
  tag: name.default('*'),
  limit: limit(LATEST_LIMIT, READINGS_LIMIT_MAX),
  cursor: id.optional(),
  format,
});
export const windowsQuery = z
  .strictObject({
    ...tags,
    ...span,
    period: z
      .union([z.string().regex(NUMBER).transform(Number), duration()], {
        error: 'expected a duration such as 1min, or milliseconds',
      })
      .refine((ms) => ms >= PERIOD_MS_MIN, { error: `at least ${PERIOD_MS_MIN} ms` })
      .optional(),
    points: whole(POINTS_MAX).optional(),
    format,
  })
  .refine(({ period, points }) => (period === undefined) !== (points === undefined), {
    error: 'either period or points says how long a window is',
  });
export const alarmsQuery = z.strictObject({
  gateway: name.optional(),
  active: z
    .enum(['true', 'false'])
    .default('false')
    .transform((text) => text === 'true'),
  limit: limit(ALARMS_LIMIT, READINGS_LIMIT_MAX),
});
export const digestQuery = z.strictObject({ gateway: name });
export const auditQuery = z.strictObject({
  action: name.optional(),
  limit: limit(AUDIT_LIMIT, READINGS_LIMIT),
  cursor: id.optional(),
  format: z.enum(['json', 'ndjson']).default('json'),
});
export const noQuery = z.strictObject({});
export const byId = z.strictObject({ id });
export const byName = z.strictObject({ name });
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

/** Whole windows over a span: one that is cut off looks like a drop in the plant. */
export function windowsOver(asked: { fromMs: number; toMs: number }, periodMs: number) {
  const fromMs = Math.floor(asked.fromMs / periodMs) * periodMs;
  const toMs = Math.ceil(asked.toMs / periodMs) * periodMs;
  return { fromMs, toMs, count: (toMs - fromMs) / periodMs };
}

/** The shortest known period that covers the span with so many windows. */
export function periodFor(asked: { fromMs: number; toMs: number }, points: number): number {
  const known = PERIODS_MS.find((periodMs) => windowsOver(asked, periodMs).count <= points);
  if (known !== undefined) return known;
  // A span of years in a few points; one whole window may begin before it.
  const periodMs = Math.ceil((asked.toMs - asked.fromMs) / Math.max(1, points - 1) / DAY_MS) * DAY_MS;
  return windowsOver(asked, periodMs).count <= points ? periodMs : periodMs * 2;
}
