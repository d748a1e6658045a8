import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { BACKOFF_MS_MAX, fullJitterMs, RETRY_AFTER_MS_MAX, retryAfterMs } from '../../src/uplink/backoff.ts';

const NOW_MS = Date.UTC(2026, 5, 1, 12, 0, 0);
const dateIn = (ms: number) => new Date(NOW_MS + ms).toUTCString();

describe('back-off', () => {
  test('spreads over the whole of a doubling interval and never passes five minutes', () => {
    expect(fullJitterMs(1, 0)).toBe(0);
    expect(fullJitterMs(1, 0.999_999)).toBe(1000);
    expect(fullJitterMs(4, 0.5)).toBe(4000);
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 100_000 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (failures, random) => {
          const delayMs = fullJitterMs(failures, random);
          expect(delayMs).toBeGreaterThanOrEqual(0);
          expect(delayMs).toBeLessThanOrEqual(BACKOFF_MS_MAX);
        },
      ),
    );
  });
});

describe('Retry-After', () => {
  test.each([
    ['120', 120_000],
    [' 5 ', 5000],
    ['999999999', RETRY_AFTER_MS_MAX],
    ['1e9', undefined],
    ['-5', undefined],
    ['0', undefined],
    ['', undefined],
    ['soon', undefined],
    ['1.5', undefined],
    ['0x10', undefined],
    [undefined, undefined],
    [dateIn(30_000), 30_000],
    [dateIn(86_400_000), RETRY_AFTER_MS_MAX],
    [dateIn(-30_000), undefined],
    ['Sun, 99 Foo 2026 99:99:99 GMT', undefined],
  ])('%p is read as %p ms', (header, expected) => {
    expect(retryAfterMs(header, undefined, NOW_MS)).toBe(expected);
  });

  test("takes a date relative to the answer's own date, whatever the box believes", () => {
    expect(retryAfterMs(dateIn(30_000), dateIn(10_000), 0)).toBe(20_000);
  });

  test('any text gives nothing or a wait of at most an hour', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (header, date) => {
        const delayMs = retryAfterMs(header, date, NOW_MS) ?? 1;
        expect(delayMs).toBeGreaterThan(0);
        expect(delayMs).toBeLessThanOrEqual(RETRY_AFTER_MS_MAX);
      }),
    );
  });
});
