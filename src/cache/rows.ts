/** Rows of the tables `journal` and `targets` as SQLite gives them. */
import { ByteReader, ByteWriter } from '../wire/bytes.ts';
import type { ClassNumber } from '../wire/classes.ts';
import { decodeRanges, encodeRanges } from '../wire/ranges.ts';
import type { BlockRow, SourceCounts, TargetRow } from './store.ts';

/** Of some sources. */
const COUNTS_BYTES = 16;

export interface JournalRecord {
  readonly id: number;
  readonly run: number;
  readonly class: ClassNumber;
  readonly n0: number;
  readonly rows: number;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly pending: number;
  readonly monoMs: number;
  readonly wallMs: number;
  readonly synced: number;
  readonly bytes: number;
  readonly counts: Uint8Array;
  readonly holes: Uint8Array | null;
  readonly content: number | null;
  readonly contentN0: number | null;
  readonly contentRows: number | null;
}

export const JOURNAL_COLUMNS =
  'id, run, class, n0, rows, first_ms AS firstMs, last_ms AS lastMs, pending, mono_ms AS monoMs, wall_ms AS wallMs, synced, bytes, counts, holes, content, content_n0 AS contentN0, content_rows AS contentRows';

export function blockRow(record: JournalRecord): BlockRow {
  const { holes, content, contentN0, contentRows, ...columns } = record;
  const row = { ...columns, synced: record.synced === 1, counts: countsOf(record.counts) };
  return {
    ...row,
    ...(holes !== null && { holes: decodeRanges(new ByteReader(holes), Number.MAX_SAFE_INTEGER) }),
    ...(content !== null && { content: { id: content, n0: contentN0 ?? row.n0, rows: contentRows ?? row.rows } }),
  };
}

function countsOf(stored: Uint8Array): SourceCounts {
  const reader = new ByteReader(stored);
  const counts: [number, number][] = [];
  while (reader.remaining > 0) counts.push([reader.varint(), reader.varint()]);
  return counts;
}

/** The column `counts`: source and rows as varints, again and again. */
export function storedCounts(counts: SourceCounts): Uint8Array {
  const writer = new ByteWriter(COUNTS_BYTES);
  for (const [source, rows] of counts) writer.varint(source).varint(rows);
  return writer.take();
}

/** The column `holes`. */
export function storedHoles({ holes }: Pick<BlockRow, 'holes'>): Uint8Array | null {
  if (holes === undefined || holes.length === 0) return null;
  const writer = new ByteWriter();
  encodeRanges(writer, holes);
  return writer.take();
}

export interface TargetRecord {
  readonly bit: number;
  readonly name: string;
  readonly required: number;
  readonly removed: number;
  readonly dictionary: Uint8Array | null;
  readonly dictionaryCount: number;
}

export function targetRow(record: TargetRecord): TargetRow {
  const { required, removed, dictionary } = record;
  return { ...record, required: required === 1, removed: removed === 1, dictionary: dictionary ?? undefined };
}
