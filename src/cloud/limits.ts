/** What the receiver takes at most; each has a default, tests and small machines set their own. */

import { PLAIN_BYTES_MAX } from '../wire/compress.ts';
import { ENVELOPE_BYTES_MAX, ROWS_MAX } from '../wire/envelope.ts';
import type { RateLimits } from './rates.ts';

export interface CloudLimits extends RateLimits {
  /** Of one batch as it travels. Beyond it the answer is a signed 413, beyond four times this the connection is closed. */
  readonly envelopeBytesMax: number;
  /** Of one batch when it is open. */
  readonly plainBytesMax: number;
  readonly rowsMax: number;
  /** From the first byte of a request to the last of its body. */
  readonly bodyMs: number;
  /** Batches and HELLOs being received or waiting, over all gateways; more are told to come again. */
  readonly requestsMax: number;
  /** Bytes of theirs in memory. */
  readonly requestBytesMax: number;
  /** Requests of one gateway that wait for the one being applied; it sends at most six at once. */
  readonly waitingPerDeviceMax: number;
  /** What those are told to wait. */
  readonly retryAfterS: number;
  /** Readings that may wait for a tier beside; then gateways are told to. */
  readonly lagReadingsMax: number;
  readonly queriesMax: number;
  readonly queryMs: number;
  /** At the end, requests under way get so long. */
  readonly closeMs: number;
}

export const CLOUD_LIMITS: CloudLimits = {
  envelopeBytesMax: ENVELOPE_BYTES_MAX,
  plainBytesMax: PLAIN_BYTES_MAX,
  rowsMax: ROWS_MAX,
  // A gateway gives up after 60 s over all, so a longer body is for nobody.
  bodyMs: 60_000,
  requestsMax: 256,
  requestBytesMax: 256 * 1024 * 1024,
  waitingPerDeviceMax: 8,
  retryAfterS: 5,
  // Twice what one receiver takes of all of them together (npm run bench): against what is broken or stolen, not a quota.
  deviceReadingsPerS: 2_000_000,
  deviceBytesPerS: 32 * 1024 * 1024,
  // Some minutes of a large plant: a tier that restarts is waited for without anybody noticing.
  lagReadingsMax: 5_000_000,
  // Queries share the thread with the batches; more at once would only make all of them late.
  queriesMax: 8,
  queryMs: 30_000,
  // A service has 10 s from SIGTERM on.
  closeMs: 3000,
};
