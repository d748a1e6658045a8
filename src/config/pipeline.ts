/** Settings of the pipeline: what every reading passes between its driver and the cache. */
import { z } from 'zod';
import { duration, durationFrom, size } from './fields.ts';

/** A big line has a few thousand tags; a broker that invents topics is stopped before it costs much memory (~1 kB a tag). */
const TAGS_MAX = 10_000;
const TAGS_MAX_MAX = 1_000_000;
/** Clocks of devices without NTP are minutes off; more is a wrong unit or a wrong year. */
const FUTURE_MAX_MS = 5 * 60_000;
/** With a deadband a silent tag and a dead one must not look alike for longer than this. */
const MAX_SILENCE_MS = 60_000;
/** A flood of bad input must not push good readings off the disk; the rest is counted only. */
const DEAD_LETTERS_PER_SECOND_MAX = 100;
const DEAD_LETTER_BYTES_MAX = 64 * 1024;

export const pipelineSchema = z.strictObject({
  /** How many tags there may be over all sources; further ones are refused and counted. */
  tagsMax: z.int().min(1).max(TAGS_MAX_MAX).default(TAGS_MAX),
  /** How far ahead of our clock a reading's time may be; beyond it is a dead letter. */
  futureMax: duration().default(FUTURE_MAX_MS),
  /** A tag with a deadband is kept at least this often; a tag's own `maxSilence` goes first. */
  maxSilence: durationFrom(1000, '1s').default(MAX_SILENCE_MS),
  deadLetters: z
    .strictObject({
      /** Originals kept a source and second; beyond, rejected readings are counted without their original. */
      perSecondMax: z.int().min(0).max(10_000).default(DEAD_LETTERS_PER_SECOND_MAX),
      /** How much of an original is kept. */
      bytesMax: size()
        .refine((bytes) => bytes <= DEAD_LETTER_BYTES_MAX, { error: 'must be at most 64KiB' })
        .default(DEAD_LETTER_BYTES_MAX),
    })
    .prefault({}),
});
export type PipelineConfig = Readonly<z.output<typeof pipelineSchema>>;
