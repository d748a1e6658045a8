/**
 * Rows get their numbers here. A run opens with its first row: RUN_OPEN is row 1 of class control, and the alarms that are
 * active go before any new one.
 */
import { hex } from '../wire/bytes.ts';
import { CLASS, type ClassNumber } from '../wire/classes.ts';
import type { AlarmRow, ControlRow } from '../wire/control.ts';
import { encodeRecords } from '../wire/records.ts';
import type { RunBook, TargetBook } from './books.ts';
import { nextBlockId } from './checkpoint.ts';
import { pack } from './packing.ts';
import { BLOCK_ID_STEP, BLOCK_ROWS_MAX, type BlockRow, type BlockStore, blockId, type SourceCounts } from './store.ts';

/** Since boot and by the wall clock. */
export interface Stamp {
  readonly monoMs: number;
  readonly wallMs: number;
  readonly synced: boolean;
}

export interface NewBlock {
  readonly row: BlockRow;
  readonly bytes: Uint8Array;
}

/** What numbered rows say of themselves, besides their number. */
interface Content {
  readonly rows: number;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly counts: SourceCounts;
}

export class Journal {
  readonly #store: BlockStore;
  readonly #book: RunBook;
  readonly #targets: TargetBook;
  readonly #opening: { readonly reason: string; readonly version: string };
  #nextId: number;

  constructor(store: BlockStore, book: RunBook, targets: TargetBook, opening: { reason: string; version: string }) {
    this.#store = store;
    this.#book = book;
    this.#targets = targets;
    this.#opening = opening;
    this.#nextId = nextBlockId(store);
  }

  /** Blocks that must stand before the first other row of this run; empty when it is open already. */
  open(stamp: Stamp): NewBlock[] {
    if (this.#book.opened) return [];
    this.#book.open();
    const { previous, current } = this.#book;
    const first: ControlRow = {
      type: 'RUN_OPEN',
      previous: previous === undefined ? null : { run: hex(previous.run), last: previous.last },
      clean: previous?.clean ?? true,
      boot: hex(current.boot),
      ...this.#opening,
    };
    const active = this.#store.alarms().map((row): object => JSON.parse(row));
    return [...this.records(CLASS.control, [first], stamp), ...this.records(CLASS.alarm, active, stamp)];
  }

  /** Writes the run's own row, and what was found of the one before. Inside a transaction, when the run has just opened. */
  writeRun(): void {
    const { previous, current } = this.#book;
    if (previous !== undefined) this.#store.putRun(previous);
    this.#store.putRun(current);
  }

  control(rows: readonly ControlRow[], stamp: Stamp, pending = this.#targets.mask()): NewBlock[] {
    return this.records(CLASS.control, rows, stamp, pending);
  }

  alarms(rows: readonly AlarmRow[], stamp: Stamp): NewBlock[] {
    return this.records(CLASS.alarm, rows, stamp);
  }

  records(classNumber: ClassNumber, rows: readonly object[], stamp: Stamp, pending = this.#targets.mask()): NewBlock[] {
    const blocks: NewBlock[] = [];
    for (let at = 0; at < rows.length; at += BLOCK_ROWS_MAX) {
      const some = rows.slice(at, at + BLOCK_ROWS_MAX);
      const bytes = pack(encodeRecords(some));
      const content = { rows: some.length, firstMs: stamp.wallMs, lastMs: stamp.wallMs, counts: [] };
      blocks.push({ row: this.number(classNumber, content, bytes.length, stamp, pending), bytes });
    }
    return blocks;
  }

  /** The number that the next row of a class will get. */
  next(classNumber: ClassNumber): number {
    return this.#book.last(classNumber) + 1;
  }

  /** Gives rows their numbers and their place. */
  number(
    classNumber: ClassNumber,
    content: Content,
    bytes: number,
    stamp: Stamp,
    pending = this.#targets.mask(),
  ): BlockRow {
    const id = blockId(this.#nextId, classNumber);
    this.#nextId += BLOCK_ID_STEP;
    const n0 = this.#book.claim(classNumber, content.rows);
    const { monoMs, wallMs, synced } = stamp;
    return {
      id,
      run: this.#book.current.seq,
      class: classNumber,
      n0,
      ...content,
      pending,
      monoMs,
      wallMs,
      synced,
      bytes,
    };
  }

  /** Control rows in a transaction of their own, opening the run if need be. */
  writeControl(rows: readonly ControlRow[], stamp: Stamp, pending?: number): readonly NewBlock[] {
    if (rows.length === 0) return [];
    const opening = this.open(stamp);
    if (opening.length > 0) this.writeRun();
    const blocks = [...opening, ...this.control(rows, stamp, pending)];
    for (const { row, bytes } of blocks) this.#store.addBlock(row, bytes);
    return blocks;
  }
}
