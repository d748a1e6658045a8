/** One limit of a tag, hi or lo: raised when it has been passed for its delay, cleared when the value is back by the hysteresis. */
import type { TagFields } from '../config/fields.ts';
import type { AlarmBook } from './alarm-book.ts';

export interface Limit {
  readonly id: string;
  readonly condition: 'hi' | 'lo';
  readonly limit: number;
  /** The value at which it clears again. */
  readonly clearAt: number;
  readonly delayMs: number;
  /** On the clock of the tag; undefined while the value is within its limit. */
  pastSinceMs: number | undefined;
}

export type LimitSettings = Pick<NonNullable<TagFields['alarm']>, 'hi' | 'lo'>;

/** How its alarm speaks. */
export interface Words {
  readonly tag: string;
  raised(value: number, limit: Pick<Limit, 'condition' | 'limit'>): string;
  back(value: number): string;
}

/** @param id what the alarms are called, without the condition. */
export function limitsOf(id: string, settings: LimitSettings): Limit[] {
  return (['hi', 'lo'] as const).flatMap((condition): Limit[] => {
    const setting = settings[condition];
    if (setting === undefined) return [];
    const { limit, hysteresis, delay } = setting;
    const clearAt = condition === 'hi' ? limit - hysteresis : limit + hysteresis;
    return [{ id: `${id}:${condition}`, condition, limit, clearAt, delayMs: delay, pastSinceMs: undefined }];
  });
}

/**
 * @param at when the value was so, wall clock or time of the reading.
 * @param tagClockMs what the delay is measured by.
 */
export function judge(
  book: AlarmBook,
  limit: Limit,
  value: number,
  at: number,
  tagClockMs: number,
  words: Words,
): void {
  const isHigh = limit.condition === 'hi';
  if (book.isActive(limit.id)) {
    const isBack = isHigh ? value <= limit.clearAt : value >= limit.clearAt;
    if (!isBack) return;
    limit.pastSinceMs = undefined;
    book.clear(limit.id, { at, value, text: words.back(value) });
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
  const event = { at, value, limit: limit.limit, text: words.raised(value, limit) };
  book.raise(limit.id, { tag: words.tag }, limit.condition, event);
}

/** `21.3 °C` */
export function shown(value: number, unit: string): string {
  return unit === '' ? `${value}` : `${value} ${unit}`;
}
