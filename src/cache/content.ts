/** Blocks of either form, readings by column or records, seen alike: as numbered rows that can be cut and counted. */

import { SluiceError } from '../errors.ts';
import { type BlockColumns, decodeBlock, encodeBlock, rangesOf, selectRows } from '../wire/block.ts';
import { holdsReadings } from '../wire/classes.ts';
import { intersect, type Range, type RangeSet } from '../wire/ranges.ts';
import { decodeRecords, encodeRecords } from '../wire/records.ts';
import type { TagBook } from './books.ts';
import { addTo } from './counts.ts';
import { pack, unpack } from './packing.ts';
import { encodeRolled } from './rolled/encode.ts';
import { isRolled, openRolled } from './rolled/open.ts';
import { rowsWithin } from './rolled/without.ts';
import { BLOCK_ROWS_MAX, type BlockRow, pieceId, type SourceCounts, spanOf } from './store.ts';

export { spanOf as rangeOf } from './store.ts';

export type Content =
  | { readonly kind: 'readings'; readonly columns: BlockColumns }
  | { readonly kind: 'records'; readonly n0: number; readonly records: readonly object[] };

/** @param stored as on disk, in either form. @throws SluiceError (discard) when the bytes are not what was written. */
export function decodeContent(row: BlockRow, stored: Uint8Array | undefined): Content {
  return openContent(row, stored).content;
}

/** Also `plain`, as it travels, where that is what is stored and no other piece shares it. @throws as `decodeContent` */
export function openContent(
  row: BlockRow,
  stored: Uint8Array | undefined,
): { readonly content: Content; readonly plain: Uint8Array | undefined } {
  if (isRolled(stored)) return { content: ofRow(row, openRolled(stored).all()), plain: undefined };
  const plain = unpack(stored);
  return { content: decodePlain(row, plain), plain: row.content === undefined ? plain : undefined };
}

/** As it is stored: as a rolled block where it is too large for a committed one. */
export function encodeContent(content: Content): Uint8Array {
  if (content.kind === 'records') return pack(encodeRecords(content.records));
  return content.columns.rows > BLOCK_ROWS_MAX ? encodeRolled(content.columns) : pack(encodeBlock(content.columns));
}

function decodePlain(row: BlockRow, bytes: Uint8Array): Content {
  if (holdsReadings(row.class)) return ofRow(row, decodeBlock(bytes, { rowsMax: BLOCK_ROWS_MAX }));
  const records = decodeRecords(bytes, { rowsMax: BLOCK_ROWS_MAX }) as object[]; // decodeRecords gives nothing else
  const { n0 } = row.content ?? row;
  const mine = row.content === undefined ? records : records.slice(row.n0 - n0, row.n0 - n0 + row.rows);
  requireRows(mine.length, row.rows);
  return { kind: 'records', n0: row.n0, records: mine };
}

function ofRow(row: BlockRow, columns: BlockColumns): Content {
  const mine = row.content === undefined ? columns : selectRows(columns, [spanOf(row)]);
  requireRows(mine?.rows ?? 0, row.rows);
  if (mine === undefined || rangesOf(mine)[0]?.from !== row.n0)
    throw new SluiceError('cache.block_foreign', 'discard', 'a block in the place of another');
  return { kind: 'readings', columns: mine };
}

function requireRows(found: number, expected: number): void {
  if (found !== expected)
    throw new SluiceError('cache.block_foreign', 'discard', `${found} rows in a block of ${expected}`);
}

/** Whose the readings are of each span of a block's numbers, which ascend. Of a rolled block no readings are opened. @throws as `decodeContent` */
export function sourcesWithin(
  row: BlockRow,
  stored: Uint8Array | undefined,
  spans: readonly Range[],
  tags: TagBook,
): SourceCounts[] {
  if (!holdsReadings(row.class)) return spans.map(() => []);
  const numbers = isRolled(stored) ? openRolled(stored).numbers() : decodeReadings(row, stored);
  return rowsWithin(numbers, spans).map((rows) =>
    sourcesOf({ tags: numbers.tags.map((tag, at) => ({ ...tag, counts: [rows[at] ?? 0] })) }, tags),
  );
}

function decodeReadings(row: BlockRow, stored: Uint8Array | undefined): BlockColumns {
  const content = decodeContent(row, stored);
  if (content.kind === 'readings') return content.columns;
  throw new SluiceError('cache.block_foreign', 'discard', 'a block in the place of another');
}

/** The rows of `ranges`; undefined when there are none. */
export function selectContent(content: Content, ranges: RangeSet): Content | undefined {
  if (content.kind === 'readings') {
    const columns = selectRows(content.columns, ranges);
    return columns && { kind: 'readings', columns };
  }
  const [only] = ranges;
  if (only === undefined || ranges.length > 1) throw new RangeError('records are cut one range at a time');
  const records = content.records.slice(only.from - content.n0, only.to - content.n0 + 1);
  return records.length === 0 ? undefined : { kind: 'records', n0: only.from, records };
}

/** A part of a block as a block of its own. @param piece begins and ends with a row; there may be holes in between. */
export function pieceOf(
  row: BlockRow,
  content: Content,
  piece: Range,
  tags: TagBook,
): { row: BlockRow; bytes: Uint8Array } | undefined {
  const selected = selectContent(content, [piece]);
  if (selected === undefined) return undefined;
  const id = pieceId(row, piece.from);
  const rows = selected.kind === 'records' ? selected.records.length : selected.columns.rows;
  const { holes: all = [], ...unbroken } = row;
  const holes = intersect(all, piece);
  const place = { ...unbroken, ...(holes.length === 0 ? {} : { holes }), id, n0: piece.from, rows };
  const bytes = encodeContent(selected);
  if (selected.kind === 'records') return { row: { ...place, bytes: bytes.length }, bytes };
  const times = timesOf(selected.columns);
  return { row: { ...place, ...times, counts: sourcesOf(selected.columns, tags), bytes: bytes.length }, bytes };
}

export function timesOf({ rows, timeMs }: BlockColumns): { firstMs: number; lastMs: number } {
  let firstMs = Number.POSITIVE_INFINITY;
  let lastMs = Number.NEGATIVE_INFINITY;
  for (let row = 0; row < rows; row++) {
    const time = timeMs[row] as number; // in bounds
    if (time < firstMs) firstMs = time;
    if (time > lastMs) lastMs = time;
  }
  return { firstMs, lastMs };
}

export function sourcesOf({ tags: directory }: Pick<BlockColumns, 'tags'>, tags: TagBook): SourceCounts {
  const sources = new Map<number, number>();
  for (const { tag, counts } of directory) {
    addTo(
      sources,
      tags.sourceOf(tag),
      counts.reduce((sum, each) => sum + each, 0),
    );
  }
  return [...sources];
}
