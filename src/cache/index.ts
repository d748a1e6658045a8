/** The edge cache: everything that other parts use. */

export type { LedgerDifference, RecountReport } from './account.ts';
export type { AtRestKeys } from './at-rest.ts';
export { atRestKeyFaults, makeAtRestKey, readAtRestKeyFile, readAtRestKeys } from './at-rest-key.ts';
export { type AtRestKeyUse, keyWornText } from './at-rest-rows.ts';
export type { ForgetReport, ForgetRequest } from './forget/audit.ts';
export type { ForgetDone } from './forget/forgetting.ts';
export { postForget } from './forget/spool.ts';
export { HistoryReader } from './history-client.ts';
export { HotTable, type HotValue } from './hot.ts';
export { differenceLine } from './ledger-rules.ts';
export { type CacheHolder, cacheHolder } from './lock.ts';
export { logReaders, readersText } from './log-readers.ts';
export { type CacheOptions, openCache } from './open-cache.ts';
export type {
  DamagedBlock,
  PendingView,
  ReadingView,
  RunView,
  Series,
  TailPlace,
  VerifyReport,
  WindowView,
} from './reader.ts';
export { type CacheReader, readCache } from './reader.ts';
export { recountCache } from './recount-client.ts';
export { StandIn } from './standing-in.ts';
export { type StorageView, storageView } from './storage-view.ts';
export type * from './types.ts';
export { WRITE_OFF_REASONS } from './types.ts';
export type { WearStats } from './wear.ts';
