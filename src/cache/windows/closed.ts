/** Finished windows as the main thread gets them: columns whose buffers move, tags by their index in the registry. */
import type { TagBook } from '../books.ts';
import type { ClosedWindows } from '../types.ts';
import type { WindowRows } from './rows.ts';
import { FLAG, W, WINDOW_NUMBERS } from './window.ts';

export type Transferable = ArrayBuffer;

/** Parts that came late are left out: what a display shows of a window is what it knew when it closed. */
export function closedWindows(
  all: readonly WindowRows[],
  tags: Pick<TagBook, 'indexOf'>,
): { columns: ClosedWindows[]; transfer: Transferable[] } {
  const columns = all.map((rows) => toColumns(rows, tags)).filter(({ length }) => length > 0);
  const transfer = columns.flatMap((each) =>
    Object.values(each).flatMap((column) => (ArrayBuffer.isView(column) ? [column.buffer] : [])),
  );
  return { columns, transfer: transfer.filter((buffer) => buffer instanceof ArrayBuffer) };
}

function toColumns({ periodMs, length, tag, numbers }: WindowRows, tags: Pick<TagBook, 'indexOf'>): ClosedWindows {
  const shown = Array.from({ length }, (_, row) => row).filter((row) => {
    const flags = numbers[row * WINDOW_NUMBERS + W.flags] ?? 0;
    return tags.indexOf(tag[row] ?? -1) >= 0 && (flags & FLAG.part) === 0;
  });
  const column = (number: number) => Float64Array.from(shown, (row) => numbers[row * WINDOW_NUMBERS + number] ?? 0);
  const share = (part: number, whole: number) =>
    Float64Array.from(
      shown,
      (row) => (numbers[row * WINDOW_NUMBERS + part] ?? 0) / (numbers[row * WINDOW_NUMBERS + whole] ?? 0),
    );
  return {
    periodMs,
    length: shown.length,
    tag: Uint32Array.from(shown, (row) => tags.indexOf(tag[row] ?? -1)),
    startMs: column(W.start),
    count: column(W.count),
    mean: column(W.mean),
    m2: column(W.m2),
    min: column(W.min),
    max: column(W.max),
    first: column(W.first),
    last: column(W.last),
    firstMs: column(W.firstMs),
    lastMs: column(W.lastMs),
    timeWeightedMean: share(W.area, W.covered),
    good: share(W.good, W.total),
  };
}
