/**
 * Windows across a restart. A checkpoint holds the open ones as they were after some block of the journal, and those that were
 * closed and waited; after a crash the blocks since then are counted again. What that closes and is on disk already was written
 * before the crash; the rest waited, and waits again. What the wall clock had closed is open again and closed once more.
 * Raw that windows would be counted from again goes only together with a checkpoint. That may be ahead of the journal, of
 * readings that still wait to be written: if they never are, whatever they may be in is marked as not exact.
 * Where the deadband thins, the journal tells less than the windows knew: those that were counted again say so, and so do
 * those that the value before them may last into.
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
/** In `meta`: the `blockId` of the checkpoint and whether it is ahead, for who does not need the rest of it. */
const CHECKPOINT_BLOCK = 'windows block';
/** In `meta`: the last block that was rolled into one with a lower id. */
const ROLLED_TO = 'rolled to';
const PAGE = 64;

interface Checkpoint {
  readonly blockId: number;
  readonly windowsId: number;
  readonly periods: readonly number[];
  readonly state: WindowsState;
  readonly ahead: Ahead | undefined;
}

/** Readings that the windows have seen and that are not on disk yet. */
export interface Ahead {
  /** The last block that holds any. */
  readonly toId: number;
  /** Time of the earliest. */
  readonly fromMs: number;
}

interface SaveOptions {
  /** Default: all that the windows have seen is on disk, this transaction included. */
  readonly ahead?: Ahead | undefined;
  /** What waited is in the same transaction. Default: it waits. */
  readonly isWritten?: boolean;
}

/** Inside a transaction. */
export function saveWindows(store: BlockStore, windows: WindowBook, { ahead, isWritten }: SaveOptions = {}): void {
  // Of what was removed the windows know, too, and blocks that are yet to come have later numbers.
  const blockId = Math.max(lastPlace(store), checkpointBlock(store), rawRemoved(store).id, ahead?.toId ?? -1);
  const checkpoint: Checkpoint = {
    blockId,
    windowsId: store.lastWindowsId(),
    periods: windows.periods,
    state: windows.state(isWritten),
    ahead,
  };
  store.setBlob(KEY, packState(checkpoint));
  store.setMeta(CHECKPOINT_BLOCK, ahead === undefined ? String(blockId) : `${blockId} ahead`);
}

/** Blocks up to this one are in the saved windows, later ones are counted again after a crash; −1 when nothing was saved. */
export function checkpointBlock(store: Pick<BlockStore, 'meta'>): number {
  return Number((store.meta(CHECKPOINT_BLOCK) ?? '-1').split(' ')[0]);
}

/** Whether the saved windows are to be saved again as soon as all that they have seen is on disk. */
export function isCheckpointAhead(store: Pick<BlockStore, 'meta'>): boolean {
  return store.meta(CHECKPOINT_BLOCK)?.endsWith(' ahead') === true;
}

/** Whether raw went that windows would be counted from after a crash. */
export function isRawMissing(store: Pick<BlockStore, 'meta'>): boolean {
  return rawRemoved(store).id > checkpointBlock(store);
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
  const written = new Written(store, saved?.windowsId ?? 0, windows, nowMs);
  if (saved !== undefined) {
    const waiting = windows.restore(saved.state, nowMs);
    // Written all at once, or not at all.
    if (store.lastWindowsId() <= saved.windowsId) {
      for (const rows of waiting) doubtFrom(rows, saved.ahead?.fromMs);
      windows.wait(waiting, nowMs);
    }
  }
  const thinned = thinnedTags(store);
  // As soon as what it was ahead of was written, another took its place.
  let isPartial = saved?.ahead !== undefined || rawRemoved(store).id > (saved?.blockId ?? -1);
  const isLost = (tag: number) => isPartial || thinned(tag);
  for (const row of allBlocks(store, saved === undefined ? 0 : blockAfter(saved.blockId))) {
    if (!holdsReadings(row.class)) continue;
    try {
      const content = decodeContent(row, store.block(row.id));
      if (content.kind === 'readings') addColumns(windows, content.columns, kindOf, nowMs);
    } catch {
      // Damaged: reported and set aside when it is to be sent.
      isPartial = true;
    }
    written.keepOthers(isLost, nowMs);
  }
  written.close(isLost, nowMs);
  return windows;
}

/** They may hold readings that never came to be on disk. */
function doubtFrom({ length, numbers, periodMs }: WindowRows, fromMs = Number.POSITIVE_INFINITY): void {
  for (let at = 0; at < length * WINDOW_NUMBERS; at += WINDOW_NUMBERS) {
    const endMs = (numbers[at + W.start] as number) + periodMs; // in bounds
    if (endMs > fromMs) numbers[at + W.flags] = (numbers[at + W.flags] as number) | FLAG.thin;
  }
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
  /** A level: `tag start` → how many readings its rows have. */
  readonly #totals: readonly Map<string, number>[];
  /** Of a tag: end of its last window. */
  readonly #ends = new Map<number, number>();

  constructor(store: BlockStore, afterId: number, windows: WindowBook, nowMs: number) {
    this.#windows = windows;
    this.#totals = windows.periods.map(() => new Map());
    for (const rows of windowsAfter(store, afterId)) {
      const totals = this.#totals[windows.periods.indexOf(rows.periodMs)];
      if (totals !== undefined) this.#note(rows, totals);
      windows.repairs.note(rows, nowMs);
    }
  }

  #note(rows: WindowRows, totals: Map<string, number>): void {
    const { length, tag, numbers, periodMs } = rows;
    for (let row = 0; row < length; row++) {
      const number = (column: number) => numbers[row * WINDOW_NUMBERS + column] as number; // in bounds, here and below
      const key = keyOf(rows, row);
      const before = (number(W.flags) & FLAG.whole) === 0 ? (totals.get(key) ?? 0) : 0;
      totals.set(key, before + number(W.total));
      const seq = tag[row] as number;
      this.#ends.set(seq, Math.max(this.#ends.get(seq) ?? Number.NEGATIVE_INFINITY, number(W.start) + periodMs));
    }
  }

  /**
   * Of what the journal closed: what is written is left out. Nobody knows which parts are; those windows, and those that
   * were written with other readings (by the wall clock they closed sooner), are counted again from raw.
   */
  keepOthers(isLost: (tag: number) => boolean, nowMs: number): void {
    for (const rows of this.#windows.open.take()) {
      const { periodMs, length, tag, numbers } = rows;
      const totals = this.#totals[this.#windows.periods.indexOf(periodMs)];
      const kept = new WindowRows(periodMs);
      for (let row = 0; row < length; row++) {
        const at = row * WINDOW_NUMBERS;
        const seq = tag[row] as number; // in bounds, here and below
        const flags = numbers[at + W.flags] as number;
        const written = totals?.get(keyOf(rows, row));
        const fromMs = numbers[at + W.start] as number;
        if ((flags & FLAG.part) !== 0 || (written !== undefined && written !== numbers[at + W.total])) {
          const unsure = { tag: seq, periodMs, fromMs, toMs: fromMs + periodMs, unsure: true };
          this.#windows.repairs.add(unsure, nowMs);
        } else if (written === undefined) {
          if (isLost(seq)) numbers[at + W.flags] = flags | FLAG.thin;
          kept.push(seq, numbers, at);
        }
      }
      this.#windows.wait([kept], nowMs);
    }
  }

  /** Closes what the wall clock had closed. */
  close(isLost: (tag: number) => boolean, nowMs: number): void {
    const { open } = this.#windows;
    open.closeWritten((tag, level, startMs) => this.#totals[level]?.has(`${tag} ${startMs}`) === true);
    this.keepOthers(isLost, nowMs);
    for (const [tag, endMs] of this.#ends) open.known(tag, endMs);
    open.lost(isLost);
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
