/** Everything that is left to chance in a simulation comes from here: one seed, one sequence. */

/** sfc32 (Chris Doty-Humphrey's small fast counting generator): quick, and good enough to be fooled by nothing here. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    this.#a = seed | 0;
    this.#b = Math.floor(seed / 2 ** 32) | 0;
    this.#c = 0x9e37_79b9;
    for (let i = 0; i < 15; i++) this.word();
  }

  word(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    return sum >>> 0;
  }

  /** In [0, 1). */
  readonly unit = (): number => this.word() / 2 ** 32;

  /** In [from, to). */
  between(from: number, to: number): number {
    return from + (to - from) * this.unit();
  }
  /** A whole number in [0, below). */
  below(below: number): number {
    return Math.floor(this.unit() * below);
  }
  chance(probability: number): boolean {
    return this.unit() < probability;
  }
  /** Waits of a process without memory. */
  exponential(mean: number): number {
    return -Math.log(1 - this.unit()) * mean;
  }
  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T; // never asked of an empty list
  }
  weighted<T extends string>(weights: Readonly<Partial<Record<T, number>>>): T {
    const entries = Object.entries(weights) as [T, number][]; // its own keys
    let at = this.unit() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [name, weight] of entries) {
      at -= weight;
      if (at < 0) return name;
    }
    return (entries.at(-1) as [T, number])[0]; // rounding; never asked of no weights
  }
  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }
  fork(): Random {
    return new Random(this.word() * 2 ** 20 + this.below(2 ** 20));
  }
}
