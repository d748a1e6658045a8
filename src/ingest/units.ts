/**
 * The units behind one connection, each with its breaker: decides what of the due groups is read, and learns from what
 * came back. A unit is down when a whole cycle of it got no usable answer; a device that answers "no" is alive.
 */
import type { GroupFault, GroupPlan } from '../driver.ts';
import { Breaker } from './breaker.ts';

export interface UnitChange {
  readonly unit: string;
  readonly isDown: boolean;
  /** Why, when it is down. */
  readonly error?: unknown;
}

interface Unit {
  readonly name: string;
  readonly breaker: Breaker;
  /** The group with the fewest tags: what a probe costs least with. */
  readonly probeGroup: number;
}

export class Units {
  readonly #groups: readonly GroupPlan<unknown>[];
  readonly #units = new Map<string, Unit>();

  constructor(groups: readonly GroupPlan<unknown>[], random: () => number) {
    this.#groups = groups;
    for (const [id, group] of groups.entries()) {
      const known = this.#units.get(group.unit);
      const isSmaller = known === undefined || group.tags.length < (groups[known.probeGroup]?.tags.length ?? 0);
      if (isSmaller) {
        const breaker = known?.breaker ?? new Breaker(random);
        this.#units.set(group.unit, { name: group.unit, breaker, probeGroup: id });
      }
    }
  }

  get names(): string[] {
    return [...this.#units.keys()];
  }

  /** Groups of a unit. */
  groupsOf(unit: string): number[] {
    return [...this.#groups.keys()].filter((id) => this.#groups[id]?.unit === unit);
  }

  /** Given up: it is asked for nothing but probes. */
  isDown(unit: string): boolean {
    return this.#units.get(unit)?.breaker.isOpen === true;
  }

  /** When the next probe is due; infinity while nobody is given up. */
  probeAtMs(): number {
    return Math.min(...[...this.#units.values()].map((unit) => unit.breaker.probeAtMs), Number.POSITIVE_INFINITY);
  }

  /** Of what is due, what to read: nothing of units given up, but for a probe when it is its time. */
  admit(due: readonly number[], nowMs: number): number[] {
    const admitted = due.filter((id) => this.#unitOf(id)?.breaker.permits(nowMs) === 'all');
    for (const { breaker, probeGroup } of this.#units.values()) {
      if (breaker.permits(nowMs) === 'probe') admitted.push(probeGroup);
    }
    return admitted;
  }

  /** @param read ids of the groups that were read. */
  learn(read: readonly number[], faults: readonly GroupFault[], nowMs: number): UnitChange[] {
    const dead = new Map(faults.filter((fault) => fault.unitDown).map((fault) => [fault.group, fault.error]));
    const changes: UnitChange[] = [];
    for (const unit of this.#units.values()) {
      const tried = read.filter((id) => this.#groups[id]?.unit === unit.name);
      if (tried.length === 0) continue;
      const error = tried.map((id) => dead.get(id)).find((each) => each !== undefined);
      if (tried.every((id) => dead.has(id))) {
        if (unit.breaker.failed(nowMs)) changes.push({ unit: unit.name, isDown: true, error });
      } else if (unit.breaker.answered()) changes.push({ unit: unit.name, isDown: false });
    }
    return changes;
  }

  #unitOf(group: number): Unit | undefined {
    return this.#units.get(this.#groups[group]?.unit ?? '');
  }
}
