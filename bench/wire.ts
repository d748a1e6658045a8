/** Sizes and times of the wire on the plant trace, block, payload and envelope included. */
import { randomBytes } from 'node:crypto';
import { type Chunk, type SlotKind, slotKind, type ValueType } from '../src/reading.ts';
import { decodeBlock, encodeBlock, encodeChunk, mergeBlocks, sortByTag } from '../src/wire/block.ts';
import { CODEC, compress } from '../src/wire/compress.ts';
import { type Opened, open, seal } from '../src/wire/envelope.ts';
import { generateCloudKey, generateDeviceKey, recipientSecret } from '../src/wire/keys.ts';
import { encodePayload } from '../src/wire/payload.ts';
import { type PlantTag, plantTrace, tags } from './plant-trace.mjs';
import { type BenchResult, cpuMicroseconds, formatResult } from './result.ts';

const TAGS = tags.length;
const ROWS_A_SECOND = TAGS;
const RUN = new Uint8Array(16).fill(7);
const DICTIONARY = { base: new Uint8Array(16).fill(1), baseCount: TAGS, added: [] };

const TYPES: Readonly<Record<PlantTag['kind'], ValueType>> = {
  temperature: 'float64',
  pressure: 'float64',
  vibration: 'float32',
  counter: 'uint32',
  state: 'bool',
};
const kinds: readonly SlotKind[] = tags.map(({ kind }) => slotKind(TYPES[kind]));
const kindOf = (tag: number): SlotKind => kinds[tag] ?? 'number';

/** The trace in chunks of so many seconds. */
function chunksOf(options: { seconds: number; sharedTimes?: boolean }, secondsEach: number): Chunk[] {
  const trace = plantTrace(options);
  const tag = Uint32Array.from(trace.tag);
  const quality = new Uint8Array(trace.length);
  const chunks: Chunk[] = [];
  const rows = secondsEach * ROWS_A_SECOND;
  for (let from = 0; from < trace.length; from += rows) {
    const to = Math.min(trace.length, from + rows);
    chunks.push({
      length: to - from,
      tag: tag.slice(from, to),
      timeMs: trace.timeMs.slice(from, to),
      value: trace.value.slice(from, to),
      quality: quality.slice(from, to),
      texts: [],
    });
  }
  return chunks;
}

const cloud = generateCloudKey();
const device = generateDeviceKey();

/** As the cutter does: blocks of one-second commits, decoded, joined, encoded, compressed, sealed. */
function cut(blocks: readonly Uint8Array[], rows: number, codec: 1 | 2 = CODEC.brotli): Uint8Array {
  const joined = encodeBlock(mergeBlocks(blocks.map((block) => decodeBlock(block, { rowsMax: rows }))));
  const plain = encodePayload({
    dictionary: DICTIONARY,
    sections: [{ run: RUN, class: 3, body: { kind: 'readings', block: joined } }],
  });
  return seal({
    payload: compress(plain, codec),
    plainLen: plain.length,
    rows,
    codec,
    lane: 'backlog',
    batchId: randomBytes(16),
    cutMs: 1_767_225_600_000,
    device,
    recipient: cloud.recipient,
  });
}

function openEnvelope(envelope: Uint8Array): Opened {
  return open(envelope, { signer: () => device.publicKey, recipient: (kid) => recipientSecret(cloud, kid) });
}

function bytesAReading(seconds: number, sharedTimes: boolean, codec: 1 | 2 = CODEC.brotli): number {
  const chunks = chunksOf({ seconds: Math.max(120, seconds * 2), sharedTimes }, 1);
  let bytes = 0;
  let rows = 0;
  for (let from = 0; from + seconds <= chunks.length; from += seconds) {
    const batch = chunks.slice(from, from + seconds);
    const blocks = batch.map((chunk, i) => encodeChunk(chunk, 1 + (from + i) * ROWS_A_SECOND, kindOf));
    bytes += cut(blocks, seconds * ROWS_A_SECOND, codec).length;
    rows += seconds * ROWS_A_SECOND;
  }
  return bytes / rows;
}

function sizes(): BenchResult[] {
  const unit = 'B/reading';
  return [
    { name: 'wire: 2 s batches (1,000), own times, brotli 4', value: bytesAReading(2, false), unit },
    { name: 'wire: 10 s batches (5,000), own times, brotli 4', value: bytesAReading(10, false), unit, target: 2 },
    { name: 'wire: 20 s batches (10,000), own times, brotli 4', value: bytesAReading(20, false), unit, target: 2.5 },
    { name: 'wire: 60 s batches (30,000), own times, brotli 4', value: bytesAReading(60, false), unit, target: 1.5 },
    { name: 'wire: 60 s batches (30,000), shared times, brotli 4', value: bytesAReading(60, true), unit, target: 0.8 },
    { name: 'wire: 20 s batches (10,000), own times, deflate 6', value: bytesAReading(20, false, CODEC.deflate), unit },
  ];
}

function times(): BenchResult[] {
  const seconds = 20;
  const rows = seconds * ROWS_A_SECOND;
  const [chunk] = chunksOf({ seconds }, seconds);
  if (chunk === undefined) return [];
  const sorted = sortByTag(chunk, TAGS);
  const block = encodeChunk(chunk, 1, kindOf, sorted);
  const envelope = cut([block], rows);
  const plain = encodePayload({
    dictionary: DICTIONARY,
    sections: [{ run: RUN, class: 3, body: { kind: 'readings', block } }],
  });
  const payload = compress(plain, CODEC.brotli);
  const facts = { plainLen: plain.length, rows, codec: CODEC.brotli, lane: 'backlog' as const, cutMs: 1 };
  const seconds20 = chunksOf({ seconds }, 1).map((second, i) => encodeChunk(second, 1 + i * ROWS_A_SECOND, kindOf));
  const each = (run: () => void) => cpuMicroseconds(run) / rows;
  const unit = 'µs/reading';
  return [
    { name: 'wire: sort by tag, 10,000 rows', value: each(() => sortByTag(chunk, TAGS)), unit },
    {
      name: 'wire: encode (sort + columns), 10,000 rows',
      value: each(() => encodeChunk(chunk, 1, kindOf)),
      unit,
      target: 0.06,
    },
    { name: 'wire: decode, 10,000 rows', value: each(() => decodeBlock(block, { rowsMax: rows })), unit, target: 0.05 },
    {
      name: 'wire: encode + brotli 4, 10,000 rows',
      value: each(() => compress(encodeChunk(chunk, 1, kindOf), CODEC.brotli)),
      unit,
      target: 0.15,
    },
    {
      name: 'wire: encode + deflate 6, 10,000 rows',
      value: each(() => compress(encodeChunk(chunk, 1, kindOf), CODEC.deflate)),
      unit,
    },
    { name: 'wire: cut 20 blocks of 500 rows into an envelope', value: each(() => cut(seconds20, rows)), unit },
    {
      name: 'wire: seal 10,000 readings',
      value:
        cpuMicroseconds(() => seal({ ...facts, payload, batchId: RUN, device, recipient: cloud.recipient })) / 1000,
      unit: 'ms',
      target: 3,
    },
    {
      name: 'wire: open 10,000 readings',
      value: cpuMicroseconds(() => openEnvelope(envelope)) / 1000,
      unit: 'ms',
      target: 5,
    },
  ];
}

export function benchWire(): BenchResult[] {
  return [...sizes(), ...times()];
}

if (process.argv[1]?.endsWith('wire.js')) for (const result of benchWire()) console.log(formatResult(result));
