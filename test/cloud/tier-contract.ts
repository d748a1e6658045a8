/** What every tier promises. Run it on each: `tierContract('embedded', make)`. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Tier, TierBlock, TierReading } from '../../src/cloud/tier.ts';
import { Quality } from '../../src/reading.ts';
import { encodeBlock, selectRows } from '../../src/wire/block.ts';
import { CLASS } from '../../src/wire/classes.ts';
import { ContentDigest } from '../../src/wire/digest.ts';
import { tagIdHex } from '../../src/wire/tag.ts';
import { BOOT, block, columnsOf, polls, type Row, START_MS, TAGS } from './gateway.ts';

const DEVICE = 'd1'.repeat(16);
const RUN = 'a1'.repeat(16);
const ID = TAGS.map(tagIdHex);
const keys = ID.map((tag) => ({ device: DEVICE, tag }));
const [FLOW = '', ENERGY = '', PUMP = '', STATE = '', BALANCE = ''] = ID;
const key = (tag: string) => [{ device: DEVICE, tag }];
const HOUR_MS = 3_600_000;
const ALL = { fromMs: 0, toMs: START_MS + 1000 * HOUR_MS };
const NOW_MS = START_MS + HOUR_MS;

export function tierBlock(rows: readonly Row[], n0: number, more: Partial<TierBlock> = {}): TierBlock {
  const bytes = block(rows, n0);
  const columns = columnsOf(bytes);
  const tags = columns.tags.map(({ tag }) => ID[tag] ?? '');
  return { device: DEVICE, run: RUN, class: CLASS.normal, columns, bytes, tags, receivedMs: NOW_MS, ...more };
}

/** @param make a tier that holds nothing, and how to end it */
export function tierContract(name: string, make: () => Promise<{ tier: Tier; end: () => Promise<void> }>): void {
  describe(`the ${name} tier`, () => {
    let tier: Tier;
    let end: () => Promise<void>;
    beforeEach(async () => {
      ({ tier, end } = await make());
    });
    afterEach(() => end());

    const values = async (tag: string, span = ALL, limit = 1000) =>
      (await tier.range(key(tag), span, limit)).readings.map(({ value }) => value);

    const windows = async (tag: string, periodMs: number) => (await tier.windows([key(tag)], ALL, periodMs))[0];

    test('gives back every kind of value exactly, in order of time', async () => {
      await tier.apply([tierBlock(polls(3), 1)]);
      expect(await values(ENERGY)).toEqual([9_007_199_254_740_993n, 9_007_199_254_740_994n, 9_007_199_254_740_995n]);
      expect(await values(BALANCE)).toEqual([-1n, -2n, -3n]);
      expect(await values(PUMP)).toEqual([false, true, false]);
      expect(await values(STATE)).toEqual(['heating', 'idle', 'idle']);
      expect((await values(FLOW))[0]).toBe(20);
    });

    test('gives readings without a value as they are', async () => {
      await tier.apply([tierBlock([{ tag: 1, timeMs: START_MS, value: 0n, quality: Quality.commError }], 1)]);
      expect((await tier.range(key(ENERGY), ALL, 10)).readings).toEqual([
        { key: 0, timeMs: START_MS, value: null, quality: Quality.commError },
      ]);
    });

    test('includes the start of a span and not its end', async () => {
      await tier.apply([tierBlock(polls(10), 1)]);
      expect(await values(BALANCE, { fromMs: START_MS + 2000, toMs: START_MS + 5000 })).toEqual([-3n, -4n, -5n]);
    });

    test('gives the newest of what is too much, and pages backwards without a gap', async () => {
      // Late blocks, long ones, and one between the others.
      await tier.apply([tierBlock(polls(10, START_MS + 40_000), 201), tierBlock(polls(10), 1)]);
      await tier.apply([tierBlock([...polls(10, START_MS + 20_000), ...polls(1, START_MS - 48 * HOUR_MS)], 101)]);
      const pages: TierReading[][] = [];
      for (let toMs = ALL.toMs; ; ) {
        const { readings, truncated } = await tier.range(keys, { fromMs: 0, toMs }, 12);
        pages.unshift([...readings]);
        if (!truncated) break;
        toMs = readings[0]?.timeMs ?? 0;
      }
      const times = pages.flat().map(({ timeMs }) => timeMs);
      expect(times).toHaveLength(31 * 5);
      expect(times).toEqual([...times].sort((a, b) => a - b));
    });

    test('says which of several tags a reading is of', async () => {
      await tier.apply([tierBlock(polls(1), 1)]);
      const { readings } = await tier.range([...key(STATE), ...key(PUMP)], ALL, 10);
      expect(readings.map((reading) => [reading.key, reading.value])).toEqual([
        [0, 'heating'],
        [1, false],
      ]);
    });

    test('knows the latest by the time of the reading, whatever came last', async () => {
      await tier.apply([tierBlock(polls(3, START_MS + 60_000), 101)]);
      await tier.apply([tierBlock(polls(3), 1)]);
      const latest = await tier.latest([
        ...keys,
        { device: DEVICE, tag: '0'.repeat(32) },
        { device: '0'.repeat(32), tag: FLOW },
      ]);
      expect(latest.map((reading) => reading?.timeMs)).toEqual([
        ...Array(5).fill(START_MS + 62_000),
        undefined,
        undefined,
      ]);
      expect(latest.slice(1, 5).map((reading) => reading?.value)).toEqual([9_007_199_254_740_995n, false, 'idle', -3n]);
    });

    test('takes the higher number among readings of one time', async () => {
      const row = (value: number): Row => ({ tag: 0, timeMs: START_MS, value });
      await tier.apply([tierBlock([row(1), row(2)], 11), tierBlock([row(3)], 5)]);
      expect((await tier.latest(key(FLOW)))[0]?.value).toBe(2);
    });

    test('never lets what lies in the future hide the present', async () => {
      const at = (timeMs: number, value: number): Row => ({ tag: 0, timeMs, value });
      await tier.apply([tierBlock([at(NOW_MS + 299_000, 1), at(NOW_MS + 301_000, 2)], 1)]);
      expect((await tier.latest(key(FLOW)))[0]?.value).toBe(1);
      expect(await values(FLOW)).toEqual([1, 2]);
    });

    test('aggregates whole windows of any period', async () => {
      await tier.apply([tierBlock(polls(90, START_MS + 30_000), 1)]);
      const found = await windows(BALANCE, 60_000);
      expect(found).toEqual([
        {
          startMs: START_MS,
          count: 30,
          good: 30,
          min: -30n,
          max: -1n,
          mean: -15.5,
          first: -1n,
          last: -30n,
          aggregated: 0,
        },
        {
          startMs: START_MS + 60_000,
          count: 60,
          good: 60,
          min: -90n,
          max: -31n,
          mean: -60.5,
          first: -31n,
          last: -90n,
          aggregated: 0,
        },
      ]);
      expect(await windows(STATE, HOUR_MS)).toMatchObject([
        { count: 90, min: null, mean: null, first: 'heating', last: 'idle' },
      ]);
      expect(await windows(PUMP, HOUR_MS)).toMatchObject([{ min: 0, max: 1, mean: 0.5, last: true }]);
    });

    test('leaves readings without a value out of windows', async () => {
      const rows: Row[] = [
        { tag: 0, timeMs: START_MS, value: 4 },
        { tag: 0, timeMs: START_MS + 1, value: 8, quality: Quality.sourceUncertain },
        { tag: 0, timeMs: START_MS + 2, value: 0, quality: Quality.commError },
      ];
      await tier.apply([tierBlock(rows, 1)]);
      expect(await windows(FLOW, 1000)).toMatchObject([{ count: 2, good: 1, min: 4, mean: 6, last: 8 }]);
    });

    test('makes windows of what was rolled up and the raw rows outside of it, none twice', async () => {
      const rows: Row[] = [1, 2, 3, 4].map((value, i) => ({ tag: 0, timeMs: START_MS + i * 1000, value }));
      const columns = columnsOf(block(rows, 1));
      const late = selectRows(columns, [{ from: 2, to: 4 }]);
      if (late === undefined) throw new Error('rows 2 to 4 are there');
      await tier.apply([{ ...tierBlock(rows, 1), columns: late, bytes: encodeBlock(late) }]);
      const [ranges, times] = [
        [{ from: 1, to: 2 }],
        { startMs: START_MS, periodMs: 60_000, firstMs: START_MS, lastMs: START_MS + 1000 },
      ];
      await tier.addAggregate(
        DEVICE,
        {
          type: 'AGG',
          tag: FLOW,
          run: RUN,
          class: CLASS.normal,
          ranges,
          ...times,
          count: 2,
          good: 2,
          mean: 1.5,
          m2: 0.5,
          min: 1,
          max: 2,
          first: 1,
          last: 2,
        },
        NOW_MS,
      );
      expect(await windows(FLOW, 60_000)).toMatchObject([
        { count: 4, aggregated: 2, min: 1, max: 4, mean: 2.5, first: 1, last: 4 },
      ]);
    });

    test('knows the first and last of a window in which only some readings are summed up', async () => {
      // Raw: at 0 s and 50 s. Summed up: from 10 s to 20 s, in a minute that begins at 0 s.
      await tier.apply([
        tierBlock(
          [
            { tag: 0, timeMs: START_MS + 500, value: 7 },
            { tag: 0, timeMs: START_MS + 50_000, value: 8 },
          ],
          1,
        ),
      ]);
      const times = { startMs: START_MS, periodMs: 60_000, firstMs: START_MS + 10_000, lastMs: START_MS + 20_000 };
      const figures = { count: 2, good: 2, mean: 1.5, m2: 0.5, min: 1, max: 2, first: 1, last: 2 };
      const where = { run: RUN, class: CLASS.normal, ranges: [{ from: 3, to: 4 }] };
      await tier.addAggregate(DEVICE, { type: 'AGG', tag: FLOW, ...where, ...times, ...figures }, NOW_MS);
      expect(await windows(FLOW, 60_000)).toMatchObject([{ count: 4, aggregated: 2, first: 7, last: 8 }]);
    });

    test('reads all of a long span in order, in parts, with what is dense and what is far apart', async () => {
      const rows = [...polls(2), ...polls(50_000, START_MS + 30 * 24 * HOUR_MS)];
      for (let i = 0; i < rows.length; i += 5000) await tier.apply([tierBlock(rows.slice(i, i + 5000), 1 + i)]);
      const seen: number[] = [];
      let parts = 0;
      for await (const part of tier.scan([...key(FLOW), ...key(ENERGY)], { fromMs: 0, toMs: START_MS + 1e12 })) {
        parts++;
        expect(part.length).toBeLessThanOrEqual(160_000);
        for (const { timeMs } of part) seen.push(timeMs);
      }
      expect(parts).toBeGreaterThan(2);
      expect(seen).toHaveLength(100_004);
      expect(seen).toEqual([...seen].sort((a, b) => a - b));
    });

    test('makes windows of several tags in one go, each of its own readings', async () => {
      await tier.apply([tierBlock(polls(10), 1)]);
      const found = await tier.windows([key(BALANCE), [], [...key(PUMP), ...key('0'.repeat(32))]], ALL, HOUR_MS);
      expect(found).toMatchObject([[{ count: 10, min: -10n }], [], [{ count: 10, max: 1 }]]);
    });

    test.each(['before', 'after'])(
      'corrects rows of an unset clock that come %s the correction, once',
      async (when) => {
        const offset = START_MS - 5000;
        const rows: Row[] = [{ tag: 0, timeMs: 5000, value: 1, quality: Quality.clockUnsynced }];
        const apply = () => tier.apply([tierBlock(rows, 1, { unsyncedBoot: BOOT })]);
        if (when === 'before') await apply();
        await tier.correctClock(DEVICE, BOOT, offset);
        if (when === 'after') await apply();
        await tier.correctClock(DEVICE, BOOT, 1);
        const { readings } = await tier.range(key(FLOW), { fromMs: START_MS, toMs: START_MS + 1 }, 10);
        expect(readings).toMatchObject([{ timeMs: START_MS, value: 1, quality: Quality.good }]);
        expect((await tier.latest(key(FLOW)))[0]?.timeMs).toBe(START_MS);
        expect((await tier.range(key(FLOW), { fromMs: 0, toMs: START_MS }, 10)).readings).toEqual([]);
      },
    );

    test('digests the content, whatever order it came in', async () => {
      const all = columnsOf(block(polls(50), 1));
      const expected = new ContentDigest();
      expected.addColumns(all, (tag) => TAGS[tag]?.name);
      const parts = [
        { from: 101, to: 250 },
        { from: 1, to: 100 },
      ].map((range) => selectRows(all, [range]));
      for (const columns of parts) {
        if (columns === undefined) throw new Error('rows are there');
        const tags = columns.tags.map(({ tag }) => ID[tag] ?? '');
        await tier.apply([{ ...tierBlock(polls(1), 1), columns, bytes: encodeBlock(columns), tags }]);
      }
      const nameOf = (id: string) => TAGS[ID.indexOf(id)]?.name ?? id;
      expect(await tier.digest(DEVICE, nameOf)).toEqual(expected.result());
      expect((await tier.digest('0'.repeat(32), nameOf)).size).toBe(0);
    });

    test('gives up a long query when told to', async () => {
      const rows = polls(4000);
      for (let i = 0; i < 15; i++) await tier.apply([tierBlock(rows, 1 + i * rows.length)]);
      const gone = AbortSignal.abort(new Error('gone'));
      await expect(tier.windows([key(FLOW)], ALL, 1000, gone)).rejects.toThrow('gone');
    });
  });
}
