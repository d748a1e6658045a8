/**
 * Open windows across a restart. A checkpoint holds them as they were after some block of the journal; after a crash the
 * blocks since then are counted again. Windows that this closes were written before the crash, in the same commits as the
 * rows that closed them, and so were those the wall clock closed: both are forgotten.
 */
import type { SlotKind } from '../reading.ts';
import type { BlockColumns } from '../wire/block.ts';
import { holdsReadings } from '../wire/classes.ts';
import { decodeContent } from './content.ts';
import { packState, unpackState } from './state.ts';
import { allBlocks, BLOCK_ID_STEP, type BlockStore } from './store.ts';
import { WindowAccumulator } from './windows/accumulate.ts';
import { decodeWindows } from './windows/block.ts';
import { LATE, W, WINDOW_NUMBERS } from './windows/window.ts';

const KEY = 'windows';
const PAGE = 64;

interface Checkpoint {
  readonly blockId: number;
  readonly windowsId: number;
  readonly periods: readonly number[];
  readonly state: ReturnType<WindowAccumulator['state']>;
}

/** Inside a transaction; nothing that the accumulator has seen may be waiting to be written. */
export function saveWindows(store: BlockStore, windows: WindowAccumulator): void {
  const checkpoint: Checkpoint = {
    blockId: store.lastBlockId(),
    windowsId: store.lastWindowsId(),
    periods: windows.periods,
    state: windows.state(),
  };
  store.setBlob(KEY, packState(checkpoint));
}

function readCheckpoint(store: BlockStore): Checkpoint | undefined {
  return unpackState<Checkpoint>(store.blob(KEY));
}

/** Pieces that a block was split into since lie within its step. */
function blockAfter(id: number): number {
  return (Math.floor(id / BLOCK_ID_STEP) + 1) * BLOCK_ID_STEP;
}

/** The first id that was never given: blocks newer than all that are left may have been removed. */
export function nextBlockId(store: BlockStore): number {
  return blockAfter(Math.max(store.lastBlockId(), readCheckpoint(store)?.blockId ?? 0));
}

export function restoreWindows(
  store: BlockStore,
  periods: readonly number[],
  kindOf: (tag: number) => SlotKind,
  nowMs: number,
): WindowAccumulator {
  const windows = new WindowAccumulator(periods);
  const saved = readCheckpoint(store);
  if (saved !== undefined && saved.periods.join() !== periods.join()) return windows;
  if (saved !== undefined) windows.restore(saved.state, nowMs);
  for (const row of allBlocks(store, saved === undefined ? 0 : blockAfter(saved.blockId))) {
    if (!holdsReadings(row.class)) continue;
    try {
      const content = decodeContent(row, store.block(row.id));
      if (content.kind === 'readings') addColumns(windows, content.columns, kindOf, nowMs);
    } catch {
      // Damaged: reported and set aside when it is to be sent.
    }
    windows.take();
  }
  forgetWritten(store, saved?.windowsId ?? 0, windows);
  return windows;
}

/** Rows of a block are by tag already. */
export function addColumns(
  windows: WindowAccumulator,
  columns: BlockColumns,
  kindOf: (tag: number) => SlotKind,
  nowMs: number,
): void {
  const tags = Uint32Array.from(columns.tags, ({ tag }) => tag);
  const starts = new Uint32Array(tags.length + 1);
  columns.tags.forEach(({ counts }, at) => {
    starts[at + 1] = counts.reduce((sum, rows) => sum + rows, starts[at] ?? 0);
  });
  const order = Uint32Array.from({ length: columns.rows }, (_, row) => row);
  windows.add(columns, { order, tags, starts, kept: columns.rows }, kindOf, nowMs);
}

function forgetWritten(store: BlockStore, afterId: number, windows: WindowAccumulator): void {
  for (let id = afterId; ; ) {
    const page = store.windowsAfter(id, PAGE);
    for (const { block, periodMs } of page) {
      const level = windows.periods.indexOf(periodMs);
      const rows = decodeWindows(block);
      for (let row = 0; row < rows.length; row++) {
        const at = row * WINDOW_NUMBERS;
        if (rows.numbers[at + W.flags] === LATE) continue;
        windows.drop(rows.tag[row] ?? 0, level, rows.numbers[at + W.start] ?? Number.NaN);
      }
    }
    const end = page.at(-1);
    if (end === undefined || page.length < PAGE) return;
    id = end.id;
  }
}
