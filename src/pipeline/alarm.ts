/**
 * Limits of tags. An alarm is raised when a value has been past its limit for the delay, and clears when it is back by
 * the hysteresis. It sees every valid reading, before the deadband thins. A bad reading says nothing of the value: what
 * was pending waits, what is active stays.
 *
 * The delay of a polled tag is measured on the monotonic clock, so that a step of the wall clock raises nothing; that of a
 * tag that tells by itself by its readings' times, for they may come an hour at once.
 */
import { type Chunk, isBad } from '../reading.ts';
import type { Clock } from '../runtime/clock.ts';
import type { AlarmBook } from './alarm-book.ts';
import { type TagColumns, Trait, wideSlots } from './columns.ts';
import type { RegisteredTag } from './registry.ts';

interface Limit {
  readonly id: string;
  readonly condition: 'hi' | 'lo';
  readonly limit: number;
  /** The value at which it clears again. */
  readonly clearAt: number;
  readonly delayMs: number;
  /** On the clock of the tag; undefined while the value is within its limit. */
  pastSinceMs: number | undefined;
}

interface WatchedTag {
  readonly name: string;
  readonly unit: string;
  readonly isPolled: boolean;
  readonly limits: readonly Limit[];
}

export class LimitAlarms {
  readonly #columns: TagColumns;
  readonly #book: AlarmBook;
  readonly #clock: Clock;
  readonly #watched = new Map<number, WatchedTag>();

  constructor(columns: TagColumns, book: AlarmBook, clock: Clock) {
    this.#columns = columns;
    this.#book = book;
    this.#clock = clock;
  }

  /** Starts watching a new tag; a restored alarm that it no longer has is cleared. */
  watch({ index, definition, fields, periodMs }: RegisteredTag): void {
    const { name, unit = '' } = definition;
    const limits = (['hi', 'lo'] as const).flatMap((condition): Limit[] => {
      const id = `${name}:${condition}`;
      const setting = fields.alarm?.[condition];
      if (setting === undefined) {
        this.#book.clear(id, { at: this.#clock.wallMs(), text: `${name} has no ${condition} limit any more` });
        return [];
      }
      const { limit, hysteresis, delay } = setting;
      const clearAt = condition === 'hi' ? limit - hysteresis : limit + hysteresis;
      return [{ id, condition, limit, clearAt, delayMs: delay, pastSinceMs: undefined }];
    });
    if (limits.length > 0) this.#watched.set(index, { name, unit, isPolled: periodMs !== undefined, limits });
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
      for (const limit of watched.limits) this.#judge(watched, limit, current, at, watched.isPolled ? nowMs : at);
    }
  }

  #judge(tag: WatchedTag, limit: Limit, value: number, at: number, tagClockMs: number): void {
    const isHigh = limit.condition === 'hi';
    if (this.#book.isActive(limit.id)) {
      const isBack = isHigh ? value <= limit.clearAt : value >= limit.clearAt;
      if (!isBack) return;
      limit.pastSinceMs = undefined;
      this.#book.clear(limit.id, { at, value, text: `${tag.name} is back at ${shown(value, tag.unit)}` });
      return;
    }
    if (isHigh ? value <= limit.limit : value >= limit.limit) {
      limit.pastSinceMs = undefined;
      return;
    }
    // A clock that went back starts the delay anew.
    if (limit.pastSinceMs === undefined || tagClockMs < limit.pastSinceMs) limit.pastSinceMs = tagClockMs;
    if (tagClockMs - limit.pastSinceMs < limit.delayMs) return;
    limit.pastSinceMs = undefined;
    const text = `${tag.name} is ${shown(value, tag.unit)}, ${isHigh ? 'above' : 'below'} ${shown(limit.limit, tag.unit)}`;
    this.#book.raise(limit.id, { tag: tag.name }, limit.condition, { at, value, limit: limit.limit, text });
  }
}

function shown(value: number, unit: string): string {
  return unit === '' ? `${value}` : `${value} ${unit}`;
}
