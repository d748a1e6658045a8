/**
 * What the steps of the degradation ladder mean outside the cache, and how they are told to people. What happens to rows on
 * the disk (levels 3 and 4) is the cache's; the uplink has its own part (level 1).
 */
import type { LadderLevel, LadderState } from '../cache/types.ts';

/** By level: low-priority tags are read so many times less often, and their deadbands are so many times wider. */
const SLOWDOWN = [1, 1, 2, 4, 8, 8] as const satisfies Record<LadderLevel, number>;
/** From here on nothing but alarms and counts is taken. */
export const CLOSED_LEVEL = 5;

export function slowdownAt(level: LadderLevel): number {
  return SLOWDOWN[level];
}

/** What is done about it, outside the cache and in it. */
export function ladderAction(level: LadderLevel): string {
  const slower = `low-priority tags are read ${SLOWDOWN[level]} times less often, with wider deadbands`;
  switch (level) {
    case 0:
      return 'everything is as usual';
    case 1:
      return 'larger batches are sent, compressed more strongly; nothing is lost';
    case 2:
      return `${slower}; nothing else is lost`;
    case 3:
      return `the oldest low-priority readings become averages of a minute; ${slower}`;
    case 4:
      return `the oldest readings are given up, low priority first, and accounted for; ${slower}`;
    case 5:
      return 'no readings are taken: polls stop and MQTT messages are not acknowledged; alarms go on';
  }
}

/** What drives the ladder most. */
export function ladderCause({ cause, disk, memory, age }: LadderState): string {
  switch (cause) {
    case 'disk':
      return `${percent(disk)} of the space for readings (cache.bytesMax) waits for the cloud`;
    case 'free_disk':
      return 'the file system has hardly any space left beside the cache';
    case 'memory':
      return `the disk is slower than the sources: ${percent(memory)} of the memory for readings is used`;
    case 'age':
      return `the oldest reading has waited for ${percent(age)} of the longest age (cache.ageMax)`;
    case 'full':
      return 'a write found no room on the disk';
  }
}

/** What a person can do about it. */
export function ladderRemedy({ cause }: Pick<LadderState, 'cause'>): string {
  switch (cause) {
    case 'full':
    case 'free_disk':
      return 'free space on the disk of cache.path: du -x says what takes it';
    case 'memory':
      return 'read less often, or use a faster disk; dmesg tells of a card that fails';
    case 'disk':
    case 'age':
      return 'bring the uplink back, see below; or raise the limit (cache.bytesMax, cache.ageMax) in time';
  }
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

/** `storage is at level 2 of 5: 66 % of … waits for the cloud. Low-priority tags …` */
export function ladderText(state: LadderState): string {
  const { level } = state;
  if (level === 0) return `storage has room again: ${ladderAction(level)}`;
  return `storage is at level ${level} of 5: ${ladderCause(state)}. What is done: ${ladderAction(level)}`;
}
