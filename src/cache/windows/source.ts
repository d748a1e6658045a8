/** What goes into the accumulator, and what a checkpoint keeps of it. */

export interface WindowSource {
  readonly timeMs: Float64Array;
  readonly value: Float64Array;
  readonly quality: Uint8Array;
}

export interface AccumulatorState {
  readonly tags: number;
  readonly levels: readonly Float64Array[];
  readonly running: Float64Array;
}
