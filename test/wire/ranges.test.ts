import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ByteReader, ByteWriter } from '../../src/wire/bytes.ts';
import {
  add,
  contains,
  containsRange,
  count,
  decodeRanges,
  encodeRanges,
  intersect,
  parseRanges,
  type RangeSet,
  range,
  rangeSet,
  subtract,
  union,
} from '../../src/wire/ranges.ts';
import { codeOfThrown } from './arbitrary.ts';

const MAX = Number.MAX_SAFE_INTEGER;
const anyRange = fc.tuple(fc.integer({ min: 1, max: 60 }), fc.nat(12)).map(([from, more]) => range(from, from + more));
const anyRanges = fc.array(anyRange, { maxLength: 12 });

function model(ranges: Iterable<{ from: number; to: number }>): Set<number> {
  const out = new Set<number>();
  for (const { from, to } of ranges) for (let n = from; n <= to; n++) out.add(n);
  return out;
}

/** The only form a set has: sorted, apart, without touching. */
function requireNormal(set: RangeSet): void {
  let end = -1;
  for (const { from, to } of set) {
    expect(from).toBeGreaterThan(end + 1);
    expect(to).toBeGreaterThanOrEqual(from);
    end = to;
  }
}

function requireSame(set: RangeSet, expected: Set<number>): void {
  requireNormal(set);
  expect([...model(set)]).toEqual([...expected].sort((a, b) => a - b));
  expect(count(set)).toBe(expected.size);
}

describe('a set of rows', () => {
  test('behaves as a set of numbers under add, union, subtract and intersect', () => {
    fc.assert(
      fc.property(anyRanges, anyRanges, anyRange, (left, right, one) => {
        const [a, b] = [rangeSet(left), rangeSet(right)];
        const [ma, mb] = [model(left), model(right)];
        requireSame(a, ma);
        requireSame(add(a, one), new Set([...ma, ...model([one])]));
        requireSame(left.reduce<RangeSet>(add, []), ma);
        requireSame(union(a, b), new Set([...ma, ...mb]));
        requireSame(subtract(a, b), new Set([...ma].filter((n) => !mb.has(n))));
        requireSame(subtract(a, one), new Set([...ma].filter((n) => n < one.from || n > one.to)));
        requireSame(intersect(a, b), new Set([...ma].filter((n) => mb.has(n))));
        requireSame(intersect(a, one), new Set([...ma].filter((n) => n >= one.from && n <= one.to)));
      }),
      { numRuns: 200 },
    );
  });

  test('knows what it contains', () => {
    fc.assert(
      fc.property(anyRanges, anyRange, (ranges, one) => {
        const set = rangeSet(ranges);
        const numbers = model(ranges);
        for (let n = 0; n < 80; n++) expect(contains(set, n)).toBe(numbers.has(n));
        expect(containsRange(set, one)).toBe([...model([one])].every((n) => numbers.has(n)));
      }),
      { numRuns: 50 },
    );
  });

  test('grows to one range when rows come in order', () => {
    let set: RangeSet = [];
    for (let n = 1; n <= 1000; n += 10) set = add(set, range(n, n + 9));
    expect(set).toEqual([{ from: 1, to: 1000 }]);
  });

  test('comes back from its bytes and from JSON', () => {
    const far = anyRanges.map((ranges) =>
      rangeSet(ranges.map(({ from, to }) => ({ from: from * 1e12, to: to * 1e12 }))),
    );
    fc.assert(
      fc.property(fc.oneof(anyRanges.map(rangeSet), far, fc.constant([{ from: 1, to: MAX }])), (set) => {
        const writer = new ByteWriter();
        encodeRanges(writer, set);
        expect(decodeRanges(new ByteReader(writer.take()))).toEqual(set);
        expect(parseRanges(JSON.parse(JSON.stringify(set)))).toEqual(set);
      }),
    );
  });

  test('is refused from bytes when ranges touch, are too many, too large or cut off', () => {
    const read = (writer: ByteWriter, max?: number) =>
      codeOfThrown(() => decodeRanges(new ByteReader(writer.take()), max));
    const two = () => new ByteWriter().varint(2).varint(4).varint(0);
    expect(read(two().varint(0).varint(0))).toBe('wire.malformed');
    expect(read(two().varint(1).varint(0), 1)).toBe('wire.count_too_large');
    expect(read(two().varint(1).varint(MAX))).toBe('wire.number_too_large');
    expect(read(two().varint(MAX).varint(0))).toBe('wire.number_too_large');
    expect(read(two())).toBe('wire.truncated');
    expect(read(new ByteWriter().varint(90_000))).toBe('wire.truncated');
  });

  test('is refused from JSON unless strictly ascending and apart', () => {
    const refused: unknown[] = [
      null,
      {},
      [[1, 2]],
      [{ from: 0, to: 1 }],
      [{ from: 2, to: 1 }],
      [{ from: 1.5, to: 2 }],
      [{ from: 1, to: 2 ** 53 }],
      [{ from: 1, to: 2, more: 1 }],
      [
        { from: 1, to: 2 },
        { from: 3, to: 4 },
      ],
    ];
    for (const value of refused) expect(codeOfThrown(() => parseRanges(value))).toBe('wire.malformed');
    expect(() => range(0, 1)).toThrow(RangeError);
  });
});
