// The rolled block: round trip, one tag alone, damage, size.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { tags as plantTags, plantTrace } from '../../bench/plant-trace.mjs';
import { numbersOfTags } from '../../src/cache/forget/rewrite.ts';
import { readCoded, writeCoded } from '../../src/cache/rolled/coding.ts';
import { encodeRolled } from '../../src/cache/rolled/encode.ts';
import { openRolled, type RolledBlock } from '../../src/cache/rolled/open.ts';
import { withoutTags } from '../../src/cache/rolled/without.ts';
import { Cursor, Stream } from '../../src/wire/block/streams.ts';
import {
  type BlockColumns,
  decodeBlock,
  encodeBlock,
  encodeChunk,
  mergeBlocks,
  rangesOf,
  rowNumbers,
  selectRows,
} from '../../src/wire/block.ts';
import { crc32c } from '../../src/wire/crc32c.ts';
import { subtract } from '../../src/wire/ranges.ts';
import { anyRows, chunkOf, kindOf, type Row, rowsOf } from '../wire/arbitrary.ts';

const limits = { rowsMax: 100_000 };

function joined(parts: readonly (readonly Row[])[]): BlockColumns | undefined {
  let n0 = 1;
  const blocks = parts.flatMap((rows) => {
    if (rows.every(({ thinned }) => thinned)) return [];
    const block = decodeBlock(encodeChunk(chunkOf(rows), n0, kindOf), limits);
    n0 += block.rows;
    return [block];
  });
  return blocks.length === 0 ? undefined : mergeBlocks(blocks);
}

const columnsOf = fc
  .array(anyRows, { minLength: 1, maxLength: 6 })
  .map(joined)
  .filter((columns) => columns !== undefined);

function codeOfThrown(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    expect((error as Error).name).toBe('SluiceError');
    return (error as { code: string }).code;
  }
}

/** Opens all there is, each tag alone as well. */
function readEverything(bytes: Uint8Array) {
  const block = openRolled(bytes);
  const all = block.all();
  return {
    all: rowsOf(all),
    numbers: [...rowNumbers(all)],
    tags: block.tags.map(({ tag }) => rowsOf(block.tag(tag) ?? all)),
  };
}

const sizeOf = ({ directory }: RolledBlock, at: number) =>
  (directory.entries[at]?.times.bytes ?? 0) + (directory.entries[at]?.values.bytes ?? 0);

/** Who has a byte of the sections: the tag of a value, and of times all that share them. */
function tagsAt(block: RolledBlock, place: number): number[] {
  let start = 0;
  const { entries } = block.directory;
  for (const [at, { tag, times }] of entries.entries()) {
    if (place < start + times.bytes) return entries.flatMap((other) => (other.timesAt === at ? [other.tag] : []));
    start += sizeOf(block, at);
    if (place < start) return [tag];
  }
  return [];
}

describe('a rolled block', () => {
  test('gives back every row and its number bit for bit', () => {
    fc.assert(
      fc.property(columnsOf, (columns) => {
        const block = openRolled(encodeRolled(columns));
        expect(block.rows).toBe(columns.rows);
        expect(block.chunks()).toEqual(columns.chunks);
        const all = block.all();
        expect(all.tags).toEqual(columns.tags);
        expect(rowsOf(all)).toEqual(rowsOf(columns));
        // As the wire wants it.
        expect(rowsOf(decodeBlock(encodeBlock(all), limits))).toEqual(rowsOf(columns));
      }),
      { numRuns: 300 },
    );
  });

  test('opens one tag as that tag is in all of it', () => {
    fc.assert(
      fc.property(columnsOf, (columns) => {
        const block = openRolled(encodeRolled(columns));
        const rows = rowsOf(columns);
        expect(block.tag(1000)).toBeUndefined();
        for (const { tag, kind } of columns.tags) {
          const alone = block.tag(tag);
          expect(alone?.tags).toEqual([{ tag, kind, counts: [alone?.rows] }]);
          expect(alone && rowsOf(alone)).toEqual(rows.filter((row) => row.tag === tag));
        }
      }),
      { numRuns: 200 },
    );
  });

  test('is an error, or as if nothing had happened, wherever one bit is flipped', () => {
    for (const columns of fc.sample(columnsOf, { numRuns: 3, seed: 5 })) {
      const bytes = encodeRolled(columns);
      const before = readEverything(bytes);
      let harmless = 0;
      for (let at = 0; at < bytes.length; at++) {
        const damaged = bytes.slice();
        damaged[at] = (damaged[at] ?? 0) ^ (1 << (at % 8));
        const code = codeOfThrown(() => {
          expect(readEverything(damaged)).toEqual(before);
          harmless++;
        });
        expect(code ?? 'rolled.damaged').toBe('rolled.damaged');
      }
      expect(harmless).toBe(0);
    }
  });

  test('loses one tag to damage in its section, and no other', () => {
    const columns = plant(40, false);
    const bytes = encodeRolled(columns);
    const whole = openRolled(bytes);
    const damaged = bytes.slice();
    damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 4;
    const block = openRolled(damaged);
    const failed = whole.tags.filter(({ tag }) => codeOfThrown(() => block.tag(tag)) !== undefined);
    expect(failed).toHaveLength(1);
    expect(codeOfThrown(() => block.all())).toBe('rolled.damaged');
  });

  test('says, wherever a byte is flipped, which tags do not open, and the others are as they were', () => {
    for (const columns of [...fc.sample(columnsOf, { numRuns: 3, seed: 7 }), plant(2, true)]) {
      const bytes = encodeRolled(columns);
      const rows = rowsOf(columns);
      const whole = openRolled(bytes);
      const sectionsAt = bytes.length - whole.tags.reduce((sum, _, at) => sum + sizeOf(whole, at), 0);
      const step = Math.max(1, Math.floor((bytes.length - sectionsAt) / 30));
      for (let at = sectionsAt; at < bytes.length; at += step) {
        const damaged = bytes.slice();
        damaged[at] = (damaged[at] ?? 0) ^ (1 << (at % 8));
        const block = openRolled(damaged);
        const broken = block.broken();
        expect([...broken]).toEqual(tagsAt(whole, at - sectionsAt));
        const left = withoutTags(block, broken);
        expect(left === undefined).toBe(broken.size === whole.tags.length);
        if (left === undefined) continue;
        const sound = openRolled(left.bytes).all();
        expect(rowsOf(sound)).toEqual(rows.filter(({ tag }) => !broken.has(tag)));
      }
    }
  });

  test('without some of its tags is what it would have been, numbers and all, and a part of a tag is that part', () => {
    fc.assert(
      fc.property(columnsOf, fc.func(fc.boolean()), fc.nat(), fc.nat(), (columns, isGone, a, b) => {
        const block = openRolled(encodeRolled(columns));
        const gone = new Set(columns.tags.flatMap(({ tag }) => (isGone(tag) ? [tag] : [])));
        const left = withoutTags(block, gone);
        const kept = subtract(rangesOf(columns), numbersOfTags(columns, gone));
        const expected = selectRows(columns, kept);
        expect(left === undefined).toBe(expected === undefined);
        if (left !== undefined && expected !== undefined) {
          const all = openRolled(left.bytes).all();
          expect(rowsOf(all)).toEqual(rowsOf(expected));
          expect([...rowNumbers(all)]).toEqual([...rowNumbers(expected)]);
        }
        const [from, to] = [1 + (Math.min(a, b) % columns.rows), 1 + (Math.max(a, b) % columns.rows)];
        const some = from <= to ? selectRows(columns, [{ from, to }]) : undefined;
        for (const { tag } of columns.tags) {
          const mine = block.tagWithin(tag, { from, to });
          const wanted = some === undefined ? [] : rowsOf(some).filter((row) => row.tag === tag);
          expect(mine === undefined ? [] : rowsOf(mine)).toEqual(wanted);
        }
      }),
      { numRuns: 40 },
    );
  });

  test('is an error wherever it is cut off or goes on', () => {
    for (const columns of fc.sample(columnsOf, { numRuns: 3, seed: 6 })) {
      const bytes = encodeRolled(columns);
      for (let length = 0; length < bytes.length; length++)
        expect(codeOfThrown(() => openRolled(bytes.subarray(0, length)))).toBe('rolled.damaged');
      expect(codeOfThrown(() => openRolled(new Uint8Array([...bytes, 0])))).toBe('rolled.damaged');
    }
  });

  test('is an error of ours or a block of its rows when someone mends the checksums', () => {
    const change = fc.record({ at: fc.nat(), byte: fc.integer({ min: 0, max: 255 }) });
    fc.assert(
      fc.property(columnsOf, fc.array(change, { minLength: 1, maxLength: 3 }), (columns, changes) => {
        const bytes = encodeRolled(columns);
        for (const { at, byte } of changes) bytes[2 + (at % (bytes.length - 2))] = byte;
        const view = new DataView(bytes.buffer);
        const directoryEnd = 18 + view.getUint32(2);
        if (directoryEnd + 4 <= bytes.length) view.setUint32(directoryEnd, crc32c(bytes, 0, directoryEnd));
        const numbersEnd = directoryEnd + 4 + view.getUint32(10);
        if (numbersEnd + 4 <= bytes.length) view.setUint32(numbersEnd, crc32c(bytes, directoryEnd + 4, numbersEnd));
        const code = codeOfThrown(() => {
          const { all, numbers } = readEverything(bytes);
          expect(new Set(numbers).size).toBe(all.length);
        });
        expect(code ?? 'block.').toMatch(/^(rolled|block|wire|compress)\./);
      }),
      { numRuns: 1000 },
    );
  });

  test('is refused when it holds nothing or too much', () => {
    const columns = plant(1, false);
    expect(() => encodeRolled({ ...columns, rows: 0 })).toThrow(RangeError);
    expect(() => encodeRolled({ ...columns, rows: 65_537 })).toThrow(RangeError);
    expect(codeOfThrown(() => openRolled(new Uint8Array([1, 2, 3])))).toBe('rolled.damaged');
  });
});

test('a coded stream comes back, and stops where it ends', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 9, maxLength: 300 }),
    fc.array(fc.integer({ min: 0, max: 12 }), { minLength: 9, maxLength: 300 }).map((list) => Uint8Array.from(list)),
    fc.array(fc.constantFrom(0, 1, 255), { minLength: 9, maxLength: 300 }).map((list) => Uint8Array.from(list)),
    fc
      .record({ byte: fc.integer({ min: 0, max: 255 }), length: fc.integer({ min: 9, max: 500 }) })
      .map(({ byte, length }) => new Uint8Array(length).fill(byte)),
  );
  fc.assert(
    fc.property(bytes, (plain) => {
      const out = new Stream(1);
      const coding = writeCoded(out, plain);
      expect(out.length).toBeLessThanOrEqual(plain.length);
      out.u8(77);
      const cursor = new Cursor(out.bytes, 0, out.length);
      const back = readCoded(cursor, coding, plain.length);
      expect(back.bytes.subarray(back.at, back.end)).toEqual(plain);
      expect(cursor.u8()).toBe(77);
    }),
    { numRuns: 1000 },
  );
});

function plant(seconds: number, sharedTimes: boolean): BlockColumns {
  const { tag, timeMs, value, length } = plantTrace({ seconds, sharedTimes });
  const rows = length / seconds;
  const blocks = Array.from({ length: seconds }, (_, second) => {
    const [from, to] = [second * rows, (second + 1) * rows];
    const texts: string[] = [];
    const quality = new Uint8Array(rows);
    const columns = {
      tag: Uint32Array.from(tag.subarray(from, to)),
      timeMs: timeMs.slice(from, to),
      value: value.slice(from, to),
    };
    const kind = (number: number) => (plantTags[number]?.kind === 'state' ? 'bool' : 'number');
    return decodeBlock(encodeChunk({ length: rows, ...columns, quality, texts }, 1 + from, kind), limits);
  });
  return mergeBlocks(blocks);
}

test.each([
  { seconds: 131, shared: false, limit: 1.05 },
  { seconds: 33, shared: false, limit: 1.35 },
  { seconds: 10, shared: false, limit: 2 },
  { seconds: 131, shared: true, limit: 0.6 },
])(
  '$seconds s of the plant take at most $limit bytes a reading, all included (shared times: $shared)',
  ({ seconds, shared, limit }) => {
    const columns = plant(seconds, shared);
    const share = encodeRolled(columns).length / columns.rows;
    if (process.env.SHOW_SIZES) process.stderr.write(`${seconds} ${shared} ${share}\n`);
    expect(share).toBeLessThan(limit);
  },
);
