/**
 * What control, alarm and aggregate rows mean, and where each is kept. Every row is kept as it came; the interpretation below
 * comes to the same whatever the order in which rows arrive.
 */
import type { Statement } from 'better-sqlite3';
import { codeOf, SluiceError } from '../errors.ts';
import { CLASS, type ClassNumber } from '../wire/classes.ts';
import {
  type AggregateRow,
  type AlarmRow,
  type ControlRow,
  type GapRow,
  parseAggregate,
  parseAlarm,
  parseControl,
} from '../wire/control.ts';
import type { Catalog } from './catalog.ts';
import type { Db } from './database.ts';
import type { DeviceAlarms } from './device-alarms.ts';
import type { RangesStore } from './ranges-store.ts';
import type { Runs } from './runs.ts';
import type { TransactionalTier } from './tier.ts';
import type { Touched } from './touched.ts';

export type RecordRow = ControlRow | AlarmRow | AggregateRow;

/** Where a record stands. */
export interface Place {
  readonly deviceId: number;
  readonly device: string;
  readonly runId: number;
  readonly class: ClassNumber;
  readonly n: number;
  readonly nowMs: number;
}

/** @throws envelope.control_malformed */
export function parseRecord(cls: ClassNumber, value: unknown): RecordRow {
  try {
    if (cls === CLASS.alarm) return parseAlarm(value);
    if (cls === CLASS.aggregate) return parseAggregate(value);
    return parseControl(value);
  } catch (cause) {
    if (!codeOf(cause).startsWith('control.')) throw cause;
    throw new SluiceError('envelope.control_malformed', 'discard', 'a row that is not understood', { cause });
  }
}

export interface RecordStores {
  readonly catalog: Catalog;
  readonly ranges: RangesStore;
  readonly runs: Runs;
  readonly alarms: DeviceAlarms;
  readonly tier: TransactionalTier;
}

export class Records {
  readonly #stores: RecordStores;
  readonly #put: Statement<[number, number, number, string, string]>;

  constructor(db: Db, stores: RecordStores) {
    this.#stores = stores;
    this.#put = db.prepare('INSERT INTO record (run, class, n, type, json) VALUES (?, ?, ?, ?, ?)');
  }

  /** Keeps a new row and does what it says. */
  apply(place: Place, row: RecordRow, touched: Touched): void {
    this.#put.run(place.runId, place.class, place.n, row.type, JSON.stringify(row));
    const { catalog, ranges, runs, alarms, tier } = this.#stores;
    switch (row.type) {
      case 'RUN_OPEN':
        runs.open(place.runId, row);
        break;
      case 'TAG':
        catalog.defineTag(place.deviceId, row.id, row.content);
        break;
      case 'GAP':
        this.#explain(place, row, touched);
        break;
      case 'SETTLED': {
        const run = catalog.run(place.deviceId, row.run, place.nowMs);
        ranges.settle(run, row.class, row.n);
        touched.add(run, row.run, row.class);
        break;
      }
      case 'CLOCK_OFFSET':
        tier.correctClock(place.device, row.boot, row.offsetMs);
        break;
      case 'ALARM':
        alarms.put(place.runId, place.n, row);
        break;
      case 'AGG':
        tier.addAggregate(place.device, row, place.nowMs);
        break;
      case 'CLOCK_STEP':
      case 'LADDER':
        // Kept for whoever asks what happened; nothing here depends on them.
        break;
    }
  }

  #explain({ deviceId, nowMs }: Place, row: GapRow, touched: Touched): void {
    const run = this.#stores.catalog.run(deviceId, row.run, nowMs);
    for (const range of row.ranges) this.#stores.ranges.add('explained', run, row.class, range);
    touched.add(run, row.run, row.class);
  }
}
