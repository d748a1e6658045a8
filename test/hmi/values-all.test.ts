import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { LiveView } from '../../src/hmi/live.ts';
import type { RememberedValue } from '../../src/hmi/remembered.ts';
import { ValueDesk } from '../../src/hmi/values.ts';
import type { PlainValue, ValueType } from '../../src/reading.ts';
import { Quality } from '../../src/reading.ts';

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
      const { type, unit } = tags[index] as Tag;
      return { name: names[index] as string, type, ...(unit === undefined ? {} : { unit }) };
    },
    indexOf: (name) => (names.includes(name) ? names.indexOf(name) : undefined),
    size: () => tags.length,
    read: (index) => tags[index]?.reading,
    isLive: () => true,
    remembered: (name) => remembered.get(name),
    allRemembered: () => remembered,
  };
}

test('all values at once say of each tag what it says when it is asked for by its name', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(tag, { maxLength: 20 }), async (tags) => {
      const view = viewOf(tags);
      const desk = new ValueDesk(view, async () => 'full');
      const alone = await desk.values(tags.map((_, index) => view.tag(index)?.name ?? ''));
      const noted = alone.map(({ note: _, ...fields }) => fields);
      expect(JSON.parse([...desk.all()].join(''))).toEqual(JSON.parse(JSON.stringify({ values: noted })));
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
  expect(pieces).toHaveLength(4);
  const { values } = JSON.parse(pieces.join(''));
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
