/**
 * Readings given up for want of room, inside the caller's transaction: removal, ledger, GAP and AGG rows together or not
 * at all. Each target is told, and charged, of exactly the rows it lacks.
 */

import { hex } from '../../wire/bytes.ts';
import { CLASS, holdsReadings } from '../../wire/classes.ts';
import { GAP_RANGES_MAX } from '../../wire/control.ts';
import type { RangeSet } from '../../wire/ranges.ts';
import { contentId, parseTagContent } from '../../wire/tag.ts';
import type { RunBook, TagBook, TargetBook } from '../books.ts';
import { type Content, decodeContent, pieceOf } from '../content.ts';
import { addTo } from '../counts.ts';
import type { Gaps } from '../gaps.ts';
import type { Journal, Stamp } from '../journal.ts';
import { countDropped, type DropReason } from '../ledger-reasons.ts';
import { noteRemoved } from '../raw-removed.ts';
import { type BlockRow, type BlockStore, lastNumber, numbersOf } from '../store.ts';
import { gapsOf } from '../untold.ts';
import { Aggregation, parted } from './aggregate.ts';

/** Below it an AGG row takes more than the readings it stands for. */
const READINGS_AN_AGGREGATE_MIN = 4;
/** Texts scattered over a block in more pieces than this are not picked out of it. */
const PIECES_MAX = 16;

export interface WriteOffParts {
  readonly store: BlockStore;
  readonly runs: RunBook;
  readonly tags: TagBook;
  readonly targets: TargetBook;
  readonly journal: Journal;
  readonly gaps: Gaps;
}

/** A block, and which of its rows go. */
interface Going {
  readonly row: BlockRow;
  readonly ranges: RangeSet;
  readonly counts: Iterable<readonly [source: number, readings: number]>;
}

interface Thinned extends Going {
  readonly content: Content & { readonly kind: 'readings' };
  /** Its texts. */
  readonly kept: RangeSet;
}

export class WriteOff {
  readonly #parts: WriteOffParts;

  constructor(parts: WriteOffParts) {
    this.#parts = parts;
  }

  drop(rows: readonly BlockRow[], stamp: Stamp, why: (row: BlockRow) => DropReason): void {
    const going = rows.map((row): Going => ({ row, ranges: numbersOf(row), counts: row.counts }));
    this.#account(going, 'dropped', stamp, (target, { row, counts }) =>
      countDropped(this.#parts.store, target, counts, why(row)),
    );
    for (const row of rows) this.#remove(row);
  }

  /**
   * @param rows of one run, class and set of targets that lack them.
   * @returns how many of them it went through, and the bytes of the rows written in their place; no bytes when it would save
   *   nothing: then all is as it was.
   */
  aggregate(rows: readonly BlockRow[], stamp: Stamp): { readonly blocks: number; readonly bytes: number | undefined } {
    const { tags, runs, journal, store } = this.#parts;
    const [first] = rows;
    if (first === undefined) return { blocks: 0, bytes: undefined };
    const sums = new Aggregation((tag) => parseTagContent(tags.row(tag)?.content ?? '{}').type);
    const { going, blocks } = this.#prepareAll(rows, sums);
    if (sums.rows < sums.size * READINGS_AN_AGGREGATE_MIN || sums.rows === 0) return { blocks, bytes: undefined };
    this.#account(going, 'aggregated', stamp, (target, { counts }) => {
      for (const [source, readings] of counts) store.count(target, source, 'aggregated', readings);
    });
    for (const { row, content, kept } of going) this.#leave(row, content, kept);
    const place = { run: hex(runs.bySeq(first.run)?.run ?? new Uint8Array()), class: first.class };
    const idOf = (tag: number) => hex(tags.row(tag)?.id ?? contentId(''));
    // The run is open: GAP rows were just written.
    const written = journal.records(CLASS.aggregate, sums.results(place, idOf), stamp, first.pending);
    for (const { row, bytes } of written) store.addBlock(row, bytes);
    return { blocks, bytes: written.reduce((bytes, { row }) => bytes + row.bytes, 0) };
  }

  /** The first of the blocks: each AGG row says of which numbers it is, and may name so many ranges. */
  #prepareAll(rows: readonly BlockRow[], sums: Aggregation): { going: Thinned[]; blocks: number } {
    const going: Thinned[] = [];
    let ranges = 0;
    let blocks = 0;
    for (const row of rows) {
      const prepared = this.#prepare(row);
      if (prepared !== undefined && going.length > 0 && ranges + prepared.ranges.length > GAP_RANGES_MAX) break;
      blocks++;
      if (prepared === undefined || prepared.ranges.length > GAP_RANGES_MAX) continue;
      ranges += prepared.ranges.length;
      going.push(prepared);
      sums.add(prepared.content.columns, prepared.ranges);
    }
    return { going, blocks };
  }

  /** Undefined for a block that stays as it is. */
  #prepare(row: BlockRow): Thinned | undefined {
    let content: Content;
    try {
      content = decodeContent(row, this.#parts.store.block(row.id));
    } catch {
      // Damaged: set aside when it is read to be sent, or dropped.
      return undefined;
    }
    if (content.kind !== 'readings') return undefined;
    const { columns } = content;
    const { gone, kept } = parted(columns);
    if (gone.length === 0 || kept.length > PIECES_MAX) return undefined;
    const counts = new Map<number, number>();
    for (const { tag, kind, counts: rows } of columns.tags) {
      if (kind === 'text') continue;
      addTo(
        counts,
        this.#parts.tags.sourceOf(tag),
        rows.reduce((sum, each) => sum + each, 0),
      );
    }
    return { row, ranges: gone, counts, content, kept };
  }

  /** In the place of a block what of it stays. */
  #leave(row: BlockRow, content: Content, kept: RangeSet): void {
    const { store, tags } = this.#parts;
    const pieces = kept.map((range) => pieceOf(row, content, range, tags));
    this.#remove(row);
    for (const piece of pieces) if (piece !== undefined) store.addBlock(piece.row, piece.bytes);
  }

  #account(
    going: readonly Going[],
    reason: 'dropped' | 'aggregated',
    stamp: Stamp,
    count: (target: string, going: Going) => void,
  ): void {
    const { targets, gaps } = this.#parts;
    for (const target of targets.active()) {
      const mine = going.filter(({ row }) => (row.pending & (1 << target.bit)) !== 0);
      for (const each of mine) if (holdsReadings(each.row.class)) count(target.name, each);
      gaps.write(target, reason, gapsOf(mine), stamp);
    }
  }

  #remove(row: BlockRow): void {
    const { runs, store } = this.#parts;
    const run = runs.removed(row.run, row.class, lastNumber(row));
    if (run !== undefined) store.putRun(run);
    noteRemoved(store, row);
    store.removeBlock(row.id);
  }
}
