/**
 * Alarms as the gateways tell of them. The state of an alarm goes by run chain and number, never by arrival. Every run opens
 * with the set of active alarms, so what a later run does not mention ended with the run before.
 */
import type { Statement } from 'better-sqlite3';
import { type AlarmRow, parseAlarm } from '../wire/control.ts';
import { parseJson } from '../wire/json.ts';
import type { Db } from './database.ts';
import { chainPositions, type Runs } from './runs.ts';

export interface DeviceAlarm extends Omit<AlarmRow, 'type' | 'state'> {
  readonly run: string;
  readonly n: number;
  /** `ended`: a later run opened without it. */
  readonly state: AlarmRow['state'] | 'ended';
  readonly active: boolean;
}

/** Runs looked at for alarms; what is older has ended. */
const RUNS_MAX = 1000;
const RECORD = { bytesMax: 64 * 1024, depthMax: 8 };

export class DeviceAlarms {
  readonly #runs: Runs;
  readonly #put: Statement<[number, string, number, string]>;
  readonly #of: Statement<[number], { n: number; json: string }>;

  constructor(db: Db, runs: Runs) {
    this.#runs = runs;
    this.#put = db.prepare(
      `INSERT INTO alarm_state (run, alarm, n, json) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET
         n = excluded.n, json = excluded.json WHERE excluded.n > n`,
    );
    this.#of = db.prepare('SELECT n, json FROM alarm_state WHERE run = ? ORDER BY n');
  }

  put(run: number, n: number, row: AlarmRow): void {
    this.#put.run(run, row.id, n, JSON.stringify(row));
  }

  /** Newest change first. */
  list(device: number): DeviceAlarm[] {
    const runs = this.#runs.of(device, RUNS_MAX);
    const positions = chainPositions(runs);
    const latest = new Map<string, { alarm: AlarmRow; n: number; run: string; position: number }>();
    const followed = new Set(runs.map(({ opened, previous }) => (opened === 1 ? previous : null)));
    for (const { id, run } of runs) {
      const position = positions.get(run) ?? 0;
      for (const { n, json } of this.#of.all(id)) {
        const alarm = parseAlarm(parseJson(json, RECORD));
        const known = latest.get(alarm.id);
        if (known !== undefined && (known.position > position || (known.position === position && known.n > n)))
          continue;
        latest.set(alarm.id, { alarm, n, run, position });
      }
    }
    return [...latest.values()]
      .map(({ alarm, n, run }) => shown(alarm, n, run, followed.has(run)))
      .sort((a, b) => b.at - a.at);
  }
}

function shown({ type: _type, ...alarm }: AlarmRow, n: number, run: string, followed: boolean): DeviceAlarm {
  if (followed && alarm.state !== 'cleared') return { ...alarm, run, n, state: 'ended', active: false };
  return { ...alarm, run, n, active: alarm.state !== 'cleared' };
}
