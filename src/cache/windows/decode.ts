/** Streams back into rows of windows: the mirror of `encode.ts`, with every read checked. */
import { PlanesCursor } from '../../wire/block/planes.ts';
import { type Cursor, malformedBlock, SplitReader } from '../../wire/block/streams.ts';
import {
  type Before,
  before,
  type Cursors,
  guessArea,
  guessDistance,
  guessSquares,
  MODE_RAW,
  type Scaled,
  SHAPE,
} from './columns.ts';
import type { WindowRows } from './rows.ts';
import { m2From, meanFrom, NO_SCALE, SCALES, sumFor } from './scale.ts';
import { FLAGS_MASK, W, WINDOW_NUMBERS } from './window.ts';

const TAG_MAX = 0xffff_ffff;

export class WindowsDecoder {
  readonly #s: Cursors;
  readonly #firsts: SplitReader;
  readonly #firstTimes: SplitReader;
  readonly #doubles: PlanesCursor;
  readonly #periodMs: number;
  #before: Before = before(0);
  #total = 0;

  constructor(cursors: Cursors, periodMs: number) {
    this.#s = cursors;
    this.#periodMs = periodMs;
    this.#firsts = new SplitReader(cursors.firstsLow, cursors.firstsMiddle, cursors.firstsRest);
    this.#firstTimes = new SplitReader(cursors.firstTimesLow, cursors.firstTimesMiddle, cursors.firstTimesRest);
    this.#doubles = new PlanesCursor(cursors.doubles);
  }

  /** Fills `rows.length` rows. @throws block.malformed (discard) */
  read(rows: WindowRows, base: number): void {
    let tag = 0;
    for (let row = 0; row < rows.length; ) {
      tag += this.#s.tags.varint();
      const count = this.#s.tags.varint();
      if (tag > TAG_MAX || count === 0 || count > rows.length - row) throw malformedBlock('windows of no such tag');
      this.#before = before(base);
      for (const end = row + count; row < end; row++) {
        rows.tag[row] = tag;
        this.#row(rows.numbers, row * WINDOW_NUMBERS);
      }
    }
    this.#doubles.finish();
    for (const [name, cursor] of Object.entries(this.#s)) if (name !== 'doubles') (cursor as Cursor).finish();
  }

  #row(w: Float64Array, at: number): void {
    const s = this.#s;
    const mode = s.modes.u8();
    if (mode === MODE_RAW) {
      this.#doubles.take(w, at, at + WINDOW_NUMBERS);
      return;
    }
    if (mode !== NO_SCALE && mode >= SCALES.length) throw malformedBlock(`windows of scale ${mode}`);
    const shape = s.shapes.u8();
    this.#counts(w, at, shape);
    this.#times(w, at, shape);
    if (mode === NO_SCALE) this.#doubles.take(w, at + W.min, at + W.first + 1);
    if (mode === NO_SCALE) this.#double(w, at + W.last);
    else this.#scaled(w, at, mode, shape);
    if ((shape & SHAPE.mean) === 0) this.#double(w, at + W.mean);
    if ((shape & SHAPE.m2) === 0) this.#double(w, at + W.m2);
    if ((shape & SHAPE.area) === 0) this.#double(w, at + W.area);
    this.#sum(w, at, shape);
    this.#before.mode = mode;
  }

  #counts(w: Float64Array, at: number, shape: number): void {
    const s = this.#s;
    const held = this.#before;
    const isSteady = (shape & SHAPE.steady) !== 0;
    held.start += isSteady ? held.next : s.starts.zigzag();
    held.next = 1;
    w[at + W.start] = held.start * this.#periodMs;
    if (!isSteady) this.#total = s.totals.varint();
    const total = this.#total;
    w[at + W.total] = total;
    w[at + W.count] = isSteady ? total : total - s.bads.varint();
    w[at + W.good] = isSteady ? total : total - s.goods.varint();
    if ((w[at + W.count] as number) < 0 || (w[at + W.good] as number) < 0) throw malformedBlock('a negative count');
    if (!isSteady) w[at + W.flags] = s.flags.u8() & FLAGS_MASK;
    if (isSteady) w[at + W.covered] = this.#periodMs;
    else if ((shape & SHAPE.covered) !== 0) w[at + W.covered] = this.#periodMs - s.covers.zigzag();
    else this.#double(w, at + W.covered);
  }

  #double(w: Float64Array, at: number): void {
    this.#doubles.take(w, at, at + 1);
  }

  #times(w: Float64Array, at: number, shape: number): void {
    const s = this.#s;
    if ((shape & SHAPE.times) === 0) {
      this.#double(w, at + W.firstMs);
      this.#double(w, at + W.lastMs);
      return;
    }
    const { lastMs, stepMs } = this.#before;
    const start = w[at + W.start] as number; // in bounds, here and below
    const first = Number.isNaN(lastMs) ? start + this.#firstTimes.zigzag() : lastMs + stepMs + s.nextTimes.zigzag();
    const count = w[at + W.count] as number;
    w[at + W.firstMs] = first;
    w[at + W.lastMs] = first + (count - 1) * Math.round(this.#periodMs / Math.max(1, count)) + s.lastTimes.zigzag();
  }

  #scaled(w: Float64Array, at: number, mode: number, shape: number): void {
    const s = this.#s;
    const held = this.#before;
    const scale = SCALES[mode] as number;
    const count = w[at + W.count] as number;
    const isNext = held.mode === mode;
    const first = this.#firsts.zigzag() + (isNext ? held.last : 0);
    const last = first + s.lasts.zigzag();
    w[at + W.first] = first / scale;
    w[at + W.last] = last / scale;
    w[at + W.min] = (Math.min(first, last) - s.mins.zigzag()) / scale;
    w[at + W.max] = (Math.max(first, last) + s.maxs.zigzag()) / scale;
    if ((shape & SHAPE.mean) !== 0) {
      const distance = guessDistance({ count, first, last, sum: 0 }) + s.sums.zigzag();
      const sum = distance + count * first;
      w[at + W.mean] = meanFrom(sum, count, scale);
      if ((shape & SHAPE.m2) !== 0) {
        const squares = guessSquares(count, distance) + s.squares.zigzag();
        w[at + W.m2] = m2From(distance, squares, count, scale);
      }
      if ((shape & SHAPE.area) !== 0) this.#area(w, at, { count, first, last, sum }, scale, isNext ? held.last : first);
    }
    held.last = last;
  }

  #area(w: Float64Array, at: number, scaled: Scaled, scale: number, held: number): void {
    const start = w[at + W.start] as number;
    const firstMs = w[at + W.firstMs] as number;
    const lastMs = w[at + W.lastMs] as number;
    const times = { leadMs: firstMs - start, spanMs: lastMs - firstMs, tailMs: start + this.#periodMs - lastMs };
    w[at + W.area] = (guessArea(scaled, held, times) + this.#s.areas.zigzag()) / scale;
  }

  #sum(w: Float64Array, at: number, shape: number): void {
    const count = w[at + W.count] as number;
    const isTimed = (shape & SHAPE.times) !== 0;
    this.#before.lastMs = isTimed ? (w[at + W.lastMs] as number) : Number.NaN;
    const spanMs = (w[at + W.lastMs] as number) - (w[at + W.firstMs] as number);
    this.#before.stepMs = isTimed && count > 1 ? Math.round(spanMs / (count - 1)) : 0;
    if ((shape & SHAPE.noSum) !== 0) w[at + W.fractions] = 1;
    else if ((shape & SHAPE.sum) !== 0) w[at + W.sumLow] = sumFor(w[at + W.mean] as number, count, 1);
    else this.#doubles.take(w, at + W.sumHigh, at + W.fractions + 1);
  }
}
