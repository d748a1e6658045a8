// Golden vectors of every message on the wire, made without any of src/wire: node:crypto for hashes and brotli, tweetnacl for the rest,
// the bytes written out by hand from the format. Run `node test/wire/golden/make.mjs` to write them again; they must not change.
import { createHash, createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, brotliDecompressSync } from 'node:zlib';
import nacl from 'tweetnacl';

const sha512 = (...parts) => {
  const hash = createHash('sha512');
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const label = (text) => Buffer.from(text, 'latin1');
const fill = (length, byte) => new Uint8Array(length).fill(byte);
const u16 = (value) => Buffer.from([value >> 8, value & 255]);
const u32 = (value) => Buffer.from([value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]);
const u64 = (value) => {
  const out = Buffer.alloc(8);
  out.writeBigUInt64BE(BigInt(value));
  return out;
};
const varint = (value) => {
  const out = [];
  let rest = BigInt(value);
  for (; rest > 127n; rest >>= 7n) out.push(Number(rest & 127n) | 128);
  return Buffer.from([...out, Number(rest)]);
};
const crc32c = (bytes) => {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return u32(~crc >>> 0);
};
const withCrc = (...parts) => {
  const body = Buffer.concat(parts);
  return Buffer.concat([body, crc32c(body)]);
};
const kid = (publicKey) => sha512(label('SLC1-kid\0'), publicKey).subarray(0, 8);

/** Two readings of tag 0, 21.5 and 21.6, a second apart, numbers 7 and 8. */
function block() {
  const base = 2n * 1_760_000_000_000n;
  const streams = [
    [1, 6, 2], // one chunk: six numbers skipped, two rows
    [0], // tag 0
    [0], // a number
    [1, 2], // two rows in the chunk
    [0, 2], // good, twice
    [1], // grid of milliseconds
    [Number(base & 255n)],
    [Number((base >> 8n) & 255n)],
    [...varint(base >> 16n)],
    [...varint(2 * 1000)],
    [0, 0],
    [],
    [1], // tenths
    [(2 * 215) & 255],
    [(2 * 215) >> 8],
    [0],
    [2 * 1], // slope: one tenth a row
    [0],
    [],
    [],
    [],
    [],
    [],
    [],
  ];
  const lengths = streams.map((stream) => stream.length);
  return withCrc(Buffer.from([1, 2, ...lengths, ...streams.flat()]));
}

export const tagContent = '{"name":"boiler/flow","type":"float64","unit":"°C"}';
const tagId = sha512(label('SLC1-tag\0'), Buffer.from(tagContent)).subarray(0, 16);
const record = { type: 'TAG', id: tagId.toString('hex'), content: tagContent };
const run = fill(16, 0x52);

function payload() {
  const json = Buffer.from(JSON.stringify(record));
  const records = withCrc(Buffer.from([1, 1]), varint(json.length), json);
  const readings = block();
  return Buffer.concat([
    Buffer.from([1, 0, 1]), // version, no base, one id
    tagId,
    Buffer.from([2]), // sections
    ...[run, Buffer.from([1, 2]), varint(3), varint(1), varint(records.length), records], // control row 3
    ...[run, Buffer.from([3, 0]), varint(readings.length), readings],
  ]);
}

export const deviceSeed = fill(32, 1);
export const recipientSecret = fill(32, 2);
export const answerSeed = fill(32, 3);
const ephemeralSecret = fill(32, 4);
export const device = fill(16, 0x44);
const batchId = fill(16, 0x42);
const signer = nacl.sign.keyPair.fromSeed(deviceSeed);
const recipient = nacl.box.keyPair.fromSecretKey(recipientSecret);
const ephemeral = nacl.box.keyPair.fromSecretKey(ephemeralSecret);

const sealKey = (dh, header) => sha512(label('SLC1-key\0'), dh, recipient.publicKey, sha512(header)).subarray(0, 32);
const plainArray = (bytes) => new Uint8Array(bytes);

function envelope() {
  const plain = payload();
  const header = Buffer.concat([
    label('SLC1'),
    Buffer.from([1, 1, 2, 0]),
    kid(recipient.publicKey),
    kid(signer.publicKey),
    device,
    batchId,
    u64(1_760_000_001_234),
    u32(plain.length),
    u32(3),
    ephemeral.publicKey,
  ]);
  const key = sealKey(nacl.scalarMult(ephemeralSecret, recipient.publicKey), header);
  const box = nacl.secretbox(plainArray(brotliCompressSync(plain)), new Uint8Array(24), plainArray(key));
  const digest = sha512(header, box);
  const signature = nacl.sign.detached(plainArray(Buffer.concat([label('SLC1-sig\0'), digest])), signer.secretKey);
  return Buffer.concat([header, box, signature]);
}

/** Opens what src/wire sealed to these keys; returns the plain payload. Throws when anything does not match. */
export function openIndependently(bytes) {
  const header = bytes.subarray(0, 104);
  const box = bytes.subarray(104, -64);
  const message = plainArray(Buffer.concat([label('SLC1-sig\0'), sha512(header, box)]));
  if (!nacl.sign.detached.verify(message, plainArray(bytes.subarray(-64)), signer.publicKey))
    throw new Error('signature');
  const key = sealKey(nacl.scalarMult(recipientSecret, plainArray(header.subarray(72))), header);
  const opened = nacl.secretbox.open(plainArray(box), new Uint8Array(24), plainArray(key));
  if (opened === null) throw new Error('box');
  return plainArray(brotliDecompressSync(opened));
}

/** An answer `ok`, three rows, one duplicate, to the golden envelope. */
function answer(bytes) {
  const key = nacl.sign.keyPair.fromSeed(answerSeed);
  const digest = sha512(bytes).subarray(0, 32);
  const facts = Buffer.concat([u16(0), u32(3), u32(1)]);
  const sign = (text, ...parts) =>
    nacl.sign.detached(plainArray(Buffer.concat([label(text), ...parts])), key.secretKey);
  const first = sign('SLC1-ans\0', device, facts, digest);
  const rest = Buffer.concat([fill(16, 0x49), Buffer.from([0])]);
  return Buffer.concat([
    ...[label('SLA1'), facts, kid(key.publicKey), device, digest, first, rest],
    sign('SLC1-inc\0', first, rest),
  ]);
}

const rootSeed = fill(32, 5);
const nextSeed = fill(32, 6);
export const nonce = fill(32, 0x4e);
const root = nacl.sign.keyPair.fromSeed(rootSeed);
const answerKey = nacl.sign.keyPair.fromSeed(answerSeed);
const oldAnswerKey = nacl.sign.keyPair.fromSeed(fill(32, 7));
const signedBy = (secretKey, text, message) =>
  nacl.sign.detached(plainArray(Buffer.concat([label(text), sha512(message)])), secretKey);
/** A message and its signature behind it. */
const withSignature = (message, text, { secretKey }) => Buffer.concat([message, signedBy(secretKey, text, message)]);

/** What of one run's numbers 1 to 9 and 12 in class normal is held? */
function hello() {
  const ranges = Buffer.from([2, 0, 8, 2, 0]); // two ranges: 1 to 9, and after two more one of length 1
  const runs = Buffer.concat([Buffer.from([1]), run, Buffer.from([1, 3]), ranges]);
  const message = Buffer.concat([label('SLH1'), device, kid(signer.publicKey), nonce, u64(1_760_000_001_234), runs]);
  return withSignature(message, 'SLC1-hel\0', signer);
}

/** 1 to 9 are; 12 was explained. */
function helloAnswer() {
  const sets = Buffer.from([1, 0, 8, 1, 11, 0]);
  const facts = [u64(1_760_000_001_300), fill(16, 0x49), u32(8_388_608), Buffer.from([3, 1, 2, 0]), varint(300)];
  const runs = [Buffer.from([1]), run, Buffer.from([1, 3]), sets];
  const message = Buffer.concat([label('SLI1'), kid(answerKey.publicKey), device, nonce, ...facts, ...runs]);
  return withSignature(message, 'SLC1-hla\0', answerKey);
}

/** Version 2: one key to seal to, two that sign answers. */
function keyList() {
  const answers = [Buffer.from([2]), answerKey.publicKey, oldAnswerKey.publicKey];
  const message = Buffer.concat([label('SLK1'), root.publicKey, u64(2), recipient.publicKey, ...answers]);
  return withSignature(message, 'SLC1-kls\0', root);
}

function keyChange() {
  const next = nacl.sign.keyPair.fromSeed(nextSeed);
  const message = Buffer.concat([label('SLR1'), device, kid(signer.publicKey), next.publicKey]);
  return withSignature(withSignature(message, 'SLC1-rop\0', next), 'SLC1-rot\0', signer);
}

const tokenId = fill(8, 0x54);
const tokenSecret = fill(32, 0x53);
const macKey = sha512(label('SLC1-tok\0'), tokenId, tokenSecret).subarray(0, 32);
const withMac = (message, text) => {
  const digest = createHmac('sha512', macKey).update(label(text)).update(message).digest();
  return Buffer.concat([message, digest.subarray(0, 32)]);
};

/** @param bound to this device */
function token(bound) {
  const rootHash = sha512(root.publicKey).subarray(0, 32);
  const body = Buffer.concat([Buffer.from([1]), rootHash, tokenId, tokenSecret, ...(bound ? [device] : [])]);
  return `sluice-${Buffer.concat([body, sha512(body).subarray(0, 4)]).toString('base64url')}`;
}

function enrol() {
  const message = Buffer.concat([label('SLE1'), tokenId, device, signer.publicKey, nonce]);
  return withMac(withSignature(message, 'SLC1-enr\0', signer), 'SLC1-enr\0');
}

function enrolAnswer() {
  const name = Buffer.from('line3 süd');
  const list = keyList();
  const parts = [label('SLF1'), device, nonce, varint(name.length), name, varint(list.length), list];
  return withMac(Buffer.concat(parts), 'SLC1-ena\0');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const bytes = envelope();
  const golden = {
    envelope: bytes.toString('hex'),
    payload: payload().toString('hex'),
    block: block().toString('hex'),
    answer: answer(bytes).toString('hex'),
    hello: hello().toString('hex'),
    helloAnswer: helloAnswer().toString('hex'),
    keyList: keyList().toString('hex'),
    keyChange: keyChange().toString('hex'),
    token: token(false),
    boundToken: token(true),
    enrol: enrol().toString('hex'),
    enrolAnswer: enrolAnswer().toString('hex'),
    tagId: tagId.toString('hex'),
    deviceKid: Buffer.from(kid(signer.publicKey)).toString('hex'),
    dictionaryHash: sha512(label('SLC1-dict\0'), fill(16, 0), tagId).subarray(0, 16).toString('hex'),
  };
  writeFileSync(new URL('golden.json', import.meta.url), `${JSON.stringify(golden, null, 2)}\n`);
}
