/** Windows whose rows say that readings came late: to be counted again from raw, a while after the last such reading. */
import type { WindowRows } from './rows.ts';
import { FLAG, W, WINDOW_NUMBERS } from './window.ts';

/** Late readings come in bursts: each window is counted once for all of a burst. */
const REPAIR_AFTER_MS = 10_000;
/** Some tens of MB of late readings at once; those beyond stay flagged as they are. */
const WINDOWS_MAX = 100_000;

export interface Repair {
  readonly tag: number;
  readonly periodMs: number;
  readonly startMs: number;
}

export type RepairState = readonly Repair[];

export class RepairQueue {
  readonly #due = new Map<string, Repair & { dueMs: number }>();

  get size(): number {
    return this.#due.size;
  }

  /** @param nowMs monotonic. */
  note({ periodMs, length, tag, numbers }: WindowRows, nowMs: number): void {
    for (let row = 0; row < length; row++) {
      const flags = numbers[row * WINDOW_NUMBERS + W.flags] as number; // in bounds, here and below
      if ((flags & (FLAG.part | FLAG.time)) === 0 || (flags & FLAG.whole) !== 0) continue;
      const startMs = numbers[row * WINDOW_NUMBERS + W.start] as number;
      this.add({ tag: tag[row] as number, periodMs, startMs }, nowMs);
    }
  }

  add(repair: Repair, nowMs: number): void {
    const key = keyOf(repair);
    if (this.#due.size >= WINDOWS_MAX && !this.#due.has(key)) return;
    this.#due.set(key, { ...repair, dueMs: nowMs + REPAIR_AFTER_MS });
  }

  has(repair: Repair): boolean {
    return this.#due.has(keyOf(repair));
  }

  remove(repair: Repair): void {
    this.#due.delete(keyOf(repair));
  }

  forget(tag: number): void {
    for (const [key, repair] of this.#due) if (repair.tag === tag) this.#due.delete(key);
  }

  /** The first that is due and all others that are, within `spanMs` of it. */
  due(nowMs: number, spanMs: number, most: number): Repair[] {
    let first: Repair | undefined;
    const found: Repair[] = [];
    for (const repair of this.#due.values()) {
      if (repair.dueMs > nowMs || found.length >= most) continue;
      first ??= repair;
      if (Math.abs(repair.startMs - first.startMs) <= spanMs) found.push(repair);
    }
    return found;
  }

  state(): RepairState {
    return [...this.#due.values()].map(({ tag, periodMs, startMs }) => ({ tag, periodMs, startMs }));
  }

  restore(state: RepairState, nowMs: number): void {
    for (const repair of state) this.add(repair, nowMs);
  }
}

function keyOf({ tag, periodMs, startMs }: Repair): string {
  return `${tag} ${periodMs} ${startMs}`;
}
