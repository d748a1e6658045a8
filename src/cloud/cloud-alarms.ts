/**
 * Alarms that the cloud raises about a gateway: a fork in its runs (a restored backup, a cloned card, a replaced file), which a
 * person closes; a loss, which clears by itself once the hole is filled or explained.
 */
import type { Statement } from 'better-sqlite3';
import type { Db } from './database.ts';

export type CloudAlarmKind = 'fork' | 'loss';

export interface CloudAlarm {
  readonly id: number;
  readonly device: string;
  readonly kind: CloudAlarmKind;
  readonly subject: string;
  readonly text: string;
  readonly raisedMs: number;
  readonly clearedMs: number | null;
  readonly closedBy: string | null;
}

const SELECT = `SELECT cloud_alarm.id, device.device, kind, subject, text, raised_ms AS raisedMs, cleared_ms AS clearedMs,
  closed_by AS closedBy FROM cloud_alarm JOIN device ON device.id = cloud_alarm.device`;

export class CloudAlarms {
  readonly #raise: Statement<[number, CloudAlarmKind, string, string, number]>;
  readonly #clear: Statement<[number, number, CloudAlarmKind, string]>;
  readonly #close: Statement<[number, string, number]>;
  readonly #list: Statement<[{ device: string | null; active: number; limit: number }], CloudAlarm>;
  readonly #count: Statement<[], { kind: CloudAlarmKind; count: number }>;

  constructor(db: Db) {
    // What a person closed stays closed; what cleared by itself may come again.
    this.#raise = db.prepare(
      `INSERT INTO cloud_alarm (device, kind, subject, text, raised_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
         raised_ms = CASE WHEN cleared_ms IS NULL THEN raised_ms ELSE excluded.raised_ms END,
         text = excluded.text, cleared_ms = NULL WHERE closed_by IS NULL`,
    );
    this.#clear = db.prepare(
      'UPDATE cloud_alarm SET cleared_ms = ? WHERE device = ? AND kind = ? AND subject = ? AND cleared_ms IS NULL',
    );
    this.#close = db.prepare(
      'UPDATE cloud_alarm SET cleared_ms = ?, closed_by = ? WHERE id = ? AND cleared_ms IS NULL',
    );
    this.#list = db.prepare(
      `${SELECT} WHERE (@device IS NULL OR device.device = @device) AND (@active = 0 OR cleared_ms IS NULL)
       ORDER BY raised_ms DESC, cloud_alarm.id DESC LIMIT @limit`,
    );
    this.#count = db.prepare('SELECT kind, count(*) AS count FROM cloud_alarm WHERE cleared_ms IS NULL GROUP BY kind');
  }

  raise(device: number, kind: CloudAlarmKind, subject: string, text: string, nowMs: number): void {
    this.#raise.run(device, kind, subject, text, nowMs);
  }

  clear(device: number, kind: CloudAlarmKind, subject: string, nowMs: number): void {
    this.#clear.run(nowMs, device, kind, subject);
  }

  /** @returns whether there was an open alarm of this id */
  close(id: number, by: string, nowMs: number): boolean {
    return this.#close.run(nowMs, by, id).changes > 0;
  }

  /** Newest first. */
  list(device: string | undefined, activeOnly: boolean, limit: number): CloudAlarm[] {
    return this.#list.all({ device: device ?? null, active: activeOnly ? 1 : 0, limit });
  }

  openCounts(): { kind: CloudAlarmKind; count: number }[] {
    return this.#count.all();
  }
}
