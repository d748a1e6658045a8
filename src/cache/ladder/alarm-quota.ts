/**
 * Alarms at level 5. They go on when nothing else does, from room kept for them, so they have a quota: beyond it changes of
 * an alarm that was written since level 5 began become a count. What is held back is written when the level ends, one row an
 * alarm: its last change, and how many came before it. An alarm that had none yet always passes.
 */
import type { AlarmRow } from '../../wire/control.ts';

/** An hour of flapping of a dozen alarms; more is no news to anybody. */
const ROWS_MAX = 1000;
const BYTES_MAX = 1_000_000;

export class AlarmQuota {
  #isLimited = false;
  #rows = 0;
  #bytes = 0;
  readonly #written = new Set<string>();
  readonly #held = new Map<string, AlarmRow>();

  /** Whether rows that were held back are due. */
  get due(): boolean {
    return !this.#isLimited && this.#held.size > 0;
  }

  /** At level 5. */
  limit(isLimited: boolean): void {
    if (this.#isLimited === isLimited) return;
    this.#isLimited = isLimited;
    this.#rows = 0;
    this.#bytes = 0;
    this.#written.clear();
  }

  /** @returns what is to be written of these, in order, after what was held back. */
  take(alarms: readonly AlarmRow[]): AlarmRow[] {
    if (this.#isLimited) return alarms.flatMap((alarm) => this.#within(alarm));
    const due = [...this.#held.values()];
    this.#held.clear();
    return [...due, ...alarms];
  }

  #within(alarm: AlarmRow): AlarmRow[] {
    const isSpent = this.#rows >= ROWS_MAX || this.#bytes >= BYTES_MAX;
    if (isSpent && this.#written.has(alarm.id)) {
      const known = this.#held.get(alarm.id);
      const before = known === undefined ? 0 : 1 + (known.merged ?? 0);
      this.#held.set(alarm.id, before === 0 ? alarm : { ...alarm, merged: before });
      return [];
    }
    this.#written.add(alarm.id);
    this.#rows++;
    this.#bytes += JSON.stringify(alarm).length;
    return [alarm];
  }
}
