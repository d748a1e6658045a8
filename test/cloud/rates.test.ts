// One gateway that sends too much, honest or not, costs the others nothing.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DeviceRates } from '../../src/cloud/rates.ts';
import { ManualClock, systemClock } from '../../src/runtime/clock.ts';
import { ANSWER_CODES } from '../../src/wire/answer.ts';
import { Stand } from './cloud.ts';
import { block, columnsOf, cut, Gateway, polls } from './gateway.ts';

describe('the share of a gateway', () => {
  test('is never exceeded by more than a burst and one batch, and always used when it waits as told', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100_000 }),
        fc.array(fc.record({ rows: fc.integer({ min: 1, max: 100_000 }), pauseMs: fc.nat(3000) }), { maxLength: 200 }),
        (perS, batches) => {
          const clock = new ManualClock();
          const rates = new DeviceRates({ deviceReadingsPerS: perS, deviceBytesPerS: 1e12 }, clock);
          const startMs = clock.monoMs();
          let taken = 0;
          let largest = 0;
          for (const { rows, pauseMs } of batches) {
            clock.advance(pauseMs);
            let waitS = rates.take('a', rows, 1);
            if (waitS !== undefined) {
              expect(waitS).toBeGreaterThanOrEqual(1);
              clock.advance(waitS * 1000 + 1);
              waitS = waitS < 3600 ? rates.take('a', rows, 1) : 0;
              if (waitS === 0) continue;
            }
            expect(waitS).toBeUndefined();
            taken += rows;
            largest = Math.max(largest, rows);
          }
          const seconds = (clock.monoMs() - startMs) / 1000;
          expect(taken).toBeLessThanOrEqual(perS * (seconds + 5) + largest);
        },
      ),
    );
  });

  test('is its own, and counts bytes as well as readings', () => {
    const clock = new ManualClock();
    const rates = new DeviceRates({ deviceReadingsPerS: 1e9, deviceBytesPerS: 1000 }, clock);
    expect(rates.take('a', 1, 7500)).toBeUndefined();
    expect(rates.take('a', 1, 1)).toBe(3);
    expect(rates.take('b', 1, 1)).toBeUndefined();
    clock.advance(2501);
    expect(rates.take('a', 1, 1)).toBeUndefined();
  });
});

describe('a receiver', () => {
  let stand: Stand;
  let other: Gateway;
  beforeEach(() => {
    stand = new Stand();
    other = new Gateway(stand.keys);
    stand.devices.push({ ...other.entry, name: 'line4' });
  });
  afterEach(() => stand.end());

  test('tells a gateway that sends too much to wait, under signature, and takes from another meanwhile', async () => {
    await stand.start({ clock: systemClock, limits: { deviceReadingsPerS: 100 } });
    const { gateway } = stand;
    expect(await stand.deliver(gateway.seal([gateway.readings(block(polls(200), 1))]))).toMatchObject({ name: 'ok' });
    const more = gateway.seal([gateway.readings(block(polls(2), 2001))]);
    const { status, headers, body } = await stand.post('/v1/batches', more);
    expect([status, gateway.verify(body, more).code]).toEqual([429, ANSWER_CODES.rate_limited]);
    // 1,000 readings where 500 may come at once and 100 a second after that.
    expect(Number(headers.get('retry-after'))).toBeGreaterThanOrEqual(4);
    expect(Number(headers.get('retry-after'))).toBeLessThanOrEqual(5);
    const theirs = other.seal([other.readings(block(polls(2), 1))]);
    expect(await stand.deliver(theirs, other)).toMatchObject({ name: 'ok' });
  });

  test('does not let whoever knows the id of a gateway use up its share or its place in the line', async () => {
    await stand.start({ clock: systemClock, limits: { waitingPerDeviceMax: 1, deviceReadingsPerS: 100 } });
    const { gateway } = stand;
    const forged = gateway.seal([gateway.readings(block(polls(400), 1))]);
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
    const flood = Array.from({ length: 40 }, () => stand.deliver(forged));
    const mine = stand.deliver(gateway.seal([gateway.readings(block(polls(2), 1))]));
    expect(await mine).toMatchObject({ name: 'ok' });
    for (const { name } of await Promise.all(flood)) expect(name).toBe('signature_invalid');
    expect(await stand.deliver(gateway.seal([gateway.readings(block(polls(2), 11))]))).toMatchObject({ name: 'ok' });
  });

  test('takes one of the others after each of a gateway that sends without a pause', async () => {
    await stand.start({ clock: systemClock });
    const { gateway } = stand;
    const all = columnsOf(block(polls(12_800), 1));
    const large = Array.from({ length: 8 }, (_, i) =>
      gateway.seal([gateway.readings(cut(all, [{ from: 1 + i * 8000, to: (i + 1) * 8000 }]))]),
    );
    const small = other.seal([other.readings(block(polls(2), 1))]);
    let done = 0;
    let over = false;
    const flood = large.map(async (envelope) => {
      for (; !over; done++) expect(await stand.deliver(envelope)).toMatchObject({ name: 'ok' });
    });
    await stand.deliver(large[0] ?? new Uint8Array());
    const waits: number[] = [];
    for (let i = 0; i < 5; i++) {
      const before = done;
      await stand.deliver(small, other);
      waits.push(done - before);
    }
    over = true;
    await Promise.all(flood);
    // In one line for all it would have waited for the eight that are there each time.
    expect(waits.sort((a, b) => a - b)[2]).toBeLessThan(6);
  });
});
