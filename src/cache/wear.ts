/**
 * What this process writes to the device, by the kernel's own account, and how long a card bears it. Hours of running are
 * counted, not of the calendar: a clock that is set changes nothing, and a box that is off wears nothing. What the card
 * itself rewrites inside (its write amplification) nobody outside sees; the figure on its data sheet allows for it.
 *
 * The account is saved with each checkpoint of the windows, so that it costs no write of its own. A crash forgets what was
 * written since, some minutes of some years.
 */
import { readFileSync } from 'node:fs';
import type { Clock } from '../runtime/clock.ts';

const IO_FILE = '/proc/self/io';
/** The store's name for the account. */
export const WEAR = 'wear';
const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
const YEAR_MS = 365.25 * DAY_MS;
/** What a start writes is no rate: it is not extrapolated before. */
const OBSERVED_MS_LEAST = 60_000;
/** A consumer card of 32 GB bears about so much (TLC, 600 cycles); industrial ones state 60 to 100 TB. */
const ENDURANCE_ASSUMED_BYTES = 20e12;

export interface WearStats {
  /** Bytes since this process started; undefined where the system does not say (no Linux). */
  readonly written: number | undefined;
  /** Since this cache was made, over all processes. */
  readonly total: number;
  /** When `total` began, ms since the epoch. */
  readonly sinceMs: number;
  /** Bytes a day, by the last 24 hours of running or what there is of them. */
  readonly perDay: number | undefined;
  /** What `perDay` goes by. */
  readonly observedMs: number;
  /** Bytes a reading committed, over the same time. */
  readonly perReading: number | undefined;
  /** What the card bears, bytes: `cache.endurance`, or assumed. */
  readonly endurance: number;
  readonly isAssumed: boolean;
  /** How long a new card would last at this rate. */
  readonly years: number | undefined;
}

/** About an hour of running. */
interface Hour {
  bytes: number;
  readings: number;
  ms: number;
}

interface Saved {
  readonly hours: readonly Hour[];
  readonly total: number;
  readonly sinceMs: number;
}

/** Where the account is kept (a `BlockStore`). */
interface Kept {
  meta(key: string): string | undefined;
  setMeta(key: string, value: string): void;
}

export interface WearOptions {
  readonly clock: Pick<Clock, 'monoMs' | 'wallMs'>;
  /** Bytes since the process started; `processWritten`. */
  readonly written: () => number | undefined;
  /** Of these, what is written once in the life of a cache: it wears the card, and is no rate. */
  readonly once?: () => number;
  /** Of the card, bytes; undefined takes the assumed one. */
  readonly endurance: number | undefined;
}

/** Bytes that this process caused to be written to devices (`write_bytes` of proc(5)); undefined where there is no such file. */
export function processWritten(): number | undefined {
  try {
    const [, bytes] = /^write_bytes: (\d+)$/m.exec(readFileSync(IO_FILE, 'latin1')) ?? [];
    return bytes === undefined ? undefined : Number(bytes);
  } catch {
    return undefined;
  }
}

export class Wear {
  readonly #options: WearOptions;
  readonly #sinceMs: number;
  #hours: Hour[];
  #total: number;
  #sampledMs: number;
  #written = 0;
  #once = 0;
  #readings = 0;

  constructor(store: Pick<Kept, 'meta'>, options: WearOptions) {
    this.#options = options;
    const saved = parse(store.meta(WEAR));
    this.#hours = (saved?.hours ?? []).map((hour) => ({ ...hour }));
    this.#total = saved?.total ?? 0;
    this.#sinceMs = saved?.sinceMs ?? options.clock.wallMs();
    this.#sampledMs = options.clock.monoMs();
  }

  /** Inside a transaction. @param readings committed since the process started. */
  save(store: Pick<Kept, 'setMeta'>, readings: number): void {
    this.#sample(readings);
    const saved: Saved = { hours: this.#hours, total: this.#total, sinceMs: this.#sinceMs };
    store.setMeta(WEAR, JSON.stringify(saved));
  }

  /** Bytes in the last 24 hours of running. */
  get lastDay(): number {
    return this.#hours.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** @param readings committed since the process started. */
  stats(readings: number): WearStats {
    this.#sample(readings);
    const { endurance, written } = this.#options;
    const account = { hours: this.#hours, total: this.#total, sinceMs: this.#sinceMs };
    return figures(account, written(), endurance);
  }

  #sample(readings: number): void {
    const nowMs = this.#options.clock.monoMs();
    const written = this.#options.written() ?? this.#written;
    const hour = this.#hour();
    const once = this.#options.once?.() ?? 0;
    // A file system in memory takes the ballast too, and the kernel counts none of it: less than nothing is no rate.
    hour.bytes += Math.max(0, written - this.#written - (once - this.#once));
    this.#once = once;
    hour.readings += readings - this.#readings;
    hour.ms += nowMs - this.#sampledMs;
    this.#total += written - this.#written;
    [this.#written, this.#readings, this.#sampledMs] = [written, readings, nowMs];
    // The rest covers a day without the oldest.
    while (this.#hours.length > 1 && this.#hours.slice(1).reduce((sum, { ms }) => sum + ms, 0) >= DAY_MS)
      this.#hours.shift();
  }

  #hour(): Hour {
    const last = this.#hours.at(-1);
    if (last !== undefined && last.ms < HOUR_MS) return last;
    const next = { bytes: 0, readings: 0, ms: 0 };
    this.#hours.push(next);
    return next;
  }
}

/** As it was last saved; `written` is unknown. Undefined before the first checkpoint. */
export function savedWear(text: string | undefined, endurance: number | undefined): WearStats | undefined {
  const saved = parse(text);
  return saved && { ...figures(saved, 0, endurance), written: undefined };
}

function figures(
  { hours, total, sinceMs }: Saved,
  written: number | undefined,
  endurance: number | undefined,
): WearStats {
  const sum = (of: (hour: Hour) => number) => hours.reduce((before, hour) => before + of(hour), 0);
  const [bytes, readings, observedMs] = [sum((hour) => hour.bytes), sum((hour) => hour.readings), sum(({ ms }) => ms)];
  const isKnown = written !== undefined && observedMs >= OBSERVED_MS_LEAST;
  const perDay = isKnown ? (bytes / observedMs) * DAY_MS : undefined;
  const bears = endurance ?? ENDURANCE_ASSUMED_BYTES;
  return {
    written,
    total,
    sinceMs,
    perDay,
    observedMs,
    perReading: isKnown && readings > 0 ? bytes / readings : undefined,
    endurance: bears,
    isAssumed: endurance === undefined,
    years: perDay === undefined || perDay === 0 ? undefined : (bears / perDay) * (DAY_MS / YEAR_MS),
  };
}

function parse(text: string | undefined): Saved | undefined {
  // Written by `save`.
  return text === undefined ? undefined : (JSON.parse(text) as Saved);
}
