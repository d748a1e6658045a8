import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { covers, matches } from '../../src/hmi/filters.ts';

const level = fc.constantFrom('a', 'b', '');
const topic = fc.array(level, { minLength: 1, maxLength: 4 });
const filter = fc
  .tuple(fc.array(fc.constantFrom('a', 'b', '', '+'), { maxLength: 4 }), fc.boolean())
  .map(([levels, open]) => (open || levels.length === 0 ? [...levels, '#'] : levels));

describe('hmi filters', () => {
  test('a filter that covers another asks for all that the other asks for', () => {
    fc.assert(
      fc.property(filter, filter, topic, (allowed, wanted, asked) => {
        if (covers(allowed, wanted) && matches(wanted, asked)) expect(matches(allowed, asked)).toBe(true);
      }),
      { numRuns: 5000 },
    );
  });

  test('# covers everything, every filter covers itself, and nothing narrower covers #', () => {
    fc.assert(
      fc.property(filter, (any) => {
        expect(covers(['#'], any)).toBe(true);
        expect(covers(any, any)).toBe(true);
        if (any[0] !== '#') expect(covers(any, ['#'])).toBe(false);
      }),
    );
  });

  test('matches as the standard says, parents of # included', () => {
    const match = (left: string, right: string) => matches(left.split('/'), right.split('/'));
    expect(match('sport/#', 'sport')).toBe(true);
    expect(match('sport/+', 'sport')).toBe(false);
    expect(match('sport/+', 'sport/')).toBe(true);
    expect(match('+/b', '$SYS/b')).toBe(false);
  });
});
