/** Which rows a lane takes next. Reads the journal's directory only, never a block. */
import { CLASS, type ClassNumber } from '../wire/classes.ts';
import { count, intersect, type Range, type RangeSet, subtract } from '../wire/ranges.ts';
import type { RunBook, TargetBook } from './books.ts';
import type { Flight } from './flight.ts';
import type { Stamp } from './journal.ts';
import type { Marks } from './marks.ts';
import { type BlockRow, type BlockStore, numbersOf } from './store.ts';
import type { BatchPart, CutRequest } from './types.ts';

export interface Selected {
  readonly row: BlockRow;
  readonly ranges: RangeSet;
}

/** Whatever the lane, control rows go first: tags are known before their rows, gaps as soon as possible. */
const CLASSES_OF = {
  alarm: [CLASS.control, CLASS.alarm],
  live: [CLASS.control, CLASS.normal, CLASS.low],
  backlog: [CLASS.control, CLASS.aggregate, CLASS.normal, CLASS.low],
} as const;
const PAGE = 256;
/** Merged columns shrink below what their blocks take on disk; whether it fits is known afterwards. This only bounds the work. */
const BYTES_BEFORE_SEALING = 3;
/** Below what an envelope takes (1024 sections), even if every block needs one of its own. */
const BLOCKS_MAX = 900;
export const ROWS_MAX = 100_000;

export class Selection {
  readonly #store: BlockStore;
  readonly #marks: Marks;
  readonly #runs: RunBook;
  readonly #targets: TargetBook;
  readonly #flight: Flight;
  readonly #unsyncedWaitMs: number;

  constructor(parts: {
    store: BlockStore;
    marks: Marks;
    runs: RunBook;
    targets: TargetBook;
    flight: Flight;
    unsyncedWaitMs: number;
  }) {
    this.#store = parts.store;
    this.#marks = parts.marks;
    this.#runs = parts.runs;
    this.#targets = parts.targets;
    this.#flight = parts.flight;
    this.#unsyncedWaitMs = parts.unsyncedWaitMs;
  }

  select(request: CutRequest, now: Stamp): Selected[] {
    const budget = new Budget(Math.min(request.rowsMax, ROWS_MAX), request.bytesMax * BYTES_BEFORE_SEALING);
    if (request.only !== undefined) return this.#part(request.target, request.only, budget);
    return CLASSES_OF[request.lane].flatMap((classNumber) => this.#lane(request, classNumber, now, budget));
  }

  #lane({ target, lane, liveMs }: CutRequest, classNumber: ClassNumber, now: Stamp, budget: Budget): Selected[] {
    const bits = 1 << this.#targets.get(target).bit;
    const isReading = classNumber >= CLASS.aggregate;
    // The newest first: when there is more than live can take, the rest ages into the backlog and what is shown stays fresh.
    const descending = lane === 'live' && isReading;
    const selected: Selected[] = [];
    for (let id = descending ? Number.MAX_SAFE_INTEGER : 0; !budget.spent; ) {
      const page = this.#store.pendingBlocks(bits, classNumber, id, PAGE, descending);
      for (const row of page) {
        if (isReading && this.#isLive(row, now, liveMs) !== (lane === 'live')) {
          // Ages follow ids, so nothing beyond belongs to this lane either.
          return sorted(selected);
        }
        if (isReading && this.#waitsForClock(row, now)) continue;
        const free = subtract(numbersOf(row), this.#flight.ranges(target, row.run, row.class));
        this.#take(selected, row, free, budget);
        if (budget.spent) break;
      }
      const end = page.at(-1);
      if (end === undefined || page.length < PAGE) break;
      id = descending ? end.id - 1 : end.id + 1;
    }
    return sorted(selected);
  }

  #part(target: string, { of, sections }: BatchPart, budget: Budget): Selected[] {
    const bits = 1 << this.#targets.get(target).bit;
    const parent = this.#flight.get(of);
    const selected: Selected[] = [];
    for (const { run: runHex, class: classNumber, ranges } of sections) {
      const run = this.#runs.byHex(runHex)?.seq;
      if (run === undefined) continue;
      const fromId = parent?.parts.find((part) => part.run === run && part.class === classNumber)?.fromId ?? 0;
      for (const row of this.#marks.pending(bits, { run, class: classNumber, ranges, fromId })) {
        const wanted = intersect(ranges, numbersOf(row));
        const free = subtract(wanted, this.#flight.ranges(target, run, classNumber, of));
        this.#take(selected, row, free, budget);
      }
    }
    return selected;
  }

  #take(selected: Selected[], row: BlockRow, free: RangeSet, budget: Budget): void {
    const ranges = budget.take(row, free);
    if (ranges.length > 0) selected.push({ row, ranges });
  }

  #isLive(row: BlockRow, now: Stamp, liveMs: number): boolean {
    return row.run === this.#runs.current.seq && now.monoMs - row.monoMs < liveMs;
  }

  /** The time may come yet, and with it the right time stamps: only while this very process waits for it. */
  #waitsForClock(row: BlockRow, now: Stamp): boolean {
    if (row.synced || now.synced || row.run !== this.#runs.current.seq) return false;
    return now.monoMs - row.monoMs < this.#unsyncedWaitMs;
  }
}

function sorted(selected: Selected[]): Selected[] {
  return selected.sort((a, b) => a.row.id - b.row.id);
}

class Budget {
  #rows: number;
  #bytes: number;
  #blocks = BLOCKS_MAX;

  constructor(rows: number, bytes: number) {
    this.#rows = rows;
    this.#bytes = bytes;
  }

  get spent(): boolean {
    return this.#rows <= 0 || this.#bytes <= 0 || this.#blocks <= 0;
  }

  /** As many of the first rows of `free` as fit; one always does, when none was taken before. */
  take(row: BlockRow, free: RangeSet): RangeSet {
    const taken: Range[] = [];
    for (const { from, to } of free) {
      if (this.spent) break;
      const bytesEach = row.bytes / row.rows;
      const rows = Math.min(to - from + 1, this.#rows, Math.max(1, Math.floor(this.#bytes / bytesEach)));
      taken.push({ from, to: from + rows - 1 });
      this.#rows -= rows;
      this.#bytes -= rows * bytesEach;
      this.#blocks--;
    }
    return taken;
  }
}

export function rowsOf(selected: readonly Selected[]): number {
  return selected.reduce((sum, { ranges }) => sum + count(ranges), 0);
}
