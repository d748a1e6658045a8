/**
 * Simulated time: a queue of events, run in order. Between two of them every promise that can settle has settled, so what
 * happens depends on the seed alone. Machines and processes have clocks of their own in it.
 */
import { createHash } from 'node:crypto';
import { asError } from '../errors.ts';
import { type Clock, EARLIEST_PLAUSIBLE_MS, type Timer } from '../runtime/clock.ts';
import type { Random } from './random.ts';

interface Event {
  readonly dueMs: number;
  readonly order: number;
  readonly run: () => void;
  cancelled: boolean;
}

const LOG_KEPT = 40;
/** Ten times what the longest story takes. */
const EVENTS_MAX = 1_000_000;

export class World {
  nowMs = 0;
  readonly random: Random;
  /** What should never happen; the run ends at the first. */
  readonly problems: string[] = [];
  /** What happened how often: a story in which nothing does proves nothing. */
  readonly coverage = new Map<string, number>();
  readonly #events: Event[] = [];
  readonly #log: string[] = [];
  readonly #hash = createHash('sha256');
  readonly #verbose: boolean;
  #order = 0;
  events = 0;

  constructor(random: Random, verbose = false) {
    this.random = random;
    this.#verbose = verbose;
  }

  log(text: string): void {
    const line = `${this.nowMs.toFixed(3).padStart(12)} ${text}`;
    this.#hash.update(line);
    this.#log.push(line);
    if (this.#log.length > LOG_KEPT * 2) this.#log.splice(0, LOG_KEPT);
    if (this.#verbose) process.stdout.write(`${line}\n`);
  }

  problem(text: string): void {
    this.log(`PROBLEM ${text}`);
    this.problems.push(text);
  }

  count(what: string, by = 1): void {
    if (by > 0) this.coverage.set(what, (this.coverage.get(what) ?? 0) + by);
  }

  lastEvents(): readonly string[] {
    return this.#log.slice(-LOG_KEPT);
  }

  /** Of everything logged; ends the log. */
  hash(): string {
    return this.#hash.digest('hex');
  }

  after(delayMs: number, run: () => void): Timer {
    const event = { dueMs: onGrid(this.nowMs + Math.max(0, delayMs)), order: this.#order++, run, cancelled: false };
    push(this.#events, event);
    return {
      cancel: () => {
        event.cancelled = true;
      },
    };
  }

  async sleep(delayMs: number): Promise<void> {
    await this.run(this.nowMs + delayMs);
  }

  /** Runs what is due until `untilMs`, or until `done` says so after an event, or something went wrong. */
  async run(untilMs: number, done: () => boolean = () => false): Promise<void> {
    await turns(() => this.problems.length === 0 && !done() && this.#next(untilMs));
    if (!done() && this.problems.length === 0) this.nowMs = Math.max(this.nowMs, onGrid(untilMs));
  }

  /** @returns false when nothing is due. */
  #next(untilMs: number): boolean {
    for (;;) {
      const next = this.#events[0];
      if (next === undefined || next.dueMs > untilMs) return false;
      pop(this.#events);
      if (next.cancelled) continue;
      this.nowMs = next.dueMs;
      if (++this.events > EVENTS_MAX) this.problem(`more than ${EVENTS_MAX} events: it goes round in circles`);
      try {
        next.run();
      } catch (thrown) {
        this.problem(`thrown out of an event: ${asError(thrown).stack}`);
      }
      return true;
    }
  }
}

/**
 * Time goes in steps of 2^-10 ms, so that differences of times are exact: a timer of a few femtoseconds, the rest of some
 * rounding, would never let it pass.
 */
function onGrid(ms: number): number {
  return Math.ceil(ms * 1024) / 1024;
}

/** In one round of the event loop: rounds cost more than what happens in them. */
const TURNS_A_ROUND = 32;

/**
 * Calls `turn` until it returns false. Nothing in the simulation waits for anything real, so before each call, a callback of
 * the event loop of its own, all promises have settled.
 */
function turns(turn: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    let isOver = false;
    const each = () => {
      if (isOver || turn()) return;
      isOver = true;
      resolve();
    };
    const round = () => {
      if (isOver) return;
      for (let i = 0; i < TURNS_A_ROUND; i++) setImmediate(each);
      setImmediate(round);
    };
    round();
  });
}

function isBefore(a: Event, b: Event): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
}

/** A binary heap: thousands of timers are set and cancelled in a run. */
function push(heap: Event[], event: Event): void {
  let at = heap.push(event) - 1;
  while (at > 0) {
    const up = (at - 1) >> 1;
    const parent = heap[up] as Event; // in bounds, here and below
    if (isBefore(parent, event)) break;
    heap[at] = parent;
    at = up;
  }
  heap[at] = event;
}

function pop(heap: Event[]): void {
  const last = heap.pop() as Event; // never called on an empty heap
  if (heap.length === 0) return;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event)) child++;
    if (isBefore(last, heap[child] as Event)) break;
    heap[at] = heap[child] as Event;
    at = child;
  }
  heap[at] = last;
}

/** The hardware under a gateway: its wall clock can be wrong and be set, a boot makes it new. */
export class Machine {
  readonly #world: World;
  /** True time minus simulated time: when the story begins. */
  readonly #epochMs: number;
  #wrongMs = 0;
  bootedMs = 0;
  boot: Uint8Array;

  constructor(world: World, epochMs: number) {
    this.#world = world;
    this.#epochMs = epochMs;
    this.boot = world.random.bytes(16);
  }

  wallMs(): number {
    return this.#world.nowMs + this.#epochMs + this.#wrongMs;
  }
  monoMs(): number {
    return this.#world.nowMs - this.bootedMs;
  }
  synced(): boolean {
    return this.wallMs() >= EARLIEST_PLAUSIBLE_MS;
  }
  step(byMs: number): void {
    this.#wrongMs += byMs;
  }
  /** As NTP does. */
  correct(): void {
    this.#wrongMs = 0;
  }
  /** @param in1970 it has no battery for its clock. */
  reboot(in1970: boolean): void {
    this.bootedMs = this.#world.nowMs;
    this.boot = this.#world.random.bytes(16);
    if (in1970) this.#wrongMs = -(this.#world.nowMs + this.#epochMs);
  }
}

/** What one process sees of time. Its timers end with it. */
export class ProcessClock implements Clock {
  readonly #world: World;
  readonly #machine: Machine;
  readonly #startedMs: number;
  alive = true;

  constructor(world: World, machine: Machine) {
    this.#world = world;
    this.#machine = machine;
    this.#startedMs = world.nowMs;
  }
  wallMs(): number {
    return this.#machine.wallMs();
  }
  monoMs(): number {
    return this.#world.nowMs - this.#startedMs;
  }
  synced(): boolean {
    return this.#machine.synced();
  }
  after(delayMs: number, callback: () => void): Timer {
    if (!this.alive) return { cancel: () => {} };
    return this.#world.after(delayMs, () => {
      if (this.alive) callback();
    });
  }
}
