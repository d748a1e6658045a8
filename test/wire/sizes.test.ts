import { expect, test } from '@jest/globals';
import { plantTrace, tags } from '../../bench/plant-trace.mjs';
import { decodeBlock, encodeBlock, encodeChunk, joinBlocks } from '../../src/wire/block.ts';
import { BROTLI_QUALITY_STRONG, CODEC, compress } from '../../src/wire/compress.ts';
import { OVERHEAD_BYTES } from '../../src/wire/envelope.ts';

/** Bytes a reading of one batch of the plant trace, cut from blocks of one second, envelope included. */
function bytesAReading(seconds: number, sharedTimes: boolean, quality?: number): number {
  const { tag, timeMs, value, length } = plantTrace({ seconds, sharedTimes });
  const rows = length / seconds;
  const blocks = Array.from({ length: seconds }, (_, s) => {
    const [from, to] = [s * rows, (s + 1) * rows];
    const chunk = {
      length: rows,
      tag: Uint32Array.from(tag.subarray(from, to)),
      timeMs: timeMs.slice(from, to),
      value: value.slice(from, to),
      quality: new Uint8Array(rows),
      texts: [],
    };
    const bytes = encodeChunk(chunk, 1 + from, (number) => (tags[number]?.kind === 'state' ? 'bool' : 'number'));
    return decodeBlock(bytes, { rowsMax: rows });
  });
  const [joined, ...more] = joinBlocks(blocks);
  if (joined === undefined || more.length > 0) throw new Error('one block');
  return (compress(encodeBlock(joined), CODEC.brotli, quality).length + OVERHEAD_BYTES + 80) / length;
}

test.each([
  { seconds: 2, shared: false, limit: 3.1 },
  { seconds: 10, shared: false, limit: 1.5 },
  { seconds: 20, shared: false, limit: 1.3 },
  { seconds: 60, shared: false, limit: 1.15 },
  { seconds: 60, shared: true, limit: 0.6 },
])(
  'a batch of $seconds s of the plant takes at most $limit bytes a reading (shared times: $shared)',
  ({ seconds, shared, limit }) => {
    expect(bytesAReading(seconds, shared)).toBeLessThan(limit);
  },
);

test.each([false, true])(
  'while the disk fills, batches of 100,000 rows packed more strongly take a seventh less (shared times: %s)',
  (shared) => {
    const asEver = bytesAReading(20, shared);
    expect(bytesAReading(200, shared, BROTLI_QUALITY_STRONG) / asEver).toBeLessThan(0.86);
    expect(bytesAReading(200, shared, BROTLI_QUALITY_STRONG) / bytesAReading(200, shared)).toBeLessThan(0.94);
  },
);
