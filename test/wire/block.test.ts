import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Chunk, ChunkBuilder, Quality, THINNED } from '../../src/reading.ts';
import {
  type BlockColumns,
  blockDirectory,
  decodeBlock,
  encodeBlock,
  encodeChunk,
  joinBlocks,
  mergeBlocks,
  rangesOf,
  rowNumbers,
  selectRows,
  sliceBlock,
  sortByTag,
} from '../../src/wire/block.ts';
import { contains } from '../../src/wire/ranges.ts';
import { anyRows, chunkOf, expectedRows, kindOf, type Row, rowsOf } from './arbitrary.ts';

const limits = { rowsMax: 100_000 };
const kept = (rows: readonly Row[]) => rows.filter(({ thinned }) => !thinned);
const someKept = anyRows.filter((rows) => kept(rows).length > 0);

function blockOf(rows: readonly Row[], n0: number): BlockColumns {
  return decodeBlock(encodeChunk(chunkOf(rows), n0, kindOf), limits);
}

/** Every row with its number, in the order of numbers. */
function numbered(columns: BlockColumns): string[] {
  const numbers = rowNumbers(columns);
  return rowsOf(columns)
    .map((row, i) => ({
      n: numbers[i] ?? 0,
      text: `${numbers[i]} ${row.tag} ${row.timeBits} ${row.slot} ${row.quality}`,
    }))
    .sort((a, b) => a.n - b.n)
    .map(({ text }) => text);
}

describe('a block', () => {
  test('gives back every kept row bit for bit, whatever its kind, time or quality', () => {
    fc.assert(
      fc.property(someKept, (rows) => {
        expect(rowsOf(blockOf(rows, 1))).toEqual(expectedRows(rows));
      }),
      { numRuns: 300 },
    );
  });

  test('gives back regular series as well as wild ones', () => {
    const series = fc.record({
      period: fc.constantFrom(1000, 100, 250.5, 0.125, 60_000, 1 / 3),
      jitter: fc.integer({ min: 0, max: 200 }),
      power: fc.integer({ min: 0, max: 8 }),
      length: fc.integer({ min: 1, max: 200 }),
      seed: fc.integer({ min: 1, max: 1e6 }),
      single: fc.boolean(),
    });
    fc.assert(
      fc.property(series, ({ period, jitter, power, length, seed, single }) => {
        const builder = new ChunkBuilder();
        let state = seed;
        const random = () => {
          state = (state * 48_271) % 0x7fff_ffff;
          return state / 0x7fff_ffff;
        };
        for (let i = 0; i < length; i++) {
          const value = Math.round(random() * 1e4) / 10 ** power;
          builder.push(
            i % 3 === 0 ? 0 : 5,
            1.76e12 + i * period + Math.round(random() * jitter),
            single ? Math.fround(value) : value,
            0,
          );
        }
        const chunk = builder.take();
        const columns = decodeBlock(encodeChunk(chunk, 1, kindOf), limits);
        const order = sortByTag(chunk, 6).order;
        expect([...columns.timeMs]).toEqual([...order].map((row) => chunk.timeMs[row]));
        expect([...columns.value]).toEqual([...order].map((row) => chunk.value[row]));
      }),
      { numRuns: 200 },
    );
  });

  test('is the same bytes when encoded again', () => {
    fc.assert(
      fc.property(someKept, (rows) => {
        const bytes = encodeChunk(chunkOf(rows), 7, kindOf);
        expect(encodeBlock(decodeBlock(bytes, limits))).toEqual(bytes);
      }),
      { numRuns: 100 },
    );
  });

  test('numbers rows by their place after the sort and leaves thinned ones out', () => {
    const builder = new ChunkBuilder();
    builder.push(5, 1000, 50, Quality.good);
    builder.push(0, 1001, 1, Quality.good);
    builder.push(0, 1002, 2, THINNED);
    builder.push(5, 1003, 51, Quality.good);
    builder.push(0, 1004, 3, Quality.good);
    const columns = decodeBlock(encodeChunk(builder.take(), 100, kindOf), limits);
    expect([...rowNumbers(columns)]).toEqual([100, 101, 102, 103]);
    expect([...columns.value]).toEqual([1, 3, 50, 51]);
    expect(rangesOf(columns)).toEqual([{ from: 100, to: 103 }]);
  });

  test('stores zero bits for the value of a bad row', () => {
    const chunk: Chunk = {
      length: 2,
      tag: Uint32Array.of(0, 0),
      timeMs: Float64Array.of(1, 2),
      value: Float64Array.of(9, 8),
      quality: Uint8Array.of(Quality.commError, Quality.good),
      texts: [],
    };
    expect([...decodeBlock(encodeChunk(chunk, 1, kindOf), limits).value]).toEqual([0, 8]);
  });

  test('says who is in it without decoding rows', () => {
    fc.assert(
      fc.property(someKept, (rows) => {
        const directory = blockDirectory(encodeChunk(chunkOf(rows), 3, kindOf));
        const counts = new Map<number, number>();
        for (const { tag } of kept(rows)) counts.set(tag, (counts.get(tag) ?? 0) + 1);
        expect(directory.rows).toBe(kept(rows).length);
        expect(directory.chunks).toEqual([{ n0: 3, count: kept(rows).length }]);
        expect(new Map(directory.tags.map(({ tag, count }) => [tag, count]))).toEqual(counts);
      }),
      { numRuns: 50 },
    );
  });

  test('refuses to encode nothing, times that are not finite, qualities and texts that do not exist', () => {
    const one = (part: Partial<Chunk>): Chunk => ({
      length: 1,
      tag: Uint32Array.of(4),
      timeMs: Float64Array.of(1),
      value: Float64Array.of(0),
      quality: Uint8Array.of(0),
      texts: ['x'],
      ...part,
    });
    const encode = (chunk: Chunk) => () => encodeChunk(chunk, 1, kindOf);
    expect(encode(one({ quality: Uint8Array.of(THINNED) }))).toThrow(RangeError);
    expect(encode(one({ timeMs: Float64Array.of(Number.NaN) }))).toThrow(RangeError);
    expect(encode(one({ quality: Uint8Array.of(0x7f) }))).toThrow(RangeError);
    expect(encode(one({ texts: [] }))).toThrow(RangeError);
    expect(encode(one({ texts: ['x'.repeat(64 * 1024)] }))).toThrow('64 KiB');
    // A refusal leaves nothing behind for the next block.
    expect(decodeBlock(encodeChunk(one({}), 1, kindOf), limits).rows).toBe(1);
  });
});

describe('joining and cutting', () => {
  const parts = fc.array(someKept, { minLength: 1, maxLength: 6 });

  /** Blocks with gaps between their numbers. */
  function blocksOf(all: readonly (readonly Row[])[]): BlockColumns[] {
    let n0 = 1;
    return all.map((rows, i) => {
      const block = blockOf(rows, n0);
      n0 += block.rows + (i % 3);
      return block;
    });
  }

  test('joined blocks keep every row and its number, in any order of joining', () => {
    fc.assert(
      fc.property(parts, fc.boolean(), (all, reversed) => {
        const blocks = blocksOf(all);
        const joined = mergeBlocks(reversed ? [...blocks].reverse() : blocks);
        expect(numbered(joined)).toEqual(blocks.flatMap(numbered));
        expect(numbered(decodeBlock(encodeBlock(joined), limits))).toEqual(numbered(joined));
      }),
      { numRuns: 100 },
    );
  });

  test('blocks that were joined before can be joined again, interleaved', () => {
    fc.assert(
      fc.property(fc.array(someKept, { minLength: 4, maxLength: 7 }), (all) => {
        const blocks = blocksOf(all);
        const even = mergeBlocks(blocks.filter((_, i) => i % 2 === 0));
        const odd = mergeBlocks(blocks.filter((_, i) => i % 2 === 1));
        expect(numbered(mergeBlocks([odd, even]))).toEqual(blocks.flatMap(numbered));
      }),
      { numRuns: 60 },
    );
  });

  test('however many blocks joining makes, no row is lost or renumbered', () => {
    fc.assert(
      fc.property(fc.array(someKept, { minLength: 1, maxLength: 30 }), (all) => {
        const blocks = blocksOf(all);
        const joined = joinBlocks(blocks);
        expect(joined.flatMap(numbered)).toEqual(blocks.flatMap(numbered));
        for (const columns of joined)
          expect(numbered(decodeBlock(encodeBlock(columns), limits))).toEqual(numbered(columns));
      }),
      { numRuns: 20 },
    );
  });

  test('a slice holds exactly the rows of its numbers', () => {
    fc.assert(
      fc.property(parts, fc.nat(400), fc.nat(200), (all, from, length) => {
        const joined = mergeBlocks(blocksOf(all));
        const slice = sliceBlock(joined, from, from + length);
        const wanted = numbered(joined).filter(
          (row) => Number.parseInt(row, 10) >= from && Number.parseInt(row, 10) <= from + length,
        );
        expect(slice === undefined ? [] : numbered(slice)).toEqual(wanted);
        if (slice) expect(numbered(decodeBlock(encodeBlock(slice), limits))).toEqual(wanted);
      }),
      { numRuns: 100 },
    );
  });

  test('any set of rows can be taken out, and the pieces joined give the whole', () => {
    fc.assert(
      fc.property(parts, fc.nat(40), fc.nat(40), (all, a, b) => {
        const joined = mergeBlocks(blocksOf(all));
        const some = [
          { from: 1 + a, to: 3 + a },
          { from: 8 + a, to: 8 + a + b },
        ];
        const rest = [
          { from: 1, to: a },
          { from: 4 + a, to: 7 + a },
          { from: 9 + a + b, to: 1e6 },
        ].filter(({ from, to }) => from <= to);
        const inside = selectRows(joined, some);
        const outside = selectRows(joined, rest);
        if (inside) for (const n of rowNumbers(inside)) expect(contains(some, n)).toBe(true);
        const pieces = [inside, outside].filter((piece) => piece !== undefined);
        expect(numbered(mergeBlocks(pieces))).toEqual(numbered(joined));
      }),
      { numRuns: 100 },
    );
  });

  test('blocks with a number in common are not joined', () => {
    const rows: Row[] = [{ tag: 0, timeMs: 1, bits: 0n, text: undefined, quality: 0, thinned: false }];
    expect(() => mergeBlocks([blockOf(rows, 5), blockOf(rows, 5)])).toThrow(RangeError);
  });
});
