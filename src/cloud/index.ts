/** The cloud receiver, for whoever starts it. */
export { type CloudAccess, openAccess } from './access/on-disk.ts';
export type { Role } from './access/tokens.ts';
export { DeviceBook } from './device-book.ts';
export { type DeviceEntry, type DeviceList, devicesFile, ensureDevices, fixedDevices } from './devices.ts';
export { issueToken } from './enrol-issue.ts';
export { requireOwnKeyList } from './key-list.ts';
export { CLOUD_LIMITS, type CloudLimits } from './limits.ts';
export type { TlsMaterial } from './listener.ts';
export { type Cloud, type CloudOptions, startCloud } from './server.ts';
export type { Tier, TierBlock, TierReading, TierWindow, TransactionalTier } from './tier.ts';
