/**
 * All last values at once, as JSON: what is known, marked where it is past its time; no device is asked for them. Written
 * by hand and in pieces, each in about a millisecond: ten thousand of them as objects, and then as one text, would keep
 * the main thread from its sources for the time of a poll. What has not changed since somebody last asked is not written
 * again: of ten thousand tags that is most of them for everyone but the first in a second.
 */
import { reasonOf, shortest, statusOf } from '../reading.ts';
import type { LiveView } from './live.ts';
import { DATE_MS_MAX, isoTime, NOT_AVAILABLE, readingFields } from './topics.ts';

/** Small enough that the tags of one source share few pieces with those of another: polled apart, they change apart. */
const TAGS_A_PIECE = 125;
/** Tags written anew before whatever waits has its turn. */
const TAGS_A_TURN = 1000;
const SECOND_MS = 1000;

type About = NonNullable<ReturnType<LiveView['tag']>>;

/** Some tags, as they were written last. */
interface Piece {
  readonly marks: Float64Array;
  readonly tags: (About | undefined)[];
  /** `,{"tag":"…",` of each */
  readonly heads: string[];
  /** `}` or `,"u":"…"}` of each */
  readonly tails: string[];
  json: Uint8Array;
}

/** Keeps some 250 bytes a tag from the first question on. */
export class AllValues {
  readonly #live: LiveView;
  readonly #pieces: Piece[] = [];
  readonly #marks = new Float64Array(TAGS_A_PIECE);
  readonly #qualities: string[] = [];
  readonly #timeOf = isoTimes();

  constructor(live: LiveView) {
    this.#live = live;
  }

  /**
   * `{"values":[…]}` in UTF-8, the same for each tag as when it is asked for by its name (`ValueDesk`): pieces, and after each
   * group of them others may have their turn. They are sent as they are kept: joined, each question would take a megabyte.
   */
  *json(): Generator<readonly Uint8Array[]> {
    let ready: Uint8Array[] = [START];
    let anew = 0;
    let isFirst = true;
    // Each begins with a comma, but for the first that is there.
    const add = (json: Uint8Array) => {
      if (json.length === 0) return;
      ready.push(isFirst ? json.subarray(1) : json);
      isFirst = false;
    };
    for (let from = 0; from < this.#live.size(); from += TAGS_A_PIECE) {
      if (anew >= TAGS_A_TURN) {
        yield ready;
        ready = [];
        anew = 0;
      }
      const piece = this.#pieces[from / TAGS_A_PIECE] ?? newPiece();
      this.#pieces[from / TAGS_A_PIECE] = piece;
      if (this.#hasChanged(piece, from)) {
        this.#write(piece, from);
        anew += TAGS_A_PIECE;
      }
      add(piece.json);
    }
    let rest = '';
    for (const [tag, { value, timeMs, quality, definition }] of this.#live.allRemembered?.() ?? []) {
      rest += `,${JSON.stringify({ tag, ...readingFields(value, timeMs, quality, definition) })}`;
    }
    add(Buffer.from(rest));
    yield [...ready, END];
  }

  #hasChanged({ marks, tags, heads, tails }: Piece, from: number): boolean {
    let hasChanged = false;
    this.#live.mark(from, this.#marks);
    for (let at = 0; at < TAGS_A_PIECE; at++) {
      const about = this.#live.tag(from + at);
      if (about === tags[at] && this.#marks[at] === marks[at]) continue;
      hasChanged = true;
      if (about === tags[at]) continue;
      tags[at] = about;
      heads[at] = `,{"tag":${JSON.stringify(about?.name)},`;
      tails[at] = about?.unit === undefined ? '}' : `,"u":${JSON.stringify(about.unit)}}`;
    }
    marks.set(this.#marks);
    return hasChanged;
  }

  #write(piece: Piece, from: number): void {
    let text = '';
    for (const [at, about] of piece.tags.entries()) {
      if (about === undefined) continue;
      const reading = this.#live.read(from + at);
      text += piece.heads[at];
      if (reading === undefined) {
        text += NOT_AVAILABLE_JSON;
        continue;
      }
      const { value, timeMs, quality } = reading;
      const v = typeof value === 'number' ? numberJson(shortest(value, about.type)) : otherJson(value);
      this.#qualities[quality] ??= qualityJson(quality);
      text += `"v":${v},"t":${this.#timeOf(timeMs)},${this.#qualities[quality]}${piece.tails[at]}`;
    }
    piece.json = Buffer.from(text);
  }
}

function newPiece(): Piece {
  const marks = new Float64Array(TAGS_A_PIECE).fill(Number.NaN);
  return { marks, tags: [], heads: [], tails: [], json: Buffer.alloc(0) };
}

const START = Buffer.from('{"values":[');
const END = Buffer.from(']}');
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
