// While the disk fills, low-priority polls slow down: skipped and counted, never queued, and nobody else's.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Schedule } from '../../src/ingest/schedule.ts';
import { FakeDevice, Surroundings } from './fake-source.ts';

describe('a slowed schedule', () => {
  test('reads low groups at every so many-th point of their grid, whenever it is asked, and all others as ever', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(1, 2, 4, 8),
        fc.integer({ min: 10, max: 5000 }),
        fc.array(fc.double({ min: 1, max: 20_000, noNaN: true }), { minLength: 1, maxLength: 60 }),
        (slowdown, everyMs, waits) => {
          const groups = [
            { id: 0, unit: 'u', everyMs, isLow: true },
            { id: 1, unit: 'u', everyMs },
          ];
          const schedule = new Schedule('plc', groups, 0);
          const plain = new Schedule('plc', groups, 0);
          const lowAt: number[] = [];
          let [nowMs, taken, skipped] = [0, 0, 0];
          let [takenPlain, skippedPlain] = [0, 0];
          for (const wait of waits) {
            nowMs += wait;
            const due = schedule.take(nowMs, slowdown);
            const asEver = plain.take(nowMs);
            expect(due.groups.includes(1)).toBe(asEver.groups.includes(1));
            if (due.groups.includes(0)) lowAt.push(nowMs);
            taken += due.groups.length;
            skipped += due.skipped;
            takenPlain += asEver.groups.length;
            skippedPlain += asEver.skipped;
          }
          // Every point of the grid is read or counted.
          expect(taken + skipped).toBe(takenPlain + skippedPlain);
          const longest = Math.max(...waits);
          lowAt.forEach((at, i) => {
            expect(at - (lowAt[i - 1] ?? at)).toBeLessThanOrEqual(slowdown * everyMs + longest + 1);
          });
        },
      ),
    );
  });
});

describe('a source while the disk fills', () => {
  const source = (device: FakeDevice) =>
    device.source('plc', [
      { unit: 'slow', everyMs: 1000, tags: ['a', 'b'], low: ['a', 'b'] },
      { unit: 'mixed', everyMs: 1000, tags: ['c', 'd'], low: ['c'] },
      { unit: 'normal', everyMs: 1000, tags: ['e'] },
    ]);

  test.each([2, 4, 8])(
    'reads groups that are all of low priority %d times less often, and back at once',
    async (by) => {
      const around = new Surroundings();
      const device = new FakeDevice(around.clock);
      const ingest = around.run(source(device));
      await around.pass(2000);
      const reads = (group: number) => device.rounds.filter(({ groups }) => groups.includes(group)).length;
      expect(ingest.slowable().map((index) => around.registry.get(index)?.definition.name)).toEqual(['plc/a', 'plc/b']);
      const before = [reads(0), reads(1), reads(2)];
      const skippedBefore = ingest.states()[0]?.skipped ?? 0;
      around.slowdown = by;
      await around.pass(16_000);
      const slowed = [reads(0), reads(1), reads(2)].map((count, at) => count - (before[at] ?? 0));
      expect(slowed).toEqual([16 / by, 16, 16]);
      expect((ingest.states()[0]?.skipped ?? 0) - skippedBefore).toBe(16 - 16 / by);
      around.slowdown = 1;
      await around.pass(3000);
      expect(reads(0) - (before[0] ?? 0) - 16 / by).toBe(3);
      await ingest.stop();
    },
  );
});
