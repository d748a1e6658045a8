/** All that is kept, over one database. */
import { type Lock, lockFolder } from '../cache/lock.ts';
import { SluiceError } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';
import { AccessTokens } from './access/tokens.ts';
import { Audit } from './audit.ts';
import { Catalog } from './catalog.ts';
import { CloudAlarms } from './cloud-alarms.ts';
import { type Db, openDatabase } from './database.ts';
import { DeviceAlarms } from './device-alarms.ts';
import { Dictionaries } from './dictionaries.ts';
import { Forgetting } from './forget/forgetting.ts';
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
  readonly audit: Audit;
  readonly access: AccessTokens;
  readonly forgetting: Forgetting;
  close(): void;
}

/** Two receivers on one store would each believe that they alone decide what is new. */
function lockData(dataDir: string, db: Db): Lock {
  try {
    return lockFolder(dataDir);
  } catch (cause) {
    db.close();
    throw new SluiceError('cloud.data_locked', 'stop', `another receiver uses ${dataDir}`, {
      cause,
      hint: 'Stop it first, or give this one a --data of its own.',
    });
  }
}

/** @throws cloud.data_unusable, cloud.data_locked, cloud.schema_newer */
export function openStore(dataDir: string, clock: Clock): Store {
  const db = openDatabase(dataDir);
  const lock = lockData(dataDir, db);
  const catalog = new Catalog(db);
  const ranges = new RangesStore(db);
  const cloudAlarms = new CloudAlarms(db);
  const runs = new Runs(db, ranges, cloudAlarms);
  const deviceAlarms = new DeviceAlarms(db, runs);
  const tier = new EmbeddedTier(db, catalog, () => clock.wallMs());
  const records = new Records(db, { catalog, ranges, runs, alarms: deviceAlarms, tier });
  const dictionaries = new Dictionaries(db);
  const audit = new Audit(db, clock);
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
    audit,
    forgetting: new Forgetting({ db, catalog, blocks: tier.blocks, dictionaries, audit, nowMs: () => clock.wallMs() }),
    access: new AccessTokens(db, clock),
    close() {
      tier.close();
      db.close();
      lock.release();
    },
  };
}
