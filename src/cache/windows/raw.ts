/** Readings of some tags as the journal has them, gathered block by block: what a window is counted again from. */

import type { BlockColumns } from '../../wire/block.ts';
import { decodeContent } from '../content.ts';
import { isRolled, openRolled } from '../rolled/open.ts';
import { type BlockRow, type BlockStore, spanOf } from '../store.ts';
import { settleWindow } from './scale.ts';
import { TagReadings } from './tag-readings.ts';
import { BAD, HOLD_MS_MAX } from './tag-times.ts';
import { clearWindow, emptyWindow, foldBad, foldValue, W } from './window.ts';

const NO_GUESS = 255;
const NONE = new TagReadings();

export class RawReadings {
  readonly #byTag: ReadonlyMap<number, TagReadings>;
  readonly #fromMs: number;
  readonly #toMs: number;
  rows = 0;

  /** Readings from `fromMs` up to, not including, `toMs`. */
  constructor(tags: Iterable<number>, fromMs: number, toMs: number) {
    this.#byTag = new Map([...tags].map((tag) => [tag, new TagReadings()]));
    this.#fromMs = fromMs;
    this.#toMs = toMs;
  }

  /** Blocks come in the order of their ids. @throws SluiceError (discard) when it is damaged. */
  addBlock(store: BlockStore, row: BlockRow): void {
    const stored = store.block(row.id);
    if (isRolled(stored)) {
      const rolled = openRolled(stored);
      for (const tag of this.#byTag.keys()) {
        const columns = row.content === undefined ? rolled.tag(tag) : rolled.tagWithin(tag, spanOf(row));
        if (columns !== undefined) this.#add(columns);
      }
      return;
    }
    const content = decodeContent(row, stored);
    if (content.kind === 'readings') this.#add(content.columns);
  }

  #add({ tags, timeMs, value, quality }: BlockColumns): void {
    let row = 0;
    for (const { tag, kind, counts } of tags) {
      const start = row;
      row += counts.reduce((sum, count) => sum + count, 0);
      const readings = this.#byTag.get(tag);
      if (readings === undefined || kind === 'text') continue;
      const values = numbersOf(value, kind);
      for (let at = start; at < row; at++) {
        const time = timeMs[at] as number; // in bounds, here and below
        if (time < this.#fromMs || time >= this.#toMs) continue;
        readings.push(time, Number(values[at]), quality[at] as number);
        this.rows++;
      }
    }
  }

  add(tag: number, timeMs: number, value: number, quality: number): void {
    this.#byTag.get(tag)?.push(timeMs, value, quality);
    this.rows++;
  }

  /** Once, when all are there. Of one time, the last to arrive counts last. */
  sort(): void {
    for (const readings of this.#byTag.values()) readings.sort();
  }

  /** The first reading at or after that time; undefined when there is none. */
  firstFrom(tag: number, timeMs: number): number | undefined {
    const readings = this.#of(tag);
    const at = readings.firstAt(timeMs);
    return at < readings.length ? readings.times[at] : undefined;
  }

  /** Time of the last reading before that one; −Infinity when there is none. */
  lastBefore(tag: number, timeMs: number): number {
    const readings = this.#of(tag);
    const at = readings.firstAt(timeMs);
    return at > 0 ? (readings.times[at - 1] as number) : Number.NEGATIVE_INFINITY; // in bounds
  }

  /** @param window to write it in. */
  window(tag: number, startMs: number, periodMs: number, window: Float64Array = emptyWindow(startMs)): Float64Array {
    clearWindow(window, 0, startMs);
    const readings = this.#of(tag);
    const { times, values, qualities, length } = readings;
    const endMs = startMs + periodMs;
    let at = readings.firstAt(startMs);
    let upToMs = startMs;
    let heldToMs = Number.NaN; // nothing is held
    let held = 0;
    let area = 0;
    let covered = 0;
    if (at > 0 && (qualities[at - 1] as number) < BAD) {
      heldToMs = (times[at - 1] as number) + HOLD_MS_MAX; // in bounds, here and below
      held = values[at - 1] as number;
    }
    for (; ; at++) {
      const time = at < length ? Math.min(times[at] as number, endMs) : endMs;
      const lasted = Math.min(time, heldToMs) - upToMs;
      // NaN where nothing is held.
      if (lasted > 0) {
        area += held * lasted;
        covered += lasted;
      }
      if (time === endMs) break;
      upToMs = time;
      const quality = qualities[at] as number;
      held = values[at] as number;
      heldToMs = quality < BAD ? time + HOLD_MS_MAX : Number.NaN;
      if (quality >= BAD) foldBad(window, 0);
      else foldValue(window, 0, time, held, quality === 0);
    }
    window[W.area] = area;
    window[W.covered] = covered;
    settleWindow(window, 0, NO_GUESS);
    return window;
  }

  #of(tag: number): TagReadings {
    return this.#byTag.get(tag) ?? NONE;
  }
}

function numbersOf(value: Float64Array, kind: string): Float64Array | BigInt64Array | BigUint64Array {
  if (kind !== 'int64' && kind !== 'uint64') return value;
  const View = kind === 'int64' ? BigInt64Array : BigUint64Array;
  return new View(value.buffer as ArrayBuffer, value.byteOffset, value.length); // columns are made here, never shared
}
