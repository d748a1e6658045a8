/** Rows of windows into streams. Every number comes back bit for bit; see `block.ts` for the form. */
import { Planes } from '../../wire/block/planes.ts';
import { SplitWriter, Stream } from '../../wire/block/streams.ts';
import {
  type Before,
  before,
  guessArea,
  guessDistance,
  guessSquares,
  MODE_RAW,
  type Scaled,
  SHAPE,
  STREAMS,
  type Streams,
} from './columns.ts';
import type { WindowRows } from './rows.ts';
import {
  finer,
  isExact,
  isWhole,
  m2From,
  meanFrom,
  NO_SCALE,
  SCALES,
  same,
  scaleOf,
  squaresFor,
  sumFor,
} from './scale.ts';
import { FLAGS_MASK, W, WINDOW_NUMBERS } from './window.ts';

export class WindowsWriter {
  readonly streams: Streams;
  readonly #firsts: SplitWriter;
  readonly #firstTimes: SplitWriter;
  readonly #doubles = new Planes();
  #periodMs = 0;
  #before: Before = before(0);
  #total = 0;

  constructor() {
    const streams = Object.fromEntries(STREAMS.map((name) => [name, new Stream(512)]));
    this.streams = streams as Streams; // made of the names
    const s = this.streams;
    this.#firsts = new SplitWriter(s.firstsLow, s.firstsMiddle, s.firstsRest);
    this.#firstTimes = new SplitWriter(s.firstTimesLow, s.firstTimesMiddle, s.firstTimesRest);
  }

  /** @param order of the rows by tag and start. @returns the index of the first start, in periods. */
  write(rows: WindowRows, order: Uint32Array): number {
    for (const stream of Object.values(this.streams)) stream.length = 0;
    this.#doubles.clear();
    this.#periodMs = rows.periodMs;
    const base = baseOf(rows);
    this.#total = 0;
    for (let i = 0; i < order.length; ) {
      const tag = rows.tag[order[i] as number] as number; // in bounds, here and below
      let end = i + 1;
      while (end < order.length && rows.tag[order[end] as number] === tag) end++;
      const previous = i === 0 ? 0 : (rows.tag[order[i - 1] as number] as number);
      this.streams.tags.varint(tag - previous);
      this.streams.tags.varint(end - i);
      this.#before = before(base);
      for (; i < end; i++) this.#row(rows.numbers, (order[i] as number) * WINDOW_NUMBERS);
    }
    this.#doubles.writeTo(this.streams.doubles);
    return base;
  }

  #row(w: Float64Array, at: number): void {
    const index = (w[at + W.start] as number) / this.#periodMs;
    if (!isPlain(w, at) || !isWhole(index) || !same(index * this.#periodMs, w[at + W.start] as number)) {
      this.streams.modes.u8(MODE_RAW);
      this.#doubles.add(w, at, at + WINDOW_NUMBERS);
      return;
    }
    const s = this.streams;
    const mode = modeOf(w, at, this.#before.mode);
    s.modes.u8(mode);
    let shape = this.#times(w, at, this.#counts(w, at, index));
    const held = this.#before;
    if (mode === NO_SCALE) this.#doubles.add(w, at + W.min, at + W.first + 1);
    if (mode === NO_SCALE) this.#double(w, at + W.last);
    else shape |= this.#scaled(w, at, mode, held, shape);
    if ((shape & SHAPE.mean) === 0) this.#double(w, at + W.mean);
    if ((shape & SHAPE.m2) === 0) this.#double(w, at + W.m2);
    if ((shape & SHAPE.area) === 0) this.#double(w, at + W.area);
    shape |= this.#sum(w, at, shape);
    this.#before.mode = mode;
    s.shapes.u8(shape);
  }

  /** Which window it is, how many readings it has, and how much of its time is covered. */
  #counts(w: Float64Array, at: number, index: number): number {
    const s = this.streams;
    const held = this.#before;
    const total = w[at + W.total] as number;
    const count = w[at + W.count] as number;
    const good = w[at + W.good] as number;
    const covered = w[at + W.covered] as number;
    const isNext = index - held.start === held.next;
    const isSteady = isNext && total === this.#total && count === total && good === total && w[at + W.flags] === 0;
    const from = held.start;
    held.start = index;
    held.next = 1;
    this.#total = total;
    if (isSteady && covered === this.#periodMs) return SHAPE.steady | SHAPE.covered;
    s.starts.zigzag(index - from);
    s.totals.varint(total);
    s.bads.varint(total - count);
    s.goods.varint(total - good);
    s.flags.u8(w[at + W.flags] as number);
    const missing = this.#periodMs - covered;
    if (isWhole(missing) && same(this.#periodMs - missing, covered)) {
      s.covers.zigzag(missing);
      return SHAPE.covered;
    }
    this.#double(w, at + W.covered);
    return 0;
  }

  #double(w: Float64Array, at: number): void {
    this.#doubles.add(w, at, at + 1);
  }

  /** Of first and last; leaves the step of the window before in place. */
  #times(w: Float64Array, at: number, shape: number): number {
    const s = this.streams;
    const start = w[at + W.start] as number;
    const first = w[at + W.firstMs] as number;
    const last = w[at + W.lastMs] as number;
    const { lastMs, stepMs } = this.#before;
    const isNext = !Number.isNaN(lastMs);
    const next = isNext ? first - lastMs - stepMs : first - start;
    const count = w[at + W.count] as number;
    const even = (count - 1) * Math.round(this.#periodMs / Math.max(1, count));
    if (!isWhole(first) || !isWhole(last) || !isWhole(next) || !isWhole(even)) {
      this.#double(w, at + W.firstMs);
      this.#double(w, at + W.lastMs);
      return shape;
    }
    if (isNext) s.nextTimes.zigzag(next);
    else this.#firstTimes.zigzag(next);
    s.lastTimes.zigzag(last - first - even);
    return shape | SHAPE.times;
  }

  /** Values as integers of the scale. @returns which of mean, m2 and area came out exactly. */
  #scaled(w: Float64Array, at: number, mode: number, held: Before, timesShape: number): number {
    const s = this.streams;
    const scale = SCALES[mode] as number;
    const whole = (column: number) => Math.round((w[at + column] as number) * scale) + 0;
    const count = w[at + W.count] as number;
    const first = whole(W.first);
    const last = whole(W.last);
    const isNext = held.mode === mode;
    this.#firsts.zigzag(isNext ? first - held.last : first);
    s.lasts.zigzag(last - first);
    s.mins.zigzag(Math.min(first, last) - whole(W.min));
    s.maxs.zigzag(whole(W.max) - Math.max(first, last));
    const sum = sumFor(w[at + W.mean] as number, count, scale);
    let shape = 0;
    const scaled: Scaled = { count, first, last, sum };
    const distance = sum - count * first;
    if (isWhole(sum) && isWhole(count * first) && same(meanFrom(sum, count, scale), w[at + W.mean] as number)) {
      shape |= SHAPE.mean;
      s.sums.zigzag(distance - guessDistance(scaled));
      const squares = squaresFor(w[at + W.m2] as number, distance, count, scale);
      const residual = squares - guessSquares(count, distance);
      const isShort = isExact(distance, squares, count) && isWhole(residual);
      if (isShort && same(m2From(distance, squares, count, scale), w[at + W.m2] as number)) {
        shape |= SHAPE.m2;
        s.squares.zigzag(residual);
      }
      if ((timesShape & SHAPE.times) !== 0) shape |= this.#area(w, at, scaled, scale, isNext ? held.last : first);
    }
    this.#before.last = last;
    return shape;
  }

  #area(w: Float64Array, at: number, scaled: Scaled, scale: number, held: number): number {
    const start = w[at + W.start] as number;
    const firstMs = w[at + W.firstMs] as number;
    const lastMs = w[at + W.lastMs] as number;
    const area = Math.round((w[at + W.area] as number) * scale) + 0;
    if (!isWhole(area) || !same(area / scale, w[at + W.area] as number)) return 0;
    const times = { leadMs: firstMs - start, spanMs: lastMs - firstMs, tailMs: start + this.#periodMs - lastMs };
    const residual = area - guessArea(scaled, held, times);
    if (!isWhole(residual)) return 0;
    this.streams.areas.zigzag(residual);
    return SHAPE.area;
  }

  #sum(w: Float64Array, at: number, shape: number): number {
    const high = w[at + W.sumHigh] as number;
    const low = w[at + W.sumLow] as number;
    const fractions = w[at + W.fractions] as number;
    const count = w[at + W.count] as number;
    this.#remember(w, at, shape);
    if (same(fractions, 1) && same(high, 0) && same(low, 0)) return SHAPE.noSum;
    const sum = sumFor(w[at + W.mean] as number, count, 1);
    if ((shape & SHAPE.mean) !== 0 && same(fractions, 0) && same(high, 0) && same(low, sum)) return SHAPE.sum;
    this.#doubles.add(w, at + W.sumHigh, at + W.fractions + 1);
    return 0;
  }

  /** What the next window of the tag is told from. */
  #remember(w: Float64Array, at: number, shape: number): void {
    const count = w[at + W.count] as number;
    const isTimed = (shape & SHAPE.times) !== 0;
    this.#before.lastMs = isTimed ? (w[at + W.lastMs] as number) : Number.NaN;
    const spanMs = (w[at + W.lastMs] as number) - (w[at + W.firstMs] as number);
    this.#before.stepMs = isTimed && count > 1 ? Math.round(spanMs / (count - 1)) : 0;
  }
}

/** The index of the first start; 0 when it has none. */
function baseOf(rows: WindowRows): number {
  let base = Number.POSITIVE_INFINITY;
  for (let row = 0; row < rows.length; row++) {
    const index = (rows.numbers[row * WINDOW_NUMBERS + W.start] as number) / rows.periodMs;
    if (index < base) base = index;
  }
  return isWhole(base) ? base : 0;
}

function isPlain(w: Float64Array, at: number): boolean {
  const total = w[at + W.total] as number;
  const count = w[at + W.count] as number;
  const good = w[at + W.good] as number;
  const flags = w[at + W.flags] as number;
  return (
    isWhole(total) &&
    isWhole(count) &&
    isWhole(good) &&
    count >= 0 &&
    good >= 0 &&
    count <= total &&
    good <= total &&
    isWhole(flags) &&
    (flags & FLAGS_MASK) === flags
  );
}

/** The first scale from which the mean comes out exactly, or else the first that the values lie on. */
function modeOf(w: Float64Array, at: number, guess: number): number {
  const found = scaleOf(w, at, guess < 0 ? NO_SCALE : guess);
  const count = w[at + W.count] as number;
  const mean = w[at + W.mean] as number;
  for (let index = found; index !== NO_SCALE; index = finer(index)) {
    const scale = SCALES[index] as number;
    const sum = sumFor(mean, count, scale);
    if (isWhole(sum) && same(meanFrom(sum, count, scale), mean)) return index;
  }
  return found;
}
