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

/** Seconds since the boot, suspended ones included, in hundredths. */
const UPTIME_FILE = '/proc/uptime';
const MS_PER_S = 1000;
/** How long a suspend may go unnoticed; reading the file takes some microseconds. */
const LOOK_EVERY_MS = 1000;
/** The file's grain, and what passes between two looks at two clocks. */
const GRAIN_MS = 100;

/** Time in suspend, during which CLOCK_MONOTONIC, the clock of Node, stands still. */
class Suspended {
  #ms = 0;
  #lookedMs = Number.NEGATIVE_INFINITY;

  /** @param monotonicMs CLOCK_MONOTONIC now. */
  ms(monotonicMs: number): number {
    if (monotonicMs - this.#lookedMs < LOOK_EVERY_MS) return this.#ms;
    this.#lookedMs = monotonicMs;
    const ahead = uptimeMs() - monotonicMs;
    // It only grows: elapsed time must never go back.
    if (ahead - this.#ms > GRAIN_MS) this.#ms = ahead;
    return this.#ms;
  }
}

function uptimeMs(): number {
  try {
    return Number.parseFloat(readFileSync(UPTIME_FILE, 'utf8')) * MS_PER_S;
  } catch {
    return Number.NaN; // no Linux: suspends are not seen
  }
}

const suspended = new Suspended();

/** Node's own clock counts from the start of the process and stands still in suspend; this one counts all time since the boot. */
export const bootClock: Pick<Clock, 'wallMs' | 'monoMs' | 'synced'> = {
  wallMs: systemClock.wallMs,
  monoMs: () => {
    const monotonicMs = Number(process.hrtime.bigint()) / NS_PER_MS;
    return monotonicMs + suspended.ms(monotonicMs);
  },
  synced: systemClock.synced,
};
