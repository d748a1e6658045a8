/**
 * The noun of the whole project: a reading is one value of a tag at a time, with a quality. Inside the process readings
 * move as chunks: columns, never objects.
 *
 * Every value lives in an 8-byte slot. What the slot means follows from the tag's declared type alone:
 *
 * | type                                                    | the slot is                                        |
 * | bool                                                    | a float64, 0 or 1                                  |
 * | int16 uint16 int32 uint32 float32 float64               | a float64 holding the number exactly               |
 * | int64                                                   | a two's complement 64-bit integer                  |
 * | uint64                                                  | an unsigned 64-bit integer                         |
 * | text                                                    | a float64, the index into the chunk's `texts`      |
 *
 * A slot of an int64 or uint64 tag must never be copied as a float64 element: engines may canonicalise NaN bit patterns
 * (−1 is one). Copy it through the BigInt64 view, as two Uint32, or with TypedArray.set, which moves bytes.
 * A reading of bad quality carries no value: its slot is zero bits.
 */

export const VALUE_TYPES = [
  'bool',
  'int16',
  'uint16',
  'int32',
  'uint32',
  'int64',
  'uint64',
  'float32',
  'float64',
  'text',
] as const;
export type ValueType = (typeof VALUE_TYPES)[number];

/** How the bits of a value slot are seen. */
export type SlotKind = 'number' | 'int64' | 'uint64' | 'bool' | 'text';

export function slotKind(type: ValueType): SlotKind {
  switch (type) {
    case 'int64':
    case 'uint64':
    case 'bool':
    case 'text':
      return type;
    default:
      return 'number';
  }
}

/**
 * What is known of a tag for ever: its identity is the hash of this content (`wire/tag.ts`), so changed content is a new
 * identity and rows already taken keep their meaning.
 */
export interface TagDefinition {
  /** Full name `source/tag`; the tag part may have levels of its own, `boiler-plc/pump/flow`. */
  readonly name: string;
  readonly type: ValueType;
  /** Engineering unit as people write it: `°C`, `bar`, `kWh`. */
  readonly unit?: string;
  readonly description?: string;
  readonly location?: string;
  readonly deviceType?: string;
}

/** Columns of readings moving together; the first `length` rows count. Rows are in order of arrival. */
export interface Chunk {
  readonly length: number;
  /** Index in the tag registry of this process. */
  readonly tag: Uint32Array;
  /** Milliseconds since 1970-01-01 UTC; float64 gives 0.2 µs resolution until 2100. */
  readonly timeMs: Float64Array;
  readonly value: Float64Array;
  /** One quality byte a row, see `Quality`. */
  readonly quality: Uint8Array;
  /** The texts that slots of text tags point into. */
  readonly texts: readonly string[];
}

/** OPC UA's three states (Part 8, "Data Access", StatusCode severities). */
export type Status = 'good' | 'uncertain' | 'bad';
const STATUSES: readonly Status[] = ['good', 'uncertain', 'bad'];
const STATUS_SHIFT = 5;
const REASON_MASK = 0b11111;

/** Appended to, never reordered: these numbers are on disk and on the wire. At most 32. */
export const REASONS = [
  '',
  'stale',
  'clock_unsynced',
  'comm_error',
  'device_exception',
  'not_available',
  'out_of_range',
  'not_a_number',
  'source_uncertain',
  'source_bad',
  'config_error',
  'held_back',
] as const;
export type Reason = (typeof REASONS)[number];

/**
 * A quality byte: reason in bits 0–4, status in bits 5–6 (0 good, 1 uncertain, 2 bad). Plain good is 0.
 * Bit 7 is `THINNED`: the deadband keeps this row out of the journal while hot values, windows and alarms still see it.
 * It never reaches the disk or the wire.
 */
export const Quality = {
  good: 0,
  stale: quality('uncertain', 'stale'),
  clockUnsynced: quality('uncertain', 'clock_unsynced'),
  commError: quality('bad', 'comm_error'),
  deviceException: quality('bad', 'device_exception'),
  notAvailable: quality('bad', 'not_available'),
  outOfRange: quality('bad', 'out_of_range'),
  sourceUncertain: quality('uncertain', 'source_uncertain'),
  sourceBad: quality('bad', 'source_bad'),
  configError: quality('bad', 'config_error'),
} as const;

export const THINNED = 0x80;

export function quality(status: Status, reason: Reason = ''): number {
  return (STATUSES.indexOf(status) << STATUS_SHIFT) | REASONS.indexOf(reason);
}

export function statusOf(qualityByte: number): Status {
  return STATUSES[(qualityByte & ~THINNED) >> STATUS_SHIFT] ?? 'bad';
}

export function reasonOf(qualityByte: number): Reason {
  return REASONS[qualityByte & REASON_MASK] ?? '';
}

export function isBad(qualityByte: number): boolean {
  return (qualityByte & ~THINNED) >> STATUS_SHIFT >= 2;
}

/** Whether a byte from outside is one that this version can produce on disk or wire. */
export function isQuality(byte: number): boolean {
  return byte < THINNED && byte >> STATUS_SHIFT < STATUSES.length && (byte & REASON_MASK) < REASONS.length;
}

/** A value as people and JSON see it: 64-bit integers are bigint, a bad reading has none. */
export type PlainValue = number | bigint | boolean | string | null;

/** Of 6 significant digits each is another float32, of 9 none is lost (IEEE 754). */
const FLOAT32_DIGITS = [6, 7, 8] as const;

/**
 * As people want to read it: the shortest decimal that is still the same float32 (21.3, not 21.299999237060547). Numbers of
 * other types are what they are.
 */
export function shortest(value: number, type: ValueType | undefined): number {
  if (type !== 'float32' || Number.isInteger(value) || Math.fround(value) !== value) return value;
  for (const digits of FLOAT32_DIGITS) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return Number(value.toPrecision(9));
}

/** 64-bit integers become decimal strings: a JSON number loses digits past 2^53. */
export function jsonValue(value: PlainValue): number | boolean | string | null {
  return typeof value === 'bigint' ? value.toString() : value;
}

/** Reads single values out of a chunk; make one for a chunk, not one for a row. */
export function valueReader(
  chunk: Pick<Chunk, 'value' | 'quality' | 'texts'>,
): (row: number, type: ValueType) => PlainValue {
  const { value, quality: qualities, texts } = chunk;
  const signed = new BigInt64Array(value.buffer, value.byteOffset, value.length);
  const unsigned = new BigUint64Array(value.buffer, value.byteOffset, value.length);
  return (row, type) => {
    if (isBad(qualities[row] ?? 0)) return null;
    switch (type) {
      case 'int64':
        return signed[row] ?? null;
      case 'uint64':
        return unsigned[row] ?? null;
      case 'bool':
        return value[row] !== 0;
      case 'text':
        return texts[value[row] ?? 0] ?? null;
      default:
        return value[row] ?? null;
    }
  };
}

const FIRST_CAPACITY = 64;

/** Collects readings into columns. Grows by doubling up to `rowsMax`; the owner takes the chunk when it is `full`. */
export class ChunkBuilder {
  readonly rowsMax: number;
  #length = 0;
  #tag!: Uint32Array;
  #timeMs!: Float64Array;
  #value!: Float64Array;
  #signed!: BigInt64Array;
  #quality!: Uint8Array;
  #texts: string[] = [];
  #textIndex = new Map<string, number>();

  constructor(rowsMax = 65_536, firstCapacity = FIRST_CAPACITY) {
    this.rowsMax = rowsMax;
    this.#allocate(Math.min(firstCapacity, rowsMax));
  }

  get length(): number {
    return this.#length;
  }

  get full(): boolean {
    return this.#length >= this.rowsMax;
  }

  /** @param value a number, 0 or 1 for bool; ignored (stored as zero) when the quality is bad. */
  push(tag: number, timeMs: number, value: number, qualityByte: number): void {
    const row = this.#next(tag, timeMs, qualityByte);
    this.#value[row] = isBad(qualityByte) ? 0 : value;
  }

  /** For int64 and uint64 tags; wraps to 64 bits. */
  pushInt64(tag: number, timeMs: number, value: bigint, qualityByte: number): void {
    const row = this.#next(tag, timeMs, qualityByte);
    this.#signed[row] = isBad(qualityByte) ? 0n : value;
  }

  pushText(tag: number, timeMs: number, text: string, qualityByte: number): void {
    const row = this.#next(tag, timeMs, qualityByte);
    if (isBad(qualityByte)) {
      this.#value[row] = 0;
      return;
    }
    let index = this.#textIndex.get(text);
    if (index === undefined) {
      index = this.#texts.push(text) - 1;
      this.#textIndex.set(text, index);
    }
    this.#value[row] = index;
  }

  /** A whole waveform of a number tag: sample i is at `startMs + i * stepMs`. */
  pushWaveform(tag: number, startMs: number, stepMs: number, values: Float64Array, qualityByte: number): void {
    for (let i = 0; i < values.length; i++) this.push(tag, startMs + i * stepMs, values[i] ?? 0, qualityByte);
  }

  /** Hands over what was collected, buffers included, and starts afresh. */
  take(): Chunk {
    const length = this.#length;
    const chunk: Chunk = {
      length,
      tag: this.#tag.subarray(0, length),
      timeMs: this.#timeMs.subarray(0, length),
      value: this.#value.subarray(0, length),
      quality: this.#quality.subarray(0, length),
      texts: this.#texts,
    };
    this.#length = 0;
    this.#texts = [];
    this.#textIndex.clear();
    // The next chunk is likely to be as long as this one.
    this.#allocate(Math.min(this.rowsMax, Math.max(FIRST_CAPACITY, length)));
    return chunk;
  }

  #next(tag: number, timeMs: number, qualityByte: number): number {
    const row = this.#length;
    if (row === this.#tag.length) this.#grow();
    this.#length = row + 1;
    this.#tag[row] = tag;
    this.#timeMs[row] = timeMs;
    this.#quality[row] = qualityByte;
    return row;
  }

  #grow(): void {
    if (this.full) throw new RangeError(`chunk is full at ${this.rowsMax} rows: take it first`);
    const { length } = this;
    const [tag, timeMs, value, qualities] = [this.#tag, this.#timeMs, this.#value, this.#quality];
    this.#allocate(Math.min(this.rowsMax, length * 2));
    this.#tag.set(tag);
    this.#timeMs.set(timeMs);
    this.#value.set(value);
    this.#quality.set(qualities);
  }

  #allocate(capacity: number): void {
    this.#tag = new Uint32Array(capacity);
    this.#timeMs = new Float64Array(capacity);
    this.#value = new Float64Array(capacity);
    this.#signed = new BigInt64Array(this.#value.buffer);
    this.#quality = new Uint8Array(capacity);
  }
}
