/**
 * From the bytes of a reply straight into columns. What a tag needs is worked out once, into tables side by side, so that
 * a poll costs one pass over them and allocates nothing (texts and 64-bit integers are the exceptions: JavaScript makes
 * objects of them).
 *
 * A number's byte order is eight byte positions, most significant first: every order costs the same and there is no
 * branch for it.
 */
import { isUtf8 } from 'node:buffer';
import { type ChunkBuilder, Quality, type ValueType } from '../../src/reading.ts';
import { isBitTable, type Table } from './address.ts';
import { bytePositions, type Order, swapsBytes } from './order.ts';
import type { ReadRequest, Span } from './plan.ts';
import { type Scaling, UNSCALED } from './scaling.ts';

/** Where a tag lies and how its bytes become a value. */
export interface ModbusAddress extends Span {
  readonly unit: number;
  /** The type on the wire; with a scaling the reading is a float64. */
  readonly wireType: ValueType;
  readonly order: Order;
  /** bool of a register: which bit, 0 the least significant; without it any value but 0 is true. */
  readonly bit?: number;
  readonly scaling?: Scaling;
}

export type BoundTag = ModbusAddress & { readonly index: number };

const POSITIONS = 8;
const COIL = 0;
const FLAG = 1;
const UINT16 = 2;
const INT16 = 3;
const UINT32 = 4;
const INT32 = 5;
const FLOAT32 = 6;
const FLOAT64 = 7;
const INT64 = 8;
const UINT64 = 9;
const TEXT = 10;
const OPERATION: Readonly<Record<ValueType, number>> = {
  bool: FLAG,
  int16: INT16,
  uint16: UINT16,
  int32: INT32,
  uint32: UINT32,
  int64: INT64,
  uint64: UINT64,
  float32: FLOAT32,
  float64: FLOAT64,
  text: TEXT,
};

/** Shared by all decoders: a decode is synchronous. */
const scratch = new DataView(new ArrayBuffer(8));

export class BlockDecoder {
  readonly #count: number;
  readonly #index: Uint32Array;
  readonly #operation: Uint8Array;
  /** Positions in the reply's data; data is at most 250 bytes, so they fit a byte. */
  readonly #positions: Uint8Array;
  /** The bits of a coil's byte or a register that count. */
  readonly #mask: Uint16Array;
  readonly #isScaled: Uint8Array;
  readonly #scaling: Scaling[];
  readonly #textBytes: Uint8Array;
  readonly #swapsText: Uint8Array;

  constructor(request: Pick<ReadRequest<BoundTag>, 'table' | 'address' | 'tags'>) {
    const { tags } = request;
    this.#count = tags.length;
    this.#index = Uint32Array.from(tags, (tag) => tag.index);
    this.#operation = Uint8Array.from(tags, (tag) => (isBitTable(request.table) ? COIL : OPERATION[tag.wireType]));
    this.#positions = positionsOf(request.table, request.address, tags);
    this.#mask = Uint16Array.from(tags, (tag) => maskOf(tag, request.address));
    this.#isScaled = Uint8Array.from(tags, (tag) => (tag.scaling === undefined ? 0 : 1));
    this.#scaling = tags.map((tag) => tag.scaling ?? UNSCALED);
    this.#textBytes = Uint8Array.from(tags, (tag) => (tag.wireType === 'text' ? tag.count * 2 : 0));
    this.#swapsText = Uint8Array.from(tags, (tag) => (swapsBytes(tag.order) ? 1 : 0));
  }

  /** Pushes one reading a tag. @param at where the reply's data begins in `bytes`. */
  decode(bytes: Uint8Array, at: number, timeMs: number, out: ChunkBuilder): void {
    const count = this.#count;
    const operations = this.#operation;
    const positions = this.#positions;
    const indexes = this.#index;
    for (let tag = 0; tag < count; tag++) {
      const index = indexes[tag] ?? 0;
      const p = tag * POSITIONS;
      let value: number;
      switch (operations[tag]) {
        case COIL:
        case FLAG:
          value =
            ((operations[tag] === COIL ? byteAt(bytes, at, positions, p) : wordAt(bytes, at, positions, p)) &
              (this.#mask[tag] ?? 0)) ===
            0
              ? 0
              : 1;
          break;
        case UINT16:
          value = wordAt(bytes, at, positions, p);
          break;
        case INT16:
          value = (wordAt(bytes, at, positions, p) << 16) >> 16;
          break;
        case UINT32:
          value = longAt(bytes, at, positions, p) >>> 0;
          break;
        case INT32:
          value = longAt(bytes, at, positions, p);
          break;
        case FLOAT32:
          scratch.setInt32(0, longAt(bytes, at, positions, p));
          value = scratch.getFloat32(0);
          break;
        case FLOAT64:
          fillScratch(bytes, at, positions, p);
          value = scratch.getFloat64(0);
          break;
        case INT64:
          fillScratch(bytes, at, positions, p);
          out.pushInt64(index, timeMs, scratch.getBigInt64(0), Quality.good);
          continue;
        case UINT64:
          fillScratch(bytes, at, positions, p);
          out.pushInt64(index, timeMs, scratch.getBigUint64(0), Quality.good);
          continue;
        default:
          out.pushText(index, timeMs, this.#text(bytes, at, tag), Quality.good);
          continue;
      }
      if (this.#isScaled[tag] === 1) value = this.#scaled(tag, value);
      // Devices say "sensor broken" with NaN; no store downstream takes it for a number.
      out.push(index, timeMs, value, Number.isFinite(value) ? Quality.good : Quality.notAvailable);
    }
  }

  /** Pushes every tag without a value. */
  fail(timeMs: number, qualityByte: number, out: ChunkBuilder): void {
    for (const index of this.#index) out.push(index, timeMs, 0, qualityByte);
  }

  #scaled(tag: number, raw: number): number {
    const { before, factor, divisor, after } = this.#scaling[tag] ?? UNSCALED;
    return ((raw + before) * factor) / divisor + after;
  }

  #text(bytes: Uint8Array, at: number, tag: number): string {
    const start = at + (this.#positions[tag * POSITIONS] ?? 0);
    const raw = Buffer.from(bytes.subarray(start, start + (this.#textBytes[tag] ?? 0)));
    if (this.#swapsText[tag] === 1) raw.swap16();
    return textOf(raw);
  }
}

/** Up to the first NUL, without the spaces that fill a fixed field; UTF-8, or Latin-1 where it is none. */
export function textOf(raw: Buffer): string {
  const nul = raw.indexOf(0);
  const used = nul < 0 ? raw : raw.subarray(0, nul);
  return used.toString(isUtf8(used) ? 'utf8' : 'latin1').trimEnd();
}

function positionsOf(table: Table, first: number, tags: readonly BoundTag[]): Uint8Array {
  const positions = new Uint8Array(tags.length * POSITIONS);
  for (const [at, tag] of tags.entries()) {
    const distance = tag.address - first;
    if (isBitTable(table)) positions[at * POSITIONS] = distance >> 3;
    else if (tag.wireType === 'text') positions[at * POSITIONS] = distance * 2;
    else
      positions.set(
        bytePositions(tag.order, tag.count * 2).map((byte) => distance * 2 + byte),
        at * POSITIONS,
      );
  }
  return positions;
}

function maskOf(tag: BoundTag, first: number): number {
  if (isBitTable(tag.table)) return 1 << ((tag.address - first) & 7);
  return tag.bit === undefined ? 0xffff : 1 << tag.bit;
}

function byteAt(bytes: Uint8Array, at: number, positions: Uint8Array, p: number): number {
  return bytes[at + (positions[p] ?? 0)] ?? 0;
}

function wordAt(bytes: Uint8Array, at: number, positions: Uint8Array, p: number): number {
  return (byteAt(bytes, at, positions, p) << 8) | byteAt(bytes, at, positions, p + 1);
}

/** As a signed 32-bit integer. */
function longAt(bytes: Uint8Array, at: number, positions: Uint8Array, p: number): number {
  return (wordAt(bytes, at, positions, p) << 16) | wordAt(bytes, at, positions, p + 2);
}

function fillScratch(bytes: Uint8Array, at: number, positions: Uint8Array, p: number): void {
  scratch.setInt32(0, longAt(bytes, at, positions, p));
  scratch.setInt32(4, longAt(bytes, at, positions, p + 4));
}
