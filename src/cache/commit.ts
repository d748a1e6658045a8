/**
 * A commit in two steps. Preparing does all the work that can fail for reasons of the content (numbering, sorting,
 * encoding, windows) and touches memory only; writing is one transaction of finished bytes. When there is no room on the
 * disk, a prepared commit stays as it is and is written again later, before anything newer of its classes.
 *
 * It has two parts. The front (run, sources, tags, control rows, alarms, counts of what was not accepted) is small and may
 * go ahead while readings wait: its rows are of other classes, so no number overtakes another. Whatever says that a reading
 * is here (accepted, receipts, windows) goes with the readings.
 */

import { encodeChunk } from '../wire/block.ts';
import { hex } from '../wire/bytes.ts';
import { CLASS, type ClassNumber } from '../wire/classes.ts';
import type { AlarmRow, ControlRow } from '../wire/control.ts';
import { type SortedRows, sortByTag } from '../wire/sort.ts';
import type { TagBook } from './books.ts';
import { addTo } from './counts.ts';
import type { Journal, NewBlock, Stamp } from './journal.ts';
import { pack } from './packing.ts';
import { Stage } from './stage.ts';
import type { SourceCounts, TagRow } from './store.ts';
import type { Append } from './types.ts';
import type { WindowBook } from './windows/book.ts';
import type { WindowRows } from './windows/rows.ts';

/** Wall minus monotonic time moves by less than this while the clock is only slewed: then chunks may share a stamp. */
const STEP_MS = 1000;
/** As the pipeline has it, which lets none pass. Nobody can say whose they were: they are received and rejected by `unknown`. */
export const UNKNOWN_TAG = 'unknown_tag';

export interface Taken {
  readonly append: Append;
  readonly stamp: Stamp;
}

export interface PreparedCommit {
  readonly opensRun: boolean;
  readonly sources: readonly { readonly id: number; readonly name: string }[];
  readonly tags: readonly TagRow[];
  /** Control rows and alarms. */
  readonly front: readonly NewBlock[];
  /** Readings. */
  readonly blocks: readonly NewBlock[];
  /** What closed; it is written later, with others. */
  readonly windows: readonly WindowRows[];
  readonly appends: readonly Append[];
  /** Source → readings. */
  readonly accepted: ReadonlyMap<number, number>;
  /** Reason → source → rows that no block can hold. */
  readonly refused: ReadonlyMap<string, ReadonlyMap<number, number>>;
  readonly readings: number;
}

export class CommitMaker {
  readonly #tags: TagBook;
  readonly #journal: Journal;
  readonly #windows: WindowBook;
  readonly #stages: Readonly<Record<3 | 4, Stage>> = { 3: new Stage(), 4: new Stage() };
  #sources: { id: number; name: string }[] = [];
  #newTags: TagRow[] = [];
  #readings: NewBlock[] = [];
  #accepted = new Map<number, number>();
  #refused = new Map<string, Map<number, number>>();

  constructor(tags: TagBook, journal: Journal, windows: WindowBook) {
    this.#tags = tags;
    this.#journal = journal;
    this.#windows = windows;
  }

  /** @param quota which of the alarms are written, and what was held back before. */
  prepare(
    taken: readonly Taken[],
    now: Stamp,
    extra: readonly ControlRow[] = [],
    quota: (alarms: readonly AlarmRow[]) => readonly AlarmRow[] = (alarms) => alarms,
  ): PreparedCommit {
    this.#sources = [];
    this.#newTags = [];
    this.#readings = [];
    this.#accepted = new Map();
    this.#refused = new Map();
    this.#takeReadings(taken);
    const alarms = quota(taken.flatMap(({ append }) => append.alarms ?? []));
    const announced = this.#newTags.map((tag): ControlRow => ({ type: 'TAG', id: hex(tag.id), content: tag.content }));
    const before = this.#front(alarms, [...extra, ...announced], now);
    const windows = this.#windows.take(now.monoMs);
    const appends = taken.map(({ append }) => append);
    for (const { counts } of appends) for (const { source } of counts ?? []) this.#source(source);
    return {
      opensRun: before.opensRun,
      sources: this.#sources,
      tags: this.#newTags,
      front: before.blocks,
      blocks: this.#readings,
      windows,
      appends,
      accepted: this.#accepted,
      refused: this.#refused,
      readings: sum(this.#accepted.values()),
    };
  }

  /** Rows of other classes; they are few. */
  #front(alarms: readonly AlarmRow[], control: readonly ControlRow[], now: Stamp) {
    if (alarms.length + control.length + this.#readings.length === 0) return { opensRun: false, blocks: [] };
    const opening = this.#journal.open(now);
    const blocks = [...opening, ...this.#journal.control(control, now), ...this.#journal.alarms(alarms, now)];
    return { opensRun: opening.length > 0, blocks };
  }

  #takeReadings(taken: readonly Taken[]): void {
    let stamp: Stamp | undefined;
    for (const { append, stamp: arrived } of taken) {
      if (append.chunk === undefined || append.chunk.length === 0) continue;
      if (stamp !== undefined && !sameClock(stamp, arrived)) this.#finishStages(stamp);
      stamp = stamp !== undefined && sameClock(stamp, arrived) ? stamp : arrived;
      this.#takeChunk(append.chunk, stamp);
    }
    if (stamp !== undefined) this.#finishStages(stamp);
  }

  #takeChunk(chunk: NonNullable<Append['chunk']>, stamp: Stamp): void {
    const known = this.#numberTags(chunk);
    if (known.length === 0) return;
    const { numbers, kindOf } = this.#tags;
    const refuse = (number: number) => this.#refuse('malformed', this.#tags.sourceOf(number), 1);
    const mixed = this.#tags.hasLow;
    const classes: readonly (3 | 4)[] = mixed ? [CLASS.normal, CLASS.low] : [CLASS.normal];
    for (const classNumber of classes) {
      const stage = this.#stages[classNumber];
      const isMine = mixed ? (number: number) => this.#tags.isLow(number) === (classNumber === CLASS.low) : undefined;
      for (let row = 0; row < known.length; ) {
        row = stage.take(known, row, numbers, kindOf, isMine, refuse);
        if (stage.full) this.#finish(classNumber, stage, stamp);
      }
    }
  }

  /** Sees that every tag has its number; rows of tags that were never registered have no source and are left out. */
  #numberTags(chunk: NonNullable<Append['chunk']>): NonNullable<Append['chunk']> {
    const { numbers } = this.#tags;
    const { tag, length } = chunk;
    let unknown = false;
    for (let row = 0; row < length; row++) {
      const index = tag[row] as number; // in bounds
      if (index < numbers.length && (numbers[index] as number) >= 0) continue;
      const used = this.#tags.use(index, (id, name) => this.#sources.push({ id, name }));
      if (used === undefined) unknown = true;
      else if (used.added !== undefined) this.#newTags.push(used.added);
    }
    return unknown ? this.#withoutUnknown(chunk) : chunk;
  }

  #withoutUnknown({ length, tag, timeMs, value, quality, texts }: NonNullable<Append['chunk']>) {
    const { numbers } = this.#tags;
    const rows = Array.from({ length }, (_, row) => row).filter((row) => (numbers[tag[row] ?? -1] ?? -1) >= 0);
    this.#refuse(UNKNOWN_TAG, this.#source('unknown'), length - rows.length);
    const kept = new Float64Array(rows.length);
    rows.forEach((row, at) => {
      kept.set(value.subarray(row, row + 1), at); // moves bytes
    });
    return {
      length: rows.length,
      tag: Uint32Array.from(rows, (row) => tag[row] ?? 0),
      timeMs: Float64Array.from(rows, (row) => timeMs[row] ?? 0),
      value: kept,
      quality: Uint8Array.from(rows, (row) => quality[row] ?? 0),
      texts,
    };
  }

  #finishStages(stamp: Stamp): void {
    this.#finish(CLASS.normal, this.#stages[3], stamp);
    this.#finish(CLASS.low, this.#stages[4], stamp);
  }

  #finish(classNumber: ClassNumber, stage: Stage, stamp: Stamp): void {
    if (stage.length === 0) return;
    const sorted = sortByTag(stage, this.#tags.size);
    this.#windows.add(stage, sorted, this.#tags.kindOf, stamp.monoMs);
    if (sorted.kept > 0) this.#encode(classNumber, stage, sorted, stamp);
    stage.clear();
  }

  #encode(classNumber: ClassNumber, stage: Stage, sorted: SortedRows, stamp: Stamp): void {
    const counts = countSources(stage, sorted, this.#tags);
    for (const [source, rows] of counts) addTo(this.#accepted, source, rows);
    const bytes = pack(encodeChunk(stage, this.#journal.next(classNumber), this.#tags.kindOf, sorted));
    const content = { rows: sorted.kept, firstMs: stage.firstMs, lastMs: stage.lastMs, counts };
    this.#readings.push({ row: this.#journal.number(classNumber, content, bytes.length, stamp), bytes });
  }

  #refuse(reason: string, source: number, rows: number): void {
    const counts = this.#refused.get(reason) ?? new Map<number, number>();
    addTo(counts, source, rows);
    this.#refused.set(reason, counts);
  }

  #source(name: string): number {
    return this.#tags.source(name, (id, added) => this.#sources.push({ id, name: added }));
  }
}

function countSources(stage: Stage, { order, tags, starts, kept }: SortedRows, book: TagBook): SourceCounts {
  const counts = new Map<number, number>();
  const isThin = kept < stage.length;
  for (let t = 0; t < tags.length; t++) {
    const start = starts[t] as number; // in bounds, here and below
    const end = starts[t + 1] as number;
    let rows = end - start;
    if (isThin) for (let i = start; i < end; i++) rows -= (stage.quality[order[i] as number] as number) >>> 7;
    if (rows > 0) addTo(counts, book.sourceOf(tags[t] as number), rows);
  }
  return [...counts];
}

function sameClock(a: Stamp, b: Stamp): boolean {
  return a.synced === b.synced && Math.abs(a.wallMs - a.monoMs - (b.wallMs - b.monoMs)) < STEP_MS;
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
