import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseRegister, TABLES } from '../../../drivers/modbus/address.ts';

describe('register addresses', () => {
  test.each([
    ['holding:100', 'holding', 100],
    ['holding:0x64', 'holding', 100],
    [' Holding : 100 ', 'holding', 100],
    ['40101', 'holding', 100],
    [40101, 'holding', 100],
    ['400101', 'holding', 100],
    [465536, 'holding', 65535],
    ['input:0', 'input', 0],
    [30001, 'input', 0],
    ['coil:3', 'coil', 3],
    ['00001', 'coil', 0],
    ['000001', 'coil', 0],
    ['discrete:7', 'discrete', 7],
    [10001, 'discrete', 0],
    [100008, 'discrete', 7],
  ])('%p is %s %d', (input, table, address) => {
    expect(parseRegister(input)).toEqual({ table, address });
  });

  test.each([
    [100, /holding:100 .*400100.*'00100'.*coil:99/],
    [1, /YAML reads 00001 without quotes as 1/],
    ['100', /holding:100 .*400100/],
    ['40000', /count from 1.*holding:0/],
    ['50001', /begin with 0 .* 4/],
    [465537, /end at 65536/],
    ['holding:65536', /end at 65535/],
    ['register:5', /no table register; use coil, discrete, input, holding/],
    ['D100', /is no register/],
    ['', /is no register/],
    [-1, /is no register/],
    [4.5, /is no register/],
  ])('%p is refused with the way to write it', (input, problem) => {
    expect(parseRegister(input)).toMatchObject({ problem: expect.stringMatching(problem) });
  });

  test('both styles name the same register', () => {
    fc.assert(
      fc.property(fc.constantFrom(...TABLES), fc.integer({ min: 0, max: 65_535 }), (table, address) => {
        const digit = { coil: 0, discrete: 1, input: 3, holding: 4 }[table];
        const modicon = `${digit}${String(address + 1).padStart(5, '0')}`;
        expect(parseRegister(modicon)).toEqual({ table, address });
        expect(parseRegister(`${table}:${address}`)).toEqual({ table, address });
      }),
    );
  });

  test('never throws, whatever is written there', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.double()), (input) => void parseRegister(input)));
  });
});
