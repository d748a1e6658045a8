/** Random chunks and blocks for the properties of the wire. */
import fc from 'fast-check';
import { type Chunk, quality, type SlotKind, THINNED } from '../../src/reading.ts';
import type { BlockColumns } from '../../src/wire/block.ts';

export const KINDS: readonly SlotKind[] = ['number', 'int64', 'uint64', 'bool', 'text'];
export const kindOf = (tag: number): SlotKind => KINDS[tag % KINDS.length] ?? 'number';

const GOOD = quality('good');
const STALE = quality('uncertain', 'stale');
const BAD = quality('bad', 'comm_error');

const anyNumber = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: -50, max: 400 }).map((tenths) => tenths / 10) },
  { weight: 2, arbitrary: fc.integer({ min: -1000, max: 1000 }).map((v) => Math.fround(v / 100)) },
  { weight: 2, arbitrary: fc.integer() },
  { weight: 1, arbitrary: fc.float() },
  { weight: 2, arbitrary: fc.double() },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      0,
      -0,
      Number.NaN,
      Infinity,
      -Infinity,
      2 ** 53,
      -(2 ** 53),
      2 ** 52,
      Number.MAX_VALUE,
      5e-324,
      0.1,
      1e-6,
    ),
  },
);
const anyTime = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: 0, max: 100_000 }).map((ms) => 1_760_000_000_000 + ms) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 1e9 }).map((us) => 1_760_000_000_000 + us / 1000) },
  { weight: 1, arbitrary: fc.double({ noNaN: true, noDefaultInfinity: true }) },
  { weight: 1, arbitrary: fc.constantFrom(0, -0, -1, 1e300, 2 ** 53, -(2 ** 52), 0.5) },
);
const anyBits = fc.oneof(fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }), fc.bigInt({ min: -3n, max: 300n }));
const anyText = fc.oneof(fc.constantFrom('', 'ok', 'störung', 'a\0b'), fc.string({ unit: 'grapheme', maxLength: 12 }));
const anyQuality = fc.oneof(
  { weight: 8, arbitrary: fc.constant<number>(GOOD) },
  { weight: 1, arbitrary: fc.constantFrom(STALE, BAD) },
);

export interface Row {
  readonly tag: number;
  readonly timeMs: number;
  /** The slot as 64 bits; for text, the text. */
  readonly bits: bigint;
  readonly text: string | undefined;
  readonly quality: number;
  readonly thinned: boolean;
}

const double = new Float64Array(1);
const long = new BigUint64Array(double.buffer);
function bitsOf(value: number): bigint {
  double[0] = value;
  return long[0] ?? 0n;
}

const SLOTS: Readonly<Record<SlotKind, fc.Arbitrary<{ bits: bigint; text: string | undefined }>>> = {
  number: anyNumber.map((value) => ({ bits: bitsOf(value), text: undefined })),
  int64: anyBits.map((value) => ({ bits: BigInt.asUintN(64, value), text: undefined })),
  uint64: anyBits.map((value) => ({ bits: BigInt.asUintN(64, value), text: undefined })),
  bool: fc.constantFrom(0, 1).map((value) => ({ bits: bitsOf(value), text: undefined })),
  text: anyText.map((text) => ({ bits: 0n, text })),
};

export const anyRow: fc.Arbitrary<Row> = fc.integer({ min: 0, max: 11 }).chain((tag) =>
  fc
    .record({ timeMs: anyTime, slot: SLOTS[kindOf(tag)], quality: anyQuality, thinned: fc.boolean() })
    .map(({ timeMs, slot, quality: q, thinned }) => ({
      tag,
      timeMs,
      quality: q,
      thinned: thinned && q === GOOD,
      ...(q === BAD ? { bits: 0n, text: undefined } : slot),
    })),
);

/** Rows that look like a plant's: a few tags, regular times, values near each other. */
export const anyRows = fc.array(anyRow, { minLength: 1, maxLength: 120 });

export function chunkOf(rows: readonly Row[]): Chunk {
  const value = new BigUint64Array(rows.length);
  const texts: string[] = [];
  rows.forEach((row, i) => {
    value[i] = row.text === undefined ? row.bits : bitsOf(texts.push(row.text) - 1);
  });
  return {
    length: rows.length,
    tag: Uint32Array.from(rows, ({ tag }) => tag),
    timeMs: Float64Array.from(rows, ({ timeMs }) => timeMs),
    value: new Float64Array(value.buffer),
    quality: Uint8Array.from(rows, (row) => row.quality | (row.thinned ? THINNED : 0)),
    texts,
  };
}

/** Rows of a block as plain data, comparable bit for bit. */
export function rowsOf(
  columns: BlockColumns,
): { tag: number; timeBits: bigint; slot: bigint | string; quality: number }[] {
  const slots = new BigUint64Array(columns.value.buffer, columns.value.byteOffset, columns.rows);
  const out: { tag: number; timeBits: bigint; slot: bigint | string; quality: number }[] = [];
  let row = 0;
  for (const { tag, kind, counts } of columns.tags) {
    for (let left = counts.reduce((sum, count) => sum + count, 0); left > 0; left--, row++) {
      const q = columns.quality[row] ?? 0;
      const text = kind === 'text' && q !== BAD ? columns.texts[columns.value[row] ?? -1] : undefined;
      out.push({
        tag,
        timeBits: bitsOf(columns.timeMs[row] ?? Number.NaN),
        slot: text ?? slots[row] ?? 0n,
        quality: q,
      });
    }
  }
  return out;
}

export function expectedRows(rows: readonly Row[]): ReturnType<typeof rowsOf> {
  return rows
    .filter(({ thinned }) => !thinned)
    .map((row, i) => ({ row, i }))
    .sort((a, b) => a.row.tag - b.row.tag || a.i - b.i)
    .map(({ row }) => ({
      tag: row.tag,
      timeBits: bitsOf(row.timeMs),
      slot: row.text ?? row.bits,
      quality: row.quality,
    }));
}

export function codeOfThrown(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    const { name, code } = error as { name: string; code?: string };
    return name === 'SluiceError' ? (code ?? 'none') : `${name}: ${(error as Error).message}`;
  }
}
