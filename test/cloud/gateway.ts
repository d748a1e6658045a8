/** A gateway in miniature: numbers rows, cuts and seals batches, checks signed answers; so that tests say only what differs. */
import { randomBytes } from 'node:crypto';
import { type Chunk, ChunkBuilder, type SlotKind, slotKind, type TagDefinition } from '../../src/reading.ts';
import { type Answer, verifyAnswer } from '../../src/wire/answer.ts';
import { type BlockColumns, decodeBlock, encodeBlock, encodeChunk, selectRows } from '../../src/wire/block.ts';
import { hex } from '../../src/wire/bytes.ts';
import { CLASS, type ClassNumber } from '../../src/wire/classes.ts';
import { CODEC, compress } from '../../src/wire/compress.ts';
import type { GapRow, RunOpenRow } from '../../src/wire/control.ts';
import { envelopeDigest, seal } from '../../src/wire/envelope.ts';
import { type CloudKey, type DeviceKey, generateDeviceKey, toPublic } from '../../src/wire/keys.ts';
import { type Dictionary, dictionaryHash, encodePayload, type Section } from '../../src/wire/payload.ts';
import { count, type RangeSet } from '../../src/wire/ranges.ts';
import { encodeRecords } from '../../src/wire/records.ts';
import { canonicalTag, tagId, tagIdHex } from '../../src/wire/tag.ts';

export const BOOT = 'b0'.repeat(16);
export const START_MS = Date.parse('2026-03-01T00:00:00Z');

export const TAGS: readonly TagDefinition[] = [
  { name: 'boiler/flow_temp', type: 'float32', unit: '°C' },
  { name: 'boiler/energy', type: 'uint64', unit: 'Wh' },
  { name: 'boiler/pump_on', type: 'bool' },
  { name: 'boiler/state', type: 'text' },
  { name: 'boiler/balance', type: 'int64' },
];

export interface Row {
  readonly tag: number;
  readonly timeMs: number;
  readonly value: number | bigint | string;
  readonly quality?: number;
}

export const kindOf = (tag: number): SlotKind => slotKind(TAGS[tag]?.type ?? 'float64');

/** Rows as a block whose first row gets the number n0; the block orders them by tag. */
export function block(rows: readonly Row[], n0: number): Uint8Array {
  return encodeChunk(chunkOf(rows), n0, kindOf);
}

export function chunkOf(rows: readonly Row[]): Chunk {
  const builder = new ChunkBuilder();
  for (const { tag, timeMs, value, quality = 0 } of rows) {
    if (typeof value === 'bigint') builder.pushInt64(tag, timeMs, value, quality);
    else if (typeof value === 'string') builder.pushText(tag, timeMs, value, quality);
    else builder.push(tag, timeMs, value, quality);
  }
  return builder.take();
}

export const columnsOf = (bytes: Uint8Array): BlockColumns => decodeBlock(bytes, { rowsMax: 100_000 });

/** The rows of `columns` with these numbers. */
export function cut(columns: BlockColumns, ranges: RangeSet): Uint8Array {
  const selected = selectRows(columns, ranges);
  if (selected === undefined) throw new Error('no rows in that range');
  return encodeBlock(selected);
}

/** `count` polls of all tags, a second apart. */
export function polls(polled: number, startMs = START_MS): Row[] {
  return Array.from({ length: polled }, (_, i) => startMs + i * 1000).flatMap((timeMs, i): Row[] => [
    { tag: 0, timeMs, value: Math.fround(20 + Math.sin(i)) },
    { tag: 1, timeMs, value: 9_007_199_254_740_993n + BigInt(i) },
    { tag: 2, timeMs, value: i % 2 },
    { tag: 3, timeMs, value: i % 3 === 0 ? 'heating' : 'idle' },
    { tag: 4, timeMs, value: -1n - BigInt(i) },
  ]);
}

export class Gateway {
  readonly key: DeviceKey;
  run: Uint8Array = randomBytes(16);
  readonly #cloud: CloudKey;

  constructor(cloud: CloudKey, key: DeviceKey = generateDeviceKey()) {
    this.#cloud = cloud;
    this.key = key;
  }

  get device(): string {
    return hex(this.key.device);
  }

  get entry() {
    return { device: this.device, name: 'line3', publicKey: hex(this.key.publicKey) };
  }

  readings(bytes: Uint8Array, cls: ClassNumber = CLASS.normal, more: Partial<Section> = {}): Section {
    return { run: this.run, class: cls, body: { kind: 'readings', block: bytes }, ...more };
  }

  records(rows: readonly object[], n0: number, cls: ClassNumber = CLASS.control): Section {
    const body = { kind: 'records', n0, count: rows.length, bytes: encodeRecords(rows) } as const;
    return { run: this.run, class: cls, body };
  }

  dictionary(): Dictionary {
    return { base: undefined, baseCount: 0, added: TAGS.map(tagId) };
  }

  /** The same tags, named by the hash that a first answer confirmed. */
  known(): Dictionary {
    return { base: dictionaryHash(undefined, TAGS.map(tagId)), baseCount: TAGS.length, added: [] };
  }

  seal(sections: readonly Section[], dictionary: Dictionary = this.dictionary()): Uint8Array {
    const plain = encodePayload({ dictionary, sections });
    return seal({
      payload: compress(plain, CODEC.brotli),
      plainLen: plain.length,
      rows: sections.reduce((sum, section) => sum + rowsOf(section), 0),
      codec: CODEC.brotli,
      lane: 'live',
      batchId: randomBytes(16),
      cutMs: START_MS,
      device: this.key,
      recipient: this.#cloud.recipient,
    });
  }

  verify(body: Uint8Array, envelope: Uint8Array): Answer {
    return verifyAnswer(body, this.key.device, envelopeDigest(envelope), toPublic(this.#cloud));
  }

  runOpen(previous: { run: Uint8Array; last: readonly number[] } | null = null): RunOpenRow {
    const before = previous && { run: hex(previous.run), last: previous.last };
    return { type: 'RUN_OPEN', previous: before, clean: true, boot: BOOT, reason: 'start', version: '0.1.0' };
  }

  tagRows(): object[] {
    return TAGS.map((tag) => ({ type: 'TAG', id: tagIdHex(tag), content: canonicalTag(tag) }));
  }

  gap(ranges: RangeSet, reason: GapRow['reason'] = 'dropped', cls: ClassNumber = CLASS.normal): object {
    return { type: 'GAP', run: hex(this.run), class: cls, ranges, count: count(ranges), from: null, to: null, reason };
  }

  settled(n: number, cls: ClassNumber = CLASS.normal): object {
    return { type: 'SETTLED', run: hex(this.run), class: cls, n };
  }
}

function rowsOf({ body }: Section): number {
  return body.kind === 'records' ? body.count : columnsOf(body.block).rows;
}
