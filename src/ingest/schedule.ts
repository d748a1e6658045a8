/**
 * When each group of a source is read: on a grid of the monotonic clock, `phase + k × every`, whatever a read takes. What
 * was not read at its time is skipped and counted, never queued: after a long read, or a suspend of an hour, each group is
 * read once and then on its grid again.
 *
 * The phase comes from the names of source and unit, so that a hundred sources of 1 s do not all ask in the same
 * millisecond, and do so alike after every start. Groups of one unit share it: they are read together.
 *
 * While the disk fills, groups of low priority are read at every second, fourth or eighth point of their grid only.
 */

export interface ScheduledGroup {
  readonly id: number;
  readonly unit: string;
  readonly everyMs: number;
  /** All its tags are of low priority; default no. */
  readonly isLow?: boolean;
}

export interface Due {
  /** Ids of the groups to read now. */
  readonly groups: readonly number[];
  /** Reads that had to be left out since the last call. */
  readonly skipped: number;
}

/** A group with its next time on the grid. */
interface Slot extends ScheduledGroup {
  readonly phaseMs: number;
  dueMs: number;
}

export class Schedule {
  readonly #slots: readonly Slot[];

  constructor(source: string, groups: readonly ScheduledGroup[], nowMs: number) {
    this.#slots = groups.map((group) => {
      const phaseMs = phaseOf(`${source}/${group.unit}`) * group.everyMs;
      const dueMs = Math.ceil((nowMs - phaseMs) / group.everyMs) * group.everyMs + phaseMs;
      return { ...group, phaseMs, dueMs };
    });
  }

  /** The next time that something is due; infinity for a source without groups. */
  nextMs(): number {
    return this.#slots.reduce((next, slot) => Math.min(next, slot.dueMs), Number.POSITIVE_INFINITY);
  }

  /** When a group is due next. */
  nextOf(id: number): number {
    return this.#slots[id]?.dueMs ?? Number.POSITIVE_INFINITY;
  }

  /**
   * What is due now; each of it moves on to its next time after now.
   * @param slowdown groups of low priority are read at every so many-th point of their grid.
   */
  take(nowMs: number, slowdown = 1): Due {
    const groups: number[] = [];
    let skipped = 0;
    for (const slot of this.#slots) {
      if (slot.dueMs > nowMs) continue;
      const first = gridPoint(slot);
      const passed = this.#moveOn(slot, nowMs);
      const every = slot.isLow === true ? slowdown : 1;
      const isRead = Math.floor((first + passed - 1) / every) > Math.floor((first - 1) / every);
      if (isRead) groups.push(slot.id);
      skipped += passed - (isRead ? 1 : 0);
    }
    return { groups, skipped };
  }

  /** For a fresh connection: everything at once, since nobody knows any value yet. The grid stays what it is. */
  takeAll(nowMs: number): readonly number[] {
    for (const slot of this.#slots) {
      if (slot.dueMs <= nowMs) this.#moveOn(slot, nowMs);
      // A reading that would follow this one at once is left out.
      if (slot.dueMs - nowMs < slot.everyMs / 2) slot.dueMs += slot.everyMs;
    }
    return this.#slots.map((slot) => slot.id);
  }

  /** Grid points up to now. */
  #moveOn(slot: Slot, nowMs: number): number {
    const passed = Math.floor((nowMs - slot.dueMs) / slot.everyMs) + 1;
    slot.dueMs += passed * slot.everyMs;
    return passed;
  }
}

/** Which point of its grid is due next. */
function gridPoint({ dueMs, phaseMs, everyMs }: Slot): number {
  return Math.round((dueMs - phaseMs) / everyMs);
}

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** A number in [0, 1) that follows from the name alone (FNV-1a, 32 bits, with a final mix: short names differ little). */
export function phaseOf(name: string): number {
  let hash = FNV_OFFSET;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), FNV_PRIME);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b); // the finaliser of MurmurHash3
  return ((hash ^ (hash >>> 13)) >>> 0) / 2 ** 32;
}
