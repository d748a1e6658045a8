import { readFile } from 'node:fs/promises';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { modbus } from '../../../drivers/modbus/index.ts';

const source = (tag: Record<string, unknown>, rest: Record<string, unknown> = {}) => ({
  transport: 'tcp://10.0.0.5',
  units: [{ unit: 1, tags: [{ name: 'x', ...tag }] }],
  ...rest,
});
const prepare = (settings: unknown) => modbus.prepare(modbus.schema.parse(settings));
const messages = (settings: unknown) =>
  modbus.schema
    .safeParse(settings)
    .error?.issues.map(({ message }) => message)
    .join('\n');

describe('settings', () => {
  test('take what the manual shows, with its defaults', () => {
    const { endpoint, groups } = prepare({
      transport: 'tcp://10.0.0.5:502',
      units: [
        {
          unit: 1,
          every: '1s',
          tags: [
            {
              name: 'flow_temp',
              register: 'holding:100',
              type: 'float32',
              order: 'CDAB',
              unit: '°C',
              deadband: 0.1,
              min: -50,
            },
            { name: 'energy', register: 40021, type: 'uint64', unit: 'Wh' },
            { name: 'pump_on', register: 'coil:3' },
            { name: 'level', register: 'input:4', scale: 0.1, every: '10s' },
          ],
        },
        { unit: 2, every: '1s', tags: [{ name: 'other', register: 'input:4' }] },
      ],
    });
    expect(endpoint).toBe('tcp://10.0.0.5:502');
    expect(
      groups.map(({ unit, everyMs, tags }) => [unit, everyMs, tags.map(({ name, type }) => `${name} ${type}`)]),
    ).toEqual([
      ['unit 1', 1000, ['flow_temp float32', 'energy uint64', 'pump_on bool']],
      ['unit 1', 10_000, ['level float64']],
      ['unit 2', 1000, ['other uint16']],
    ]);
    expect(groups[0]?.tags[0]).toMatchObject({ unit: '°C', fields: { deadband: 0.1, min: -50, priority: 'normal' } });
    expect(groups[0]?.tags[1]?.address).toMatchObject({ table: 'holding', address: 20, count: 4 });
  });

  test.each([
    ['tcp://[fe80::1]:1502', 'tcp://[fe80::1]:1502'],
    ['tcp://[::1]', 'tcp://[::1]:502'],
    ['tcp://plc-3.plant.example/', 'tcp://plc-3.plant.example:502'],
  ])('take %s', (transport, endpoint) => {
    expect(prepare(source({ register: 40001 }, { transport })).endpoint).toBe(endpoint);
  });

  test.each([
    ['rtu:///dev/ttyUSB0?baud=19200', /only tcp:\/\/host:port is supported/],
    ['10.0.0.5:502', /only tcp:\/\/host:port is supported/],
    ['tcp://10.0.0.5:99999', /expected tcp:\/\/host:port/],
    ['tcp://10.0.0.5:0', /expected tcp:\/\/host:port/],
    ['tcp://user@host', /expected tcp:\/\/host:port/],
    ['tcp://', /expected tcp:\/\/host:port/],
  ])('refuse the transport %s', (transport, message) => {
    expect(messages(source({ register: 40001 }, { transport }))).toMatch(message);
  });

  test('refuse a register that may be two, and say both', () => {
    expect(messages(source({ register: 100 }))).toMatch(/holding:100.*400100/);
  });

  test.each([
    [{ register: 'coil:0', type: 'int16' }, /tag x \(coil:0\) has type int16, but one bit is a bool/],
    [{ register: 'coil:0', bit: 3 }, /single bits already/],
    [{ register: 'coil:0', order: 'ABCD' }, /byte order/],
    [{ register: 'holding:0', bit: 3, type: 'int16' }, /its type is bool/],
    [{ register: 'holding:0', type: 'text' }, /needs its length/],
    [{ register: 'holding:0', type: 'int16', length: 2 }, /only text has/],
    [{ register: 'holding:65535', type: 'int32' }, /ends at register 65536/],
    [{ register: 'holding:0', type: 'int64', scale: 0.1 }, /would lose digits past 2\^53/],
    [{ register: 'holding:0', type: 'uint64', offset: 1 }, /would lose digits past 2\^53/],
    [{ register: 'holding:0', bit: 0, scale: 2 }, /cannot have a scale/],
    [{ register: 'holding:0', type: 'int32', order: 'ABCDEFGH' }, /is for 64-bit types/],
  ])('contradict themselves: %j', (tag, message) => {
    expect(() => prepare(source(tag))).toThrow(message);
    expect(() => prepare(source(tag))).toThrow(expect.objectContaining({ code: 'config.modbus', facts: { tag: 'x' } }));
  });

  test('refuse a text longer than one read', () => {
    expect(() => prepare(source({ register: 40001, type: 'text', length: 40 }, { wordsMax: 32 }))).toThrow(
      /wordsMax 32/,
    );
  });

  test.each([[16], [-1], [1.5]])('refuse bit %d', (bit) => {
    expect(modbus.schema.safeParse(source({ register: 40001, bit })).success).toBe(false);
  });

  test('refuse the same name twice, even in two units', () => {
    const tags = [{ name: 'x', register: 40001 }];
    expect(() =>
      prepare({
        transport: 'tcp://h',
        units: [
          { unit: 1, tags },
          { unit: 2, tags },
        ],
      }),
    ).toThrow(/x .*is there twice/);
  });

  test('take the example of the manual', async () => {
    const manual = await readFile(new URL('../../../drivers/modbus/README.md', import.meta.url), 'utf8');
    const { sources } = parse(/```yaml\n(.*?)```/s.exec(manual)?.[1] ?? '');
    const { driver, ...settings } = sources.boiler;
    expect(driver).toBe('modbus');
    const { groups } = prepare(settings);
    expect(groups.flatMap(({ tags }) => tags).map(({ name, type }) => `${name} ${type}`)).toEqual([
      'flow_temp float32',
      'energy uint64',
      'pump_on bool',
      'overheat bool',
      'serial text',
      'outdoor float64',
    ]);
  });
});
