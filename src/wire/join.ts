/** Blocks of one run and class into one, or into as few as make sense. */
import type { SlotKind } from '../reading.ts';
import {
  type BlockColumns,
  type BlockTag,
  ColumnsCopy,
  cellsMax,
  type Source,
  sliceBlock,
  sourceOf,
} from './columns.ts';

/** Denser than a reader demands: zeros cost little space but time on both sides. */
function cellsWanted(rows: number): number {
  return 64 * rows + 4096;
}

interface Part extends Source {
  /** Position of the part's chunks among all chunks, in the part's order. */
  readonly places: readonly number[];
  nextTag: number;
  nextRow: number;
}

/**
 * Several blocks of one run and class into one. Their chunks must be disjoint but may interleave.
 * @throws RangeError when chunks overlap, a tag has another kind in another block, or the result would pass `cellsMax`:
 *   `joinBlocks` makes several then.
 */
export function mergeBlocks(blocks: readonly BlockColumns[]): BlockColumns {
  const only = blocks[0];
  if (only === undefined) throw new RangeError('nothing to merge');
  if (blocks.length === 1) return only;
  const all = blocks.flatMap((columns, part) => columns.chunks.map((chunk, index) => ({ ...chunk, part, index })));
  all.sort((a, b) => a.n0 - b.n0);
  const places: number[][] = blocks.map(() => []);
  let end = 0;
  all.forEach((chunk, place) => {
    if (chunk.n0 <= end) throw new RangeError(`row ${chunk.n0} is in two of the blocks to merge`);
    end = chunk.n0 + chunk.count - 1;
    places[chunk.part]?.push(place);
  });
  const parts: Part[] = blocks.map((columns, i) => ({
    ...sourceOf(columns),
    places: places[i] ?? [],
    nextTag: 0,
    nextRow: 0,
  }));
  const rows = blocks.reduce((sum, columns) => sum + columns.rows, 0);
  if (tagsOf(blocks).size * all.length > cellsMax(rows)) throw new RangeError('blocks too sparse to be one');
  const copy = new ColumnsCopy(rows);
  const inOrder = places.every((own, i) => i === 0 || (places[i - 1]?.at(-1) ?? -1) < (own[0] ?? 0));
  const tags: BlockTag[] = [];
  for (;;) {
    const tag = lowestTag(parts);
    if (tag === undefined) break;
    tags.push(mergeTag(tag, parts, all.length, inOrder, copy));
  }
  return copy.done(
    all.map(({ n0, count }) => ({ n0, count })),
    tags,
  );
}

function tagsOf(blocks: readonly BlockColumns[]): Set<number> {
  const tags = new Set<number>();
  for (const block of blocks) for (const { tag } of block.tags) tags.add(tag);
  return tags;
}

/**
 * Blocks of one run and class, with disjoint chunks, as few blocks as make sense: nearly always one, several where tags
 * are so many and so rarely read that one would be full of zeros.
 * @throws RangeError as `mergeBlocks`
 */
export function joinBlocks(blocks: readonly BlockColumns[]): BlockColumns[] {
  const out: BlockColumns[] = [];
  let group: BlockColumns[] = [];
  let tags = new Set<number>();
  let rows = 0;
  let chunks = 0;
  for (const block of blocks.flatMap(fitBlocks).sort((a, b) => (a.chunks[0]?.n0 ?? 0) - (b.chunks[0]?.n0 ?? 0))) {
    for (const { tag } of block.tags) tags.add(tag);
    rows += block.rows;
    chunks += block.chunks.length;
    if (group.length > 0 && tags.size * chunks > cellsWanted(rows)) {
      out.push(mergeBlocks(group));
      group = [];
      tags = tagsOf([block]);
      rows = block.rows;
      chunks = block.chunks.length;
    }
    group.push(block);
  }
  if (group.length > 0) out.push(mergeBlocks(group));
  return out;
}

/** A block cut in the middle of its chunks until `encodeBlock` takes each piece: nearly always itself. One chunk always fits. */
export function fitBlocks(columns: BlockColumns): BlockColumns[] {
  const { chunks, tags, rows } = columns;
  if (tags.length * chunks.length <= cellsMax(rows)) return [columns];
  const middle = chunks[chunks.length >> 1]?.n0 ?? 0;
  const pieces = [sliceBlock(columns, 1, middle - 1), sliceBlock(columns, middle, Number.MAX_SAFE_INTEGER)];
  return pieces.flatMap((piece) => (piece === undefined ? [] : fitBlocks(piece)));
}

function lowestTag(parts: readonly Part[]): number | undefined {
  let lowest: number | undefined;
  for (const { columns, nextTag } of parts) {
    const tag = columns.tags[nextTag]?.tag;
    if (tag !== undefined && (lowest === undefined || tag < lowest)) lowest = tag;
  }
  return lowest;
}

function mergeTag(
  tag: number,
  parts: readonly Part[],
  chunkCount: number,
  inOrder: boolean,
  copy: ColumnsCopy,
): BlockTag {
  const counts = new Array<number>(chunkCount).fill(0);
  const spans: Span[] = [];
  let kind: SlotKind | undefined;
  for (const part of parts) {
    const entry = part.columns.tags[part.nextTag];
    if (entry === undefined || entry.tag !== tag) continue;
    kind ??= entry.kind;
    if (kind !== entry.kind) throw new RangeError(`tag ${tag} is ${kind} in one block and ${entry.kind} in another`);
    const first = part.nextRow;
    placeCounts(part, entry.counts, counts, inOrder ? undefined : spans);
    if (inOrder) copy.span(part, kind, first, part.nextRow);
    part.nextTag++;
  }
  const found: SlotKind = kind ?? 'number';
  spans.sort((a, b) => a.place - b.place);
  for (const { part, start, end } of spans) copy.span(part, found, start, end);
  return { tag, kind: found, counts };
}

interface Span {
  readonly place: number;
  readonly part: Part;
  readonly start: number;
  readonly end: number;
}

/** Enters a part's counts where its chunks are among all; steps over the rows, noting each chunk's where asked to. */
function placeCounts(part: Part, own: readonly number[], counts: number[], spans: Span[] | undefined): void {
  for (let c = 0; c < own.length; c++) {
    const count = own[c] ?? 0;
    const place = part.places[c] ?? 0;
    counts[place] = count;
    if (spans !== undefined && count > 0) spans.push({ place, part, start: part.nextRow, end: part.nextRow + count });
    part.nextRow += count;
  }
}
