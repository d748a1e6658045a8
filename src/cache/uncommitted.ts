/** What was handed to the worker and is not on disk yet, and who waits for it. Appends are numbered from 1. */

interface Waiter {
  readonly seq: number;
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class Uncommitted {
  #waiting: { seq: number; bytes: number }[] = [];
  #waiters: Waiter[] = [];
  #bytes = 0;
  #seq = 0;
  #committedSeq = 0;

  get bytes(): number {
    return this.#bytes;
  }
  /** Of the last append. */
  get seq(): number {
    return this.#seq;
  }

  add(bytes: number): void {
    this.#seq++;
    this.#bytes += bytes;
    this.#waiting.push({ seq: this.#seq, bytes });
  }

  /** Resolves when everything added so far is committed. One promise serves all who wait for the same. */
  wait(): { readonly promise: Promise<void>; readonly isNew: boolean } {
    if (this.#committedSeq >= this.#seq) return { promise: Promise.resolve(), isNew: false };
    const last = this.#waiters.at(-1);
    if (last?.seq === this.#seq) return { promise: last.promise, isNew: false };
    const waiter = { seq: this.#seq, ...withResolvers<void>() };
    this.#waiters.push(waiter);
    return { promise: waiter.promise, isNew: true };
  }

  committedUpTo(seq: number): void {
    this.#committedSeq = Math.max(this.#committedSeq, seq);
    const open = this.#waiting.findIndex((each) => each.seq > seq);
    const done = open < 0 ? this.#waiting : this.#waiting.slice(0, open);
    this.#waiting = open < 0 ? [] : this.#waiting.slice(open);
    for (const { bytes } of done) this.#bytes -= bytes;
    const served = this.#waiters.filter((waiter) => waiter.seq <= seq);
    this.#waiters = this.#waiters.filter((waiter) => waiter.seq > seq);
    for (const { resolve } of served) resolve();
  }

  fail(error: Error): void {
    for (const { reject } of this.#waiters) reject(error);
    this.#waiters = [];
  }
}

/** Promise.withResolvers is newer than the oldest Node we run on. */
export function withResolvers<T>() {
  let resolve!: (value: T) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
