import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { verifyAnswer } from '../../src/wire/answer.ts';
import { decodeBlock, encodeBlock, rowNumbers } from '../../src/wire/block.ts';
import { fromHex, hex } from '../../src/wire/bytes.ts';
import { CODEC, compress } from '../../src/wire/compress.ts';
import { parseControl } from '../../src/wire/control.ts';
import { envelopeDigest, open, seal } from '../../src/wire/envelope.ts';
import { toPublic } from '../../src/wire/keys.ts';
import { dictionaryHash, encodePayload } from '../../src/wire/payload.ts';
import { canonicalTag, tagIdHex } from '../../src/wire/tag.ts';
import { cloud, device, fill, keys } from './fixtures.ts';
import { openIndependently, tagContent } from './golden/make.mjs';

const golden: Record<'envelope' | 'payload' | 'block' | 'answer' | 'tagId' | 'deviceKid' | 'dictionaryHash', string> =
  JSON.parse(readFileSync(new URL('golden/golden.json', import.meta.url), 'utf8'));
const bytesOf = (name: keyof typeof golden) => fromHex(golden[name], golden[name].length / 2);

test('opens an envelope that other code made, and reads its rows', () => {
  const { header, payload, contents } = open(bytesOf('envelope'), keys);
  expect(header).toMatchObject({ lane: 'backlog', rows: 3, cutMs: 1_760_000_001_234 });
  expect(hex(encodePayload(payload))).toBe(golden.payload);
  const [records, readings] = contents;
  if (records?.kind !== 'records' || readings?.kind !== 'readings') throw new Error('records, then readings');
  expect(parseControl(records.records[0])).toMatchObject({ type: 'TAG', id: golden.tagId, content: tagContent });
  expect([...readings.columns.value]).toEqual([21.5, 21.6]);
  expect([...readings.columns.timeMs]).toEqual([1_760_000_000_000, 1_760_000_001_000]);
  expect([...rowNumbers(readings.columns)]).toEqual([7, 8]);
});

test('encodes a block to the bytes written by hand', () => {
  expect(hex(encodeBlock(decodeBlock(bytesOf('block'), { rowsMax: 10 })))).toBe(golden.block);
});

test('seals what other code opens', () => {
  const plain = bytesOf('payload');
  const bytes = seal({
    payload: compress(plain, CODEC.brotli),
    plainLen: plain.length,
    rows: 3,
    codec: CODEC.brotli,
    lane: 'alarm',
    batchId: fill(16, 1),
    cutMs: 1,
    device,
    recipient: cloud.recipient,
  });
  expect(hex(openIndependently(bytes))).toBe(golden.payload);
});

test('believes an answer that other code signed', () => {
  const answer = verifyAnswer(bytesOf('answer'), device.device, envelopeDigest(bytesOf('envelope')), toPublic(cloud));
  expect(answer).toMatchObject({ code: 0, rows: 3, duplicates: 1, heldGaps: [], incarnation: fill(16, 0x49) });
});

test('names tags, keys and dictionaries as other code does', () => {
  const definition = { type: 'float64', unit: '°C', name: 'boiler/flow' } as const;
  expect(canonicalTag(definition)).toBe(tagContent);
  expect(tagIdHex(definition)).toBe(golden.tagId);
  expect(hex(device.kid)).toBe(golden.deviceKid);
  expect(hex(dictionaryHash(undefined, [bytesOf('tagId')]))).toBe(golden.dictionaryHash);
});
