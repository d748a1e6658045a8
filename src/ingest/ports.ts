/** What the runners need of the parts around them: the pipeline, the registry and the cache, each as small as it is used. */
import type { CacheClient, Receipt } from '../cache/types.ts';
import type { TagFields } from '../config/fields.ts';
import type { Chunk, TagDefinition } from '../reading.ts';
import type { Clock } from '../runtime/clock.ts';
import type { IngestLogger, SourceState } from './state.ts';

export interface TagPort {
  /** Undefined when the tag is new and the registry is full. */
  register(source: string, definition: TagDefinition, fields: TagFields, periodMs?: number): number | undefined;
}

export interface PipelinePort {
  /** False when there was no room: nothing of it is kept, though it was shown. */
  push(source: string, chunk: Chunk, receipts?: readonly Receipt[]): boolean;
  reject(source: string, subject: string, original: Uint8Array | string, reason: string): void;
  duplicate(source: string): void;
  releaseReceipts(source: string, packetIds: readonly number[]): void;
  clearReceipts(source: string): void;
  /** Whether polls shall be skipped now. */
  pressed(): boolean;
  /** How many times less often low-priority tags shall be read; 1 while the disk has room. */
  slowdown(): number;
  durable(): Promise<void>;
}

export interface IngestOptions {
  /** Name of this box, for drivers. */
  readonly gateway: string;
  readonly registry: TagPort;
  readonly pipeline: PipelinePort;
  readonly cache: Pick<CacheClient, 'receipts'>;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly logger: IngestLogger;
  /** Called at each change of state, not of counters. */
  readonly onState?: (state: SourceState) => void;
}
