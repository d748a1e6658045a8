// Readings of one tag, gathered from blocks in whatever order they came.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { TagReadings } from '../../src/cache/windows/tag-readings.ts';

test('readings come out by time, and those of one time in the order they came', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(40), { maxLength: 300 }), (times) => {
      const readings = new TagReadings();
      times.forEach((timeMs, at) => {
        readings.push(timeMs, at, at % 256);
      });
      readings.sort();
      const sorted = times.map((timeMs, at) => ({ timeMs, at })).sort((a, b) => a.timeMs - b.timeMs || a.at - b.at);
      const { length } = readings;
      expect(Array.from(readings.times.subarray(0, length))).toEqual(sorted.map(({ timeMs }) => timeMs));
      expect(Array.from(readings.values.subarray(0, length))).toEqual(sorted.map(({ at }) => at));
      expect(Array.from(readings.qualities.subarray(0, length))).toEqual(sorted.map(({ at }) => at % 256));
      const from = sorted.findIndex(({ timeMs }) => timeMs >= 20);
      expect(readings.firstAt(20)).toBe(from < 0 ? times.length : from);
    }),
  );
});

test('readings that come after a sort are sorted in with it', () => {
  const readings = new TagReadings();
  for (const timeMs of [3, 1, 2]) readings.push(timeMs, timeMs, 0);
  readings.sort();
  for (const timeMs of [5, 0]) readings.push(timeMs, timeMs, 0);
  readings.sort();
  expect(Array.from(readings.times.subarray(0, readings.length))).toEqual([0, 1, 2, 3, 5]);
});
