import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { verifyAnswer } from '../../src/wire/answer.ts';
import { decodeBlock, encodeBlock, rowNumbers } from '../../src/wire/block.ts';
import { fromHex, hex } from '../../src/wire/bytes.ts';
import { CODEC, compress } from '../../src/wire/compress.ts';
import { parseControl } from '../../src/wire/control.ts';
import {
  answerEnrolment,
  formatToken,
  macKeyOf,
  openEnrolment,
  parseToken,
  signEnrolment,
  verifyEnrolAnswer,
} from '../../src/wire/enrol.ts';
import { envelopeDigest, open, seal } from '../../src/wire/envelope.ts';
import { type HelloAnswer, openHello, signHello, signHelloAnswer, verifyHelloAnswer } from '../../src/wire/hello.ts';
import { openKeyChange, signKeyChange } from '../../src/wire/key-change.ts';
import { rootHash, signKeyList, verifyKeyList } from '../../src/wire/keylist.ts';
import { type CloudPublic, type SecretKey, toPublic } from '../../src/wire/keys.ts';
import { dictionaryHash, encodePayload } from '../../src/wire/payload.ts';
import { canonicalTag, tagIdHex } from '../../src/wire/tag.ts';
import { cloud, device, fill, keys, signing } from './fixtures.ts';
import { nonce, openIndependently, tagContent } from './golden/make.mjs';

type Vector =
  | 'envelope'
  | 'payload'
  | 'block'
  | 'answer'
  | 'hello'
  | 'helloAnswer'
  | 'keyList'
  | 'keyChange'
  | 'token'
  | 'boundToken'
  | 'enrol'
  | 'enrolAnswer'
  | 'tagId'
  | 'deviceKid'
  | 'dictionaryHash';
const golden: Record<Vector, string> = JSON.parse(readFileSync(new URL('golden/golden.json', import.meta.url), 'utf8'));
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

// What we make of the same facts is equal to the byte: the other side of the wire would have to understand it.
const root = signing(5);
const listed: CloudPublic = {
  recipient: publicHalf(cloud.recipient),
  answer: [cloud.answer, signing(7)].map(publicHalf),
  version: 2,
};
const token = { rootHash: rootHash(root.publicKey), id: fill(8, 0x54), secret: fill(32, 0x53) };

test('a HELLO and its answer', () => {
  const ranges = [
    { from: 1, to: 9 },
    { from: 12, to: 12 },
  ];
  const asked = {
    nonce,
    sentMs: 1_760_000_001_234,
    runs: [{ run: fill(16, 0x52), classes: [{ class: 3 as const, ranges }] }],
  };
  expect(hex(signHello(asked, device))).toBe(golden.hello);
  expect(openHello(bytesOf('hello'), () => device.publicKey)).toMatchObject({
    ...asked,
    device: device.device,
  });
  const answer: HelloAnswer = {
    ...{ device: device.device, nonce, cloudMs: 1_760_000_001_300, incarnation: fill(16, 0x49), sizeMax: 8_388_608 },
    ...{ codecs: [1, 2, 0], keyListVersion: 300 },
    held: [
      { run: fill(16, 0x52), classes: [{ class: 3, held: [{ from: 1, to: 9 }], explained: [{ from: 12, to: 12 }] }] },
    ],
  };
  expect(hex(signHelloAnswer(answer, cloud.answer))).toBe(golden.helloAnswer);
  expect(verifyHelloAnswer(bytesOf('helloAnswer'), { nonce, device: device.device }, toPublic(cloud))).toEqual(answer);
});

test('a key list', () => {
  expect(hex(signKeyList(listed, root))).toBe(golden.keyList);
  expect(verifyKeyList(bytesOf('keyList'), rootHash(root.publicKey), 2)).toEqual(listed);
});

test('a new key of a device', () => {
  const next = { device: device.device, ...signing(6) };
  expect(hex(signKeyChange(device, next))).toBe(golden.keyChange);
  const opened = openKeyChange(bytesOf('keyChange'), () => device.publicKey);
  expect(opened).toEqual({ device: device.device, oldKid: device.kid, publicKey: next.publicKey });
});

test('an enrolment: token, request and answer', () => {
  expect(formatToken(token)).toBe(golden.token);
  expect(parseToken(golden.boundToken)).toEqual({ ...token, device: device.device });
  expect(hex(signEnrolment(token, device, nonce))).toBe(golden.enrol);
  const request = openEnrolment(bytesOf('enrol'), () => macKeyOf(token));
  expect(request).toEqual({ tokenId: token.id, device: device.device, publicKey: device.publicKey, nonce });
  const said = { name: 'line3 süd', list: bytesOf('keyList') };
  expect(hex(answerEnrolment(request, said, macKeyOf(token)))).toBe(golden.enrolAnswer);
  const answer = verifyEnrolAnswer(bytesOf('enrolAnswer'), token, request);
  expect(answer).toEqual({ ...said, keys: listed, root: root.publicKey });
});

function publicHalf({ kid, publicKey }: SecretKey) {
  return { kid, publicKey };
}
