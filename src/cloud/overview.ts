/** What is known of each gateway: its runs, what is held and explained of them, what is missing, its alarms. */
import { CLASS_NUMBERS, CLASSES, type ClassName } from '../wire/classes.ts';
import { count } from '../wire/ranges.ts';
import { isoTime } from './api/formats.ts';
import type { CloudAlarms } from './cloud-alarms.ts';
import type { Db } from './database.ts';
import type { DeviceAlarms } from './device-alarms.ts';
import type { DeviceList } from './devices.ts';
import type { RangesStore } from './ranges-store.ts';
import type { RunRow, Runs } from './runs.ts';

/** Newest runs shown of each gateway. */
const RUNS_SHOWN_MAX = 20;
const ALARMS_COUNTED_MAX = 1000;

interface DeviceRow {
  readonly id: number;
  readonly device: string;
  readonly first_seen_ms: number;
  readonly last_seen_ms: number;
  readonly batches: number;
  readonly rows: number;
  readonly readings: number;
  readonly duplicates: number;
}

export interface OverviewStores {
  readonly db: Db;
  readonly devices: DeviceList;
  readonly runs: Runs;
  readonly ranges: RangesStore;
  readonly cloudAlarms: CloudAlarms;
  readonly deviceAlarms: DeviceAlarms;
}

export function overview(stores: OverviewStores) {
  const { db, devices } = stores;
  const seen = db.prepare<[], DeviceRow>('SELECT * FROM device ORDER BY id').all();
  const listed = new Map(devices.entries().map((entry) => [entry.device, entry]));
  const never = [...listed.values()].filter(({ device }) => !seen.some((row) => row.device === device));
  return [
    ...seen.map((row) => ({
      ...identity(row.device, stores),
      firstSeen: isoTime(row.first_seen_ms),
      lastSeen: isoTime(row.last_seen_ms),
      batches: row.batches,
      rows: row.rows,
      readings: row.readings,
      duplicates: row.duplicates,
      alarms: {
        cloud: stores.cloudAlarms.list(row.device, true, ALARMS_COUNTED_MAX).length,
        gateway: stores.deviceAlarms.list(row.id).filter(({ active }) => active).length,
      },
      runs: stores.runs.of(row.id, RUNS_SHOWN_MAX).map((run) => shownRun(run, stores.ranges)),
    })),
    ...never.map(({ device }) => ({
      ...identity(device, stores),
      firstSeen: null,
      lastSeen: null,
      batches: 0,
      rows: 0,
      readings: 0,
      duplicates: 0,
      alarms: { cloud: 0, gateway: 0 },
      runs: [],
    })),
  ];
}

function identity(device: string, { devices }: OverviewStores) {
  const keys = devices.entries().filter((entry) => entry.device === device);
  const revoked = keys.length > 0 && keys.every((entry) => entry.revoked === true);
  return { device, name: devices.nameOf(device), listed: keys.length > 0, revoked };
}

function shownRun(run: RunRow, ranges: RangesStore) {
  const { id, previous, clean, boot, reason, version } = run;
  const classes: Partial<Record<ClassName, object>> = {};
  for (const number of CLASS_NUMBERS) {
    const held = ranges.all('held', id, number);
    const explained = ranges.explainedOnly(id, number);
    if (held.length === 0 && explained.length === 0) continue;
    classes[CLASSES[number]] = {
      held: count(held),
      explained: count(explained),
      last: Math.max(held.at(-1)?.to ?? 0, explained.at(-1)?.to ?? 0),
      settled: ranges.settledUpTo(id, number),
      // On their way, or lost: `lost` are those that the gateway believes delivered.
      missing: count(ranges.open(id, number)),
      lost: count(ranges.holes(id, number)),
    };
  }
  return {
    run: run.run,
    opened: run.opened === 1,
    previous,
    clean: clean === null ? null : clean === 1,
    boot,
    reason,
    version,
    firstSeen: isoTime(run.first_seen_ms),
    classes,
  };
}
