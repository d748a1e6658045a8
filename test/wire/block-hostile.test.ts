import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isQuality } from '../../src/reading.ts';
import {
  type BlockColumns,
  blockDirectory,
  decodeBlock,
  encodeBlock,
  encodeChunk,
  fitBlocks,
  joinBlocks,
  mergeBlocks,
  rowNumbers,
} from '../../src/wire/block.ts';
import { crc32c } from '../../src/wire/crc32c.ts';
import { anyRows, chunkOf, codeOfThrown, kindOf } from './arbitrary.ts';

const limits = { rowsMax: 5_000 };
const blocks = anyRows
  .map((rows) => rows.map((row) => ({ ...row, thinned: false })))
  .map((rows) => encodeChunk(chunkOf(rows), 1, kindOf));

function withChecksum(bytes: Uint8Array): Uint8Array {
  const body = bytes.length - 4;
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(body, crc32c(bytes, 0, body));
  return bytes;
}

/** All that `decodeBlock` promises of what it returns. */
function requireValid(columns: BlockColumns): void {
  const { rows, chunks, tags, timeMs, value, quality, texts } = columns;
  expect(rows).toBeLessThanOrEqual(limits.rowsMax);
  expect([timeMs.length, value.length, quality.length]).toEqual([rows, rows, rows]);
  expect(chunks.reduce((sum, { count }) => sum + count, 0)).toBe(rows);
  chunks.forEach(({ count }, c) => {
    expect(tags.reduce((sum, { counts }) => sum + (counts[c] ?? 0), 0)).toBe(count);
  });
  let end = 0;
  for (const { n0, count } of chunks) {
    expect(n0).toBeGreaterThan(end);
    end = n0 + count - 1;
  }
  expect(end).toBeLessThan(2 ** 53);
  expect(timeMs.every(Number.isFinite)).toBe(true);
  expect(quality.every(isQuality)).toBe(true);
  let row = 0;
  let last = -1;
  for (const { tag, kind, counts } of tags) {
    expect(tag).toBeGreaterThan(last);
    last = tag;
    const length = counts.reduce((sum, count) => sum + count, 0);
    expect(length).toBeGreaterThan(0);
    for (const stop = row + length; row < stop; row++) {
      if ((quality[row] ?? 0) & 0x40) expect(value[row]).toBe(0);
      else if (kind === 'text') expect(texts[value[row] ?? -1]).toBeDefined();
      else if (kind === 'bool') expect([0, 1]).toContain(value[row]);
    }
  }
  expect(row).toBe(rows);
  expect(new Set(rowNumbers(columns)).size).toBe(rows);
  encodeBlock(columns);
}

describe('a damaged block', () => {
  test('is refused by its checksum wherever one bit is flipped', () => {
    const [bytes] = fc.sample(blocks, { numRuns: 1, seed: 11 });
    if (bytes === undefined) throw new Error('no sample');
    for (let at = 0; at < bytes.length; at++) {
      for (const bit of [1, 0x80]) {
        const damaged = bytes.slice();
        damaged[at] = (damaged[at] ?? 0) ^ bit;
        const expected = at === 0 ? 'block.version_unknown' : 'block.checksum';
        expect(codeOfThrown(() => decodeBlock(damaged, limits))).toBe(expected);
      }
    }
  });

  test('is refused wherever it is cut off or goes on', () => {
    const [bytes] = fc.sample(blocks, { numRuns: 1, seed: 12 });
    if (bytes === undefined) throw new Error('no sample');
    for (let length = 0; length < bytes.length; length++) {
      expect(codeOfThrown(() => decodeBlock(bytes.subarray(0, length), limits))).toMatch(
        /^block\.(checksum|malformed|version_unknown)$/,
      );
    }
    const longer = withChecksum(new Uint8Array([...bytes, 0]));
    expect(codeOfThrown(() => decodeBlock(longer, limits))).toBe('block.malformed');
  });

  test('is an error of ours or a valid structure when someone mends the checksum', () => {
    const changes = fc.array(fc.record({ at: fc.nat(), byte: fc.integer({ min: 0, max: 255 }) }), {
      minLength: 1,
      maxLength: 4,
    });
    let accepted = 0;
    fc.assert(
      fc.property(blocks, changes, (bytes, list) => {
        const changed = bytes.slice();
        // Not the version, and not the checksum, which is mended anyway.
        for (const { at, byte } of list) changed[1 + (at % (bytes.length - 5))] = byte;
        withChecksum(changed);
        let columns: BlockColumns;
        try {
          columns = decodeBlock(changed, limits);
        } catch (error) {
          expect((error as Error).name).toBe('SluiceError');
          expect(codeOfThrown(() => blockDirectory(changed)) ?? 'block.').toMatch(/^(block|wire)\./);
          return;
        }
        accepted++;
        requireValid(columns);
      }),
      { numRuns: 1200 },
    );
    expect(accepted).toBeGreaterThan(100);
  });

  test('is an error of ours when it is random bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 200 }), (noise) => {
        const bytes = withChecksum(new Uint8Array([1, ...noise, 0, 0, 0, 0]));
        const code = codeOfThrown(() => requireValid(decodeBlock(bytes, limits)));
        expect(code ?? 'block.').toMatch(/^(block|wire)\./);
      }),
      { numRuns: 1000 },
    );
  });
});

const numbers = (blocks: readonly BlockColumns[]) =>
  blocks.flatMap((columns) => [...rowNumbers(decodeBlock(encodeBlock(columns), limits))]);

function row(tag: number): BlockColumns {
  return {
    rows: 1,
    chunks: [{ n0: 1 + tag, count: 1 }],
    tags: [{ tag, kind: 'number', counts: [1] }],
    timeMs: Float64Array.of(tag),
    value: Float64Array.of(tag / 10),
    quality: new Uint8Array(1),
    texts: [],
  };
}

/** Blocks of one row each as one, with all its zeros. */
function dense(blocks: readonly BlockColumns[]): BlockColumns {
  const rows = blocks.length;
  return {
    rows,
    chunks: blocks.flatMap(({ chunks }) => chunks),
    tags: blocks.map((_, tag) => ({ tag, kind: 'number', counts: blocks.map((__, c) => (c === tag ? 1 : 0)) })),
    timeMs: new Float64Array(rows),
    value: new Float64Array(rows),
    quality: new Uint8Array(rows),
    texts: [],
  };
}

describe('a bomb', () => {
  const big = 90_000;
  const uniform = encodeBlock({
    rows: big,
    chunks: [{ n0: 1, count: big }],
    tags: [{ tag: 3, kind: 'bool', counts: [big] }],
    timeMs: new Float64Array(big).fill(1.5),
    value: new Float64Array(big),
    quality: new Uint8Array(big).fill(0x41),
    texts: [],
  });

  test('of runs is refused before a row is allocated, at the rows that are allowed', () => {
    expect(codeOfThrown(() => decodeBlock(uniform, { rowsMax: big - 1 }))).toBe('block.rows_too_many');
    expect(decodeBlock(uniform, { rowsMax: big }).rows).toBe(big);
  });

  test('that claims 2^50 rows, chunks or bytes costs nothing', () => {
    const huge = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02];
    const before = process.memoryUsage().arrayBuffers;
    for (let position = 1; position < 30; position++) {
      const bytes = withChecksum(
        new Uint8Array([...uniform.slice(0, position), ...huge, ...uniform.slice(position + 1, 400)]),
      );
      expect(codeOfThrown(() => decodeBlock(bytes, { rowsMax: 100_000 }))).toMatch(/^block\./);
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16e6);
  });

  test('of counts that are nearly all zero is refused, and never made by joining sparse blocks', () => {
    const size = 1200;
    const sparse = Array.from({ length: size }, (_, tag) => row(tag));
    expect(() => mergeBlocks(sparse)).toThrow(RangeError);
    const joined = joinBlocks(sparse);
    expect(joined.length).toBeLessThan(50);
    expect(() => encodeBlock(dense(sparse))).toThrow(RangeError);
    expect(fitBlocks(dense(sparse)).flatMap((columns) => [...rowNumbers(columns)])).toEqual(numbers(joined));
    expect(numbers(joined)).toEqual(Array.from({ length: size }, (_, i) => i + 1));
  });

  test('of texts is refused: a block has at most one a row', () => {
    const one = encodeBlock({ ...row(0), tags: [{ tag: 0, kind: 'text', counts: [1] }], texts: ['x'] });
    // The last stream is the dictionary: one text of one byte, before the checksum. Its length is the last of the header.
    expect([...one.subarray(-6, -4)]).toEqual([1, 120]);
    const many = [...new Array<number>(50).fill(0), 1, 120];
    const grown = new Uint8Array([...one.subarray(0, -6), ...many, 0, 0, 0, 0]);
    grown[2 + 23] = many.length;
    expect(codeOfThrown(() => decodeBlock(withChecksum(grown), limits))).toBe('block.malformed');
    grown[1] = 60;
    expect(codeOfThrown(() => decodeBlock(withChecksum(grown), limits))).toBe('block.malformed');
  });

  test('of tags that share their counts over many chunks is refused', () => {
    // Each tag takes a few bytes and repeats a count for 1,500 chunks: adding them up is what would cost.
    const size = 1500;
    const counts = [size, ...new Array<number>(size - 1).fill(0)];
    const rest = [0, ...new Array<number>(size - 1).fill(1)];
    const tags = Array.from({ length: size }, (_, tag) => ({
      tag,
      kind: 'bool' as const,
      counts: [1, ...counts.slice(1)],
    }));
    expect(() =>
      encodeBlock({
        rows: 2 * size - 1,
        chunks: [{ n0: 1, count: size }, ...rest.slice(1).map((_, c) => ({ n0: 1 + size + c, count: 1 }))],
        tags: [...tags, { tag: size, kind: 'bool', counts: rest }],
        timeMs: new Float64Array(2 * size - 1),
        value: new Float64Array(2 * size - 1),
        quality: new Uint8Array(2 * size - 1),
        texts: [],
      }),
    ).toThrow(RangeError);
  });
});
