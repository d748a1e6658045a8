/**
 * Limits of tags. An alarm is raised when a value has been past its limit for the delay, and clears when it is back by
 * the hysteresis. It sees every valid reading, before the deadband thins. A bad reading says nothing of the value: what
 * was pending waits, what is active stays. Limits of a sliding window are judged in the same pass (`sliding-alarms.ts`).
 *
 * The delay of a polled tag is measured on the monotonic clock, so that a step of the wall clock raises nothing; that of a
 * tag that tells by itself by its readings' times, for they may come an hour at once.
 */
import { type Chunk, isBad, shortest, type ValueType } from '../reading.ts';
import type { Clock } from '../runtime/clock.ts';
import type { AlarmBook } from './alarm-book.ts';
import { type TagColumns, Trait, wideSlots } from './columns.ts';
import { judge, type Limit, limitsOf, shown, type Words } from './limit.ts';
import type { RegisteredTag } from './registry.ts';
import { SlidingAlarms, type SlidingTag } from './sliding-alarms.ts';

interface WatchedTag {
  readonly words: Words;
  readonly isPolled: boolean;
  readonly limits: readonly Limit[];
  readonly sliding: SlidingTag | undefined;
}

export class LimitAlarms {
  readonly #columns: TagColumns;
  readonly #book: AlarmBook;
  readonly #clock: Clock;
  readonly #sliding: SlidingAlarms;
  readonly #watched = new Map<number, WatchedTag>();

  constructor(columns: TagColumns, book: AlarmBook, clock: Clock) {
    this.#columns = columns;
    this.#book = book;
    this.#clock = clock;
    this.#sliding = new SlidingAlarms(book, clock);
  }

  /** Starts watching a new tag; a restored alarm that it no longer has is cleared. */
  watch({ index, definition, fields, periodMs }: RegisteredTag): void {
    const { name, type, unit = '' } = definition;
    const limits = type === 'text' ? [] : limitsOf(name, fields.alarm ?? {});
    const sliding = this.#sliding.watch(definition, fields.alarm?.sliding ?? []);
    this.#clearOthers(name, new Set([...limits.map(({ id }) => id), ...(sliding?.ids ?? [])]));
    if (limits.length === 0 && sliding === undefined) return;
    const words = wordsOf(name, type, unit);
    this.#watched.set(index, { words, isPolled: periodMs !== undefined, limits, sliding });
  }

  apply({ length, tag, timeMs, value, quality }: Chunk): void {
    const nowMs = this.#clock.monoMs();
    const { traits } = this.#columns;
    let wide: ReturnType<typeof wideSlots> | undefined;
    for (let row = 0; row < length; row++) {
      const index = tag[row] as number; // row < length
      const trait = traits[index] as number; // validated: registered
      if ((trait & Trait.alarm) === 0 || isBad(quality[row] as number)) continue;
      const watched = this.#watched.get(index);
      if (watched === undefined) continue;
      let current = value[row] as number;
      if ((trait & Trait.wide) !== 0) {
        wide ??= wideSlots(value);
        current = Number((trait & Trait.unsigned) !== 0 ? wide.unsigned[row] : wide.signed[row]);
      }
      const at = timeMs[row] as number;
      const tagClockMs = watched.isPolled ? nowMs : at;
      for (const limit of watched.limits) judge(this.#book, limit, current, at, tagClockMs, watched.words);
      watched.sliding?.take(current, at, nowMs);
    }
  }

  stop(): void {
    this.#sliding.stop();
  }

  #clearOthers(tag: string, ids: ReadonlySet<string>): void {
    for (const { id, tag: of } of this.#book.active()) {
      if (of !== tag || ids.has(id)) continue;
      const what = id.slice(tag.length + 1).replace(':', ' ');
      this.#book.clear(id, { at: this.#clock.wallMs(), text: `${tag} has no ${what} limit any more` });
    }
  }
}

function wordsOf(tag: string, type: ValueType, unit: string): Words {
  const say = (value: number) => shown(shortest(value, type), unit);
  return {
    tag,
    raised: (value, { condition, limit }) =>
      `${tag} is ${say(value)}, ${condition === 'hi' ? 'above' : 'below'} ${shown(limit, unit)}`,
    back: (value) => `${tag} is back at ${say(value)}`,
  };
}
