/** Types of the plant trace: the one workload behind every size and speed figure. */
export interface PlantTag {
  readonly id: number;
  readonly kind: 'temperature' | 'pressure' | 'vibration' | 'counter' | 'state';
  readonly name: string;
}

/** Columns in order of arrival. */
export interface PlantTrace {
  readonly tag: Uint16Array;
  readonly timeMs: Float64Array;
  readonly value: Float64Array;
  readonly length: number;
}

export interface PlantTraceOptions {
  /** Default 600. */
  readonly seconds?: number;
  readonly seed?: number;
  /** Standard deviation of a sample's time, default 3. */
  readonly jitterMs?: number;
  /** The 50 tags of one device share one time stamp a second, as one Modbus poll gives. */
  readonly sharedTimes?: boolean;
}

export const tags: readonly PlantTag[];
/** Uniform numbers in [0, 1) from a 32-bit seed. */
export function random(seed: number): () => number;
export function plantTrace(options?: PlantTraceOptions): PlantTrace;
