/** Times in messages: numbers since the epoch in the unit their size shows, or ISO 8601 with a zone. */

// A time in seconds reaches 1e11 in the year 5138, one in milliseconds passed it in 1973, and so on up.
const SECONDS_BELOW = 1e11;
const MILLISECONDS_BELOW = 1e14;
const MICROSECONDS_BELOW = 1e17;
const ISO = /^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)$/;

/** @returns milliseconds since the epoch, or undefined when it is no time. */
export function toTimeMs(input: unknown): number | undefined {
  if (typeof input === 'number') return input > 0 && Number.isFinite(input) ? fromNumber(input) : undefined;
  if (typeof input !== 'string') return undefined;
  const match = ISO.exec(input);
  if (match === null) return undefined;
  const wholeMs = Date.parse(`${(match[1] ?? '').replace(' ', 'T')}${match[3]}`);
  return Number.isNaN(wholeMs) ? undefined : wholeMs + Number(match[2] ?? 0) * 1000;
}

function fromNumber(time: number): number {
  if (time < SECONDS_BELOW) return time * 1000;
  if (time < MILLISECONDS_BELOW) return time;
  return time < MICROSECONDS_BELOW ? time / 1e3 : time / 1e6;
}
