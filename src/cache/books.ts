/**
 * What the core knows by heart: runs, tags, sources, targets. Each book mirrors a table; entries are made in memory when a
 * commit is prepared and written with it. Prepared commits are written in order and before anything else, so what is in
 * memory only is never referred to on disk.
 */
import { randomBytes } from 'node:crypto';
import { SluiceError } from '../errors.ts';
import type { SlotKind } from '../reading.ts';
import { slotKind } from '../reading.ts';
import { hex } from '../wire/bytes.ts';
import type { ClassNumber } from '../wire/classes.ts';
import { canonicalTag, contentId, parseTagContent } from '../wire/tag.ts';
import type { BlockStore, RunRow, TagRow, TargetRow } from './store.ts';
import type { CacheTag } from './types.ts';

const RUN_BYTES = 16;
const NO_ROWS: readonly number[] = [0, 0, 0, 0, 0];

/** The runs, this one last. A run is on disk from its first row on: a crash loop leaves nothing behind. */
export class RunBook {
  readonly current: RunRow;
  readonly #earlier: RunRow[];
  #last: number[] = [...NO_ROWS];
  #onDisk: readonly number[] = NO_ROWS;
  #removed: readonly number[] = NO_ROWS;
  #opened = false;

  constructor(store: BlockStore, boot: Uint8Array, nowMs: number, run: Uint8Array = randomBytes(RUN_BYTES)) {
    this.#earlier = store.runs();
    const previous = this.#earlier.at(-1);
    if (previous !== undefined) {
      const found = store.lastNumbers(previous.seq);
      const last = previous.last.map((n, at) => Math.max(n, found[at] ?? 0));
      this.#earlier[this.#earlier.length - 1] = { ...previous, last };
    }
    const seq = (previous?.seq ?? 0) + 1;
    this.current = { seq, run, boot, previous: previous?.seq ?? 0, clean: false, openedMs: nowMs, last: NO_ROWS };
  }

  get opened(): boolean {
    return this.#opened;
  }
  get previous(): RunRow | undefined {
    return this.#earlier.at(-1);
  }
  get #isOnDisk(): boolean {
    return this.#onDisk.some((n) => n > 0);
  }
  /** Oldest first, with their last numbers on disk; this one only once it has rows there. */
  all(): RunRow[] {
    return this.#isOnDisk ? [...this.#earlier, { ...this.current, last: this.#onDisk }] : [...this.#earlier];
  }
  /** Everything numbered so far is on disk. @param waiting class → the first number that is not. */
  written(waiting: ReadonlyMap<number, number> = new Map()): void {
    this.#onDisk = this.#last.map((n, at) => Math.min(n, (waiting.get(at) ?? Number.POSITIVE_INFINITY) - 1));
  }
  /** The journal will no longer tell that these numbers were given. @returns the run's row to store, when that is news. */
  removed(runSeq: number, classNumber: ClassNumber, lastN: number): RunRow | undefined {
    // Once this run's first rows are on disk, so is what was found of the one before.
    if (runSeq !== this.current.seq) return this.#isOnDisk || runSeq !== this.previous?.seq ? undefined : this.previous;
    if (lastN <= (this.#removed[classNumber] ?? 0)) return undefined;
    this.#removed = this.#removed.map((n, at) => (at === classNumber ? lastN : n));
    return { ...this.current, last: this.#removed };
  }
  /** This run's row when it ends in order. */
  closed(): RunRow | undefined {
    return this.#opened ? { ...this.current, clean: true, last: [...this.#last] } : undefined;
  }
  bySeq(seq: number): RunRow | undefined {
    return seq === this.current.seq ? this.current : this.#earlier.find((run) => run.seq === seq);
  }
  byHex(text: string): RunRow | undefined {
    return hex(this.current.run) === text ? this.current : this.#earlier.find(({ run }) => hex(run) === text);
  }
  /** The last number given in a class of the current run. */
  last(classNumber: ClassNumber): number {
    return this.#last[classNumber] ?? 0;
  }
  open(): void {
    this.#opened = true;
  }
  /** The first of `rows` new numbers. */
  claim(classNumber: ClassNumber, rows: number): number {
    const n0 = this.last(classNumber) + 1;
    this.#last[classNumber] = n0 + rows - 1;
    return n0;
  }
  snapshot(): () => void {
    const last = [...this.#last];
    const opened = this.#opened;
    const removed = this.#removed;
    return () => {
      this.#last = last;
      this.#removed = removed;
      this.#opened = opened;
    };
  }
}

/** Tags by their number on disk and on the wire, and what the registry's indexes are called there. */
export class TagBook {
  readonly #rows: TagRow[];
  readonly #kinds: SlotKind[] = [];
  readonly #byId = new Map<string, number>();
  readonly #registered: { readonly tag: CacheTag; readonly content: string }[] = [];
  readonly #sources = new Map<string, number>();
  /** Index of the registry → number, −1 until the tag is used. */
  #numbers = new Int32Array(256).fill(-1);
  /** Number → index of the registry, −1 when it is not registered in this process. */
  readonly #indexes: number[] = [];
  /** Numbers of tags whose readings are given up first. */
  readonly #low = new Set<number>();

  constructor(store: BlockStore) {
    this.#rows = store.tags();
    for (const { seq, id, content } of this.#rows) {
      this.#byId.set(hex(id), seq);
      this.#kinds[seq] = slotKind(parseTagContent(content).type);
      this.#indexes[seq] = -1;
    }
    for (const { id, name } of store.sources()) this.#sources.set(name, id);
  }

  get size(): number {
    return this.#rows.length;
  }
  readonly kindOf = (seq: number): SlotKind => this.#kinds[seq] ?? 'number';
  row(seq: number): TagRow | undefined {
    return this.#rows[seq];
  }
  indexOf(seq: number): number {
    return this.#indexes[seq] ?? -1;
  }
  seqOf(idHex: string): number | undefined {
    return this.#byId.get(idHex);
  }

  register(tag: CacheTag): void {
    this.#registered[tag.index] = { tag, content: canonicalTag(tag.definition) };
    if (tag.index >= this.#numbers.length) {
      const grown = new Int32Array(Math.max(tag.index + 1, this.#numbers.length * 2)).fill(-1);
      grown.set(this.#numbers);
      this.#numbers = grown;
    }
  }

  /** Registry index → number; −1 for a tag that has none yet, see `use`. Valid until the next `register`. */
  get numbers(): Int32Array {
    return this.#numbers;
  }

  /** Gives the tag its number. The row to store and to announce, when the tag was never seen before. */
  use(
    index: number,
    newSource: (id: number, name: string) => void,
  ): { seq: number; added: TagRow | undefined } | undefined {
    const entry = this.#registered[index];
    if (entry === undefined) return undefined;
    const { tag, content } = entry;
    const id = contentId(content);
    const known = this.#byId.get(hex(id));
    const seq = known ?? this.#rows.length;
    this.#numbers[index] = seq;
    this.#indexes[seq] = index;
    if (tag.fields.priority === 'low') this.#low.add(seq);
    if (known !== undefined) return { seq, added: undefined };
    const added = { seq, id, content, source: this.source(tag.source, newSource), low: tag.fields.priority === 'low' };
    this.#rows.push(added);
    this.#kinds[seq] = slotKind(tag.definition.type);
    this.#byId.set(hex(id), seq);
    return { seq, added };
  }

  /** Whether any tag of this process is of low priority. */
  get hasLow(): boolean {
    return this.#low.size > 0;
  }
  /** What the registry says now; a tag may have changed its priority. */
  isLow(seq: number): boolean {
    return this.#low.has(seq);
  }

  source(name: string, added: (id: number, name: string) => void): number {
    let id = this.#sources.get(name);
    if (id === undefined) {
      id = this.#sources.size + 1;
      this.#sources.set(name, id);
      added(id, name);
    }
    return id;
  }
  sourceNames(): Map<number, string> {
    return new Map([...this.#sources].map(([name, id]) => [id, name]));
  }
  sourceOf(seq: number): number {
    return this.#rows[seq]?.source ?? 0;
  }
  ids(from: number, to: number): Uint8Array[] {
    return this.#rows.slice(from, to).map(({ id }) => id);
  }
}

/** Bits of a 32-bit integer that stays positive. */
const TARGETS_MAX = 30;

export class TargetBook {
  readonly #rows: TargetRow[];

  constructor(store: BlockStore) {
    this.#rows = store.targets();
  }

  active(): TargetRow[] {
    return this.#rows.filter(({ removed }) => !removed);
  }
  find(name: string): TargetRow | undefined {
    return this.#rows.find((row) => row.name === name);
  }
  /** @throws cache.target_unknown (stop): an error in the program. */
  get(name: string): TargetRow {
    const row = this.find(name);
    if (row === undefined || row.removed)
      throw new SluiceError('cache.target_unknown', 'stop', `no target is called ${name}`);
    return row;
  }
  byBit(bit: number): TargetRow | undefined {
    return this.#rows.find((row) => row.bit === bit);
  }
  freeBit(): number {
    for (let bit = 0; bit < TARGETS_MAX; bit++) if (this.byBit(bit) === undefined) return bit;
    throw new SluiceError('cache.targets_too_many', 'stop', `more than ${TARGETS_MAX} targets were ever configured`);
  }
  put(store: BlockStore, row: TargetRow): void {
    store.putTarget(row);
    const at = this.#rows.findIndex(({ bit }) => bit === row.bit);
    if (at < 0) this.#rows.push(row);
    else this.#rows[at] = row;
  }
  /** Bits of all targets. */
  mask(onlyRequired = false): number {
    return this.active().reduce((mask, { bit, required }) => (onlyRequired && !required ? mask : mask | (1 << bit)), 0);
  }
}
