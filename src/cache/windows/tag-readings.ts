/** Readings of one tag in columns that grow by doubling: 17 bytes each, and none is an object. */

const FIRST_CAPACITY = 64;

export class TagReadings {
  #length = 0;
  #times = new Float64Array(0);
  #values = new Float64Array(0);
  #qualities = new Uint8Array(0);
  #isSorted = true;

  get times(): Float64Array {
    return this.#times.subarray(0, this.#length);
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
    const order = Uint32Array.from({ length: this.#length }, (_, at) => at);
    order.sort((a, b) => (times[a] as number) - (times[b] as number) || a - b); // in bounds, here and below
    this.#times = Float64Array.from(order, (at) => times[at] as number);
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
