/**
 * Which alarms are active. Each change is one row: published to the HMI and written to the cache's alarm class, so that
 * the cloud and the next start know it. An alarm that cleared is gone from the book; its rows stay.
 */
import type { AlarmRow } from '../cache/types.ts';

export type AlarmCondition = AlarmRow['condition'];

/** What raised it; neither is the box itself. */
export type AlarmSubject = { readonly tag: string } | { readonly source: string } | Readonly<Record<never, never>>;

export interface AlarmEvent {
  /** When it happened, wall clock or reading time. */
  readonly at: number;
  readonly text: string;
  readonly value?: number;
  readonly limit?: number;
}

export class AlarmBook {
  readonly #active = new Map<string, AlarmRow>();
  readonly #publish: (row: AlarmRow) => void;

  constructor(publish: (row: AlarmRow) => void) {
    this.#publish = publish;
  }

  isActive(id: string): boolean {
    return this.#active.has(id);
  }

  /** The last row of each active alarm: raised, or acknowledged. */
  active(): AlarmRow[] {
    return [...this.#active.values()];
  }

  /** Raising an active alarm again changes nothing: it is the same one. */
  raise(id: string, subject: AlarmSubject, condition: AlarmCondition, event: AlarmEvent): void {
    if (this.#active.has(id)) return;
    const row: AlarmRow = { type: 'ALARM', id, ...subject, condition, state: 'raised', ...event };
    this.#active.set(id, row);
    this.#publish(row);
  }

  /** Another text of an active alarm. @param isWorse raised anew, whoever acknowledged it. */
  change(id: string, { at, text }: Pick<AlarmEvent, 'at' | 'text'>, isWorse: boolean): void {
    const row = this.#active.get(id);
    if (row === undefined || (row.text === text && !isWorse)) return;
    const { by: _, ...anew } = row;
    const changed: AlarmRow = isWorse ? { ...anew, state: 'raised', at, text } : { ...row, text };
    this.#active.set(id, changed);
    this.#publish(changed);
  }

  clear(id: string, event: AlarmEvent): void {
    const row = this.#active.get(id);
    if (row === undefined) return;
    this.#active.delete(id);
    const { by: _, value: __, ...same } = row;
    this.#publish({ ...same, state: 'cleared', ...event });
  }

  /** False when there is no such alarm, or somebody did already. */
  acknowledge(id: string, by: string, at: number): boolean {
    const row = this.#active.get(id);
    if (row === undefined || row.state === 'acknowledged') return false;
    const acknowledged: AlarmRow = { ...row, state: 'acknowledged', at, by };
    this.#active.set(id, acknowledged);
    this.#publish(acknowledged);
    return true;
  }

  /**
   * Takes over what was active when the last process ended. Each is published again as it was: a run opens with the set of
   * its active alarms.
   * @param rows in the order they happened; the last one of an id counts.
   */
  restore(rows: readonly AlarmRow[]): void {
    for (const row of rows) {
      if (row.state === 'cleared') this.#active.delete(row.id);
      else this.#active.set(row.id, row);
    }
    for (const row of this.#active.values()) this.#publish(row);
  }
}
