/**
 * Refuses readings that cannot be true: not a number, not of the tag's type, outside its limits, or at an impossible
 * time. A refused reading is a dead letter with its reason; the others move up in the chunk.
 */
import { type Chunk, isBad, isQuality, Quality } from '../reading.ts';
import { type TagColumns, Trait, wideSlots } from './columns.ts';

/** No device's clock is right that shows less (2000-01-01): many start there, or in 1970, after a power cut. */
export const EARLIEST_READING_MS = 946_684_800_000;

export interface TimeLimits {
  readonly earliestMs: number;
  readonly latestMs: number;
  /** While it is false nobody can say what "far future" is: times are taken as they are, and marked. */
  readonly synced: boolean;
}

export function timeLimits(wallMs: number, synced: boolean, futureMaxMs: number): TimeLimits {
  return synced
    ? { earliestMs: EARLIEST_READING_MS, latestMs: wallMs + futureMaxMs, synced }
    : { earliestMs: -Number.MAX_VALUE, latestMs: Number.MAX_VALUE, synced };
}

export type RejectReason =
  | 'unknown_tag'
  | 'bad_quality_byte'
  | 'not_a_number'
  | 'wrong_type'
  | 'out_of_range'
  | 'time_too_old'
  | 'time_in_future'
  | 'time_not_a_number';

export interface Validated {
  readonly chunk: Chunk;
  readonly rejected: number;
  /** The traits of all tags that were seen, ORed: later steps that find none of theirs have nothing to do. */
  readonly traits: number;
}

/** What a quality byte says about its row: it carries a value, carries none, or is no quality. */
const CARRIES_VALUE = 1;
const CARRIES_NONE = 2;
const CARRIES = Uint8Array.from({ length: 256 }, (_, byte) =>
  !isQuality(byte) ? 0 : isBad(byte) ? CARRIES_NONE : CARRIES_VALUE,
);

/**
 * Works in place: the chunk given is used up.
 * @param reject called with the row as it still stands in the chunk given.
 */
export function validate(
  chunk: Chunk,
  columns: TagColumns,
  time: TimeLimits,
  reject: (row: number, reason: RejectReason) => void,
): Validated {
  const { length, tag, timeMs, value, quality } = chunk;
  const { traits, size } = columns;
  const { earliestMs, latestMs, synced } = time;
  let kept = 0;
  let seen = 0;
  let wide: ReturnType<typeof wideSlots> | undefined;
  for (let row = 0; row < length; row++) {
    const index = tag[row] as number; // row < length
    const at = timeMs[row] as number;
    const trait = index < size ? (traits[index] as number) : 0;
    const carries = CARRIES[quality[row] as number];
    let isFine = index < size && at >= earliestMs && at <= latestMs && carries !== 0;
    if (isFine && carries === CARRIES_VALUE) {
      const slot = value[row] as number;
      // Infinity − Infinity and NaN − NaN are NaN.
      if ((trait & ~(Trait.deadband | Trait.alarm)) === 0) isFine = slot - slot === 0;
      else {
        if ((trait & Trait.wide) !== 0) wide ??= wideSlots(value);
        isFine = valueFault(columns, index, trait, slot, chunk, wide, row) === undefined;
      }
    }
    if (!isFine) {
      reject(row, reasonFor(chunk, columns, time, row, wide));
      continue;
    }
    seen |= trait;
    if (!synced && quality[row] === Quality.good) quality[row] = Quality.clockUnsynced;
    if (kept !== row) {
      tag.copyWithin(kept, row, row + 1);
      timeMs.copyWithin(kept, row, row + 1);
      value.copyWithin(kept, row, row + 1); // moves bytes: a wide slot survives
      quality.copyWithin(kept, row, row + 1);
    }
    kept++;
  }
  const rejected = length - kept;
  return { chunk: rejected === 0 ? chunk : firstRows(chunk, kept), rejected, traits: seen };
}

function valueFault(
  columns: TagColumns,
  index: number,
  trait: number,
  slot: number,
  chunk: Chunk,
  wide: ReturnType<typeof wideSlots> | undefined,
  row: number,
): RejectReason | undefined {
  let number = slot;
  if ((trait & Trait.text) !== 0) return chunk.texts[slot] === undefined ? 'wrong_type' : undefined;
  if ((trait & Trait.wide) !== 0) {
    if ((trait & Trait.range) === 0) return undefined;
    // Good to 2^53; limits beyond that are not written with digits to spare.
    number = Number((trait & Trait.unsigned) !== 0 ? wide?.unsigned[row] : wide?.signed[row]);
  } else {
    if (number - number !== 0) return 'not_a_number';
    if ((trait & Trait.whole) !== 0 && number !== Math.floor(number)) return 'wrong_type';
  }
  const isOutside = number < (columns.min[index] as number) || number > (columns.max[index] as number); // index < size
  return isOutside ? 'out_of_range' : undefined;
}

function reasonFor(
  chunk: Chunk,
  columns: TagColumns,
  { earliestMs, latestMs }: TimeLimits,
  row: number,
  wide: ReturnType<typeof wideSlots> | undefined,
): RejectReason {
  const index = chunk.tag[row] ?? 0;
  const at = chunk.timeMs[row] ?? Number.NaN;
  if (index >= columns.size) return 'unknown_tag';
  if (!Number.isFinite(at)) return 'time_not_a_number';
  if (at < earliestMs) return 'time_too_old';
  if (at > latestMs) return 'time_in_future';
  if (CARRIES[chunk.quality[row] ?? 0] === 0) return 'bad_quality_byte';
  return (
    valueFault(columns, index, columns.traits[index] ?? 0, chunk.value[row] ?? 0, chunk, wide, row) ?? 'not_a_number'
  );
}

function firstRows(chunk: Chunk, length: number): Chunk {
  return {
    length,
    tag: chunk.tag.subarray(0, length),
    timeMs: chunk.timeMs.subarray(0, length),
    value: chunk.value.subarray(0, length),
    quality: chunk.quality.subarray(0, length),
    texts: chunk.texts,
  };
}
