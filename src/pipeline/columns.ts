/**
 * What the pipeline must know of each tag, as columns by registry index: the way of a reading looks nothing up in objects.
 * `traits` says which steps have anything to do with a tag; most tags have none and pass by one comparison.
 */
import { slotKind, type ValueType } from '../reading.ts';
import type { RegisteredTag, TagRegistry } from './registry.ts';

export const Trait = {
  /** `min` and `max` hold, from the settings or from the type. */
  range: 1,
  /** Only whole numbers are values of this type. */
  whole: 2,
  /** The slot is an index into the chunk's texts. */
  text: 4,
  /** The slot is a 64-bit integer, not a float64. */
  wide: 8,
  /** `wide`, and its top bit is no sign. */
  unsigned: 16,
  deadband: 32,
  alarm: 64,
  /** Priority low: its deadband widens while the disk fills. */
  low: 128,
} as const;

/** Least and greatest value of the types that a float64 slot could overstep. */
const TYPE_RANGES: Partial<Record<ValueType, readonly [number, number]>> = {
  bool: [0, 1],
  int16: [-32_768, 32_767],
  uint16: [0, 65_535],
  int32: [-2_147_483_648, 2_147_483_647],
  uint32: [0, 4_294_967_295],
};

const FIRST_CAPACITY = 256;

export class TagColumns {
  traits = new Uint8Array(FIRST_CAPACITY);
  min = new Float64Array(FIRST_CAPACITY);
  max = new Float64Array(FIRST_CAPACITY);
  deadband = new Float64Array(FIRST_CAPACITY);
  maxSilenceMs = new Float64Array(FIRST_CAPACITY);
  size = 0;
  readonly #registry: Pick<TagRegistry, 'size' | 'get'>;
  readonly #maxSilenceMs: number;
  readonly #onTag: (tag: RegisteredTag) => void;

  /** @param onTag called for each tag before the first reading of it is looked at. */
  constructor(
    registry: Pick<TagRegistry, 'size' | 'get'>,
    maxSilenceMs: number,
    onTag: (tag: RegisteredTag) => void = () => {},
  ) {
    this.#registry = registry;
    this.#maxSilenceMs = maxSilenceMs;
    this.#onTag = onTag;
  }

  /** Takes over the tags registered since the last call. */
  refresh(): void {
    while (this.size < this.#registry.size) {
      const tag = this.#registry.get(this.size);
      if (tag === undefined) return;
      if (this.size === this.traits.length) this.#grow();
      this.#set(tag);
      this.size++;
      this.#onTag(tag);
    }
  }

  #set({ index, definition, fields }: RegisteredTag): void {
    const kind = slotKind(definition.type);
    const typeRange = TYPE_RANGES[definition.type];
    const [typeMin, typeMax] = typeRange ?? [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
    let traits = 0;
    if (typeRange !== undefined) traits |= Trait.range | Trait.whole;
    if (kind === 'text') traits |= Trait.text;
    if (kind === 'int64') traits |= Trait.wide;
    if (kind === 'uint64') traits |= Trait.wide | Trait.unsigned;
    if (fields.priority === 'low') traits |= Trait.low;
    if (kind !== 'text') {
      if (fields.min !== undefined || fields.max !== undefined) traits |= Trait.range;
      if (fields.deadband !== undefined) traits |= Trait.deadband;
      const { hi, lo, sliding = [] } = fields.alarm ?? {};
      if (hi !== undefined || lo !== undefined || sliding.length > 0) traits |= Trait.alarm;
    }
    this.traits[index] = traits;
    this.min[index] = Math.max(fields.min ?? typeMin, typeMin);
    this.max[index] = Math.min(fields.max ?? typeMax, typeMax);
    this.deadband[index] = fields.deadband ?? 0;
    this.maxSilenceMs[index] = fields.maxSilence ?? this.#maxSilenceMs;
  }

  #grow(): void {
    const capacity = this.traits.length * 2;
    const wider = (column: Float64Array) => {
      const grown = new Float64Array(capacity);
      grown.set(column);
      return grown;
    };
    const traits = new Uint8Array(capacity);
    traits.set(this.traits);
    this.traits = traits;
    [this.min, this.max] = [wider(this.min), wider(this.max)];
    [this.deadband, this.maxSilenceMs] = [wider(this.deadband), wider(this.maxSilenceMs)];
  }
}

/** The slots of a value column seen as 64-bit integers. */
export function wideSlots(value: Float64Array): { signed: BigInt64Array; unsigned: BigUint64Array } {
  return {
    signed: new BigInt64Array(value.buffer, value.byteOffset, value.length),
    unsigned: new BigUint64Array(value.buffer, value.byteOffset, value.length),
  };
}
