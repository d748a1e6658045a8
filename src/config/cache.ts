/** `cache:`, the local disk: where every reading is kept until it is delivered, and for history beyond that. */
import { z } from 'zod';
import { duration, durationFrom, filePath, size } from './fields.ts';

const PATH = '/var/lib/sluice/cache';
/** A long week-end offline, and more. */
const BYTES_MAX = 1_000_000_000;
const BYTES_MAX_LEAST = 16_000_000;
const AGE_MAX_MS = 14 * 86_400_000;
/** Logs, updates and whoever else lives on the card. */
const DISK_FREE_MIN = 256_000_000;
/** The knob for wear: a commit costs the device about the same whatever it holds. */
const COMMIT_INTERVAL_MS = 1000;
/** A value is live this long past the moment the next one was due. */
const HOT_TTL_MS = 1000;
const WINDOWS_MS = [1000, 10_000, 60_000, 3_600_000];
/** A few kB a year a tag and period: worth far more than the raw readings it outlives. */
const WINDOWS_AGE_MAX_MS = 400 * 86_400_000;
/** Of 1 s 5.5 hours, of 10 s 2.3 days, of 1 min two weeks, of 1 h all of `windowsAgeMax`: 500 tags take 0.3 GB. */
const WINDOWS_KEPT = 20_000;
/** Two seconds of a million readings a second. Beyond it sources are told to wait. */
const UNCOMMITTED_BYTES_MAX = 48_000_000;
/** Half a kB a second for 500 tags; what is counted again after a crash takes a second or two. */
const CHECKPOINT_INTERVAL_MS = 600_000;
const DEAD_LETTERS_MAX = 1000;
/** One a change of the key within what the cache keeps. */
const KEYS_MAX = 8;
/**
 * Bytes written to the disk a day before hurried commits are stretched: two dozen of them a second all day. A card for
 * 100 TB lasts 14 years at it; what the interval of 1 s writes is a tenth of it.
 */
const WRITE_BUDGET_BYTES = 20e9;
const WRITE_BUDGET_BYTES_LEAST = 100_000_000;
const ENDURANCE_BYTES_LEAST = 1e9;

export const cacheSchema = z.strictObject({
  /** Folder of its own, mode 0700, on a local file system (not NFS: the locks of SQLite need a real one). */
  path: filePath().default(PATH),
  /** Delivered readings are removed, oldest first, to stay below. */
  bytesMax: size()
    .refine((bytes) => bytes >= BYTES_MAX_LEAST, { error: 'must be at least 16MB' })
    .default(BYTES_MAX),
  /** Of the file system of `path`, left to others, at most a tenth of it: with less free the cache stops growing. */
  diskFreeMin: size().default(DISK_FREE_MIN),
  /** Delivered readings older than this are removed; time that passed, not time stamps. */
  ageMax: durationFrom(60_000, '1min').default(AGE_MAX_MS),
  /** Bytes written a day; beyond it commits that a source waits for are 250 ms apart instead of 20 ms. */
  writeBudget: size()
    .refine((bytes) => bytes >= WRITE_BUDGET_BYTES_LEAST, { error: 'must be at least 100MB' })
    .default(WRITE_BUDGET_BYTES),
  /** What the card bears in all, as on its data sheet (TBW): for the line about its wear, nothing else. */
  endurance: size()
    .refine((bytes) => bytes >= ENDURANCE_BYTES_LEAST, { error: 'must be at least 1GB' })
    .optional(),
  /** At most this much is lost when the power fails, except what a source was told is safe. */
  commitInterval: durationFrom(20, '20ms').default(COMMIT_INTERVAL_MS),
  hotTtl: durationFrom(1, '1ms').default(HOT_TTL_MS),
  /** Lengths of the local aggregates, each a whole multiple of the one before. */
  windows: z
    .array(durationFrom(1000, '1s'))
    .max(8)
    .refine((periods) => periods.every((period, at) => at === 0 || isMultiple(period, periods[at - 1])), {
      error: 'each length must be a whole multiple of the one before, such as [1s, 10s, 1min, 1h]',
    })
    .default(WINDOWS_MS),
  windowsAgeMax: durationFrom(3_600_000, '1h').default(WINDOWS_AGE_MAX_MS),
  /** Windows of each length that are kept of a tag, the newest; beyond it only longer ones tell. */
  windowsKept: z.int().min(60).max(10_000_000).default(WINDOWS_KEPT),
  /** Readings in memory that are not on disk yet; when full, sources wait or skip polls. */
  uncommittedBytesMax: size()
    .refine((bytes) => bytes >= 1_000_000, { error: 'must be at least 1MB' })
    .default(UNCOMMITTED_BYTES_MAX),
  /** How often the last values and open windows are saved; what is younger is computed again from the readings. */
  checkpointInterval: durationFrom(1000, '1s').default(CHECKPOINT_INTERVAL_MS),
  /** The oldest ones make room. */
  deadLettersMax: z.int().min(1).max(100_000).default(DEAD_LETTERS_MAX),
  /** Readings whose clock was never set wait this long for the time before they are sent marked as such. */
  unsyncedWait: duration().default(60_000),
  /** Readings and dead letters on the disk are encrypted (AES-256-GCM). Without it whoever holds the card can read them. */
  encryptAtRest: z
    .strictObject({
      /** File with mode 0600, or `${credential:…}`. Left out, nothing new is encrypted. */
      key: filePath().optional(),
      /** Open what earlier keys encrypted, until it has been replaced. */
      previous: z.array(filePath()).max(KEYS_MAX).default([]),
    })
    .optional(),
});

function isMultiple(period: number, of: number | undefined): boolean {
  return of !== undefined && period > of && period % of === 0;
}

/** Durations in milliseconds, sizes in bytes. */
export type CacheConfig = Readonly<z.output<typeof cacheSchema>>;
