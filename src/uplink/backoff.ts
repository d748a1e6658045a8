/** Waits: how long until the next try, and how a server's own wish (Retry-After) is read. */

/** First and longest wait after a failure. Five minutes: an outage that ends is noticed while people still look. */
export const BACKOFF_MS_MIN = 1000;
export const BACKOFF_MS_MAX = 300_000;
/** A server may ask for no more patience than this: nobody should silence a gateway for a day by one header. */
export const RETRY_AFTER_MS_MAX = 3_600_000;

/**
 * Full jitter: evenly spread over [0, min(longest, first × 2^(failures − 1))], so that a thousand boxes that lost the
 * same cloud do not come back in the same second.
 * @param failures in a row, from 1
 * @param random in [0, 1)
 */
export function fullJitterMs(
  failures: number,
  random: number,
  firstMs = BACKOFF_MS_MIN,
  longestMs = BACKOFF_MS_MAX,
): number {
  // 2^30 is past every longest wait; more would only overflow.
  const exponent = Math.min(Math.max(0, failures - 1), 30);
  return Math.round(random * Math.min(longestMs, firstMs * 2 ** exponent));
}

/**
 * RFC 9110 §10.2.3: a number of seconds, or a date. A date is taken relative to the answer's own Date where it has one:
 * the box's clock may never have been set.
 * @returns milliseconds from now, at most an hour; undefined when absent, negative, past or nonsense.
 */
export function retryAfterMs(
  header: string | undefined,
  dateHeader: string | undefined,
  wallMs: number,
): number | undefined {
  const text = header?.trim() ?? '';
  if (/^\d{1,15}$/.test(text)) return clamp(Number(text) * 1000);
  // Only the fixed-length form that RFC 9110 lets servers generate; Date.parse alone would read `-5` as a year.
  if (!IMF_FIXDATE.test(text)) return undefined;
  const until = Date.parse(text);
  const sent = dateHeader !== undefined && IMF_FIXDATE.test(dateHeader.trim()) ? Date.parse(dateHeader) : wallMs;
  return Number.isFinite(until) && Number.isFinite(sent) ? clamp(until - sent) : undefined;
}

const IMF_FIXDATE = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

function clamp(delayMs: number): number | undefined {
  return delayMs > 0 ? Math.min(delayMs, RETRY_AFTER_MS_MAX) : undefined;
}
