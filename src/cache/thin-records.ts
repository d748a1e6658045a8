/**
 * Control and alarm rows take bounded room, however long an outage or the ladder's fourth level lasts.
 *
 * What waits is thinned: GAP rows of one run, class and reason become one, a SETTLED goes when a later one says more, and of
 * the steps of the ladder and of clocks the last ones stay. The numbers of rows that went are themselves told as a GAP
 * (`dropped`, class control), so each row is still delivered or explained, and a count of what was left out is at the cloud.
 *
 * What was delivered goes, oldest first, beyond a cap. RUN_OPEN, TAG and CLOCK_OFFSET stay: a cloud that was restored from a
 * backup could not do without, and nothing else here says them again. What GAP rows said is in `explained`, and HELLO tells
 * it again (`hello.ts`); SETTLED is said anew.
 */
import { CLASS } from '../wire/classes.ts';
import { parseControl } from '../wire/control.ts';
import { intersect, type RangeSet, rangeSet, subtract, union } from '../wire/ranges.ts';
import { decodeContent, pieceOf } from './content.ts';
import type { Flight } from './flight.ts';
import type { Stamp } from './journal.ts';
import { costOf } from './ladder/pressure.ts';
import type { WriteOffParts } from './ladder/write-off.ts';
import { type BlockRow, lastNumber, numbersOf, spanOf } from './store.ts';
import {
  isForEver,
  merged,
  numberAt,
  type Opened,
  THIN_LIMITS,
  type ThinLimits,
  type Thinned,
  thin,
} from './thin-plan.ts';
import { changeExplained } from './untold.ts';

/** Of delivered alarm and control rows, of what the cache may use. */
const DELIVERED_SHARE_MAX = 1 / 64;
/** Once begun it goes on to this share of the cap: not a block with every look. */
const DELIVERED_GOAL = 7 / 8;
/** Of a step, so that it takes less than 50 ms. */
const BLOCKS_MAX = 256;
const ROWS_MAX = 10_000;
const PAGE = 256;
const ALONE_MAX = 10_000;

export class ThinRecords {
  readonly #parts: WriteOffParts & { readonly flight: Flight };
  /** Blocks of which nothing goes: `id rows`, because a rolled block has the id of the first in it. */
  readonly #alone = new Set<string>();
  #lookedAt = Number.NEGATIVE_INFINITY;
  readonly #limits: ThinLimits;

  constructor(parts: WriteOffParts & { readonly flight: Flight }, limits: Partial<ThinLimits> = {}) {
    this.#parts = parts;
    this.#limits = { ...THIN_LIMITS, ...limits };
  }

  get #given(): number {
    const { runs } = this.#parts;
    return runs.last(CLASS.alarm) + runs.last(CLASS.control);
  }

  get due(): boolean {
    return this.#given - this.#lookedAt >= this.#limits.lookEveryRows;
  }

  /** Inside a transaction. @param limit of the file. @returns what pending blocks cost less; undefined when there is nothing to do. */
  step(limit: number, now: Stamp): { readonly freed: number } | undefined {
    if (this.#alone.size >= ALONE_MAX) this.#alone.clear();
    const freed = this.#thinPending(now);
    if (freed !== undefined) return { freed };
    if (this.#removeDelivered(limit)) return { freed: 0 };
    this.#lookedAt = this.#given;
    return undefined;
  }

  #thinPending(now: Stamp): number | undefined {
    for (const [pending, opened] of this.#waiting()) {
      const thinned = thin(opened, this.#limits);
      if (thinned !== undefined) return this.#write(thinned, pending, now);
    }
    return undefined;
  }

  /** By the targets that lack them, oldest first, without what is on its way to anybody. */
  #waiting(): Map<number, Opened[]> {
    const { store, targets, flight } = this.#parts;
    const found = new Map<number, Opened[]>();
    let [blocks, rows] = [0, 0];
    for (let id = 0; ; ) {
      const page = store.pendingBlocks(targets.mask(), CLASS.control, id, PAGE);
      for (const row of page) {
        if (this.#alone.has(keyOf(row)) || flight.touches(row.run, row.class, spanOf(row))) continue;
        if (blocks >= BLOCKS_MAX || (blocks > 0 && rows + row.rows > ROWS_MAX)) return found;
        const opened = this.#open(row);
        if (opened === undefined) continue;
        blocks++;
        rows += row.rows;
        found.set(row.pending, [...(found.get(row.pending) ?? []), opened]);
      }
      const end = page.at(-1);
      if (end === undefined || page.length < PAGE) return found;
      id = end.id + 1;
    }
  }

  /** Undefined for a block that stays as it is: all of it is to be kept, or it is damaged and set aside when it is read to be sent. */
  #open(row: BlockRow): Opened | undefined {
    try {
      const content = decodeContent(row, this.#parts.store.block(row.id));
      const rows = content.kind === 'records' ? content.records.map(parseControl) : [];
      if (content.kind === 'records' && !rows.every(isForEver)) return { row, content, rows };
    } catch {
      // As it is.
    }
    this.#alone.add(keyOf(row));
    return undefined;
  }

  #write({ blocks, gaps }: Thinned, pending: number, now: Stamp): number {
    const { store, targets, runs } = this.#parts;
    const before = blocks.reduce((sum, { row }) => sum + costOf(row.bytes), 0);
    const gone = new Map<number, RangeSet>();
    for (const each of blocks) gone.set(each.row.run, union(gone.get(each.row.run) ?? [], each.gone));
    let after = blocks.reduce((sum, each) => sum + this.#leave(each, each.gone), 0);
    for (const target of targets.active()) {
      if ((pending & (1 << target.bit)) === 0) continue;
      for (const [run, ranges] of gone)
        changeExplained(store, target.name, { run, class: CLASS.control }, 'dropped', (known) => union(known, ranges));
      const told = merged(gaps, gone, (hexRun) => runs.byHex(hexRun)?.seq);
      // Without what it turned out to hold all the same: that was taken back, and must not be written off again.
      const still = told.map((gap) => {
        const known = this.#parts.gaps.explained(target, gap.run, gap.class).get(gap.reason) ?? [];
        return { ...gap, ranges: intersect(gap.ranges, known) };
      });
      after += this.#parts.gaps.tell(target, still, now).reduce((sum, { row }) => sum + costOf(row.bytes), 0);
    }
    return before - after;
  }

  /** In the place of a block what of it stays. @returns what that costs. */
  #leave({ row, content }: Pick<Opened, 'row' | 'content'>, gone: RangeSet): number {
    const { store, tags } = this.#parts;
    const pieces = subtract(numbersOf(row), gone).map((range) => pieceOf(row, content, range, tags));
    this.#remove(row);
    let cost = 0;
    for (const piece of pieces) {
      if (piece === undefined) continue;
      store.addBlock(piece.row, piece.bytes);
      cost += costOf(piece.row.bytes);
    }
    return cost;
  }

  /** @returns whether anything went. */
  #removeDelivered(limit: number): boolean {
    const { store, targets } = this.#parts;
    const bits = targets.mask();
    const cap = Math.min(limit * DELIVERED_SHARE_MAX, this.#limits.deliveredBytesMax);
    const sum = store.deliveredRecordsSum(bits);
    let cost = costOf(sum.bytes, sum.blocks);
    if (cost <= cap) return false;
    let went = 0;
    for (let id = 0; ; ) {
      const page = store.deliveredRecords(bits, id, PAGE);
      for (const row of page) {
        if (cost <= cap * DELIVERED_GOAL || went >= BLOCKS_MAX) return went > 0;
        const freed = this.#removeOne(row);
        if (freed === undefined) continue;
        cost -= freed;
        went++;
      }
      const end = page.at(-1);
      if (end === undefined || page.length < PAGE) return went > 0;
      id = end.id + 1;
    }
  }

  /** @returns what it cost; undefined when it stays. */
  #removeOne(row: BlockRow): number | undefined {
    if (this.#alone.has(keyOf(row))) return undefined;
    if (row.class === CLASS.alarm) {
      this.#remove(row);
      return costOf(row.bytes);
    }
    const opened = this.#open(row);
    if (opened === undefined) return undefined;
    const gone = rangeSet(opened.rows.flatMap((each, at) => (isForEver(each) ? [] : [numberAt(row, at)])));
    return costOf(row.bytes) - this.#leave(opened, gone);
  }

  #remove(row: BlockRow): void {
    const { runs, store } = this.#parts;
    const run = runs.removed(row.run, row.class, lastNumber(row));
    if (run !== undefined) store.putRun(run);
    store.removeBlock(row.id);
  }
}

function keyOf({ id, rows }: BlockRow): string {
  return `${id} ${rows}`;
}
