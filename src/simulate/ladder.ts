/**
 * The degradation ladder of one gateway, looked at from outside: that each step is where the documents say, is told to the
 * cloud by a row of its own, and that what goes, goes in order. The figures are its own: they are what is promised.
 */
import { decodeContent } from '../cache/content.ts';
import type { CacheCore } from '../cache/core.ts';
import type { Stamp } from '../cache/journal.ts';
import { ageMs } from '../cache/ladder/age.ts';
import type { BlockRow, BlockStore } from '../cache/store.ts';
import type { LadderState } from '../cache/types.ts';
import { hex } from '../wire/bytes.ts';
import { CLASS, type ClassNumber } from '../wire/classes.ts';
import { type LadderRow, parseControl } from '../wire/control.ts';
import type { Committed } from './faulty-store.ts';
import type { History, LadderStep } from './history.ts';
import type { World } from './world.ts';

/** By level, where it begins. */
const BEGINS = [0, 0.5, 0.65, 0.8, 0.9, 0.97] as const;
const HYSTERESIS = 0.1;
/** Levels that the age of what waits can reach. */
const AGE_LEVELS: readonly number[] = [3, 4];
const DROP_AGE = 0.9;
/** Where giving up ends: below it nothing may go for want of room. */
const DROP_TO = 0.86;
/** Sums of small numbers. */
const ROUNDING = 1e-9;
/**
 * Where a commit is a tenth of all that there is room for, each may climb, and what is given up for it lets down again. Going
 * up and down with every commit, at most a second apart, would be 120.
 */
const STEPS_A_MINUTE_MAX = 100;
const MINUTE_MS = 60_000;
/** From level 4 on one step of giving up follows the other, unless the disk takes none. */
const GIVES_UP_WITHIN_MS = 5_000;

export interface WatchParts {
  readonly world: World;
  readonly name: string;
  readonly history: History;
  readonly ageMax: number;
  readonly now: () => Stamp;
  /** Nobody can give anything up now. */
  readonly isFull: () => boolean;
}

/** Of one process. */
export class LadderWatch {
  readonly #parts: WatchParts;
  readonly #core: () => CacheCore | undefined;
  readonly #steps: LadderStep[] = [];
  #times: number[] = [];
  #level: number | undefined;
  /** Since when too much waits on a disk that takes writes, some of it may go, and nothing does. */
  #idleSinceMs: number | undefined;

  /** @param core undefined while it is being made. */
  constructor(parts: WatchParts, run: Uint8Array, core: () => CacheCore | undefined) {
    this.#parts = parts;
    this.#core = core;
    parts.history.ladders.set(hex(run), this.#steps);
  }

  /** @param level of the process before it, where it begins. */
  begin(level: number): void {
    this.#level = level;
  }

  stepped(state: LadderState): void {
    const { world, name } = this.#parts;
    const from = this.#level ?? 0;
    const { level: to, cause } = state;
    this.#level = to;
    this.#steps.push({ from, to, cause });
    world.count(`steps to level ${to}`);
    if (to > from) world.count(`steps up by ${cause}`);
    world.log(`${name} is at level ${to} after ${from} by ${cause}`);
    const wrong = to > from ? upProblem(state) : downProblem(state, from);
    if (to === from || wrong !== undefined)
      world.problem(`${name}: from level ${from} to ${to}: ${wrong ?? 'no step'}`);
    this.#times = [...this.#times.filter((ms) => ms > world.nowMs - MINUTE_MS), world.nowMs];
    if (this.#times.length > STEPS_A_MINUTE_MAX)
      world.problem(`${name} flaps: ${this.#times.length} steps in a minute`);
  }

  /** At any moment between two events. */
  check(): void {
    const state = this.#core()?.ladder;
    if (state === undefined) return;
    const { world, name } = this.#parts;
    const higher = BEGINS.findIndex((begins, level) => level > state.level && reaches(state, level, begins));
    if (higher >= 0) world.problem(`${name} is at level ${state.level}, and ${JSON.stringify(state)} is ${higher}`);
  }

  /** After each transaction: where too much waits, the oldest goes. */
  checkIdle(store: BlockStore): void {
    const { world, name, isFull } = this.#parts;
    const core = this.#core();
    if (core === undefined) return;
    const isDue = core.ladder.level >= 4 && core.ladder.disk > BEGINS[4] && !isFull() && mayGo(store, core);
    this.#idleSinceMs = isDue ? (this.#idleSinceMs ?? world.nowMs) : undefined;
    if (world.nowMs - (this.#idleSinceMs ?? world.nowMs) >= GIVES_UP_WITHIN_MS)
      world.problem(`${name} gives nothing up: ${JSON.stringify(core.ladder)}`);
  }

  /** After each transaction. @param fresh blocks of new rows. */
  committed(store: BlockStore, removed: readonly BlockRow[], fresh: Committed['blocks']): void {
    const core = this.#core();
    if (removed.some(({ class: of }) => of === CLASS.control) && goneOf(fresh).dropped.has(CLASS.control))
      this.#parts.world.count('control rows thinned');
    // Control rows that others stand for now say what was said before.
    const going = removed.filter(({ class: of }) => of >= CLASS.aggregate);
    if (core === undefined || going.length === 0) return;
    const { dropped, aggregated } = goneOf(fresh);
    if (dropped.size === 0 && aggregated.size === 0) return;
    const { ladder } = core;
    const say = (what: string) => this.#parts.world.problem(`${this.#parts.name}: ${what} (${JSON.stringify(ladder)})`);
    const isGone = (row: BlockRow) => dropped.has(row.class) || aggregated.has(row.class);
    const flying = removed.find((row) => isGone(row) && row.class >= CLASS.aggregate && isFlying(core, row));
    if (flying !== undefined) say(`gave up block ${flying.id}, which was on its way`);
    if (aggregated.size > 0 && ladder.level < 3) say('summed up below level 3');
    if (dropped.size === 0) return;
    this.#idleSinceMs = undefined;
    if (ladder.level < 4) say('gave readings up below level 4');
    const now = this.#parts.now();
    const gone = going.filter((row) => dropped.has(row.class));
    const isTooOld = (row: BlockRow) => ageMs(row, core.runs, now) > DROP_AGE * this.#parts.ageMax - 1;
    if (ladder.disk < DROP_TO && !gone.every(isTooOld)) say('gave up what is not old, and there was room');
    if (ladder.disk > BEGINS[4]) this.#checkOrder(store, gone, say);
  }

  /** For want of room the oldest go first, low before normal before sums. */
  #checkOrder(store: BlockStore, gone: readonly BlockRow[], say: (what: string) => void): void {
    const core = this.#core();
    const bit = 1 << (store.targets()[0]?.bit ?? 0);
    const order: readonly ClassNumber[] = [CLASS.low, CLASS.normal, CLASS.aggregate];
    for (const row of gone) {
      const before = order.slice(0, order.indexOf(row.class));
      const isStill = (each: BlockRow) => core !== undefined && !isFlying(core, each);
      const sooner = before.flatMap((classNumber) => store.pendingBlocks(bit, classNumber, 0, 1000).filter(isStill));
      if (sooner.length > 0) say(`gave up class ${row.class} while there was class ${sooner[0]?.class}`);
      const older = store.pendingBlocks(bit, row.class, 0, 1000).filter((each) => each.id < row.id && isStill(each));
      if (older.length > 0) say(`gave up block ${row.id} while there was ${older[0]?.id}`);
    }
  }
}

/** Whether anything that a step of the ladder may take is there. */
function mayGo(store: BlockStore, core: CacheCore): boolean {
  const bit = 1 << (store.targets()[0]?.bit ?? 0);
  const classes: readonly ClassNumber[] = [CLASS.low, CLASS.normal, CLASS.aggregate];
  return classes.some((of) => store.pendingBlocks(bit, of, 0, 1000).some((row) => !isFlying(core, row)));
}

function isFlying(core: CacheCore, { run, class: classNumber, n0, rows }: BlockRow): boolean {
  return core.flight.touches(run, classNumber, { from: n0, to: n0 + rows - 1 });
}

function reaches({ disk, memory, age }: LadderState, level: number, share: number): boolean {
  return disk >= share || memory >= share || (AGE_LEVELS.includes(level) && age >= share);
}

function upProblem(state: LadderState): string | undefined {
  const begins = BEGINS[state.level] ?? 0;
  if (state.cause === 'full' ? state.level === 5 : reaches(state, state.level, begins - ROUNDING)) return undefined;
  return `nothing presses so much: ${JSON.stringify(state)}`;
}

function downProblem(state: LadderState, from: number): string | undefined {
  if (state.cause === 'full') return 'while it is full';
  for (let level = state.level + 1; level <= from; level++) {
    if (reaches(state, level, (BEGINS[level] ?? 0) - HYSTERESIS + ROUNDING))
      return `it still presses, or within ten points: ${JSON.stringify(state)}`;
  }
  return undefined;
}

/** Classes of which a transaction said that rows are gone. */
function goneOf(blocks: Committed['blocks']): Record<'dropped' | 'aggregated', Set<number>> {
  const gone = { dropped: new Set<number>(), aggregated: new Set<number>() };
  for (const { row, bytes } of blocks) {
    if (row.class !== CLASS.control) continue;
    const content = decodeContent(row, bytes);
    for (const record of content.kind === 'records' ? content.records : []) {
      const control = parseControl(record);
      if (control.type !== 'GAP' || (control.reason !== 'dropped' && control.reason !== 'aggregated')) continue;
      gone[control.reason].add(control.class);
    }
  }
  return gone;
}

/** At the end: every step has its row, in order, and nothing else has. @param lives runs that did not end, as 32 hex digits. */
export function ladderProblems(history: History, lives: ReadonlySet<string>): string[] {
  const problems: string[] = [];
  for (const [run, steps] of history.ladders) {
    const rows = (history.rows.get(`${run}/${CLASS.control}`) ?? [])
      .map(({ key }) => parseControl(JSON.parse(key)))
      .filter((control): control is LadderRow => control.type === 'LADDER');
    const said = rows.map(({ from, to, cause }) => `${from}→${to} ${cause}`);
    const were = steps.map(({ from, to, cause }) => `${from}→${to} ${cause}`);
    // What a process did not come to say, it did not do for long.
    const expected = lives.has(run) ? were : were.slice(0, said.length);
    if (said.join() !== expected.join()) problems.push(`${run} told of the steps ${said}, and made ${were}`);
  }
  return problems;
}
