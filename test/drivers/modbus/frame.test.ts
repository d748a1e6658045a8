import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { encodeRead, FrameReader, REQUEST_BYTES } from '../../../drivers/modbus/frame.ts';
import { dataOf } from '../../../drivers/modbus/reply.ts';
import { isSluiceError } from '../../../src/errors.ts';

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));

function readerOf() {
  const frames: string[] = [];
  const reader = new FrameReader((transaction, bytes, start, end) => {
    frames.push(`${transaction}: ${Buffer.from(bytes.subarray(start, end)).toString('hex')}`);
  });
  return { reader, frames };
}

describe('requests', () => {
  test.each([
    [
      'holding registers',
      { unit: 1, functionCode: 3, address: 0x6b, count: 3 },
      0x0001,
      '0001 0000 0006 01 03 006b 0003',
    ],
    [
      'input registers',
      { unit: 0xff, functionCode: 4, address: 8, count: 1 },
      0xfffe,
      'fffe 0000 0006 ff 04 0008 0001',
    ],
    ['coils', { unit: 0, functionCode: 1, address: 0x13, count: 0x7d0 }, 0x1234, '1234 0000 0006 00 01 0013 07d0'],
    ['discrete inputs', { unit: 17, functionCode: 2, address: 0xc4, count: 22 }, 0, '0000 0000 0006 11 02 00c4 0016'],
  ])('ask for %s as the standard writes it', (_, request, transaction, bytes) => {
    const target = new Uint8Array(REQUEST_BYTES);
    encodeRead(target, 0, transaction, request);
    expect(target).toEqual(hex(bytes));
  });
});

describe('replies', () => {
  const request = { unit: 1, functionCode: 3, address: 0x6b, count: 3 };
  const said = (bytes: string) => dataOf(request, hex(bytes), 0, hex(bytes).length);

  test("hold the data where the standard's example has it", () => {
    expect(said('0001 0000 0009 01 03 06 022b 0000 0064')).toBe(9);
  });

  test.each([
    ['an exception', '0001 0000 0003 01 83 02', 'modbus.exception', /exception 2 \(ILLEGAL DATA ADDRESS\)/],
    [
      'an exception nobody knows',
      '0001 0000 0003 01 83 63',
      'modbus.exception',
      /exception 99 \(not in the standard\)/,
    ],
    ['another unit', '0001 0000 0009 02 03 06 022b 0000 0064', 'modbus.reply', /unit 2 instead of 1/],
    ['another function', '0001 0000 0009 01 04 06 022b 0000 0064', 'modbus.reply', /function code 4 instead of 3/],
    ['a short byte count', '0001 0000 0007 01 03 04 022b 0000', 'modbus.reply', /byte count 4 instead of 6/],
    [
      'more data than its byte count',
      '0001 0000 000b 01 03 06 022b 0000 0064 0000',
      'modbus.reply',
      /length 17 instead of 15/,
    ],
    ['less data than its byte count', '0001 0000 0007 01 03 06 022b 0000', 'modbus.reply', /length 13 instead of 15/],
    ['no byte count', '0001 0000 0002 01 03', 'modbus.reply', /byte count 0 instead of 6/],
    ['an exception without code', '0001 0000 0002 01 83', 'modbus.reply', /length 8 instead of 9/],
  ])('of %s are typed errors', (_, bytes, code, message) => {
    expect(said(bytes)).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test.each([
    [1, 'ILLEGAL FUNCTION'],
    [2, 'ILLEGAL DATA ADDRESS'],
    [3, 'ILLEGAL DATA VALUE'],
    [4, 'SERVER DEVICE FAILURE'],
    [5, 'ACKNOWLEDGE'],
    [6, 'SERVER DEVICE BUSY'],
    [7, 'NEGATIVE ACKNOWLEDGE'],
    [8, 'MEMORY PARITY ERROR'],
    [9, 'not in the standard'],
    [10, 'GATEWAY PATH UNAVAILABLE'],
    [11, 'GATEWAY TARGET DEVICE FAILED TO RESPOND'],
  ])('with exception %d carry its name', (code, name) => {
    expect(said(`0001 0000 0003 01 83 ${code.toString(16).padStart(2, '0')}`)).toMatchObject({ facts: { code, name } });
  });
});

describe('the frame reader', () => {
  const two = hex('0001 0000 0003 01 83 02  0002 0000 0005 01 03 02 abcd');
  const both = ['1: 000100000003018302', '2: 0002000000050103' + '02abcd'];

  test('takes frames that come together', () => {
    const { reader, frames } = readerOf();
    reader.push(two);
    expect(frames).toEqual(both);
  });

  test('takes frames that come one byte at a time', () => {
    const { reader, frames } = readerOf();
    for (const byte of two) reader.push(Uint8Array.of(byte));
    expect(frames).toEqual(both);
    expect(reader.held).toBe(0);
  });

  test('takes frames cut anywhere', () => {
    for (let cut = 0; cut <= two.length; cut++) {
      const { reader, frames } = readerOf();
      reader.push(two.subarray(0, cut));
      reader.push(two.subarray(cut));
      expect(frames).toEqual(both);
    }
  });

  test('takes only the bytes that count of a buffer used again', () => {
    const { reader, frames } = readerOf();
    reader.push(hex('0001 0000 0003 01 83 02 ffff ffff'), 9);
    expect(frames).toEqual(both.slice(0, 1));
    expect(reader.held).toBe(0);
  });

  test.each([
    ['a protocol id that is not 0', '0001 0001 0003 01 83 02', /protocol id 1/],
    ['a length of 0', '0001 0000 0000', /length of 0/],
    ['a length of 1', '0001 0000 0001 01', /length of 1/],
    ['a length of 255', '0001 0000 00ff 01', /length of 255/],
    ['a length of 65535', '0001 0000 ffff 01', /length of 65535/],
    ['HTTP', Buffer.from('HTTP/1.1 400 Bad Request').toString('hex'), /protocol id/],
  ])('takes %s for a broken stream, whole or in pieces', (_, bytes, message) => {
    expect(() => readerOf().reader.push(hex(bytes))).toThrow(message);
    const { reader } = readerOf();
    expect(() => {
      for (const byte of hex(bytes)) reader.push(Uint8Array.of(byte));
    }).toThrow(message);
  });

  test('keeps at most one frame and fails only in its own way, whatever comes', () => {
    const junk = fc.array(fc.uint8Array({ maxLength: 700 }), { maxLength: 20 });
    // Mostly sane headers, so that the stream gets past them.
    const plausible = fc
      .tuple(fc.nat(0xffff), fc.integer({ min: 0, max: 260 }), fc.uint8Array({ maxLength: 260 }))
      .map(([transaction, length, data]) =>
        Uint8Array.of(transaction >> 8, transaction & 0xff, 0, 0, length >> 8, length & 0xff, ...data),
      );
    fc.assert(
      fc.property(fc.oneof(junk, fc.array(plausible, { maxLength: 20 })), (pieces) => {
        let total = 0;
        const reader = new FrameReader((_, bytes, start, end) => {
          expect(end - start).toBeGreaterThanOrEqual(8);
          expect(end - start).toBeLessThanOrEqual(260);
          expect(end).toBeLessThanOrEqual(bytes.length);
          total += end - start;
        });
        try {
          for (const piece of pieces) {
            reader.push(piece);
            expect(reader.held).toBeLessThanOrEqual(260);
          }
          expect(total + reader.held).toBe(pieces.reduce((sum, piece) => sum + piece.length, 0));
        } catch (error) {
          if (!isSluiceError(error)) throw error;
          expect(error.code).toBe('modbus.protocol');
        }
      }),
    );
  });

  test('gives the same frames however the stream is cut', () => {
    const frame = fc
      .tuple(fc.nat(0xffff), fc.uint8Array({ minLength: 2, maxLength: 254 }))
      .map(([id, body]) => [id >> 8, id & 0xff, 0, 0, 0, body.length, ...body]);
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 8 }), fc.array(fc.integer({ min: 1, max: 300 })), (frames, cuts) => {
        const stream = Uint8Array.from(frames.flat());
        const { reader, frames: seen } = readerOf();
        let at = 0;
        for (const cut of [...cuts, stream.length]) {
          reader.push(stream.slice(at, at + cut));
          at = Math.min(stream.length, at + cut);
        }
        expect(seen.map((text) => text.slice(text.indexOf(' ') + 1)).join('')).toBe(
          Buffer.from(stream).toString('hex'),
        );
        expect(seen.length).toBe(frames.length);
      }),
    );
  });
});
