/**
 * All last values at once, as JSON: what is known, marked where it is past its time; no device is asked for them. Written
 * by hand and in pieces, each in less than a millisecond: ten thousand of them as objects, and then as one text, would keep
 * the main thread from its sources for the time of a poll.
 */
import { reasonOf, shortest, statusOf } from '../reading.ts';
import type { LiveView } from './live.ts';
import { DATE_MS_MAX, isoTime, NOT_AVAILABLE, readingFields } from './topics.ts';

/** A piece is about 80 kB. */
const TAGS_A_PIECE = 1000;
const SECOND_MS = 1000;

/** Pieces of `{"values":[…]}`: the same for each tag as when it is asked for by its name (`ValueDesk`). */
export function* allValues(live: LiveView): Generator<string> {
  const timeOf = isoTimes();
  const qualities: string[] = [];
  let text = '{"values":[';
  let separator = '';
  for (let index = 0; index < live.size(); index++) {
    const about = live.tag(index);
    if (about === undefined) continue;
    text += `${separator}{"tag":${JSON.stringify(about.name)},`;
    separator = ',';
    const reading = live.read(index);
    if (reading === undefined) text += NOT_AVAILABLE_JSON;
    else {
      const { value, timeMs, quality } = reading;
      const v = typeof value === 'number' ? numberJson(shortest(value, about.type)) : otherJson(value);
      qualities[quality] ??= qualityJson(quality);
      text += `"v":${v},"t":${timeOf(timeMs)},${qualities[quality]}`;
      text += about.unit === undefined ? '}' : `,"u":${JSON.stringify(about.unit)}}`;
    }
    if (index % TAGS_A_PIECE === TAGS_A_PIECE - 1) {
      yield text;
      text = '';
    }
  }
  for (const [tag, { value, timeMs, quality, definition }] of live.allRemembered?.() ?? []) {
    text += separator + JSON.stringify({ tag, ...readingFields(value, timeMs, quality, definition) });
    separator = ',';
  }
  yield `${text}]}`;
}

const NOT_AVAILABLE_JSON = JSON.stringify(NOT_AVAILABLE).slice(1);

function numberJson(value: number): string {
  return Number.isFinite(value) ? String(value) : 'null';
}

function otherJson(value: bigint | boolean | string | null): string {
  return typeof value === 'bigint' ? `"${value}"` : JSON.stringify(value);
}

function qualityJson(quality: number): string {
  const reason = reasonOf(quality);
  return `"q":"${statusOf(quality)}"${reason === '' ? '' : `,"r":"${reason}"`}`;
}

/** As `isoTime`, quoted. Values of one poll are of the same second: its text is made once. */
function isoTimes(): (timeMs: number) => string {
  let second = Number.NaN;
  let prefix = '';
  return (timeMs) => {
    const whole = Math.trunc(timeMs);
    const at = Math.floor(whole / SECOND_MS);
    if (at !== second) {
      // The last second is not whole, and beyond there is no time.
      if (!(Math.abs(timeMs) < DATE_MS_MAX)) return JSON.stringify(isoTime(timeMs));
      second = at;
      prefix = `"${new Date(at * SECOND_MS).toISOString().slice(0, -'000Z'.length)}`;
    }
    const ms = whole - at * SECOND_MS;
    return `${prefix}${ms < 10 ? '00' : ms < 100 ? '0' : ''}${ms}Z"`;
  };
}
