/**
 * A block without some of its rows. The numbers of the others stay: what is gone in between are holes in the block's row of
 * the journal, and chunks that begin later in its content. So a tag forgotten out of a block of many commits costs no more
 * blocks than before, and not a piece for each gap.
 */
import { type BlockColumns, fitBlocks, rangesOf, selectRows } from '../../wire/block.ts';
import { count, type Range, type RangeSet, rangeSet, subtract } from '../../wire/ranges.ts';
import type { TagBook } from '../books.ts';
import { type Content, encodeContent, pieceOf, sourcesOf, timesOf } from '../content.ts';
import type { NewBlock } from '../journal.ts';
import { BLOCK_ROWS_MAX, type BlockRow, numbersOf, pieceId } from '../store.ts';

/** Numbers of the rows of some tags. */
export function numbersOfTags(columns: Pick<BlockColumns, 'chunks' | 'tags'>, wanted: ReadonlySet<number>): RangeSet {
  const next = columns.chunks.map(({ n0 }) => n0);
  const found: Range[] = [];
  for (const { tag, counts } of columns.tags) {
    for (let chunk = 0; chunk < counts.length; chunk++) {
      const rows = counts[chunk] ?? 0;
      const from = next[chunk] ?? 0;
      if (rows > 0 && wanted.has(tag)) found.push({ from, to: from + rows - 1 });
      next[chunk] = from + rows;
    }
  }
  return rangeSet(found);
}

/** Numbers of the records for which `isWanted` holds. */
export function numbersOfRecords(
  content: Content & { kind: 'records' },
  isWanted: (record: object) => boolean,
): RangeSet {
  return rangeSet(
    content.records.flatMap((record, at) => {
      const n = content.n0 + at;
      return isWanted(record) ? [{ from: n, to: n }] : [];
    }),
  );
}

/** What is written in the place of `row`; empty when nothing is left. Records, which are few, become a piece for each gap. */
export function withoutRows(row: BlockRow, content: Content, gone: RangeSet, tags: TagBook): NewBlock[] {
  const kept = subtract(numbersOf(row), gone);
  if (content.kind === 'records') return kept.flatMap((range) => pieceOf(row, content, range, tags) ?? []);
  const columns = selectRows(content.columns, kept);
  if (columns === undefined) return [];
  // Only a committed block has one count for each tag and chunk, and so too many of them where both are many.
  const parts = columns.rows > BLOCK_ROWS_MAX ? [columns] : fitBlocks(columns);
  return parts.map((part) => blockOf(row, part, tags));
}

function blockOf(row: BlockRow, columns: BlockColumns, tags: TagBook): NewBlock {
  const numbers = rangesOf(columns);
  const n0 = numbers[0]?.from ?? row.n0;
  const holes = subtract([{ from: n0, to: numbers.at(-1)?.to ?? n0 }], numbers);
  const bytes = encodeContent({ kind: 'readings', columns });
  const { holes: _, ...unbroken } = row;
  return {
    row: {
      ...unbroken,
      ...(holes.length === 0 ? {} : { holes }),
      ...timesOf(columns),
      id: pieceId(row, n0),
      n0,
      rows: count(numbers),
      counts: sourcesOf(columns, tags),
      bytes: bytes.length,
    },
    bytes,
  };
}
