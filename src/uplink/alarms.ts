/** The uplink's own alarms: said once when they begin and once when they end. */
import type { Breaker } from './breaker.ts';
import type { Lane } from './lane.ts';

/** @param id e.g. `uplink/held`; raised again with another text while active. */
export type OnAlarm = (id: string, active: boolean, text: string) => void;

export class UplinkAlarms {
  readonly #onAlarm: OnAlarm;
  readonly #active = new Map<string, string>();

  constructor(onAlarm: OnAlarm) {
    this.#onAlarm = onAlarm;
  }

  set(id: 'unreachable' | 'held' | 'parked' | 'written-off' | 'cloud-rewound', text: string | undefined): void {
    const before = this.#active.get(id);
    if (before === text) return;
    if (text === undefined) this.#active.delete(id);
    else this.#active.set(id, text);
    this.#onAlarm(`uplink/${id}`, text !== undefined, text ?? before ?? '');
  }

  /** What follows from the state of breaker and lanes. */
  update(breaker: Breaker, lanes: readonly Lane[]): void {
    const { hold } = breaker;
    this.set('held', hold && `nothing is delivered: ${hold.text}. ${hold.hint}`);
    // Not the changing error text: one outage is one alarm.
    this.set(
      'unreachable',
      breaker.state === 'open' ? 'the cloud does not answer; readings are kept on disk' : undefined,
    );
    const parked = lanes.reduce((sum, lane) => sum + lane.parked, 0);
    this.set(
      'parked',
      parked === 0 ? undefined : `${parked} rows cannot be delivered and are kept; they are tried hourly`,
    );
  }
}
