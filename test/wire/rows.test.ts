import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { VALUE_TYPES } from '../../src/reading.ts';
import {
  type AggregateRow,
  type AlarmRow,
  type ControlRow,
  parseAggregate,
  parseAlarm,
  parseControl,
} from '../../src/wire/control.ts';
import { crc32c } from '../../src/wire/crc32c.ts';
import { decodePayload, dictionaryHash, encodePayload, type Payload, type Section } from '../../src/wire/payload.ts';
import { decodeRecords, encodeRecords } from '../../src/wire/records.ts';
import { canonicalTag, parseTagContent, tagId, tagIdHex } from '../../src/wire/tag.ts';
import { codeOfThrown } from './arbitrary.ts';
import { fill } from './fixtures.ts';

const id = '0123456789abcdef0123456789abcdef';
const definition = { name: 'a/b', type: 'int16' as const, unit: '°C', location: 'hall "3"' };

const control: readonly ControlRow[] = [
  {
    type: 'RUN_OPEN',
    previous: { run: id, last: [0, 5, 0, 9, 1] },
    clean: true,
    boot: id,
    reason: 'start',
    version: '1.0.0',
  },
  { type: 'RUN_OPEN', previous: null, clean: false, boot: id, reason: 'rewound memory', version: '1.0.0' },
  { type: 'TAG', id: tagIdHex(definition), content: canonicalTag(definition) },
  {
    type: 'GAP',
    run: id,
    class: 3,
    ranges: [
      { from: 1, to: 3 },
      { from: 7, to: 7 },
    ],
    count: 4,
    from: 1,
    to: 2.5,
    reason: 'dropped',
  },
  { type: 'GAP', run: id, class: 4, ranges: [{ from: 1, to: 1 }], count: 1, from: null, to: null, reason: 'damaged' },
  { type: 'SETTLED', run: id, class: 3, n: 100 },
  { type: 'CLOCK_OFFSET', boot: id, offsetMs: 1.7e12 },
  { type: 'CLOCK_STEP', boot: id, at: 5, stepMs: -3_600_000 },
  { type: 'LADDER', at: 5, from: 0, to: 3, cause: 'disk' },
];
const alarms: readonly AlarmRow[] = [
  {
    type: 'ALARM',
    id: 'boiler/high',
    tag: 'boiler/flow',
    condition: 'high',
    state: 'raised',
    at: 1,
    value: 99.5,
    limit: 90,
    text: 'too hot',
  },
  {
    type: 'ALARM',
    id: 'x',
    source: 's',
    condition: 'down',
    state: 'acknowledged',
    at: 1,
    value: null,
    text: '',
    by: 'anna',
  },
];
const aggregate: AggregateRow = {
  ...{
    type: 'AGG',
    tag: id,
    run: id,
    class: 4,
    ranges: [{ from: 1, to: 60 }],
    startMs: 0,
    periodMs: 60_000,
    count: 60,
    good: 59,
  },
  ...{ mean: 1.5, m2: 2, min: 0, max: 3, first: 1, last: 2, firstMs: 0, lastMs: 59_000, sum: '-12345678901234567890' },
};

describe('control, alarm and aggregate rows', () => {
  test('come back from JSON as they were', () => {
    for (const row of control) expect(parseControl(JSON.parse(JSON.stringify(row)))).toEqual(row);
    for (const row of alarms) expect(parseAlarm(JSON.parse(JSON.stringify(row)))).toEqual(row);
    expect(parseAggregate(JSON.parse(JSON.stringify(aggregate)))).toEqual(aggregate);
  });

  test('are refused with any field missing, of another type, or one too many', () => {
    const parsers: readonly [(value: unknown) => unknown, readonly object[], readonly string[]][] = [
      [parseControl, control, []],
      [parseAlarm, alarms, ['tag', 'source', 'value', 'limit', 'by']],
      [parseAggregate, [aggregate], ['sum']],
    ];
    for (const [parse, rows, optional] of parsers) {
      for (const row of rows) {
        expect(codeOfThrown(() => parse({ ...row, more: 1 }))).toBe('control.malformed');
        expect(codeOfThrown(() => parse(JSON.parse(`{"__proto__":1,${JSON.stringify(row).slice(1)}`)))).toBe(
          'control.malformed',
        );
        for (const key of Object.keys(row)) {
          const rest = Object.fromEntries(Object.entries(row).filter(([other]) => other !== key));
          if (!optional.includes(key)) expect(codeOfThrown(() => parse(rest))).toMatch(/^control\./);
          for (const wrong of [{}, [], Number.NaN, Infinity]) {
            expect(codeOfThrown(() => parse({ ...row, [key]: wrong }))).toMatch(/^control\./);
          }
        }
      }
    }
  });

  test('of a type that is not known say so', () => {
    for (const value of [null, 5, [], {}, { type: 'NEW' }, { type: 'ALARM' }]) {
      expect(codeOfThrown(() => parseControl(value))).toBe('control.type_unknown');
    }
  });

  test('must be right in themselves: ids are hashes, counts are those of the ranges', () => {
    const [, , tag, gap] = control;
    expect(codeOfThrown(() => parseControl({ ...tag, id }))).toBe('control.malformed');
    expect(codeOfThrown(() => parseControl({ ...gap, count: 5 }))).toBe('control.malformed');
    expect(codeOfThrown(() => parseControl({ ...gap, reason: 'lost' }))).toBe('control.malformed');
    expect(codeOfThrown(() => parseControl({ ...gap, class: 5 }))).toBe('control.malformed');
    expect(codeOfThrown(() => parseAggregate({ ...aggregate, good: 61 }))).toBe('control.malformed');
  });

  test('of any JSON are a row or an error of ours', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom('RUN_OPEN', 'TAG', 'GAP', 'SETTLED', 'LADDER'), (value, type) => {
        const row = typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value, type } : value;
        expect(codeOfThrown(() => parseControl(row))).toMatch(/^control\./);
      }),
    );
  });
});

describe('a tag', () => {
  const anyDefinition = fc.record(
    {
      name: fc.string({ minLength: 1 }),
      type: fc.constantFrom(...VALUE_TYPES),
      unit: fc.string(),
      description: fc.string({ unit: 'grapheme' }),
      location: fc.string(),
      deviceType: fc.string(),
    },
    { requiredKeys: ['name', 'type'] },
  );

  test('is what its content says, whatever the order of keys', () => {
    fc.assert(
      fc.property(anyDefinition, (one) => {
        const shuffled = Object.fromEntries(Object.entries(one).reverse()) as unknown as typeof one;
        expect(canonicalTag(shuffled)).toBe(canonicalTag(one));
        expect(parseTagContent(canonicalTag(one))).toEqual(one);
        expect(tagId(one)).toHaveLength(16);
      }),
    );
  });

  test('with other content is another tag', () => {
    const ids = [
      definition,
      { ...definition, unit: 'K' },
      { ...definition, type: 'int32' as const },
      { ...definition, description: '' },
    ];
    expect(new Set(ids.map(tagIdHex)).size).toBe(4);
  });

  test('whose content is not canonical is refused', () => {
    const content = canonicalTag(definition);
    for (const wrong of [
      ` ${content}`,
      content.replace('"a/b"', '"a\\/b"'),
      content.replace('int16', 'int17'),
      '{}',
      '{"name":"","type":"bool"}',
      'null',
    ]) {
      expect(codeOfThrown(() => parseTagContent(wrong))).toMatch(/^wire\./);
    }
  });
});

describe('records', () => {
  test('come back, and are refused when damaged, too many or too large', () => {
    const rows = [{ a: 1 }, { b: ['ü', { c: null }] }];
    const bytes = encodeRecords(rows);
    expect(decodeRecords(bytes, { rowsMax: 2 })).toEqual(rows);
    expect(decodeRecords(encodeRecords([]), { rowsMax: 0 })).toEqual([]);
    expect(codeOfThrown(() => decodeRecords(bytes, { rowsMax: 1 }))).toBe('records.rows_too_many');
    for (let at = 0; at < bytes.length; at++) {
      const damaged = bytes.slice();
      damaged[at] = (damaged[at] ?? 0) ^ 4;
      expect(codeOfThrown(() => decodeRecords(damaged, { rowsMax: 9 }))).toBe(
        at === 0 ? 'records.version_unknown' : 'records.checksum',
      );
      expect(codeOfThrown(() => decodeRecords(bytes.subarray(0, at), { rowsMax: 9 }))).toMatch(/^(records|wire)\./);
    }
    expect(codeOfThrown(() => encodeRecords([{ a: 'x'.repeat(65_536) }]))).toBe('records.too_large');
  });

  test('with the checksum mended are records or an error of ours', () => {
    const bytes = encodeRecords([{ a: 1, b: 'two' }, { c: [1, 2, { d: null }] }]);
    fc.assert(
      fc.property(fc.nat(bytes.length - 6), fc.nat(255), (at, byte) => {
        const changed = bytes.slice();
        changed[1 + at] = byte;
        new DataView(changed.buffer).setUint32(changed.length - 4, crc32c(changed, 0, changed.length - 4));
        const code = codeOfThrown(() => decodeRecords(changed, { rowsMax: 1000 }));
        expect(code ?? 'wire.').toMatch(/^(records|wire)\./);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('a payload', () => {
  const bytes16 = fc.uint8Array({ minLength: 16, maxLength: 16 });
  const blob = fc.uint8Array({ maxLength: 30 });
  const clock = fc.option(fc.record({ boot: bytes16, wallMs: fc.integer(), monoMs: fc.nat() }), { nil: undefined });
  const section: fc.Arbitrary<Section> = fc
    .record({
      run: bytes16,
      records: fc.boolean(),
      clock,
      bytes: blob,
      n0: fc.integer({ min: 1, max: 1e15 }),
      count: fc.integer({ min: 1, max: 1000 }),
    })
    .map(({ run, records, clock: shown, bytes, n0, count }) => ({
      run,
      class: records ? (1 as const) : (4 as const),
      ...(shown && { clock: shown }),
      body: records ? { kind: 'records' as const, n0, count, bytes } : { kind: 'readings' as const, block: bytes },
    }));
  const payload: fc.Arbitrary<Payload> = fc.record({
    dictionary: fc
      .record({
        base: fc.option(bytes16, { nil: undefined }),
        count: fc.nat(1000),
        added: fc.array(bytes16, { maxLength: 4 }),
      })
      .map(({ base, count, added }) => ({ base, baseCount: base ? count : 0, added })),
    sections: fc.array(section, { maxLength: 5 }),
  });

  test('comes back as it was', () => {
    fc.assert(fc.property(payload, (one) => expect(decodePayload(encodePayload(one))).toEqual(one)));
  });

  test('changed anywhere is a payload or an error of ours', () => {
    fc.assert(
      fc.property(payload, fc.nat(), fc.nat(255), (one, at, byte) => {
        const bytes = encodePayload(one);
        bytes[at % bytes.length] = byte;
        expect(codeOfThrown(() => decodePayload(bytes)) ?? 'wire.').toMatch(/^(payload|wire)\./);
        expect(codeOfThrown(() => decodePayload(bytes.subarray(0, at % bytes.length))) ?? 'wire.').toMatch(
          /^(payload|wire)\./,
        );
      }),
      { numRuns: 1000 },
    );
  });

  test('puts readings into reading classes only', () => {
    const block = { kind: 'readings' as const, block: fill(1, 1) };
    expect(() =>
      encodePayload({
        dictionary: { base: undefined, baseCount: 0, added: [] },
        sections: [{ run: fill(16, 1), class: 0, body: block }],
      }),
    ).toThrow(RangeError);
  });

  test('names its dictionary by how it grew', () => {
    const [a, b] = [fill(16, 1), fill(16, 2)];
    const first = dictionaryHash(undefined, [a]);
    expect(dictionaryHash(first, [])).toEqual(first);
    expect(dictionaryHash(first, [b])).not.toEqual(dictionaryHash(undefined, [b]));
    expect(dictionaryHash(undefined, [])).toHaveLength(16);
  });
});
