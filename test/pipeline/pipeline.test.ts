import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SluiceError } from '../../src/errors.ts';
import { Quality, THINNED } from '../../src/reading.ts';
import { chunkOf, Plant, START_MS } from './plant.ts';

describe('what passes', () => {
  test('reaches hot values, the HMI and the cache, in order, small chunks joined into one append', () => {
    const plant = new Plant();
    const [a, b] = [plant.tag('a'), plant.tag('b', 'text')];
    plant.push({ tag: a, value: 1 }, { tag: b, value: 'open' });
    plant.push({ tag: b, value: 'shut' }, { tag: b, value: 'open' }, { tag: a, value: 2 });
    expect(plant.cache.appends).toHaveLength(0);
    plant.flush();
    expect(plant.cache.appends).toHaveLength(1);
    expect(plant.cache.rows()).toMatchObject([
      { tag: a, value: 1 },
      { text: 'open' },
      { text: 'shut' },
      { text: 'open' },
      { tag: a, value: 2 },
    ]);
    expect(plant.hot.map(({ tag }) => tag)).toEqual([a, b, b, b, a]);
    expect(plant.shown).toEqual([
      [a, b],
      [b, b, a],
    ]);
    expect(plant.cache.ledger()).toEqual({ received: 5, rejected: 0, duplicate: 0, thinned: 0, accepted: 5 });
  });

  test('goes as it comes when it is big, behind what waited', () => {
    const plant = new Plant();
    const a = plant.tag('a');
    plant.push({ tag: a, value: 7 });
    plant.pipeline.push('plc', chunkOf(5_000));
    expect(plant.cache.appends.map(({ chunk }) => chunk?.length)).toEqual([1, 5_000]);
    expect(plant.cache.ledger()).toMatchObject({ accepted: 5_001 });
  });

  test('is handed over before it is called durable', async () => {
    const plant = new Plant();
    plant.push({ tag: plant.tag('a'), value: 1 });
    await plant.pipeline.durable();
    expect([plant.cache.appends.length, plant.cache.commits]).toEqual([1, 1]);
  });

  test('keeps receipts in the append of its readings, and releases in the order of the calls', () => {
    const plant = new Plant();
    const receipt = { source: 'plc', packetId: 1, digest: 'aa' };
    plant.tag('a');
    plant.pipeline.push('plc', chunkOf(2), [receipt]);
    plant.pipeline.releaseReceipts('plc', [1]);
    plant.pipeline.clearReceipts('plc');
    plant.flush();
    expect(plant.cache.appends.map(({ receipts, chunk }) => [receipts, chunk?.length])).toEqual([
      [{ add: [receipt], release: [], clear: [] }, 2],
      [{ add: [], release: [{ source: 'plc', packetIds: [1] }], clear: [] }, undefined],
      [{ add: [], release: [], clear: ['plc'] }, undefined],
    ]);
  });

  test('keeps the bits of 64-bit integers, also when rows before them are rejected', () => {
    const plant = new Plant();
    const [counter, other] = [plant.tag('counter', 'int64'), plant.tag('other')];
    plant.push({ tag: other, value: Number.NaN }, { tag: counter, value: -1n }, { tag: counter, value: -(2n ** 63n) });
    plant.flush();
    const [append] = plant.cache.appends;
    const value = append?.chunk?.value ?? new Float64Array(0);
    expect([...new BigInt64Array(value.buffer, value.byteOffset, value.length)]).toEqual([-1n, -(2n ** 63n)]);
  });
});

describe('what is refused', () => {
  test.each([
    ['a value that is not a number', 'float64', {}, Number.NaN, {}, 'not_a_number', '"NaN"'],
    ['infinity', 'float64', {}, Number.POSITIVE_INFINITY, {}, 'not_a_number', '"Infinity"'],
    ['a value above max', 'float64', { max: 100 }, 101, {}, 'out_of_range', '101'],
    ['a value below min', 'float32', { min: -5 }, -5.5, {}, 'out_of_range', '-5.5'],
    ['what the type cannot hold', 'uint16', {}, 65_536, {}, 'out_of_range', '65536'],
    ['a fraction for a whole number', 'int32', {}, 0.5, {}, 'wrong_type', '0.5'],
    ['a bool that is two', 'bool', {}, 2, {}, 'out_of_range', '2'],
    ['a counter above max', 'uint64', { max: 10 }, 2n ** 64n - 1n, {}, 'out_of_range', '"18446744073709551615"'],
    ['a time in 1970', 'float64', {}, 1, { timeMs: 1000 }, 'time_too_old', '1'],
    ['a time an hour ahead', 'float64', {}, 1, { timeMs: START_MS + 3_600_000 }, 'time_in_future', '1'],
    ['a time that is none', 'float64', {}, 1, { timeMs: Number.NaN }, 'time_not_a_number', '1'],
    ['a quality that is none', 'float64', {}, 1, { quality: 0x7f }, 'bad_quality_byte', 'null'],
  ] as const)('%s is a dead letter with its reason and original', (_, type, fields, value, more, reason, original) => {
    const plant = new Plant();
    const [tag, good] = [plant.tag('a', type, fields), plant.tag('good')];
    plant.push({ tag: good, value: 1 }, { tag, value, ...more }, { tag: good, value: 2 });
    plant.flush();
    expect(plant.cache.letters()).toEqual([
      { subject: 'plc/a', reason, original: expect.stringContaining(`"value":${original}`) },
    ]);
    expect(plant.cache.rows()).toMatchObject([
      { tag: good, value: 1 },
      { tag: good, value: 2 },
    ]);
    expect(plant.cache.ledger()).toMatchObject({ received: 3, rejected: 1, accepted: 2 });
    expect(plant.pipeline.rejections().get(reason)).toBe(1);
  });

  test('a time is judged only while the clock is set; before that, good becomes uncertain and says why', () => {
    const plant = new Plant();
    const a = plant.tag('a');
    plant.clock.step(-START_MS, false);
    plant.push(
      { tag: a, value: 1, timeMs: 5 },
      { tag: a, value: 2, timeMs: START_MS * 2 },
      { tag: a, value: 0, quality: Quality.commError },
    );
    plant.flush();
    expect(plant.cache.rows().map(({ quality }) => quality)).toEqual([
      Quality.clockUnsynced,
      Quality.clockUnsynced,
      Quality.commError,
    ]);
    expect(plant.cache.letters()).toEqual([]);
  });

  test('bad readings carry no value to judge', () => {
    const plant = new Plant();
    plant.push({ tag: plant.tag('a', 'float64', { min: 5 }), value: 0, quality: Quality.commError });
    expect(plant.flush().cache.ledger()).toMatchObject({ accepted: 1 });
  });

  test('a flood of bad input keeps a hundred originals a second, and counts the rest', () => {
    const plant = new Plant();
    plant.tag('a');
    plant.pipeline.push('plc', chunkOf(1_000, Number.NaN));
    for (let i = 0; i < 20; i++) plant.pipeline.reject('plc', 'topic', `{"n":${i}`, 'is no JSON');
    plant.clock.advance(1_000);
    plant.pipeline.reject('plc', 'topic', new Uint8Array(100_000), 'too long');
    plant.flush();
    expect(plant.cache.letters()).toHaveLength(101);
    expect(plant.cache.letters().at(-1)?.original).toHaveLength(65_536);
    expect(plant.cache.ledger()).toEqual({ received: 1_021, rejected: 1_021, duplicate: 0, thinned: 0, accepted: 0 });
  });

  test('when the cache is at its cap a chunk is refused whole and counted, and nothing that was taken is lost', () => {
    const plant = new Plant();
    const a = plant.tag('a');
    plant.push({ tag: a, value: 1 });
    plant.cache.uncommitted = plant.cache.uncommittedBytesMax;
    expect(plant.pipeline.pressed()).toBe(true);
    expect(plant.push({ tag: a, value: 2 })).toBe(false);
    plant.cache.uncommitted = 0;
    expect([plant.pipeline.pressed(), plant.push({ tag: a, value: 3 })]).toEqual([false, true]);
    plant.flush();
    expect(plant.cache.rows().map(({ value }) => value)).toEqual([1, 3]);
    expect(plant.cache.ledger()).toEqual({ received: 3, rejected: 1, duplicate: 0, thinned: 0, accepted: 2 });
  });

  test('a chunk for which there is no room is shown all the same: values and alarms do not wait for the disk', () => {
    const plant = new Plant();
    const a = plant.tag('a', 'float64', { alarm: { hi: { limit: 10 } }, deadband: 1 });
    plant.push({ tag: a, value: 1 });
    plant.cache.uncommitted = plant.cache.uncommittedBytesMax;
    expect(plant.push({ tag: a, value: 20 })).toBe(false);
    expect(plant.shownAlarms.map(([, state]) => state)).toEqual(['raised']);
    expect(plant.push({ tag: a, value: 0, quality: Quality.commError }, { tag: a, value: Number.NaN })).toBe(false);
    expect(plant.hot.map(({ quality }) => quality)).toEqual([Quality.good, Quality.good, Quality.commError]);
    expect(plant.shown).toHaveLength(3);
    plant.cache.uncommitted = 0;
    // The deadband goes by what is kept, not by what was refused.
    expect(plant.push({ tag: a, value: 20 })).toBe(true);
    plant.flush();
    expect(plant.cache.rows().map(({ value }) => value)).toEqual([1, 20]);
    expect(plant.cache.ledger()).toEqual({ received: 5, rejected: 3, duplicate: 0, thinned: 0, accepted: 2 });
    expect(plant.pipeline.rejections().get('no_room')).toBe(2);
  });

  test('a cache that is busy at the last moment gets it again, in order, with receipts not before their readings', () => {
    const plant = new Plant();
    const a = plant.tag('a');
    plant.push({ tag: a, value: 1 });
    plant.cache.isBusy = true;
    expect(plant.pipeline.push('plc', chunkOf(3_000, 2), [{ source: 'plc', packetId: 1, digest: 'aa' }])).toBe(true);
    expect(plant.push({ tag: a, value: 3 })).toBe(false);
    plant.flush();
    expect(plant.cache.appends).toHaveLength(0);
    plant.cache.isBusy = false;
    plant.flush();
    plant.push({ tag: a, value: 4 });
    plant.flush();
    expect(plant.cache.appends.map(({ chunk, receipts }) => [chunk?.length, receipts?.add?.length])).toEqual([
      [1, undefined],
      [3_000, 1],
      [1, undefined],
    ]);
    expect(plant.cache.ledger()).toEqual({ received: 3_003, rejected: 1, duplicate: 0, thinned: 0, accepted: 3_002 });
  });

  test('while the cache takes nothing, originals and repeats of alarms stay within bounds', () => {
    const plant = new Plant({ deadLetters: { perSecondMax: 10_000 } });
    const tag = plant.tag('t', 'float64', { alarm: { hi: { limit: 10 } } });
    plant.cache.isBusy = true;
    for (let i = 0; i < 200; i++) plant.pipeline.reject('plc', 'topic', new Uint8Array(65_536), 'is no JSON');
    for (let i = 0; i < 600; i++)
      plant.push(...Array.from({ length: 6 }, (_, at) => ({ tag, value: at % 2 === 0 ? 11 : 1 })));
    plant.cache.isBusy = false;
    plant.flush();
    expect(plant.cache.letters()).toHaveLength(64);
    expect(plant.cache.ledger()).toMatchObject({ received: 3_800, rejected: 200, accepted: 3_600 });
    expect(plant.cache.alarms().length).toBeLessThanOrEqual(10_000);
    expect(plant.cache.alarms().at(-1)).toMatchObject({ id: 'plc/t:hi', state: 'cleared' });
  });

  test('more alarms than the bound, all of them different, cost no more each, and none is lost', () => {
    const plant = new Plant();
    plant.cache.isBusy = true;
    const startedMs = performance.now();
    for (let i = 0; i < 25_000; i++) plant.pipeline.gatewayAlarm(`alarm ${i}`, true, 'of its own');
    // Going through all of them for each new one takes half a minute.
    expect(performance.now() - startedMs).toBeLessThan(5_000);
    for (let i = 0; i < 25_000; i++) plant.pipeline.gatewayAlarm(`alarm ${i}`, false, 'over');
    plant.cache.isBusy = false;
    plant.flush();
    expect(plant.cache.alarms().length).toBeLessThanOrEqual(50_000);
    expect(new Set(plant.cache.alarms().map(({ id }) => id)).size).toBe(25_000);
  });

  test('nothing is called durable while the cache has not taken it', async () => {
    const plant = new Plant();
    plant.push({ tag: plant.tag('a'), value: 1 });
    plant.cache.isBusy = true;
    let isDurable = false;
    const durable = plant.pipeline.durable().then(() => {
      isDurable = true;
    });
    plant.flush();
    await Promise.resolve();
    expect([isDurable, plant.cache.commits]).toEqual([false, 0]);
    plant.cache.isBusy = false;
    plant.flush();
    await durable;
    expect([plant.cache.appends.length, plant.cache.commits]).toEqual([1, 1]);
  });

  test('a cache that is closed makes nothing durable, takes nothing more, and throws nowhere else', async () => {
    const plant = new Plant();
    const a = plant.tag('a');
    plant.push({ tag: a, value: 1 });
    plant.cache.append = () => {
      throw new SluiceError('cache.closed', 'stop', 'the disk is broken');
    };
    plant.flush();
    await expect(plant.pipeline.durable()).rejects.toMatchObject({ code: 'cache.closed' });
    expect(plant.push({ tag: a, value: 2 })).toBe(false);
    await plant.pipeline.stop();
  });

  test('stopping waits for a busy cache, but not for ever', async () => {
    const plant = new Plant();
    plant.push({ tag: plant.tag('a'), value: 1 });
    plant.cache.isBusy = true;
    const stopped = plant.pipeline.stop();
    plant.clock.advance(3_000);
    await stopped;
    expect(plant.cache.appends).toHaveLength(0);
  });

  test('duplicates are counted as such', () => {
    const plant = new Plant();
    plant.pipeline.duplicate('plc');
    expect(plant.flush().cache.ledger()).toMatchObject({ received: 1, duplicate: 1 });
    expect(plant.pipeline.counts()).toEqual({ plc: { received: 1, rejected: 0, duplicate: 1, thinned: 0 } });
  });
});

test('the account adds up after every commit, whatever comes', () => {
  const reading = fc.record({
    tag: fc.integer({ min: 0, max: 4 }),
    value: fc.oneof(fc.double(), fc.constantFrom(0, 1, 2)),
    quality: fc.constantFrom(0, Quality.commError, Quality.sourceUncertain, 0x7f),
    timeMs: fc.constantFrom(START_MS, START_MS + 1, 0, START_MS * 3),
  });
  const action = fc.oneof(
    fc.array(reading, { maxLength: 8 }),
    fc.constantFrom('busy', 'free', 'wait', 'reject', 'duplicate', 'big'),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
      const plant = new Plant();
      plant.tag('plain');
      plant.tag('limited', 'float64', { min: -1, max: 1 });
      plant.tag('quiet', 'float64', { deadband: 0.5, maxSilence: '1s' });
      plant.tag('whole', 'int16');
      let sent = 0;
      for (const each of actions) {
        if (Array.isArray(each)) {
          sent += each.length;
          plant.push(...each);
        } else if (each === 'busy' || each === 'free') plant.cache.isBusy = each === 'busy';
        else if (each === 'wait') plant.clock.advance(500);
        else if (each === 'big') {
          sent += 1_500;
          plant.pipeline.push('plc', chunkOf(1_500));
        } else {
          sent++;
          if (each === 'duplicate') plant.pipeline.duplicate('plc');
          else plant.pipeline.reject('plc', 't', 'x', 'why');
        }
      }
      plant.cache.isBusy = false;
      void plant.pipeline.stop();
      expect(plant.cache.ledger().received).toBe(sent);
    }),
    { numRuns: 200 },
  );
});

describe('deadband', () => {
  const kept = (plant: Plant) => plant.cache.rows().filter(({ quality }) => (quality & THINNED) === 0);

  test('thins what moves less, keeps what moves more, and shows both to hot values and HMI', () => {
    const plant = new Plant();
    const a = plant.tag('a', 'float64', { deadband: 1 });
    for (const value of [10, 10.5, 9.5, 11, 11.5, 12.5, 12.5]) {
      plant.push({ tag: a, value });
      plant.clock.advance(1_000);
    }
    expect(kept(plant).map(({ value }) => value)).toEqual([10, 11, 12.5]);
    expect(plant.hot.map(({ value }) => value)).toEqual([10, 10.5, 9.5, 11, 11.5, 12.5, 12.5]);
    expect(plant.shown).toHaveLength(7);
    expect(plant.cache.ledger()).toMatchObject({ thinned: 4, accepted: 3 });
  });

  test('never lets the value move further unseen than the deadband, nor keep silent for longer than allowed', () => {
    const step = fc.record({
      value: fc.double({ min: -10, max: 10, noNaN: true }),
      waitMs: fc.integer({ min: -2_000, max: 5_000 }),
      isBad: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.double({ min: 0, max: 5, noNaN: true }), (steps, deadband) => {
        const plant = new Plant();
        const a = plant.tag('a', 'float64', { deadband, maxSilence: '10s' });
        let timeMs = START_MS;
        for (const { value, waitMs, isBad } of steps) {
          timeMs += waitMs;
          plant.push({ tag: a, value, timeMs, quality: isBad ? Quality.commError : 0 });
        }
        plant.flush();
        let last: { value: number; timeMs: number; quality: number } | undefined;
        for (const row of plant.cache.rows()) {
          const isThinned = (row.quality & THINNED) !== 0;
          const quality = row.quality & ~THINNED;
          if (!isThinned) {
            last = { ...row, quality };
            continue;
          }
          expect(quality).toBe(last?.quality);
          if (quality === 0) expect(Math.abs(row.value - (last?.value ?? Number.NaN))).toBeLessThanOrEqual(deadband);
          expect(row.timeMs - (last?.timeMs ?? 0)).toBeLessThan(10_000);
          expect(row.timeMs).toBeGreaterThanOrEqual(last?.timeMs ?? 0);
        }
      }),
    );
  });

  test('of 64-bit counters is exact where a float64 would not be', () => {
    const plant = new Plant();
    const a = plant.tag('a', 'uint64', { deadband: 2 });
    const high = 2n ** 63n;
    for (const value of [high, high + 1n, high + 2n, high + 3n, 2n ** 64n - 1n]) plant.push({ tag: a, value });
    plant.flush();
    expect(plant.cache.rows().map(({ quality }) => quality === 0)).toEqual([true, false, true, false, true]);
  });

  test('0 thins exact repeats; none keeps them', () => {
    const plant = new Plant();
    const [zero, none] = [plant.tag('zero', 'float64', { deadband: 0 }), plant.tag('none')];
    for (const value of [1, 1, 1.0001]) plant.push({ tag: zero, value }, { tag: none, value });
    plant.flush();
    expect(kept(plant).filter(({ tag }) => tag === zero)).toHaveLength(2);
    expect(kept(plant).filter(({ tag }) => tag === none)).toHaveLength(3);
  });
});
