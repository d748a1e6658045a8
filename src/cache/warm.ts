/**
 * What a panel is shown right after a start: the last value of each tag, from the last checkpoint and the journal since, and
 * the last window of each. Without it a value would be up to a minute old, or gone with a checkpoint that was never written.
 *
 * Bounded: the newest blocks are opened, so many that the start takes a tenth of a second more; older values are as of the
 * checkpoint. What the deadband left out since then is not known.
 */
import { hex } from '../wire/bytes.ts';
import { holdsReadings } from '../wire/classes.ts';
import type { BlockColumns } from '../wire/columns.ts';
import { parseTagContent } from '../wire/tag.ts';
import { decodeContent } from './content.ts';
import { HOT_AFTER, type HotMark } from './state.ts';
import { allBlocks, type BlockRow, type BlockStore } from './store.ts';
import type { HotState, LastWindows } from './types.ts';
import { decodeWindows } from './windows/block.ts';
import { closedWindows } from './windows/closed.ts';
import { WindowRows } from './windows/rows.ts';
import { emptyWindow, joinRow, W, WINDOW_NUMBERS } from './windows/window.ts';

/** Of a minute at 20 ms a commit; some 50 µs each. */
const BLOCKS_MAX = 3_000;
/** Where there is no checkpoint of the last values. */
const SPAN_MS = 600_000;
const PAGE = 256;
/** Closed windows may wait a minute before they are written, and those of the longest period end when they end. */
const WINDOWS_LATE_MS = 120_000;

/** The last value of a tag as the journal has it. */
interface Last {
  timeMs: number;
  quality: number;
  /** One slot: moved as bytes, for 64-bit integers. */
  readonly value: Float64Array;
  text: string | undefined;
}

/** @param saved as of the checkpoint. @returns with what the journal knows since; undefined when nothing is known. */
export function warmState(store: BlockStore, saved: HotState | undefined): HotState | undefined {
  const fresh = new Map<number, Last>();
  for (const row of newestBlocks(store, saved)) {
    try {
      const content = decodeContent(row, store.block(row.id));
      if (content.kind === 'readings') noteLast(content.columns, fresh);
    } catch {
      // Damaged: reported and set aside when it is to be sent.
    }
  }
  const state = fresh.size === 0 ? saved : merged(store, saved, fresh);
  if (state === undefined) return undefined;
  const known = new Map(store.tags().map(({ id, content }) => [hex(id), parseTagContent(content)]));
  return { ...state, definitions: state.ids.map((id) => known.get(id)) };
}

/** Windows of these lengths that are on disk, the last of each tag; `tag` is an index into the names. */
export function lastWindows(store: BlockStore, periods: readonly number[]): LastWindows {
  const names = new Map(store.tags().map(({ seq, content }) => [seq, parseTagContent(content).name]));
  const seqs = [...names.keys()];
  const positions = new Map(seqs.map((seq, at) => [seq, at]));
  const newestMs = store.blocks(store.lastBlockId(), 1)[0]?.lastMs;
  const rows = newestMs === undefined ? [] : periods.map((each) => lastOf(store, each, newestMs - each));
  const { columns } = closedWindows(rows, { indexOf: (seq) => positions.get(seq) ?? -1 });
  return { names: seqs.map((seq) => names.get(seq) ?? ''), windows: columns };
}

/** In order of their ids. A rolled block may have an id from before the checkpoint and hold what came after: its times tell. */
function newestBlocks(store: BlockStore, saved: HotState | undefined): BlockRow[] {
  const lastMs = store.blocks(store.lastBlockId(), 1)[0]?.lastMs ?? 0;
  const savedMs = saved?.timeMs.reduce((newest, each) => Math.max(newest, each), Number.NEGATIVE_INFINITY);
  const fromMs = savedMs ?? lastMs - SPAN_MS;
  const found = new Map<number, BlockRow>();
  for (let id = 0; ; ) {
    const page = store.blocksBetween(fromMs, Number.MAX_VALUE, id, PAGE);
    for (const row of page) found.set(row.id, row);
    const end = page.at(-1);
    if (end === undefined || page.length < PAGE) break;
    id = end.id + 1;
  }
  const after = store.meta(HOT_AFTER);
  if (saved !== undefined && after !== undefined) {
    const { block }: HotMark = JSON.parse(after); // written by us
    for (const row of allBlocks(store, block + 1)) if (holdsReadings(row.class)) found.set(row.id, row);
  }
  return [...found.values()].sort((a, b) => a.id - b.id).slice(-BLOCKS_MAX);
}

function noteLast(columns: BlockColumns, fresh: Map<number, Last>): void {
  const { timeMs, quality, value, texts } = columns;
  let row = 0;
  for (const { tag, kind, counts } of columns.tags) {
    const end = row + counts.reduce((sum, count) => sum + count, 0);
    let best = row;
    for (let at = row; at < end; at++) if ((timeMs[at] ?? 0) >= (timeMs[best] ?? 0)) best = at;
    const known = fresh.get(tag);
    if (end > row && !((timeMs[best] ?? 0) < (known?.timeMs ?? Number.NEGATIVE_INFINITY))) {
      const last = known ?? { timeMs: 0, quality: 0, value: new Float64Array(1), text: undefined };
      last.timeMs = timeMs[best] ?? 0;
      last.quality = quality[best] ?? 0;
      last.value.set(value.subarray(best, best + 1));
      last.text = kind === 'text' ? texts[value[best] ?? 0] : undefined;
      fresh.set(tag, last);
    }
    row = end;
  }
}

function merged(store: BlockStore, saved: HotState | undefined, fresh: ReadonlyMap<number, Last>): HotState {
  const ids = [...(saved?.ids ?? [])];
  const rows = new Map(ids.map((id, row) => [id, row]));
  const changes: [number, Last][] = [];
  for (const { seq, id } of store.tags()) {
    const last = fresh.get(seq);
    if (last === undefined) continue;
    const known = rows.get(hex(id));
    if (known === undefined) changes.push([ids.push(hex(id)) - 1, last]);
    else if (last.timeMs >= (saved?.timeMs[known] ?? 0)) changes.push([known, last]);
  }
  const state = {
    ids,
    timeMs: widened(saved?.timeMs, new Float64Array(ids.length)),
    value: widened(saved?.value, new Float64Array(ids.length)),
    quality: widened(saved?.quality, new Uint8Array(ids.length)),
    texts: [...(saved?.texts ?? [])],
  };
  for (const [row, { timeMs, quality, value, text }] of changes) {
    state.timeMs[row] = timeMs;
    state.quality[row] = quality;
    if (text === undefined) state.value.set(value, row);
    else state.value[row] = state.texts.push(text) - 1;
  }
  return state;
}

function widened<Column extends Float64Array | Uint8Array>(known: Column | undefined, wide: Column): Column {
  if (known !== undefined) wide.set(known);
  return wide;
}

function lastOf(store: BlockStore, periodMs: number, fromMs: number): WindowRows {
  const last = new Map<number, Float64Array>();
  for (let id = 0; ; ) {
    const page = store.windowsBetween(periodMs, fromMs - periodMs - WINDOWS_LATE_MS, Number.MAX_VALUE, id, PAGE);
    for (const { block } of page) noteWindows(block, last);
    const end = page.at(-1);
    if (end === undefined || page.length < PAGE) break;
    id = end.id;
  }
  const rows = new WindowRows(periodMs);
  for (const [tag, window] of last) {
    // Its parts are in it.
    window[W.flags] = 0;
    rows.push(tag, window, 0);
  }
  return rows;
}

function noteWindows(block: Uint8Array, last: Map<number, Float64Array>): void {
  let decoded: WindowRows;
  try {
    decoded = decodeWindows(block);
  } catch {
    return; // damaged: its windows are counted again where the journal has them
  }
  const { length, tag, numbers } = decoded;
  for (let row = 0; row < length; row++) {
    const at = row * WINDOW_NUMBERS;
    const start = numbers[at + W.start] as number; // in bounds, here and below
    const known = last.get(tag[row] as number);
    if (known !== undefined && (known[W.start] as number) > start) continue;
    const window = known !== undefined && known[W.start] === start ? known : emptyWindow(start);
    joinRow(window, numbers, at);
    last.set(tag[row] as number, window);
  }
}
