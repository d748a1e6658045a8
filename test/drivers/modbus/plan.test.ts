import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { TABLES } from '../../../drivers/modbus/address.ts';
import { type Hole, planReads, type ReadLimits, type Span } from '../../../drivers/modbus/plan.ts';

const LIMITS: ReadLimits = { mergeGap: 10, wordsMax: 125, bitsMax: 2000 };
const at = (address: number, count = 1): Span => ({ table: 'holding', address, count });
const reads = (tags: Span[], limits = LIMITS, holes: Hole[] = []) =>
  planReads(tags, limits, holes).map(({ address, count }) => [address, count]);

describe('planning reads', () => {
  test('reads neighbours together, over a gap of ten registers and no more', () => {
    expect(reads([at(0), at(11)])).toEqual([[0, 12]]);
    expect(reads([at(0), at(12)])).toEqual([
      [0, 1],
      [12, 1],
    ]);
  });

  test('reads at most 125 registers and 2000 bits at a time', () => {
    expect(reads(Array.from({ length: 126 }, (_, i) => at(i)))).toEqual([
      [0, 125],
      [125, 1],
    ]);
    const coils = Array.from({ length: 2001 }, (_, i): Span => ({ table: 'coil', address: i, count: 1 }));
    expect(planReads(coils, LIMITS).map(({ count }) => count)).toEqual([2000, 1]);
  });

  test('keeps a value of several registers in one read', () => {
    expect(reads([at(0), at(123, 4)], { ...LIMITS, mergeGap: 125 })).toEqual([
      [0, 1],
      [123, 4],
    ]);
  });

  test('does not read across a hole, nor across a border that was refused', () => {
    expect(reads([at(0), at(5)], LIMITS, [{ table: 'holding', from: 2, to: 4 }])).toEqual([
      [0, 1],
      [5, 1],
    ]);
    expect(reads([at(0), at(1)], LIMITS, [{ table: 'holding', from: 1, to: 1 }])).toEqual([
      [0, 1],
      [1, 1],
    ]);
    expect(reads([at(0), at(5)], LIMITS, [{ table: 'input', from: 2, to: 4 }])).toEqual([[0, 6]]);
  });

  const span = fc.record({
    table: fc.constantFrom(...TABLES),
    address: fc.integer({ min: 0, max: 400 }),
    count: fc.integer({ min: 1, max: 4 }),
  });
  const limits = fc.record({
    mergeGap: fc.integer({ min: 0, max: 30 }),
    wordsMax: fc.integer({ min: 4, max: 125 }),
    bitsMax: fc.integer({ min: 4, max: 200 }),
  });
  const hole = fc.record({
    table: fc.constantFrom(...TABLES),
    from: fc.integer({ min: 0, max: 400 }),
    length: fc.integer({ min: 0, max: 5 }),
  });

  test('puts every tag into exactly one read, whole, within caps, gaps and holes', () => {
    fc.assert(
      fc.property(
        fc.array(span, { maxLength: 80 }),
        limits,
        fc.array(hole, { maxLength: 5 }),
        (tags, limit, rawHoles) => {
          const holes = rawHoles.map(({ table, from, length }) => ({ table, from, to: from + length }));
          const planned = planReads(tags, limit, holes);
          const covered = planned.flatMap((request) => request.tags);
          expect(covered.length).toBe(tags.length);
          expect(new Set(covered)).toEqual(new Set(tags));
          for (const { table, address, count, tags: inside } of planned) {
            expect(count).toBeLessThanOrEqual(
              table === 'coil' || table === 'discrete' ? limit.bitsMax : limit.wordsMax,
            );
            for (const tag of inside) {
              expect(tag.table).toBe(table);
              expect(tag.address).toBeGreaterThanOrEqual(address);
              expect(tag.address + tag.count).toBeLessThanOrEqual(address + count);
            }
            if (inside.length === 1) continue;
            for (const { table: where, from, to } of holes) {
              const crosses =
                from === to ? address < from && from < address + count : address < to && from < address + count;
              expect(where === table && crosses).toBe(false);
            }
          }
        },
      ),
    );
  });

  test('needs as few reads as any way to cut the sorted tags', () => {
    fc.assert(
      fc.property(fc.array(span, { maxLength: 40 }), limits, (tags, limit) => {
        for (const table of TABLES) {
          const inTable = tags.filter((tag) => tag.table === table);
          const cap = table === 'coil' || table === 'discrete' ? limit.bitsMax : limit.wordsMax;
          const planned = planReads(inTable, limit).length;
          expect(planned).toBe(fewest(inTable, cap, limit.mergeGap));
        }
      }),
    );
  });
});

/** By trying every cut. */
function fewest(tags: readonly Span[], cap: number, gap: number): number {
  const sorted = [...tags].sort((a, b) => a.address - b.address || a.count - b.count);
  const best = [0];
  for (let end = 1; end <= sorted.length; end++) {
    best[end] = Number.POSITIVE_INFINITY;
    for (let start = 0; start < end; start++) {
      const run = sorted.slice(start, end);
      const first = run[0]?.address ?? 0;
      let last = first;
      const isOne = run.every((tag) => {
        const isNear = tag.address - last <= gap;
        last = Math.max(last, tag.address + tag.count);
        return isNear;
      });
      if (isOne && last - first <= cap) best[end] = Math.min(best[end] ?? 0, (best[start] ?? 0) + 1);
    }
  }
  return best[sorted.length] ?? 0;
}
