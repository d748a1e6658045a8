/** Readings of some tags as the journal has them, gathered block by block: what a window is counted again from. */

import type { BlockColumns } from '../../wire/block.ts';
import { decodeContent } from '../content.ts';
import { isRolled, openRolled } from '../rolled/open.ts';
import { type BlockRow, type BlockStore, spanOf } from '../store.ts';
import { asNumbers } from './integers.ts';
import { settleWindow } from './scale.ts';
import { BAD, HOLD_MS_MAX } from './tag-times.ts';
import { emptyWindow, foldBad, foldValue, W } from './window.ts';

interface Reading {
  readonly timeMs: number;
  readonly value: number;
  readonly quality: number;
}

const NO_GUESS = 255;

export class RawReadings {
  readonly #byTag: ReadonlyMap<number, Reading[]>;
  readonly #fromMs: number;
  readonly #toMs: number;
  rows = 0;

  /** Readings from `fromMs` up to, not including, `toMs`. */
  constructor(tags: Iterable<number>, fromMs: number, toMs: number) {
    this.#byTag = new Map([...tags].map((tag) => [tag, []]));
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

  #add({ tags, timeMs, value, quality, rows }: BlockColumns): void {
    let row = 0;
    for (const { tag, kind, counts } of tags) {
      const start = row;
      row += counts.reduce((sum, count) => sum + count, 0);
      const readings = this.#byTag.get(tag);
      if (readings === undefined || kind === 'text') continue;
      const order = Uint32Array.from({ length: rows }, (_, at) => at);
      const values = kind === 'int64' || kind === 'uint64' ? asNumbers(value, order, start, row, kind) : value;
      for (let at = start; at < row; at++) {
        const time = timeMs[at] as number; // in bounds
        if (time < this.#fromMs || time >= this.#toMs) continue;
        readings.push({ timeMs: time, value: values[at] as number, quality: quality[at] as number });
        this.rows++;
      }
    }
  }

  add(tag: number, timeMs: number, value: number, quality: number): void {
    this.#byTag.get(tag)?.push({ timeMs, value, quality });
    this.rows++;
  }

  /** Once, when all are there. Of one time, the last to arrive counts last. */
  sort(): void {
    for (const readings of this.#byTag.values()) readings.sort((a, b) => a.timeMs - b.timeMs);
  }

  /** The first reading at or after that time; undefined when there is none. */
  firstFrom(tag: number, timeMs: number): number | undefined {
    return this.#byTag.get(tag)?.[this.#firstAt(tag, timeMs)]?.timeMs;
  }

  /** Time of the last reading before that one; −Infinity when there is none. */
  lastBefore(tag: number, timeMs: number): number {
    return this.#byTag.get(tag)?.[this.#firstAt(tag, timeMs) - 1]?.timeMs ?? Number.NEGATIVE_INFINITY;
  }

  window(tag: number, startMs: number, periodMs: number): Float64Array {
    const window = emptyWindow(startMs);
    const readings = this.#byTag.get(tag) ?? [];
    const endMs = startMs + periodMs;
    let at = this.#firstAt(tag, startMs);
    let held = readings[at - 1];
    let upToMs = startMs;
    const extend = (timeMs: number) => {
      if (held !== undefined && held.quality < BAD) {
        const lasted = Math.min(timeMs, held.timeMs + HOLD_MS_MAX) - upToMs;
        if (lasted > 0) {
          window[W.area] = (window[W.area] ?? 0) + held.value * lasted;
          window[W.covered] = (window[W.covered] ?? 0) + lasted;
        }
      }
      upToMs = timeMs;
    };
    for (let next = readings[at]; next !== undefined && next.timeMs < endMs; next = readings[++at]) {
      extend(next.timeMs);
      held = next;
      if (next.quality >= BAD) foldBad(window, 0);
      else foldValue(window, 0, next.timeMs, next.value, next.quality === 0);
    }
    extend(endMs);
    settleWindow(window, 0, NO_GUESS);
    return window;
  }

  #firstAt(tag: number, timeMs: number): number {
    const readings = this.#byTag.get(tag) ?? [];
    let low = 0;
    for (let high = readings.length; low < high; ) {
      const middle = (low + high) >>> 1;
      if ((readings[middle]?.timeMs ?? 0) < timeMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
