import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ByteReader, ByteWriter, concat, fromHex, hex, sameBytes } from '../../src/wire/bytes.ts';
import { crc32c } from '../../src/wire/crc32c.ts';
import { parseJson } from '../../src/wire/json.ts';
import { codeOfThrown } from './arbitrary.ts';

const safe = fc.oneof(fc.maxSafeNat(), fc.nat(), fc.nat(300));

describe('bytes', () => {
  test('come back as they were written', () => {
    const record = fc.record({
      u8: fc.nat(255),
      u16: fc.nat(65_535),
      u32: fc.nat(0xffff_ffff),
      u64: safe,
      big: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      f64: fc.double(),
      varint: safe,
      zigzag: fc.oneof(fc.integer(), fc.integer({ min: -(2 ** 52) + 1, max: 2 ** 52 - 1 })),
      text: fc.string({ unit: 'grapheme' }),
      bytes: fc.uint8Array({ maxLength: 600 }),
    });
    fc.assert(
      fc.property(record, (r) => {
        const bytes = new ByteWriter(1)
          .u8(r.u8)
          .u16(r.u16)
          .u32(r.u32)
          .u64(r.u64)
          .u64(r.big)
          .f64(r.f64)
          .varint(r.varint)
          .zigzag(r.zigzag)
          .utf8(r.text)
          .bytes(r.bytes)
          .take();
        const reader = new ByteReader(bytes);
        expect([reader.u8(), reader.u16(), reader.u32(), reader.u64(), reader.u64Big()]).toEqual([
          r.u8,
          r.u16,
          r.u32,
          r.u64,
          r.big,
        ]);
        expect([reader.f64(), reader.varint(), reader.zigzag(), reader.utf8(10_000)]).toEqual([
          r.f64,
          r.varint,
          r.zigzag,
          r.text,
        ]);
        expect(sameBytes(reader.bytes(r.bytes.length), r.bytes)).toBe(true);
        reader.end();
      }),
    );
  });

  test('are never read past their end, nor taken for numbers of 2^53 and more', () => {
    const read = (run: (reader: ByteReader) => unknown, ...bytes: number[]) =>
      codeOfThrown(() => run(new ByteReader(Uint8Array.from(bytes))));
    expect(read((r) => r.u8())).toBe('wire.truncated');
    expect(read((r) => r.u32(), 1, 2, 3)).toBe('wire.truncated');
    expect(read((r) => r.varint(), 0x80)).toBe('wire.truncated');
    expect(read((r) => r.bytes(5), 1)).toBe('wire.truncated');
    expect(read((r) => r.utf8(100), 50, 1)).toBe('wire.truncated');
    expect(read((r) => r.utf8(10), 50, 1)).toBe('wire.text_too_long');
    expect(read((r) => r.utf8(10), 1, 0xff)).toBe('wire.malformed');
    expect(read((r) => r.u64(), 0, 0x20, 0, 0, 0, 0, 0, 0)).toBe('wire.number_too_large');
    expect(read((r) => r.varint(), ...new Array<number>(8).fill(0xff), 1)).toBe('wire.number_too_large');
    expect(read((r) => r.varint(), 0x81, 0)).toBe('wire.malformed');
    expect(read((r) => r.end(), 1)).toBe('wire.trailing_bytes');
    expect(codeOfThrown(() => fromHex('0g', 1))).toBe('wire.hex_malformed');
  });

  test('of hex and concatenation come back', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), (a, b) => {
        const both = concat(a, b);
        expect(fromHex(hex(both), both.length)).toEqual(both);
      }),
    );
  });

  test('are refused as numbers when they do not fit', () => {
    for (const write of [
      (w: ByteWriter) => w.u8(256),
      (w: ByteWriter) => w.varint(-1),
      (w: ByteWriter) => w.u64(2 ** 53),
      (w: ByteWriter) => w.u16(0.5),
    ]) {
      expect(() => write(new ByteWriter())).toThrow(RangeError);
    }
  });
});

describe('the checksum', () => {
  test('is CRC-32C: the vectors of RFC 3720 B.4', () => {
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
    expect(crc32c(new TextEncoder().encode('123456789'))).toBe(0xe3069283);
  });

  test('eight bytes at a time is the same as bit by bit, from anywhere to anywhere', () => {
    const slow = (bytes: Uint8Array) => {
      let crc = ~0;
      for (const byte of bytes) {
        crc ^= byte;
        for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
      }
      return ~crc >>> 0;
    };
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(10), fc.nat(10), (bytes, from, cut) => {
        const to = Math.max(from, bytes.length - cut);
        if (to <= bytes.length) expect(crc32c(bytes, from, to)).toBe(slow(bytes.subarray(from, to)));
      }),
    );
  });
});

describe('JSON from outside', () => {
  const limits = { bytesMax: 100_000, depthMax: 8 };

  test('is refused when it is deep, large or no JSON, and parsed otherwise', () => {
    expect(codeOfThrown(() => parseJson(`${'['.repeat(10_000)}${']'.repeat(10_000)}`, limits))).toBe(
      'wire.json_too_deep',
    );
    expect(codeOfThrown(() => parseJson('{"a":'.repeat(9), limits))).toBe('wire.json_too_deep');
    expect(codeOfThrown(() => parseJson(`"${'ü'.repeat(60_000)}"`, limits))).toBe('wire.json_too_large');
    expect(codeOfThrown(() => parseJson('{', limits))).toBe('wire.json_malformed');
    expect(parseJson('{"a":"[[[[[[[[[[\\"[[[["}', limits)).toEqual({ a: '[[[[[[[[[["[[[[' });
  });

  test('gives no way to the prototype', () => {
    const parsed = parseJson('{"__proto__":{"polluted":1}}', limits);
    expect(Object.keys(parsed as object)).toEqual(['__proto__']);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });
});
