/** Rows outside of blocks that tell of a tag or a device, and their removal. Lists are bound as JSON: SQL takes no bound lists. */
import type { Statement } from 'better-sqlite3';
import type { Db } from '../database.ts';

interface TagNumber {
  readonly id: number;
  readonly tag: string;
}

export class ForgetRows {
  readonly #tags: Statement<[{ device: number; tag: string | null }], TagNumber>;
  readonly #latest: Statement<[string]>;
  readonly #aggregates: Statement<[string]>;
  readonly #removeTags: Statement<[string]>;
  readonly #dictionaries: Statement<[number]>;
  readonly #alarmsAbout: Statement<[number]>;
  readonly #nextRun: Statement<[number, number], { id: number }>;
  readonly #records: Statement<[{ run: number; tag: string | null; ids: string }]>;
  readonly #alarmStates: Statement<[{ run: number; tag: string | null }]>;

  constructor(db: Db) {
    this.#tags = db.prepare(
      `SELECT id, tag FROM tag WHERE device = @device AND (@tag IS NULL OR name = @tag OR (name IS NULL AND tag = @tag))
       ORDER BY id`,
    );
    this.#latest = db.prepare('DELETE FROM latest WHERE tag IN (SELECT value FROM json_each(?))');
    this.#aggregates = db.prepare('DELETE FROM aggregate WHERE tag IN (SELECT value FROM json_each(?))');
    this.#removeTags = db.prepare('DELETE FROM tag WHERE id IN (SELECT value FROM json_each(?))');
    this.#dictionaries = db.prepare('DELETE FROM dictionary WHERE device = ?');
    this.#alarmsAbout = db.prepare('DELETE FROM cloud_alarm WHERE device = ?');
    this.#nextRun = db.prepare('SELECT id FROM run WHERE device = ? AND id > ? ORDER BY id LIMIT 1');
    this.#records = db.prepare(
      `DELETE FROM record WHERE run = @run AND (@tag IS NULL
         OR (type = 'AGG' AND json_extract(json, '$.tag') IN (SELECT value FROM json_each(@ids)))
         OR (type = 'TAG' AND json_extract(json, '$.id') IN (SELECT value FROM json_each(@ids)))
         OR (type = 'ALARM' AND json_extract(json, '$.tag') = @tag))`,
    );
    this.#alarmStates = db.prepare(
      "DELETE FROM alarm_state WHERE run = @run AND (@tag IS NULL OR json_extract(json, '$.tag') = @tag)",
    );
  }

  /** All of a device, or all contents that a tag ever had. */
  tags(device: number, tag: string | null): TagNumber[] {
    return this.#tags.all({ device, tag });
  }

  removeLatest(tags: readonly number[]): void {
    this.#latest.run(JSON.stringify(tags));
  }

  /** @returns how many, as of all that follow */
  removeAggregates(tags: readonly number[]): number {
    return this.#aggregates.run(JSON.stringify(tags)).changes;
  }

  removeTags(tags: readonly number[]): number {
    return this.#removeTags.run(JSON.stringify(tags)).changes;
  }

  removeDictionaries(device: number): void {
    this.#dictionaries.run(device);
  }

  removeAlarmsAbout(device: number): void {
    this.#alarmsAbout.run(device);
  }

  nextRun(device: number, after: number): number | undefined {
    return this.#nextRun.get(device, after)?.id;
  }

  /** @param ids of the tag, where it is one */
  removeRecords(run: number, tag: string | null, ids: readonly string[]): number {
    this.#alarmStates.run({ run, tag });
    return this.#records.run({ run, tag, ids: JSON.stringify(ids) }).changes;
  }
}
