/** Blocks as they are stored, read reading by reading. */
import { type PlainValue, Quality } from '../reading.ts';
import { type BlockColumns, decodeBlock, ROWS_MAX, rowNumbers } from '../wire/block.ts';
import type { StoredBlock } from './block-store.ts';
import { columnValues, tagStarts } from './columns-reader.ts';
import type { TimeSpan } from './tier.ts';

export function decode({ data }: StoredBlock): BlockColumns {
  return decodeBlock(data, { rowsMax: ROWS_MAX });
}

/** Those of one tag, by its position in the block, within a span. */
export function eachReading(
  columns: BlockColumns,
  shiftMs: number,
  position: number,
  { fromMs, toMs }: TimeSpan,
  visit: (timeMs: number, value: PlainValue, quality: number, n: number) => void,
): void {
  const valueAt = columnValues(columns);
  const starts = tagStarts(columns);
  const numbers = rowNumbers(columns);
  const kind = columns.tags[position]?.kind ?? 'number';
  for (let row = starts[position] ?? 0, end = starts[position + 1] ?? 0; row < end; row++) {
    const timeMs = (columns.timeMs[row] ?? 0) + shiftMs;
    if (timeMs < fromMs || timeMs >= toMs) continue;
    const quality = columns.quality[row] ?? 0;
    // A corrected time is as good as any: that the clock was not set is no longer true of it.
    const shown = shiftMs !== 0 && quality === Quality.clockUnsynced ? Quality.good : quality;
    visit(timeMs, valueAt(row, kind), shown, numbers[row] ?? 0);
  }
}
