/**
 * What the cloud must know of this box's wall clock: the offset once it was set for the first time in a boot
 * (CLOCK_OFFSET), and steps after that (CLOCK_STEP). Both are seen as wall clock minus elapsed time, which slewing moves by
 * milliseconds and a suspend not at all.
 */
import { hex } from '../wire/bytes.ts';
import type { ControlRow } from '../wire/control.ts';
import type { Stamp } from './journal.ts';

/** NTP slews by at most 0.5 ms a second and steps beyond 128 ms; a row for every small step would say nothing. */
const STEP_MS_LEAST = 1000;

export class ClockRows {
  readonly #boot: string;
  /** Wall minus elapsed time of rows taken while the clock was not set. */
  #unsyncedMs: number | undefined;
  /** The same at the last look, while it was set. */
  #syncedMs: number | undefined;

  constructor(boot: Uint8Array) {
    this.#boot = hex(boot);
  }

  /** Readings were taken: with a clock that was never set their times are to be corrected later. */
  readingsTaken({ wallMs, monoMs, synced }: Stamp): void {
    if (!synced) this.#unsyncedMs ??= wallMs - monoMs;
  }

  /** Whether a row is due although nothing else is to be committed: the clock was set, and rows wait for the offset. */
  due({ synced }: Stamp): boolean {
    return synced && this.#unsyncedMs !== undefined;
  }

  /** The rows that are due now. They are given once. */
  take(now: Stamp): ControlRow[] {
    const offsetMs = now.wallMs - now.monoMs;
    const rows: ControlRow[] = [];
    if (now.synced && this.#unsyncedMs !== undefined) {
      rows.push({ type: 'CLOCK_OFFSET', boot: this.#boot, offsetMs: offsetMs - this.#unsyncedMs });
      this.#unsyncedMs = undefined;
    }
    const stepMs = this.#syncedMs === undefined ? 0 : offsetMs - this.#syncedMs;
    if (Math.abs(stepMs) >= STEP_MS_LEAST) {
      rows.push({ type: 'CLOCK_STEP', boot: this.#boot, at: now.wallMs - stepMs, stepMs });
    }
    // A step to a time that cannot be (1970) was said; when the clock is set again, that is a CLOCK_OFFSET.
    this.#syncedMs = now.synced ? offsetMs : undefined;
    return rows;
  }
}
