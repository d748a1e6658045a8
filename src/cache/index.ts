/** The edge cache: everything that other parts use. */
export { type CacheOptions, openCache } from './client.ts';
export { HotTable } from './hot.ts';
export { type CacheReader, readCache } from './reader.ts';
export type * from './types.ts';
