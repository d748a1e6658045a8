/** All that is kept, over one database. */
import type { Clock } from '../runtime/clock.ts';
import { Catalog } from './catalog.ts';
import { CloudAlarms } from './cloud-alarms.ts';
import { type Db, openDatabase } from './database.ts';
import { DeviceAlarms } from './device-alarms.ts';
import { Dictionaries } from './dictionaries.ts';
import { RangesStore } from './ranges-store.ts';
import { Receiver } from './receiver.ts';
import { Records } from './records.ts';
import { Runs } from './runs.ts';
import { EmbeddedTier } from './tier-embedded.ts';

export interface Store {
  readonly db: Db;
  readonly catalog: Catalog;
  readonly ranges: RangesStore;
  readonly runs: Runs;
  readonly cloudAlarms: CloudAlarms;
  readonly deviceAlarms: DeviceAlarms;
  readonly tier: EmbeddedTier;
  readonly receiver: Receiver;
  close(): void;
}

/** @throws cloud.data_unusable, cloud.schema_newer */
export function openStore(dataDir: string, clock: Clock): Store {
  const db = openDatabase(dataDir);
  const catalog = new Catalog(db);
  const ranges = new RangesStore(db);
  const cloudAlarms = new CloudAlarms(db);
  const runs = new Runs(db, ranges, cloudAlarms);
  const deviceAlarms = new DeviceAlarms(db, runs);
  const tier = new EmbeddedTier(db, catalog, () => clock.wallMs());
  const records = new Records(db, { catalog, ranges, runs, alarms: deviceAlarms, tier });
  const dictionaries = new Dictionaries(db);
  const receiver = new Receiver(db, { catalog, dictionaries, ranges, runs, records, cloudAlarms, tier });
  return {
    db,
    catalog,
    ranges,
    runs,
    cloudAlarms,
    deviceAlarms,
    tier,
    receiver,
    close() {
      tier.close();
      db.close();
    },
  };
}
