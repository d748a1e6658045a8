/**
 * Reads that somebody asked for, beside the schedule. A panel that asks for a value that is past its time makes one read of
 * the tag's poll group, however many ask while it is under way: they share a flight. The reading goes the way of every
 * other; who asked looks at the last values afterwards.
 *
 * No number of askers shifts the schedule. An extra round holds at most one group a unit and comes between two rounds where it
 * fits before the next, by what the last one took, else with the next. After it the line is left alone for four times as long
 * as it took, at least 100 ms. A group that is being read, or due within half a second, is waited for instead. A unit that is
 * given up, a source without a connection and a full cache are asked nothing: the answer is at once what is known.
 */
import type { GroupPlan } from '../driver.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import type { PipelinePort } from './ports.ts';
import type { Units } from './units.ts';

/** Read now; or why not: no connection or no answer from the unit, no room in the cache, too many ask, no answer in time. */
export type Asked = 'read' | 'down' | 'full' | 'busy' | 'late';

/** Longer than a Modbus time-out and its repetition. */
export const ANSWER_MS = 5_000;
/** Not worth an extra request. */
export const JOIN_MS = 500;
/** The line belongs to the schedule: extra rounds get a fifth of its time. */
const REST_FACTOR = 4;
const REST_MS_MIN = 100;
/** Each is some hundred bytes; a panel has a dozen clients. */
export const ASKERS_MAX = 1_000;

interface Flight {
  readonly promise: Promise<Asked>;
  readonly settle: (outcome: Asked) => void;
  readonly timer: Timer;
}

export interface ReadThroughParts {
  readonly groups: readonly Pick<GroupPlan<unknown>, 'unit'>[];
  readonly units: Pick<Units, 'isDown'>;
  readonly clock: Clock;
  readonly pipeline: Pick<PipelinePort, 'pressed'>;
}

/** When a group is due next, and any. */
interface DueTimes {
  nextMs(): number;
  nextOf(group: number): number;
}

export class ReadThrough {
  readonly #parts: ReadThroughParts;
  readonly #flights = new Map<number, Flight>();
  #schedule: DueTimes | undefined;
  #askers = 0;
  #underWay: readonly number[] = [];
  #startedMs = 0;
  #isExtra = false;
  /** No extra round before. */
  #restUntilMs = Number.NEGATIVE_INFINITY;
  /** What the last extra round took. */
  #tookMs = 0;
  #wake: () => void = () => {};

  constructor(parts: ReadThroughParts) {
    this.#parts = parts;
  }

  /** Resolves when the group was read, or will not be. */
  async ask(group: number): Promise<Asked> {
    const { pipeline } = this.#parts;
    const unit = this.#parts.groups[group]?.unit ?? '';
    if (this.#schedule === undefined || this.#parts.units.isDown(unit)) return 'down';
    if (pipeline.pressed()) return 'full';
    if (this.#askers >= ASKERS_MAX) return 'busy';
    this.#askers++;
    try {
      return await (this.#flights.get(group) ?? this.#start(group)).promise;
    } finally {
      this.#askers--;
    }
  }

  /** A session is there, and reads by this. */
  opened(schedule: DueTimes): void {
    this.#schedule = schedule;
  }

  closed(): void {
    this.#schedule = undefined;
    this.#underWay = [];
    for (const group of this.#flights.keys()) this.#land(group, 'down');
  }

  /** Resolves at `untilMs`, or earlier when an extra round may begin; at once is one turn of the event loop later. */
  async wait(untilMs: number, life: AbortSignal): Promise<void> {
    for (;;) {
      const isOver = await this.#doze(Math.min(untilMs, this.#mayMs()), life);
      if (isOver) return;
    }
  }

  /** What is to be read now beside what is `due`. */
  take(due: readonly number[]): number[] {
    const nowMs = this.#parts.clock.monoMs();
    const isPressed = this.#parts.pipeline.pressed();
    const extra = new Map<string, number>();
    for (const group of [...this.#flights.keys()]) {
      const unit = this.#parts.groups[group]?.unit ?? '';
      if (this.#parts.units.isDown(unit)) this.#land(group, 'down');
      else if (isPressed) this.#land(group, 'full');
      else if (nowMs >= this.#restUntilMs && !due.includes(group) && !this.#isDueSoon(group, nowMs) && !extra.has(unit))
        extra.set(unit, group);
    }
    this.#isExtra = extra.size > 0;
    return [...extra.values()];
  }

  began(groups: readonly number[]): void {
    this.#underWay = groups;
    this.#startedMs = this.#parts.clock.monoMs();
  }

  ended(): void {
    const nowMs = this.#parts.clock.monoMs();
    for (const group of this.#underWay) this.#land(group, 'read');
    this.#underWay = [];
    if (!this.#isExtra) return;
    this.#isExtra = false;
    this.#tookMs = nowMs - this.#startedMs;
    this.#restUntilMs = nowMs + Math.max(REST_MS_MIN, REST_FACTOR * this.#tookMs);
  }

  #start(group: number): Flight {
    let settle: (outcome: Asked) => void = () => {};
    const promise = new Promise<Asked>((resolve) => {
      settle = resolve;
    });
    const timer = this.#parts.clock.after(ANSWER_MS, () => this.#land(group, 'late'));
    const flight = { promise, settle, timer };
    this.#flights.set(group, flight);
    this.#wake();
    return flight;
  }

  #land(group: number, outcome: Asked): void {
    const flight = this.#flights.get(group);
    if (flight === undefined) return;
    this.#flights.delete(group);
    flight.timer.cancel();
    flight.settle(outcome);
  }

  #isDueSoon(group: number, nowMs: number): boolean {
    return (this.#schedule?.nextOf(group) ?? 0) - nowMs <= JOIN_MS;
  }

  /** When the next extra round may begin: infinity while nothing waits for one. */
  #mayMs(): number {
    const nowMs = this.#parts.clock.monoMs();
    const isWanted = [...this.#flights.keys()].some((group) => !this.#isDueSoon(group, nowMs));
    if (!isWanted || this.#schedule === undefined) return Number.POSITIVE_INFINITY;
    const fromMs = Math.max(nowMs, this.#restUntilMs);
    // Where it does not fit it goes with the next round, which `wait` ends at anyway.
    return fromMs + this.#tookMs <= this.#schedule.nextMs() ? fromMs : Number.POSITIVE_INFINITY;
  }

  /** False when it was woken before its time. */
  #doze(untilMs: number, life: AbortSignal): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void) => {
        timer.cancel();
        life.removeEventListener('abort', onAbort);
        this.#wake = () => {};
        settle();
      };
      const onAbort = () => end(() => reject(life.reason));
      const timer = this.#parts.clock.after(untilMs - this.#parts.clock.monoMs(), () => end(() => resolve(true)));
      this.#wake = () => end(() => resolve(false));
      life.addEventListener('abort', onAbort, { once: true });
      if (life.aborted) onAbort();
    });
  }
}
