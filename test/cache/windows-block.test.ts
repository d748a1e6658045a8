// Blocks of windows: every number comes back bit for bit, damage is seen, and windows take little room.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeWindows, encodeWindows } from '../../src/cache/windows/block.ts';
import { WindowRows } from '../../src/cache/windows/rows.ts';
import { settleWindow } from '../../src/cache/windows/scale.ts';
import { clearWindow, foldValue, W, WINDOW_NUMBERS } from '../../src/cache/windows/window.ts';

interface Row {
  readonly tag: number;
  readonly numbers: readonly number[];
}

function rowsOf(periodMs: number, rows: readonly Row[]): WindowRows {
  const all = new WindowRows(periodMs);
  for (const { tag, numbers } of rows) all.push(tag, Float64Array.from(numbers), 0);
  return all;
}

/** As the block orders them, each number as its bits. */
function bits(rows: readonly Row[]): string[] {
  return rows
    .map((row, at) => ({ ...row, at }))
    .sort((a, b) => a.tag - b.tag || (a.numbers[W.start] ?? 0) - (b.numbers[W.start] ?? 0) || a.at - b.at)
    .map(({ tag, numbers }) => `${tag} ${Buffer.from(Float64Array.from(numbers).buffer).toString('hex')}`);
}

function back(rows: WindowRows): string[] {
  return Array.from({ length: rows.length }, (_, row) => {
    const numbers = rows.numbers.slice(row * WINDOW_NUMBERS, (row + 1) * WINDOW_NUMBERS);
    return `${rows.tag[row]} ${Buffer.from(numbers.buffer).toString('hex')}`;
  });
}

const number = fc.oneof(
  fc.integer({ min: -3000, max: 3000 }),
  fc.integer({ min: -3000, max: 3000 }).map((value) => value / 10),
  fc.integer({ min: -(2 ** 52), max: 2 ** 52 }),
  fc.float({ noNaN: true }),
  fc.double(),
  fc.constantFrom(-0, 0, Number.NaN, Number.POSITIVE_INFINITY, Number.MAX_VALUE, Number.MIN_VALUE),
);
const PERIOD = 10_000;
const start = fc.oneof(
  fc.nat(50).map((i) => (178_000_000 + i) * PERIOD),
  fc.integer({ min: -(2 ** 45), max: 2 ** 45 }).map((i) => i * PERIOD),
);
/** Any numbers at all, but for the start, which is one of a window mostly. */
const anything: fc.Arbitrary<Row> = fc.record({
  tag: fc.oneof(fc.nat(5), fc.nat(2 ** 32 - 1)),
  numbers: fc
    .tuple(fc.oneof(start, number), fc.array(number, { minLength: WINDOW_NUMBERS - 1, maxLength: WINDOW_NUMBERS - 1 }))
    .map(([first, rest]) => [first, ...rest])
    // The order of rows whose start is no number is nobody's.
    .filter(([first = 0]) => !Number.isNaN(first)),
});

const value = fc.oneof(
  fc.integer({ min: -3000, max: 3000 }),
  fc.integer({ min: -3000, max: 3000 }).map((each) => each / 100),
  fc.float({ min: -100, max: 100, noNaN: true }),
  fc.double({ min: -1e9, max: 1e9, noNaN: true }),
);
/** What the accumulator makes, settled or not. */
const real: fc.Arbitrary<Row> = fc
  .record({
    tag: fc.nat(5),
    start,
    values: fc.array(fc.tuple(fc.nat(PERIOD - 1), value), { minLength: 1, maxLength: 30 }),
    bad: fc.nat(2),
    settled: fc.boolean(),
    flags: fc.nat(15),
  })
  .map(({ tag, start: startMs, values, bad, settled, flags }) => {
    const w = new Float64Array(WINDOW_NUMBERS);
    clearWindow(w, 0, startMs);
    let area = 0;
    for (const [offset, each] of values) {
      foldValue(w, 0, startMs + offset, each, offset % 3 > 0);
      area += each * 100;
    }
    w[W.total] = (w[W.total] ?? 0) + bad;
    w[W.area] = area;
    w[W.covered] = values.length * 100;
    w[W.flags] = flags;
    if (settled) settleWindow(w, 0, 255);
    return { tag, numbers: [...w] };
  });

describe('a block of windows', () => {
  test.each([
    ['of any numbers', anything],
    ['of readings', real],
  ])('comes back bit for bit, %s', (_, row) => {
    fc.assert(
      fc.property(fc.array(row, { maxLength: 40 }), (rows) => {
        expect(back(decodeWindows(encodeWindows(rowsOf(PERIOD, rows))))).toEqual(bits(rows));
      }),
      { numRuns: 500 },
    );
  });

  test('with a flipped bit, or cut, is refused', () => {
    fc.assert(
      fc.property(fc.array(real, { minLength: 1, maxLength: 20 }), fc.nat(), fc.boolean(), (rows, place, cut) => {
        const stored = encodeWindows(rowsOf(PERIOD, rows));
        const at = place % stored.length;
        const damaged = cut ? stored.slice(0, at) : stored.slice();
        if (!cut) damaged[at] = (damaged[at] ?? 0) ^ (1 << (place % 8));
        expect(() => {
          const found = back(decodeWindows(damaged));
          // Bits behind the end of the compressed stream mean nothing.
          if (!cut && found.join() === bits(rows).join()) throw new Error('equal');
        }).toThrow();
      }),
      { numRuns: 300 },
    );
  });
});
