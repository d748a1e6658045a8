/** The boot this process lives in, and time since it: both are the same for every process until the machine restarts. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { type Clock, systemClock } from '../runtime/clock.ts';
import { fromHex } from '../wire/bytes.ts';

const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id';
const BOOT_BYTES = 16;
const NS_PER_MS = 1e6;

export function bootId(): Uint8Array {
  try {
    return fromHex(readFileSync(BOOT_ID_FILE, 'utf8').trim().replaceAll('-', ''), BOOT_BYTES);
  } catch {
    // No Linux: a start of the process counts as a boot, so that no times are compared that cannot be.
    const digest = createHash('sha256').update(`${hostname()} ${process.pid} ${process.hrtime.bigint()}`).digest();
    return new Uint8Array(digest.subarray(0, BOOT_BYTES));
  }
}

/** Node's own clock counts from the start of the process; this one, CLOCK_MONOTONIC, from the boot. */
export const bootClock: Pick<Clock, 'wallMs' | 'monoMs' | 'synced'> = {
  wallMs: systemClock.wallMs,
  monoMs: () => Number(process.hrtime.bigint()) / NS_PER_MS,
  synced: systemClock.synced,
};
