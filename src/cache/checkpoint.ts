/**
 * Open windows across a restart. A checkpoint holds them as they were after some block of the journal; after a crash the
 * blocks since then are counted again. Windows that this closes were written before the crash, in the same commits as the
 * rows that closed them, and so were those the wall clock closed: both are forgotten.
 */
import { deserialize, serialize } from 'node:v8';
import type { SlotKind } from '../reading.ts';
import type { BlockColumns } from '../wire/block.ts';
import { holdsReadings } from '../wire/classes.ts';
import { crc32c } from '../wire/crc32c.ts';
import { decodeContent } from './content.ts';
import type { BlockStore } from './store.ts';
import { allBlocks } from './targets.ts';
import { WindowAccumulator } from './windows/accumulate.ts';
import { decodeWindows } from './windows/block.ts';
import { LATE, W, WINDOW_NUMBERS } from './windows/window.ts';

const KEY = 'windows';
const CRC_BYTES = 4;
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
  store.setBlob(KEY, pack(checkpoint));
}

export function restoreWindows(
  store: BlockStore,
  periods: readonly number[],
  kindOf: (tag: number) => SlotKind,
): WindowAccumulator {
  const windows = new WindowAccumulator(periods);
  const saved = unpack<Checkpoint>(store.blob(KEY));
  if (saved !== undefined && saved.periods.join() !== periods.join()) return windows;
  if (saved !== undefined) windows.restore(saved.state);
  for (const row of allBlocks(store, (saved?.blockId ?? 0) + 1)) {
    if (!holdsReadings(row.class)) continue;
    try {
      const content = decodeContent(row, store.block(row.id));
      if (content.kind === 'readings') addColumns(windows, content.columns, kindOf);
    } catch {
      // Damaged: reported and set aside when it is to be sent.
    }
    windows.take();
  }
  forgetWritten(store, saved?.windowsId ?? 0, windows);
  return windows;
}

/** Rows of a block are by tag already. */
export function addColumns(windows: WindowAccumulator, columns: BlockColumns, kindOf: (tag: number) => SlotKind): void {
  const tags = Uint32Array.from(columns.tags, ({ tag }) => tag);
  const starts = new Uint32Array(tags.length + 1);
  columns.tags.forEach(({ counts }, at) => {
    starts[at + 1] = counts.reduce((sum, rows) => sum + rows, starts[at] ?? 0);
  });
  const order = Uint32Array.from({ length: columns.rows }, (_, row) => row);
  windows.add(columns, { order, tags, starts, kept: columns.rows }, kindOf);
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

/** Structured clone bytes and their checksum. */
export function pack(value: unknown): Uint8Array {
  const body = serialize(value);
  const out = Buffer.alloc(body.length + CRC_BYTES);
  body.copy(out);
  out.writeUInt32BE(crc32c(body), body.length);
  return out;
}

/** Undefined for nothing, and for anything that is not what was packed: both only cost what the checkpoint would save. */
export function unpack<T>(bytes: Uint8Array | undefined): T | undefined {
  if (bytes === undefined || bytes.length < CRC_BYTES) return undefined;
  const packed = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const body = packed.subarray(0, packed.length - CRC_BYTES);
  if (packed.readUInt32BE(body.length) !== crc32c(body)) return undefined;
  try {
    return deserialize(body) as T; // what pack was given: the checksum says so
  } catch {
    return undefined; // written by another version of Node
  }
}
