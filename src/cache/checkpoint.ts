/**
 * Windows across a restart. A checkpoint holds the open ones as they were after some block of the journal, and those that were
 * closed and waited; after a crash the blocks since then are counted again. What that closes and is on disk already was written
 * before the crash; the rest waited, and waits again. What the wall clock had closed is open again and closed once more.
 * Where the deadband thins, the journal tells less than the windows knew: those that were counted again say so.
 */
import type { SlotKind } from '../reading.ts';
import type { BlockColumns } from '../wire/block.ts';
import { holdsReadings } from '../wire/classes.ts';
import { decodeContent } from './content.ts';
import { rawRemoved } from './raw-removed.ts';
import { packState, unpackState } from './state.ts';
import { allBlocks, BLOCK_ID_STEP, type BlockStore } from './store.ts';
import { decodeWindows } from './windows/block.ts';
import { WindowBook, type WindowsState } from './windows/book.ts';
import { WindowRows } from './windows/rows.ts';
import { FLAG, W, WINDOW_NUMBERS } from './windows/window.ts';

const KEY = 'windows';
/** In `meta`: the `blockId` of the checkpoint, for who does not need the rest of it. */
const CHECKPOINT_BLOCK = 'windows block';
/** In `meta`: the last block that was rolled into one with a lower id. */
const ROLLED_TO = 'rolled to';
const PAGE = 64;

interface Checkpoint {
  readonly blockId: number;
  readonly windowsId: number;
  readonly periods: readonly number[];
  readonly state: WindowsState;
}

/** Inside a transaction. All that the windows have seen must be on disk. */
export function saveWindows(store: BlockStore, windows: WindowBook): void {
  const blockId = lastPlace(store);
  const checkpoint: Checkpoint = {
    blockId,
    windowsId: store.lastWindowsId(),
    periods: windows.periods,
    state: windows.state(),
  };
  store.setBlob(KEY, packState(checkpoint));
  store.setMeta(CHECKPOINT_BLOCK, String(blockId));
}

/** Blocks up to this one are in the saved windows, later ones are counted again after a crash; −1 when nothing was saved. */
export function checkpointBlock(store: BlockStore): number {
  return Number(store.meta(CHECKPOINT_BLOCK) ?? -1);
}

/** Inside the transaction that rolls blocks up to `id` into one: no other may come to stand where its pieces will. */
export function notePlace(store: BlockStore, id: number): void {
  if (id > Number(store.meta(ROLLED_TO) ?? 0)) store.setMeta(ROLLED_TO, String(id));
}

/** The last id that was given, as far as it is known: the block may be part of another by now. */
export function lastPlace(store: BlockStore): number {
  return Math.max(store.lastBlockId(), Number(store.meta(ROLLED_TO) ?? 0));
}

function readCheckpoint(store: BlockStore): Checkpoint | undefined {
  return unpackState<Checkpoint>(store.blob(KEY));
}

/** Behind all pieces that a block may have been split into since. */
function blockAfter(id: number): number {
  return (Math.floor(id / BLOCK_ID_STEP) + 1) * BLOCK_ID_STEP;
}

/** The first id that was never given: blocks newer than all that are left may have been removed. */
export function nextBlockId(store: BlockStore): number {
  return blockAfter(Math.max(lastPlace(store), checkpointBlock(store)));
}

export function restoreWindows(
  store: BlockStore,
  periods: readonly number[],
  kindOf: (tag: number) => SlotKind,
  nowMs: number,
): WindowBook {
  const windows = new WindowBook(periods);
  const saved = readCheckpoint(store);
  if (saved !== undefined && saved.periods.join() !== periods.join()) return windows;
  const isPartial = rawRemoved(store).id > (saved?.blockId ?? -1);
  const written = new Written(store, saved?.windowsId ?? 0, windows, isPartial, nowMs);
  if (saved !== undefined) written.keepWaiting(windows.restore(saved.state, nowMs), nowMs);
  for (const row of allBlocks(store, saved === undefined ? 0 : blockAfter(saved.blockId))) {
    if (!holdsReadings(row.class)) continue;
    try {
      const content = decodeContent(row, store.block(row.id));
      if (content.kind === 'readings') addColumns(windows, content.columns, kindOf, nowMs);
    } catch {
      // Damaged: reported and set aside when it is to be sent.
    }
    written.keepOthers(nowMs);
  }
  written.close(nowMs);
  return windows;
}

/** Rows of a block are by tag already. */
export function addColumns(
  windows: WindowBook,
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

/** What was written since the checkpoint. */
class Written {
  readonly #windows: WindowBook;
  /** A level: `tag start`. */
  readonly #keys: readonly Set<string>[];
  readonly #isThin: (tag: number) => boolean;

  /** @param isPartial some of the journal since the checkpoint is gone. */
  constructor(store: BlockStore, afterId: number, windows: WindowBook, isPartial: boolean, nowMs: number) {
    this.#windows = windows;
    this.#keys = windows.periods.map(() => new Set());
    for (const rows of windowsAfter(store, afterId)) {
      const keys = this.#keys[windows.periods.indexOf(rows.periodMs)];
      for (let row = 0; row < rows.length; row++) keys?.add(keyOf(rows, row));
      windows.repairs.note(rows, nowMs);
    }
    this.#isThin = isPartial ? () => true : thinnedTags(store);
  }

  keepWaiting(waiting: readonly WindowRows[], nowMs: number): void {
    for (const rows of waiting) {
      const keys = this.#keys[this.#windows.periods.indexOf(rows.periodMs)];
      const kept = new WindowRows(rows.periodMs);
      for (let row = 0; row < rows.length; row++)
        if (keys?.has(keyOf(rows, row)) !== true)
          kept.push(rows.tag[row] as number, rows.numbers, row * WINDOW_NUMBERS);
      this.#windows.wait([kept], nowMs);
    }
  }

  /** Of what the journal closed: parts are written with their readings, and so is everything else of their windows. */
  keepOthers(nowMs: number): void {
    for (const rows of this.#windows.open.take()) {
      const keys = this.#keys[this.#windows.periods.indexOf(rows.periodMs)];
      const kept = new WindowRows(rows.periodMs);
      for (let row = 0; row < rows.length; row++) {
        const at = row * WINDOW_NUMBERS;
        const flags = rows.numbers[at + W.flags] as number; // in bounds, here and below
        if ((flags & FLAG.part) !== 0 || keys?.has(keyOf(rows, row)) === true) continue;
        if (this.#isThin(rows.tag[row] as number)) rows.numbers[at + W.flags] = flags | FLAG.thin;
        kept.push(rows.tag[row] as number, rows.numbers, at);
      }
      this.#windows.wait([kept], nowMs);
    }
  }

  /** Closes what the wall clock had closed. */
  close(nowMs: number): void {
    const { open, periods, repairs } = this.#windows;
    this.#keys.forEach((keys, level) => {
      for (const key of keys) {
        const [tag = 0, startMs = 0] = key.split(' ').map(Number);
        if (!open.isOpen(tag, level, startMs)) continue;
        open.closeWritten(tag, level, startMs);
        // It may have been a second one, opened after the clock was set back.
        repairs.add({ tag, periodMs: periods[level] ?? 0, startMs }, nowMs);
      }
    });
    this.keepOthers(nowMs);
    open.flagOpen(FLAG.thin, this.#isThin);
  }
}

function keyOf({ tag, numbers }: WindowRows, row: number): string {
  return `${tag[row]} ${numbers[row * WINDOW_NUMBERS + W.start]}`;
}

/** After a clean end nothing is counted again. */
function thinnedTags(store: BlockStore): (tag: number) => boolean {
  if (store.runs().at(-1)?.clean !== false) return () => false;
  const rows = store.ledger().filter(({ reason, count }) => reason === 'thinned' && count > 0);
  const sources = new Set(rows.map(({ source }) => source));
  const thin = new Set(store.tags().flatMap(({ seq, source }) => (sources.has(source) ? [seq] : [])));
  return (tag) => thin.has(tag);
}

function* windowsAfter(store: BlockStore, afterId: number): Generator<WindowRows> {
  for (let id = afterId; ; ) {
    const page = store.windowsAfter(id, PAGE);
    for (const { block } of page) {
      try {
        yield decodeWindows(block);
      } catch {
        // Damaged: its windows are counted again where the journal has them.
      }
    }
    const end = page.at(-1);
    if (end === undefined || page.length < PAGE) return;
    id = end.id;
  }
}
