/** Readings of one tag in columns that grow by doubling: 17 bytes each, and none is an object. */

const FIRST_CAPACITY = 64;

export class TagReadings {
  #length = 0;
  #times = new Float64Array(0);
  #values = new Float64Array(0);
  #qualities = new Uint8Array(0);
  #isSorted = true;

  get length(): number {
    return this.#length;
  }

  /** At least `length` of each. */
  get times(): Float64Array {
    return this.#times;
  }

  get values(): Float64Array {
    return this.#values;
  }

  get qualities(): Uint8Array {
    return this.#qualities;
  }

  push(timeMs: number, value: number, quality: number): void {
    const at = this.#length;
    if (at === this.#times.length) this.#grow(Math.max(FIRST_CAPACITY, at * 2));
    if (at > 0 && timeMs < (this.#times[at - 1] as number)) this.#isSorted = false; // in bounds
    this.#times[at] = timeMs;
    this.#values[at] = value;
    this.#qualities[at] = quality;
    this.#length++;
  }

  /** Of one time, in the order they came. */
  sort(): void {
    if (this.#isSorted) return;
    const times = this.#times;
    const values = this.#values;
    const qualities = this.#qualities;
    const order = inOrder(times, this.#length);
    this.#times = Float64Array.from(order, (at) => times[at] as number); // in bounds, here and below
    this.#values = Float64Array.from(order, (at) => values[at] as number);
    this.#qualities = Uint8Array.from(order, (at) => qualities[at] as number);
    this.#isSorted = true;
  }

  /** Position of the first at or after that time; sorted. */
  readonly firstAt = (timeMs: number): number => {
    let low = 0;
    for (let high = this.#length; low < high; ) {
      const middle = (low + high) >>> 1;
      if ((this.#times[middle] as number) < timeMs) low = middle + 1;
      else high = middle;
    }
    return low;
  };

  #grow(capacity: number): void {
    const [times, values, qualities] = [this.#times, this.#values, this.#qualities];
    this.#times = new Float64Array(capacity);
    this.#values = new Float64Array(capacity);
    this.#qualities = new Uint8Array(capacity);
    this.#times.set(times);
    this.#values.set(values);
    this.#qualities.set(qualities);
  }
}

/** Merges the runs that are in order already: late readings are a few of them. @returns positions, by time, then arrival. */
function inOrder(times: Float64Array, length: number): Uint32Array {
  let from = new Uint32Array(length);
  let to = new Uint32Array(length);
  let starts: number[] = [];
  for (let at = 0; at < length; at++) {
    from[at] = at;
    if (at === 0 || (times[at] as number) < (times[at - 1] as number)) starts.push(at); // in bounds, here and below
  }
  while (starts.length > 1) {
    const merged: number[] = [];
    for (let run = 0; run < starts.length; run += 2) {
      const start = starts[run] as number;
      merged.push(start);
      mergeRuns(times, from, to, start, starts[run + 1] ?? length, starts[run + 2] ?? length);
    }
    starts = merged;
    [from, to] = [to, from];
  }
  return from;
}

/** Of one time, those of the first run go first. */
function mergeRuns(
  times: Float64Array,
  from: Uint32Array,
  to: Uint32Array,
  start: number,
  middle: number,
  end: number,
): void {
  let a = start;
  let b = middle;
  for (let at = start; at < end; at++) {
    const isFirst = b >= end || (a < middle && timeAt(times, from, a) <= timeAt(times, from, b));
    to[at] = from[isFirst ? a++ : b++] as number; // in bounds
  }
}

function timeAt(times: Float64Array, order: Uint32Array, at: number): number {
  return times[order[at] as number] as number; // in bounds
}
