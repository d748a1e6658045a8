/**
 * The ladder of one cache: knows the level, says each step (a control row, `meta` for whoever reads a dead cache, whoever
 * listens), and does what levels 3 and 4 ask for.
 */
import { codeOf } from '../../errors.ts';
import type { LadderRow } from '../../wire/control.ts';
import type { Flight } from '../flight.ts';
import type { Stamp } from '../journal.ts';
import type { ThinLimits } from '../thin-plan.ts';
import { ThinRecords } from '../thin-records.ts';
import type { LadderState } from '../types.ts';
import { AT_REST, nextState } from './ladder.ts';
import { type PressureOptions, Pressures } from './pressure.ts';
import { Relief } from './relief.ts';
import type { Room } from './room.ts';
import { LADDER_META, savedLadder } from './saved.ts';
import type { WriteOffParts } from './write-off.ts';

/** While the disk takes no control rows either; a step more joins the last. */
const UNSAID_MAX = 16;

export interface KeeperOptions extends PressureOptions {
  /** After each step, up or down. */
  readonly onLadder?: ((state: LadderState) => void) | undefined;
  readonly thinning?: Partial<ThinLimits>;
}

export interface KeeperParts extends WriteOffParts {
  readonly flight: Flight;
  readonly room: Room;
  /** As `Commits.transact`. */
  readonly transact: <T>(work: (now: Stamp) => T) => T;
}

export class LadderKeeper {
  readonly pressures: Pressures;
  readonly #parts: KeeperParts;
  readonly #options: KeeperOptions;
  readonly #relief: Relief;
  readonly #records: ThinRecords;
  #state: LadderState;
  #unsaid: LadderRow[] = [];

  constructor(parts: KeeperParts, options: KeeperOptions) {
    this.#parts = parts;
    this.#options = options;
    this.pressures = new Pressures(parts, options);
    this.#relief = new Relief({ ...parts, ageMax: options.ageMax });
    this.#records = new ThinRecords(parts, options.thinning);
    // Where the process before this one stood, so that the first step here begins there.
    this.#state = savedLadder(parts.store) ?? AT_REST;
  }

  get state(): LadderState {
    return this.#state;
  }

  /** Between transactions. @param full readings found no room. */
  look(now: Stamp, full: boolean): void {
    this.#parts.room.secure(now.monoMs);
    const before = this.#state;
    this.#state = nextState(before.level, this.pressures.now(now, full));
    const { level, cause } = this.#state;
    if (level !== before.level) {
      this.#note({ type: 'LADDER', at: now.wallMs, from: before.level, to: level, cause });
      this.#options.onLadder?.(this.#state);
    }
    if (this.#unsaid.length > 0) this.#say();
  }

  #note(row: LadderRow): void {
    const last = this.#unsaid.at(-1);
    if (this.#unsaid.length >= UNSAID_MAX && last !== undefined)
      this.#unsaid[this.#unsaid.length - 1] = { ...row, from: last.from };
    else this.#unsaid.push(row);
  }

  #say(): void {
    const rows = this.#unsaid;
    const isWritten = this.#tried((now) => {
      this.#parts.journal.writeControl(rows, now);
      this.#parts.store.setMeta(LADDER_META, JSON.stringify(this.#state));
      return true;
    });
    if (isWritten === true) this.#unsaid = [];
  }

  /** One bounded step of relief. @returns whether there may be more to do. */
  step(now: Stamp, full: boolean): boolean {
    this.look(now, full);
    const limit = this.#parts.room.limit(now.monoMs);
    const thinned = this.#records.due ? this.#tried((stamp) => this.#records.step(limit, stamp)) : undefined;
    this.pressures.changed(-(thinned?.freed ?? 0));
    if (!this.#relief.wanted(this.#state)) return thinned !== undefined;
    const step = this.#tried((stamp) => this.#relief.step(this.#state, limit, stamp));
    if (step === undefined) return thinned !== undefined;
    this.pressures.changed(-step.freed);
    return true;
  }

  /** Undefined when there is no room even for this: it is tried again later. */
  #tried<T>(work: (now: Stamp) => T): T | undefined {
    try {
      return this.#parts.transact(work);
    } catch (thrown) {
      if (codeOf(thrown) !== 'cache.full') throw thrown;
      this.#parts.room.giveUpBallast();
      return undefined;
    }
  }
}
