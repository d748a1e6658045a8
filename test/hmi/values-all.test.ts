import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { LiveView } from '../../src/hmi/live.ts';
import type { RememberedValue } from '../../src/hmi/remembered.ts';
import { ValueDesk } from '../../src/hmi/values.ts';
import type { PlainValue, ValueType } from '../../src/reading.ts';
import { Quality } from '../../src/reading.ts';
import { markedBy } from './marks.ts';

interface Tag {
  readonly type: ValueType;
  readonly unit: string | undefined;
  readonly reading: { readonly value: PlainValue; readonly timeMs: number; readonly quality: number } | undefined;
}

const { good, stale, commError } = Quality;
const value = fc.oneof(
  fc.double(),
  fc.float(),
  fc.bigInt(),
  fc.boolean(),
  fc.string({ unit: 'binary' }),
  fc.constant(null),
);
const timeMs = fc.oneof(
  fc.double({ noNaN: true }),
  fc.double({ min: 1.7e12, max: 1.7e12 + 5000, noNaN: true }),
  fc.constantFrom(-0.5, -1, 0, 999.999, 8.64e15, -8.64e15, 8.64e15 + 1, Number.NaN, Number.POSITIVE_INFINITY),
);
const reading = fc.record({ value, timeMs, quality: fc.constantFrom(good, stale, commError) });
const tag: fc.Arbitrary<Tag> = fc.record({
  type: fc.constantFrom<ValueType>('float32', 'float64', 'int64', 'bool', 'text'),
  unit: fc.option(fc.string({ unit: 'binary' }), { nil: undefined }),
  reading: fc.option(reading, { nil: undefined }),
});

function viewOf(tags: readonly Tag[], remembered: Map<string, RememberedValue> = new Map()): LiveView {
  const names = tags.map((_, index) => `plc/${index} "°`);
  return {
    tag: (index) => {
      const about = tags[index];
      if (about === undefined) return undefined;
      const { type, unit } = about;
      return { name: names[index] as string, type, ...(unit === undefined ? {} : { unit }) };
    },
    indexOf: (name) => (names.includes(name) ? names.indexOf(name) : undefined),
    size: () => tags.length,
    read: (index) => tags[index]?.reading,
    mark: markedBy((index) => tags[index]?.reading),
    isLive: () => true,
    remembered: (name) => remembered.get(name),
    allRemembered: () => remembered,
  };
}

const textOf = (desk: ValueDesk) => Buffer.concat([...desk.all()].flat()).toString();

test('all values at once say of each tag what it says when it is asked for by its name', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(tag, { maxLength: 20 }), async (tags) => {
      const view = viewOf(tags);
      const desk = new ValueDesk(view, async () => 'full');
      const alone = await desk.values(tags.map((_, index) => view.tag(index)?.name ?? ''));
      const noted = alone.map(({ note: _, ...fields }) => fields);
      expect(JSON.parse(textOf(desk))).toEqual(JSON.parse(JSON.stringify({ values: noted })));
    }),
  );
});

test('values from before the start stand behind them, and many come in pieces that are one JSON', () => {
  const last = { timeMs: 1_700_000_000_000, quality: Quality.stale, value: 21.5 };
  const definition = { name: 'hall/temp', type: 'float64', unit: '°C' } as const;
  const remembered = new Map([['hall/temp', { ...last, id: '', definition }]]);
  const tags: Tag[] = Array.from({ length: 3500 }, (_, index) => ({
    type: 'float64',
    unit: undefined,
    reading: { value: index, timeMs: 1_700_000_000_000 + index, quality: good },
  }));
  const pieces = [...new ValueDesk(viewOf(tags, remembered), async () => 'full').all()];
  expect(pieces.length).toBeGreaterThanOrEqual(4);
  const { values } = JSON.parse(Buffer.concat(pieces.flat()).toString());
  expect(values).toHaveLength(3501);
  expect(values[3499]).toEqual({ tag: 'plc/3499 "°', v: 3499, t: '2023-11-14T22:13:23.499Z', q: 'good' });
  expect(values[3500]).toEqual({
    tag: 'hall/temp',
    v: 21.5,
    t: '2023-11-14T22:13:20.000Z',
    q: 'uncertain',
    r: 'stale',
    u: '°C',
  });
});

test('whoever asks again gets what is known then: changed, stale, forgotten and new tags, and what stayed as it was', async () => {
  const change = fc.record({ index: fc.nat({ max: 300 }), tag });
  await fc.assert(
    fc.asyncProperty(fc.array(tag, { maxLength: 300 }), fc.array(fc.array(change)), async (tags, rounds) => {
      const names = (index: number) => `plc/${index}`;
      const about = (index: number, { type, unit }: Tag) => ({
        ...{ name: names(index), type },
        ...(unit === undefined ? {} : { unit }),
      });
      const now = [...tags];
      const abouts = tags.map((each, index) => about(index, each));
      const view: LiveView = {
        ...viewOf(now),
        tag: (index) => abouts[index],
        indexOf: (name) => abouts.findIndex((each) => each.name === name),
      };
      const desk = new ValueDesk(view, async () => 'full');
      for (const changes of [[], ...rounds]) {
        for (const { index, tag: next } of changes) {
          if (index > now.length) continue;
          // Half of them are the same tag with another reading.
          if (index === now.length || index % 2 === 0) abouts[index] = about(index, next);
          now[index] = { ...(abouts[index] as Tag & { name: string }), unit: undefined, reading: next.reading };
        }
        const fresh = new ValueDesk(view, async () => 'full');
        expect(textOf(desk)).toBe(textOf(fresh));
        expect(JSON.parse(textOf(desk)).values).toHaveLength(now.length);
      }
    }),
    { numRuns: 50 },
  );
});
