/** The plant trace as chunks, and its tags as the cache wants them. */
import type { CacheClient } from '../src/cache/index.ts';
import type { Chunk, ValueType } from '../src/reading.ts';
import { type PlantTag, type PlantTrace, tags } from './plant-trace.mjs';

export const TYPES: Readonly<Record<PlantTag['kind'], ValueType>> = {
  temperature: 'float64',
  pressure: 'float64',
  vibration: 'float32',
  counter: 'uint32',
  state: 'bool',
};

/** Rows [from, to) of the trace, `laterMs` later, with buffers of their own: whoever takes the chunk may keep them. */
export function sliceTrace(trace: PlantTrace, from: number, to: number, laterMs: number): Chunk {
  const timeMs = trace.timeMs.slice(from, to);
  for (let i = 0; i < timeMs.length; i++) timeMs[i] = (timeMs[i] ?? 0) + laterMs;
  return {
    length: timeMs.length,
    tag: Uint32Array.from(trace.tag.subarray(from, to)),
    timeMs,
    value: trace.value.slice(from, to),
    quality: new Uint8Array(timeMs.length),
    texts: [],
  };
}

/** `rows` readings in chunks; the trace is repeated, later each time. @param passMs how long the trace is. */
export function* chunksOf(
  trace: PlantTrace,
  { fromRow = 0, rows, chunkRows, laterMs = 0, passMs }: ChunkPlan,
): Generator<Chunk> {
  for (let done = 0; done < rows; ) {
    const pass = Math.floor((fromRow + done) / trace.length);
    const from = (fromRow + done) % trace.length;
    const to = Math.min(from + chunkRows, trace.length, from + rows - done);
    yield sliceTrace(trace, from, to, laterMs + pass * passMs);
    done += to - from;
  }
}

export interface ChunkPlan {
  /** Counted over all passes. */
  readonly fromRow?: number;
  readonly rows: number;
  readonly chunkRows: number;
  readonly laterMs?: number;
  readonly passMs: number;
}

export const PLANT_SOURCE = 'plant1';

export function registerPlantTags(cache: Pick<CacheClient, 'registerTag'>): void {
  for (const { id, name, kind } of tags) {
    const definition = { name: name.replace(/^[^/]*/, PLANT_SOURCE), type: TYPES[kind] };
    cache.registerTag({ index: id, source: PLANT_SOURCE, definition, fields: { priority: 'normal' }, periodMs: 1000 });
  }
}
