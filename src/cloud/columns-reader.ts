/** Single values out of a decoded block. */
import { type PlainValue, type SlotKind, type ValueType, valueReader } from '../reading.ts';
import type { BlockColumns } from '../wire/block.ts';

/** Any type whose slot is of this kind: all of them read alike. */
const TYPE_OF: Readonly<Record<SlotKind, ValueType>> = {
  number: 'float64',
  int64: 'int64',
  uint64: 'uint64',
  bool: 'bool',
  text: 'text',
};

/** Make one for a block, not one for a row. */
export function columnValues(columns: BlockColumns): (row: number, kind: SlotKind) => PlainValue {
  const read = valueReader(columns);
  return (row, kind) => read(row, TYPE_OF[kind]);
}

/** Where the rows of each tag begin in the block; one more entry for the end. */
export function tagStarts(columns: Pick<BlockColumns, 'tags'>): number[] {
  const starts = [0];
  let row = 0;
  for (const { counts } of columns.tags) {
    for (const count of counts) row += count;
    starts.push(row);
  }
  return starts;
}
