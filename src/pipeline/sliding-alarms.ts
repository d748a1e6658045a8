/**
 * Limits of what a tag did over the last minutes: its mean, its range, how many readings came. Judged at every valid reading,
 * and once a second without one: a window that nothing comes into empties, its alarm clears, and `count` falls below `lo`.
 *
 * A window is judged once it has been watched for its whole length: the first value after a start, or after a silence that
 * emptied it, is no mean of five minutes. Its end is the newest reading's time, moved on by the monotonic clock while none
 * comes. A tag whose clock went back by more than the window begins anew when what was there has run out.
 */
import type { SlidingAggregate, TagFields } from '../config/fields.ts';
import type { TagDefinition } from '../reading.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import type { AlarmBook } from './alarm-book.ts';
import { judge, type Limit, limitsOf, shown, type Words } from './limit.ts';
import { SlidingWindow } from './sliding.ts';

/** How late an alarm may clear after the last reading left its window. */
const TICK_MS = 1000;
/** Of a mean or a deviation; what is measured has fewer. */
const SHOWN_DIGITS = 6;

type Settings = readonly NonNullable<NonNullable<TagFields['alarm']>['sliding']>[number][];

interface Judged {
  readonly of: SlidingAggregate;
  readonly limits: readonly Limit[];
  readonly words: Words;
}

/** One window and all that is compared with it. */
class Watched {
  readonly judged: readonly Judged[];
  readonly #window: SlidingWindow;
  readonly #book: AlarmBook;
  /** The window's end, and when it was there on the monotonic clock. */
  #endMs: number;
  #endMonoMs: number;
  /** The first reading since it was empty. */
  #sinceMs = Number.NaN;
  /** Since when it is known what came and what did not. */
  #watchedSinceMs: number;

  constructor(overMs: number, judged: readonly Judged[], book: AlarmBook, now: { wallMs: number; monoMs: number }) {
    this.#window = new SlidingWindow(overMs);
    this.judged = judged;
    this.#book = book;
    this.#endMs = now.wallMs;
    this.#endMonoMs = now.monoMs;
    this.#watchedSinceMs = now.monoMs;
  }

  take(value: number, timeMs: number, monoMs: number): void {
    const window = this.#window;
    this.#moveOn(monoMs);
    const isAhead = timeMs >= this.#endMs + window.overMs;
    // Its own clock was set, or this is the first reading after a long time: nothing from before says anything of now.
    if (isAhead) this.#watchedSinceMs = monoMs;
    if (isAhead || (window.count === 0 && timeMs < this.#endMs)) this.#beginAt(timeMs, monoMs);
    if (timeMs > this.#endMs) {
      this.#endMs = timeMs;
      this.#endMonoMs = monoMs;
    }
    if (!window.add(timeMs, value)) return;
    if (Number.isNaN(this.#sinceMs) || timeMs < this.#sinceMs) this.#sinceMs = timeMs;
    this.#judge(this.#endMs, monoMs);
  }

  tick(monoMs: number): void {
    this.#moveOn(monoMs);
    this.#judge(this.#endMs, monoMs);
  }

  #moveOn(monoMs: number): void {
    this.#endMs += Math.max(0, monoMs - this.#endMonoMs);
    this.#endMonoMs = monoMs;
    this.#window.advance(this.#endMs);
    if (this.#window.count === 0) this.#sinceMs = Number.NaN;
  }

  #beginAt(timeMs: number, monoMs: number): void {
    this.#window.clear();
    this.#sinceMs = Number.NaN;
    this.#endMs = timeMs;
    this.#endMonoMs = monoMs;
  }

  #judge(at: number, monoMs: number): void {
    const { overMs, bucketMs } = this.#window;
    const isFull = at - this.#sinceMs >= overMs - bucketMs;
    const isWatched = monoMs - this.#watchedSinceMs >= overMs;
    for (const { of, limits, words } of this.judged) {
      const value = this.#window.value(of);
      if (Number.isNaN(value)) {
        if (isWatched && this.#window.count === 0) this.#silent(limits, words, at);
      } else if (isFull || (of === 'count' && isWatched)) {
        for (const limit of limits) judge(this.#book, limit, value, at, at, words);
      }
    }
  }

  #silent(limits: readonly Limit[], words: Words, at: number): void {
    for (const limit of limits) {
      limit.pastSinceMs = undefined;
      const text = `no reading of ${words.tag} for ${spanOf(this.#window.overMs)}`;
      if (this.#book.isActive(limit.id)) this.#book.clear(limit.id, { at, text });
    }
  }
}

/** The windows of one tag. */
export class SlidingTag {
  readonly ids: readonly string[];
  readonly #windows: readonly Watched[];

  constructor(windows: readonly Watched[]) {
    this.#windows = windows;
    this.ids = windows.flatMap(({ judged }) => judged.flatMap(({ limits }) => limits.map(({ id }) => id)));
  }

  take(value: number, timeMs: number, monoMs: number): void {
    for (const window of this.#windows) window.take(value, timeMs, monoMs);
  }

  tick(monoMs: number): void {
    for (const window of this.#windows) window.tick(monoMs);
  }
}

export class SlidingAlarms {
  readonly #book: AlarmBook;
  readonly #clock: Clock;
  readonly #tags: SlidingTag[] = [];
  #timer: Timer | undefined;

  constructor(book: AlarmBook, clock: Clock) {
    this.#book = book;
    this.#clock = clock;
  }

  /** @returns undefined when the tag has none. */
  watch({ name, type, unit = '' }: TagDefinition, settings: Settings): SlidingTag | undefined {
    if (settings.length === 0 || type === 'text') return undefined;
    const now = { wallMs: this.#clock.wallMs(), monoMs: this.#clock.monoMs() };
    // Those of equal length look at one window.
    const windows = [...new Set(settings.map(({ over }) => over))].map((overMs) => {
      const judged = settings
        .filter(({ over }) => over === overMs)
        .map(({ of, hi, lo }): Judged => {
          const limits = limitsOf(`${name}:${of}_${spanOf(overMs).replace(' ', '')}`, { hi, lo });
          return { of, limits, words: wordsOf(name, of, overMs, unit) };
        });
      return new Watched(overMs, judged, this.#book, now);
    });
    const tag = new SlidingTag(windows);
    this.#tags.push(tag);
    if (this.#timer === undefined) this.#tickLater();
    return tag;
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #tickLater(): void {
    this.#timer = this.#clock.after(TICK_MS, () => {
      const nowMs = this.#clock.monoMs();
      for (const tag of this.#tags) tag.tick(nowMs);
      this.#tickLater();
    });
  }
}

function wordsOf(tag: string, of: SlidingAggregate, overMs: number, unit: string): Words {
  const unitOf = of === 'count' ? 'readings' : of === 'rate' ? `${unit}/min`.trim() : unit;
  const what = `the ${of} of ${tag} over ${spanOf(overMs)}`;
  const say = (value: number) => shown(Number(value.toPrecision(SHOWN_DIGITS)), unitOf);
  return {
    tag,
    raised: (value, { condition, limit }) =>
      `${what} is ${say(value)}, ${condition === 'hi' ? 'above' : 'below'} ${shown(limit, unitOf)}`,
    back: (value) => `${what} is back at ${say(value)}`,
  };
}

const SPANS = [
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
  ['ms', 1],
] as const;

/** `5 min`, `90 s`. */
function spanOf(ms: number): string {
  const [unit, unitMs] = SPANS.find(([, each]) => ms % each === 0) ?? ['ms', 1];
  return `${ms / unitMs} ${unit}`;
}
