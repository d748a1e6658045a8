import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { BlockDecoder, type ModbusAddress, textOf } from '../../../drivers/modbus/decode.ts';
import { bytePositions, ORDERS, ORDERS_64, type Order, SHORT_ORDERS } from '../../../drivers/modbus/order.ts';
import { scalingOf } from '../../../drivers/modbus/scaling.ts';
import { ChunkBuilder, type PlainValue, reasonOf, type ValueType, valueReader } from '../../../src/reading.ts';

const COUNTS: Readonly<Record<string, number>> = { int32: 2, uint32: 2, float32: 2, int64: 4, uint64: 4, float64: 4 };

function decodeOne(bytes: string | Uint8Array, about: Partial<ModbusAddress> & { wireType: ValueType }) {
  const raw = typeof bytes === 'string' ? Buffer.from(bytes.replaceAll(' ', ''), 'hex') : bytes;
  const tag = {
    unit: 1,
    table: 'holding',
    address: 7,
    count: COUNTS[about.wireType] ?? 1,
    order: 'ABCD',
    index: 3,
    ...about,
  } as const;
  const out = new ChunkBuilder();
  // The data of a reply begins somewhere in the frame.
  const frame = Buffer.concat([Buffer.of(0xaa, 0xaa, 0xaa), raw]);
  new BlockDecoder({ table: tag.table, address: 7, tags: [tag] }).decode(frame, 3, 1000, out);
  const chunk = out.take();
  expect([...chunk.tag]).toEqual([3]);
  const type = tag.scaling === undefined ? tag.wireType : 'float64';
  return { value: valueReader(chunk)(0, type), reason: reasonOf(chunk.quality[0] ?? 0) };
}

describe('byte orders', () => {
  test.each<[Order, string]>([
    ['ABCD', '0102 0304'],
    ['CDAB', '0304 0102'],
    ['BADC', '0201 0403'],
    ['DCBA', '0403 0201'],
  ])('%s of 32 bits is %s on the wire', (order, bytes) => {
    expect(decodeOne(bytes, { wireType: 'uint32', order }).value).toBe(0x01020304);
  });

  test.each<[Order, string]>([
    ['ABCD', '0102 0304 0506 0708'],
    ['ABCDEFGH', '0102 0304 0506 0708'],
    ['CDAB', '0708 0506 0304 0102'],
    ['GHEFCDAB', '0708 0506 0304 0102'],
    ['BADC', '0201 0403 0605 0807'],
    ['BADCFEHG', '0201 0403 0605 0807'],
    ['DCBA', '0807 0605 0403 0201'],
    ['HGFEDCBA', '0807 0605 0403 0201'],
    ['CDABGHEF', '0304 0102 0708 0506'],
    ['EFGHABCD', '0506 0708 0102 0304'],
    ['DCBAHGFE', '0403 0201 0807 0605'],
    ['FEHGBADC', '0605 0807 0201 0403'],
  ])('%s of 64 bits is %s on the wire', (order, bytes) => {
    expect(decodeOne(bytes, { wireType: 'uint64', order }).value).toBe(0x0102030405060708n);
  });

  test.each<[Order, string]>([
    ['ABCD', '0102'],
    ['CDAB', '0102'],
    ['BADC', '0201'],
    ['DCBA', '0201'],
  ])('%s of 16 bits is %s on the wire', (order, bytes) => {
    expect(decodeOne(bytes, { wireType: 'uint16', order }).value).toBe(0x0102);
  });

  test('of 64 bits are all there are that keep registers or bytes within them together', () => {
    const seen = new Set(ORDERS_64.map((order) => bytePositions(order, 8).join()));
    expect(seen.size).toBe(8);
    for (const order of ORDERS)
      for (const width of order.length === 8 ? [8] : [2, 4, 8]) {
        expect([...bytePositions(order, width)].sort()).toEqual(Array.from({ length: width }, (_, i) => i));
      }
  });
});

describe('values', () => {
  test.each<[ValueType, string, PlainValue]>([
    ['int16', 'ffff', -1],
    ['int16', '8000', -32_768],
    ['uint16', 'ffff', 65_535],
    ['int32', '80000000', -2_147_483_648],
    ['uint32', 'ffffffff', 4_294_967_295],
    ['float32', '41c80000', 25],
    ['float32', '80000000', -0],
    ['float64', '400921fb54442d18', Math.PI],
    ['int64', 'ffffffffffffffff', -1n],
    ['int64', '8000000000000000', -(2n ** 63n)],
    ['int64', '7fffffffffffffff', 2n ** 63n - 1n],
    ['uint64', 'ffffffffffffffff', 2n ** 64n - 1n],
    ['uint64', '0020000000000001', 2n ** 53n + 1n],
    ['bool', '0000', false],
    ['bool', '0100', true],
  ])('%s %s is %p', (wireType, bytes, value) => {
    expect(decodeOne(bytes, { wireType }).value).toBe(value);
  });

  test('a bit of a register is that bit alone, 0 the least significant', () => {
    for (let bit = 0; bit < 16; bit++) {
      const word = (n: number) => Uint8Array.of(n >> 8, n & 0xff);
      expect(decodeOne(word(1 << bit), { wireType: 'bool', bit }).value).toBe(true);
      expect(decodeOne(word(0xffff & ~(1 << bit)), { wireType: 'bool', bit }).value).toBe(false);
    }
  });

  test.each<[ValueType, string]>([
    ['float32', '7fc00000'],
    ['float32', '7f800000'],
    ['float32', 'ff800000'],
    ['float64', '7ff8000000000000'],
    ['float64', 'fff0000000000000'],
  ])('%s %s is no number: not available', (wireType, bytes) => {
    expect(decodeOne(bytes, { wireType })).toEqual({ value: null, reason: 'not_available' });
  });

  test.each<[string, Order, string]>([
    ['504c 432d 3320 2020', 'ABCD', 'PLC-3'],
    ['4c50 2d43 2033 0000', 'BADC', 'PLC-3'],
    ['504c 4300 5858 5858', 'CDAB', 'PLC'],
    ['c3bc 0000 0000 0000', 'ABCD', 'ü'],
    ['fc62 6572 0000 0000', 'ABCD', 'über'],
  ])('text %s in %s is %s', (bytes, order, text) => {
    expect(decodeOne(bytes, { wireType: 'text', count: 4, order }).value).toBe(text);
  });

  test('text of any bytes is some text', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void expect(typeof textOf(Buffer.from(bytes))).toBe('string')));
  });

  test('coils are packed from the least significant bit of the first byte', () => {
    const tags = Array.from(
      { length: 12 },
      (_, i) =>
        ({
          unit: 1,
          table: 'coil',
          address: 20 + i,
          count: 1,
          wireType: 'bool',
          order: 'ABCD',
          index: i,
        }) as const,
    );
    const out = new ChunkBuilder();
    new BlockDecoder({ table: 'coil', address: 20, tags }).decode(Uint8Array.of(0b11001101, 0b0101), 0, 0, out);
    expect([...out.take().value]).toEqual([1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 0]);
  });

  test('come back from every order and type', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.constantFrom(...SHORT_ORDERS, ...ORDERS_64),
        (bits, order) => {
          const plain = Buffer.alloc(8);
          plain.writeBigUInt64BE(bits);
          const wire = Buffer.alloc(8);
          for (const [rank, at] of bytePositions(order, 8).entries()) wire[at] = plain[rank] ?? 0;
          expect(decodeOne(wire, { wireType: 'uint64', order }).value).toBe(bits);
          expect(decodeOne(wire, { wireType: 'int64', order }).value).toBe(BigInt.asIntN(64, bits));
          const float = plain.readDoubleBE();
          expect(decodeOne(wire, { wireType: 'float64', order }).value).toBe(Number.isFinite(float) ? float : null);
        },
      ),
    );
  });
});

describe('scaling', () => {
  const scaled = (raw: string, scale: number, offset: number) =>
    decodeOne(raw, { wireType: 'int16', scaling: scalingOf(scale, offset) }).value;

  test('of a count of tenths gives the decimal that people wrote, for every count', () => {
    const { before, factor, divisor, after } = scalingOf(0.1, -40);
    const odd: number[] = [];
    for (let count = -32_768; count <= 32_767; count++) {
      const value = ((count + before) * factor) / divisor + after;
      if (value !== Number(((count - 400) / 10).toFixed(1))) odd.push(count);
    }
    expect(odd).toEqual([]);
  });

  test.each([
    ['00d5', 0.1, 0, 21.3],
    ['0003', 0.1, 0, 0.3],
    ['00d5', 0.01, 0, 2.13],
    ['ffff', 0.5, 0, -0.5],
    ['0002', 10, 5, 25],
    ['0002', 2.5, 0, 5],
    ['0002', -0.1, 0, -0.2],
    ['0002', 1, 100, 102],
    ['0003', 0.3, 0, 3 * 0.3],
    ['0001', 0.1, 0.25, 0.35],
  ])('%s × %d + %d is %d', (raw, scale, offset, value) => {
    expect(scaled(raw, scale, offset)).toBe(value);
  });

  test('that leaves the numbers is not available', () => {
    expect(decodeOne('7fefffffffffffff', { wireType: 'float64', scaling: scalingOf(1e300, 0) }).reason).toBe(
      'not_available',
    );
  });
});
