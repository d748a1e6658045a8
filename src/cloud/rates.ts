/**
 * How much one gateway may send: a bucket of readings and one of bytes each, refilled all the time. A batch is taken while there is
 * anything in both, and may take them below zero; the next one waits until they are above it. So a limit below the size of a
 * batch slows a gateway and never shuts it out. Asked only after the signature held: nobody can use up another's share.
 */
import type { Clock } from '../runtime/clock.ts';

export interface RateLimits {
  /** Rows a second, on average. */
  readonly deviceReadingsPerS: number;
  /** Bytes a second as they travel, on average. */
  readonly deviceBytesPerS: number;
}

/** So many seconds' worth may come at once: what gathered while a link was down for a moment. */
const BURST_S = 5;
/** A gateway believes up to an hour. */
const WAIT_S_MAX = 3600;
/** Buckets that are full say nothing; they go when there are so many. */
const DEVICES_MAX = 100_000;

interface Buckets {
  readings: number;
  bytes: number;
  atMs: number;
}

export class DeviceRates {
  readonly #limits: RateLimits;
  readonly #clock: Pick<Clock, 'monoMs'>;
  readonly #buckets = new Map<string, Buckets>();

  constructor(limits: RateLimits, clock: Pick<Clock, 'monoMs'>) {
    this.#limits = limits;
    this.#clock = clock;
  }

  /** @returns undefined when it is taken, and counted; else whole seconds to wait */
  take(device: string, readings: number, bytes: number): number | undefined {
    const { deviceReadingsPerS, deviceBytesPerS } = this.#limits;
    const has = this.#refilled(device);
    const waitS = Math.max(-has.readings / deviceReadingsPerS, -has.bytes / deviceBytesPerS);
    if (waitS >= 0) return Math.min(WAIT_S_MAX, Math.max(1, Math.ceil(waitS)));
    has.readings -= readings;
    has.bytes -= bytes;
    return undefined;
  }

  #refilled(device: string): Buckets {
    const { deviceReadingsPerS, deviceBytesPerS } = this.#limits;
    const [readings, bytes] = [deviceReadingsPerS * BURST_S, deviceBytesPerS * BURST_S];
    const nowMs = this.#clock.monoMs();
    const known = this.#buckets.get(device);
    if (known === undefined) {
      if (this.#buckets.size >= DEVICES_MAX) this.#dropFull(nowMs);
      const made = { readings, bytes, atMs: nowMs };
      this.#buckets.set(device, made);
      return made;
    }
    const seconds = (nowMs - known.atMs) / 1000;
    known.readings = Math.min(readings, known.readings + seconds * deviceReadingsPerS);
    known.bytes = Math.min(bytes, known.bytes + seconds * deviceBytesPerS);
    known.atMs = nowMs;
    return known;
  }

  #dropFull(nowMs: number): void {
    const { deviceReadingsPerS, deviceBytesPerS } = this.#limits;
    for (const [device, { atMs, readings, bytes }] of this.#buckets) {
      const seconds = (nowMs - atMs) / 1000 - BURST_S;
      if (readings + seconds * deviceReadingsPerS >= 0 && bytes + seconds * deviceBytesPerS >= 0) {
        this.#buckets.delete(device);
      }
    }
  }
}
