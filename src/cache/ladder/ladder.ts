/**
 * The degradation ladder's decision, and nothing else: which level follows from the pressure and the level before.
 *
 * A level is reached when one input passes its threshold, and left when all inputs are ten points below it. The age of what
 * waits counts for levels 3 and 4 only: slower polls make nothing younger, and age alone never stops readings.
 */
import type { LadderCause, LadderLevel, LadderState } from '../types.ts';

export interface Pressure {
  /** Unacknowledged bytes ÷ what the cache may use. */
  readonly disk: number;
  /** It may use less than `bytesMax`, because the disk has no more. */
  readonly isFreeDisk: boolean;
  readonly memory: number;
  readonly age: number;
  /** The last write of readings found no room. */
  readonly full: boolean;
}

/** Where each level begins; level 0 has no condition. */
export const AGGREGATE_FROM = 0.8;
export const DROP_FROM = 0.9;
export const FULL_FROM = 0.97;
export const THRESHOLDS: Readonly<Record<LadderLevel, number>> = {
  0: Number.NEGATIVE_INFINITY,
  1: 0.5,
  2: 0.65,
  3: AGGREGATE_FROM,
  4: DROP_FROM,
  5: FULL_FROM,
};
/** In points of a hundred the shares have to fall before a level is left: else it would flap around its threshold. */
export const HYSTERESIS = 0.1;
const AGE_LEVELS: readonly LadderLevel[] = [3, 4];
const DESCENDING: readonly LadderLevel[] = [5, 4, 3, 2, 1];

export const AT_REST: LadderState = { level: 0, cause: 'disk', disk: 0, memory: 0, age: 0 };

export function nextState(level: LadderLevel, pressure: Pressure): LadderState {
  const reached = levelOf(pressure, 0);
  const held = levelOf(pressure, HYSTERESIS);
  const { disk, memory, age } = pressure;
  return {
    level: Math.max(reached, Math.min(level, held)) as LadderLevel, // one of three levels
    cause: causeOf(pressure),
    disk,
    memory,
    age,
  };
}

/** @param slack how far below its threshold an input still counts. */
function levelOf({ disk, memory, age, full }: Pressure, slack: number): LadderLevel {
  if (full) return 5;
  for (const level of DESCENDING) {
    const threshold = THRESHOLDS[level] - slack;
    if (disk >= threshold || memory >= threshold) return level;
    if (AGE_LEVELS.includes(level) && age >= threshold) return level;
  }
  return 0;
}

function causeOf({ disk, isFreeDisk, memory, age, full }: Pressure): LadderCause {
  if (full) return 'full';
  // Below level 3 the age does nothing, and is not to blame.
  if (age > disk && age > memory && age >= AGGREGATE_FROM - HYSTERESIS) return 'age';
  if (memory > disk) return 'memory';
  return isFreeDisk ? 'free_disk' : 'disk';
}
