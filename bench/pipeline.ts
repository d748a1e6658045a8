/** What the way of a reading costs the main thread between its driver and the message to the cache worker. */
import { tagFieldsSchema } from '../src/config/fields.ts';
import { pipelineSchema } from '../src/config/pipeline.ts';
import { startPipeline, TagRegistry } from '../src/pipeline/index.ts';
import type { Chunk } from '../src/reading.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { type BenchResult, cpuMicroseconds, formatResult } from './result.ts';

const TAGS = 500;
const ROWS_BIG = 10_000;
/** One poll of a device. */
const ROWS_SMALL = 50;
/** The whole of it, so that a million readings a second leave nine tenths of a core to the rest. */
const TARGET_US = 0.1;

export async function benchPipeline(): Promise<BenchResult[]> {
  return [
    measure('pipeline, chunks of 10,000, plain tags', {}, ROWS_BIG),
    measure('pipeline, chunks of 10,000, min and max', { min: -1e6, max: 1e6 }, ROWS_BIG),
    measure('pipeline, chunks of 10,000, deadband, min and max', { min: -1e6, max: 1e6, deadband: 0.5 }, ROWS_BIG),
    measure(
      'pipeline, chunks of 10,000, alarm limits on all tags',
      { alarm: { hi: { limit: 1e6 }, lo: { limit: -1e6 } } },
      ROWS_BIG,
    ),
    measure('pipeline, chunks of 50 joined, deadband, min and max', { min: -1e6, max: 1e6, deadband: 0.5 }, ROWS_SMALL),
  ];
}

function measure(name: string, fields: object, rows: number): BenchResult {
  const registry = new TagRegistry(TAGS, () => {});
  for (let i = 0; i < TAGS; i++) {
    registry.register('bench', { name: `bench/${i}`, type: 'float64' }, tagFieldsSchema.parse(fields));
  }
  const cache = {
    append() {},
    accepting: () => true,
    committed: () => Promise.resolve(),
    uncommittedBytes: () => 0,
    uncommittedBytesMax: Number.MAX_SAFE_INTEGER,
  };
  const pipeline = startPipeline(pipelineSchema.parse({}), {
    registry,
    cache,
    clock: systemClock,
    hot: { update() {} },
  });
  const chunks = Array.from({ length: Math.ceil(ROWS_BIG / rows) }, () => chunkOf(rows));
  const cost = cpuMicroseconds(() => {
    // The deadband marks rows; a chunk from a driver has no marks. Wiping them is part of what is measured.
    for (const chunk of chunks) {
      chunk.quality.fill(0);
      pipeline.push('bench', chunk);
    }
  });
  void pipeline.stop();
  return { name, value: cost / (chunks.length * rows), unit: 'µs/reading', target: TARGET_US };
}

function chunkOf(rows: number): Chunk {
  const chunk = {
    length: rows,
    tag: new Uint32Array(rows),
    timeMs: new Float64Array(rows),
    value: new Float64Array(rows),
    quality: new Uint8Array(rows),
    texts: [],
  };
  const startMs = systemClock.wallMs();
  for (let row = 0; row < rows; row++) {
    chunk.tag[row] = row % TAGS;
    chunk.timeMs[row] = startMs + row / TAGS;
    chunk.value[row] = Math.sin(row / 50) * 10;
  }
  return chunk;
}

if (import.meta.filename === process.argv[1]) {
  for (const result of await benchPipeline()) console.log(formatResult(result));
}
