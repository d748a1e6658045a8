/** Our client against modbus-serial's server, which shares nothing with it but the wire. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ServerTCP } from 'modbus-serial';
import { ORDERS_64, type Order, SHORT_ORDERS } from '../../../drivers/modbus/order.ts';
import type { PlainValue, ValueType } from '../../../src/reading.ts';
import { openModbus } from './source.ts';

const words = new Uint16Array(2000);
let server: ServerTCP;
let transport: string;

beforeAll(async () => {
  server = new ServerTCP(
    {
      getHoldingRegister: (address: number) => words[address] ?? 0,
      getInputRegister: (address: number) => words[address] ?? 0,
      getCoil: (address: number) => ((words[address >> 4] ?? 0) & (1 << (address & 15))) !== 0,
      getDiscreteInput: (address: number) => ((words[address >> 4] ?? 0) & (1 << (address & 15))) !== 0,
    },
    // The library takes the number 0 for "not given".
    { host: '127.0.0.1', port: '0' as unknown as number },
  );
  await new Promise((resolve) => server.on('initialized', () => resolve(undefined)));
  const { _server } = server as unknown as { _server: { address(): { port: number } } };
  transport = `tcp://127.0.0.1:${_server.address().port}`;
});
afterAll(() => new Promise((resolve) => server.close(() => resolve(undefined))));

const CASES: readonly [ValueType, PlainValue, (bytes: DataView) => void][] = [
  ['int16', -32_768, (bytes) => bytes.setInt16(0, -32_768)],
  ['int16', 12_345, (bytes) => bytes.setInt16(0, 12_345)],
  ['uint16', 65_534, (bytes) => bytes.setUint16(0, 65_534)],
  ['int32', -2_147_483_648, (bytes) => bytes.setInt32(0, -2_147_483_648)],
  ['uint32', 4_294_967_294, (bytes) => bytes.setUint32(0, 4_294_967_294)],
  ['float32', Math.fround(21.37), (bytes) => bytes.setFloat32(0, 21.37)],
  ['float64', -1.0000000000000002, (bytes) => bytes.setFloat64(0, -1.0000000000000002)],
  ['int64', -(2n ** 63n), (bytes) => bytes.setBigInt64(0, -(2n ** 63n))],
  ['int64', 2n ** 63n - 1n, (bytes) => bytes.setBigInt64(0, 2n ** 63n - 1n)],
  ['int64', -1n, (bytes) => bytes.setBigInt64(0, -1n)],
  ['uint64', 2n ** 64n - 1n, (bytes) => bytes.setBigUint64(0, 2n ** 64n - 1n)],
  ['uint64', 2n ** 53n + 1n, (bytes) => bytes.setBigUint64(0, 2n ** 53n + 1n)],
];

/** Lays `length` bytes out as a device of that order would, without the driver's tables. */
function layOut(bytes: DataView, length: number, order: Order): Uint16Array {
  let registers = Array.from({ length: length / 2 }, (_, i) => bytes.getUint16(i * 2));
  const swap = (n: number) => ((n & 0xff) << 8) | (n >> 8);
  const plain = { CDAB: 'GHEFCDAB', ABCD: 'ABCDEFGH', BADC: 'BADCFEHG', DCBA: 'HGFEDCBA' }[order as string] ?? order;
  if (['BADCFEHG', 'HGFEDCBA', 'DCBAHGFE', 'FEHGBADC'].includes(plain)) registers = registers.map(swap);
  if (['GHEFCDAB', 'HGFEDCBA'].includes(plain)) registers.reverse();
  const [a = 0, b = 0, c = 0, d = 0] = registers;
  if (['CDABGHEF', 'DCBAHGFE'].includes(plain)) registers = [b, a, d, c];
  if (['EFGHABCD', 'FEHGBADC'].includes(plain)) registers = [c, d, a, b];
  return Uint16Array.from(registers);
}

describe("against modbus-serial's server", () => {
  test.each(['holding', 'input'])('every type in every order comes back exactly from %s registers', async (table) => {
    const expected: Record<string, PlainValue> = {};
    const tags: unknown[] = [];
    let at = 3;
    for (const [type, value, write] of CASES) {
      const bytes = new DataView(new ArrayBuffer(8));
      write(bytes);
      const length = type.endsWith('64') ? 8 : type.endsWith('32') ? 4 : 2;
      for (const order of length === 8 ? [...SHORT_ORDERS, ...ORDERS_64] : SHORT_ORDERS) {
        const name = `${type} ${value} ${order}`;
        words.set(layOut(bytes, length, order), at);
        tags.push({ name, register: `${table}:${at}`, type, order });
        expected[name] = value;
        at += length / 2;
      }
    }
    const { session, values } = await openModbus({ transport, units: [{ unit: 1, tags }] });
    expect(await values()).toEqual(expected);
    await session.close();
  });

  test.each(['coil', 'discrete'])('every %s of a read over many bytes is the right one', async (table) => {
    for (let i = 0; i < 128; i++) words[i] = (i * 40_503) & 0xffff;
    const tags = Array.from({ length: 1999 }, (_, i) => ({ name: `b${i}`, register: `${table}:${i + 3}` }));
    const { session, values } = await openModbus({ transport, units: [{ unit: 1, tags }] });
    const seen = await values();
    for (let i = 0; i < 1999; i++) {
      expect(seen[`b${i}`]).toBe((((words[(i + 3) >> 4] ?? 0) >> ((i + 3) & 15)) & 1) === 1);
    }
    await session.close();
  });

  test('a pipeline of sixteen requests gives every answer to its own question', async () => {
    for (let i = 0; i < words.length; i++) words[i] = i;
    // A gap of more than ten registers between them: one request each.
    const tags = Array.from({ length: 100 }, (_, i) => ({ name: `r${i}`, register: `holding:${i * 20}` }));
    const { session, values } = await openModbus({ transport, window: 16, units: [{ unit: 1, tags }] });
    const expected = Object.fromEntries(tags.map(({ name }, i) => [name, i * 20]));
    for (let round = 0; round < 5; round++) expect(await values()).toEqual(expected);
    await session.close();
  });
});
