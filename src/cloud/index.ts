/** The cloud receiver, for whoever starts it. */
export { type DeviceEntry, type DeviceList, devicesFile, fixedDevices } from './devices.ts';
export { CLOUD_LIMITS, type CloudLimits } from './limits.ts';
export { type Cloud, type CloudOptions, startCloud } from './server.ts';
export type { Tier, TierBlock, TierReading, TierWindow, TransactionalTier } from './tier.ts';
