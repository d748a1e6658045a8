// A pipeline with a cache that only remembers, and a clock the test moves.
import type { Append } from '../../src/cache/types.ts';
import { type TagFields, tagFieldsSchema } from '../../src/config/fields.ts';
import { pipelineSchema } from '../../src/config/pipeline.ts';
import { SluiceError } from '../../src/errors.ts';
import { startPipeline } from '../../src/pipeline/index.ts';
import type { PipelineOptions } from '../../src/pipeline/pipeline.ts';
import { TagRegistry } from '../../src/pipeline/registry.ts';
import { type Chunk, ChunkBuilder, isBad, THINNED, type ValueType } from '../../src/reading.ts';
import { ManualClock } from '../../src/runtime/clock.ts';

export const START_MS = Date.UTC(2026, 5, 1);

export class FakeCache {
  readonly appends: Append[] = [];
  uncommittedBytesMax = 1e9;
  uncommitted = 0;
  /** Refuses the next appends, as the cache does when its own count says full. */
  isBusy = false;
  commits = 0;

  append(append: Append): void {
    if (this.isBusy) throw new SluiceError('cache.busy', 'retry', 'full');
    this.appends.push(append);
  }
  accepting(): boolean {
    return this.uncommitted < this.uncommittedBytesMax * 0.75;
  }
  async committed(): Promise<void> {
    this.commits++;
  }
  uncommittedBytes(): number {
    return this.uncommitted;
  }

  rows(): { tag: number; timeMs: number; value: number; quality: number; text?: string | undefined }[] {
    return this.appends.flatMap(({ chunk }) =>
      Array.from({ length: chunk?.length ?? 0 }, (_, row) => ({
        tag: chunk?.tag[row] ?? -1,
        timeMs: chunk?.timeMs[row] ?? -1,
        value: chunk?.value[row] ?? -1,
        quality: chunk?.quality[row] ?? -1,
        text: chunk?.texts[chunk.value[row] ?? -1],
      })),
    );
  }
  alarms() {
    return this.appends.flatMap(({ alarms = [] }) =>
      alarms.map(({ id, state, at, text }) => ({ id, state, at, text })),
    );
  }
  letters() {
    return this.appends.flatMap(({ deadLetters = [] }) =>
      deadLetters.map(({ subject, reason, original }) => ({
        subject,
        reason,
        original: new TextDecoder().decode(original),
      })),
    );
  }
  /** The ledger as the cache would keep it; throws when it does not add up. */
  ledger() {
    const sum = { received: 0, rejected: 0, duplicate: 0, thinned: 0, accepted: 0 };
    for (const { counts = [], chunk } of this.appends) {
      for (const each of counts) {
        sum.received += each.received;
        sum.rejected += each.rejected;
        sum.duplicate += each.duplicate;
        sum.thinned += each.thinned;
      }
      for (let row = 0; row < (chunk?.length ?? 0); row++)
        sum.accepted += ((chunk?.quality[row] ?? 0) & THINNED) === 0 ? 1 : 0;
      // It holds after each commit, not only at the end.
      if (sum.received !== sum.rejected + sum.duplicate + sum.thinned + sum.accepted)
        throw new Error(JSON.stringify(sum));
    }
    return sum;
  }
}

export class Plant {
  readonly clock = new ManualClock(START_MS);
  readonly cache = new FakeCache();
  readonly registry: TagRegistry;
  readonly hot: { tag: number; value: number; quality: number }[] = [];
  readonly shown: number[][] = [];
  readonly shownAlarms: [string, string][] = [];
  readonly pipeline;
  #out = new ChunkBuilder();

  constructor(settings: unknown = {}, more: Partial<PipelineOptions> = {}) {
    const config = pipelineSchema.parse(settings);
    this.registry = new TagRegistry(config.tagsMax, () => {});
    this.pipeline = startPipeline(config, {
      registry: this.registry,
      cache: this.cache,
      clock: this.clock,
      hot: {
        update: ({ length, tag, value, quality }) => {
          for (let row = 0; row < length; row++)
            this.hot.push({ tag: tag[row] ?? -1, value: value[row] ?? -1, quality: quality[row] ?? -1 });
        },
      },
      hmi: {
        changed: (indexes) => this.shown.push([...indexes]),
        alarm: (id, state) => this.shownAlarms.push([id, (state as { state: string }).state]),
      },
      ...more,
    });
  }

  tag(name: string, type: ValueType = 'float64', fields: Record<string, unknown> = {}, periodMs?: number): number {
    const parsed: TagFields = tagFieldsSchema.parse(fields);
    return this.registry.register('plc', { name: `plc/${name}`, type }, parsed, periodMs) ?? -1;
  }

  /** One chunk of readings; a time is now unless it is given. */
  push(...rows: { tag: number; value: number | bigint | string; quality?: number; timeMs?: number }[]): boolean {
    for (const { tag, value, quality = 0, timeMs = this.clock.wallMs() } of rows) {
      if (typeof value === 'bigint') this.#out.pushInt64(tag, timeMs, value, quality);
      else if (typeof value === 'string') this.#out.pushText(tag, timeMs, value, quality);
      else if (isBad(quality)) this.#out.push(tag, timeMs, 0, quality);
      else this.#out.push(tag, timeMs, value, quality);
    }
    return this.pipeline.push('plc', this.#out.take());
  }

  flush(): this {
    this.clock.advance(50);
    return this;
  }
}

export function chunkOf(length: number, value = 1): Chunk {
  const out = new ChunkBuilder(length, length);
  for (let row = 0; row < length; row++) out.push(0, START_MS, value, 0);
  return out.take();
}
