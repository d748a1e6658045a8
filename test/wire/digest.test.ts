import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeBlock, encodeChunk, joinBlocks, sliceBlock } from '../../src/wire/block.ts';
import { ContentDigest } from '../../src/wire/digest.ts';
import { anyRows, chunkOf, expectedRows, kindOf, type Row } from './arbitrary.ts';

const nameOf = (tag: number) => `tag/${tag}`;
const some = anyRows.map((rows) => rows.map((row) => ({ ...row, thinned: false })));
const block = (rows: readonly Row[], n0 = 1) => decodeBlock(encodeChunk(chunkOf(rows), n0, kindOf), { rowsMax: 1000 });
const digestOf = (...columns: readonly ReturnType<typeof block>[]) => {
  const digest = new ContentDigest();
  for (const one of columns) digest.addColumns(one, nameOf);
  return [...digest.result()];
};

test('is the same however the readings are cut, joined or sorted', () => {
  fc.assert(
    fc.property(some, some, fc.nat(100), (a, b, cut) => {
      const [first, second] = [block(a), block(b, a.length + 1)];
      const joined = joinBlocks([first, second]);
      const whole = digestOf(...joined);
      expect(digestOf(second, first)).toEqual(whole);
      const pieces = joined.flatMap((one) => [sliceBlock(one, 1, cut), sliceBlock(one, cut + 1, 1e6)]);
      expect(digestOf(...pieces.filter((piece) => piece !== undefined))).toEqual(whole);
      expect(digestOf(block([...a, ...b]))).toEqual(whole);
    }),
    { numRuns: 60 },
  );
});

test('row by row is the same as by columns', () => {
  fc.assert(
    fc.property(some, (rows) => {
      const digest = new ContentDigest();
      for (const { tag, timeBits, slot, quality } of expectedRows(rows)) {
        const time = new Float64Array(BigUint64Array.of(timeBits).buffer)[0] ?? 0;
        if (typeof slot === 'string') digest.addText(nameOf(tag), time, slot, quality);
        else digest.add(nameOf(tag), time, kindOf(tag), Number(slot & 0xffff_ffffn), Number(slot >> 32n), quality);
      }
      expect([...digest.result()]).toEqual(digestOf(block(rows)));
    }),
    { numRuns: 60 },
  );
});

test('differs when one reading is missing, doubled or changed in any part', () => {
  fc.assert(
    fc.property(some, fc.nat(), (rows, pick) => {
      const at = pick % rows.length;
      const row = rows[at];
      if (row === undefined) return;
      const whole = digestOf(block(rows));
      const without = rows.filter((_, i) => i !== at);
      if (without.length > 0) expect(digestOf(block(without))).not.toEqual(whole);
      expect(digestOf(block([...rows, row]))).not.toEqual(whole);
      expect(digestOf(block(rows.with(at, { ...row, timeMs: row.timeMs === 7 ? 8 : 7 })))).not.toEqual(whole);
      expect(
        digestOf(block(rows.with(at, { ...row, quality: row.quality === 1 ? 0x21 : 1 + (row.quality & 0x40) }))),
      ).not.toEqual(whole);
    }),
    { numRuns: 60 },
  );
});
