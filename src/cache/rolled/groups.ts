/** Which blocks become one: pure, from the rows of the journal alone. */
import { holdsReadings } from '../../wire/classes.ts';
import { BLOCK_ROWS_MAX, type BlockRow, lastNumber, spanOf } from '../store.ts';
import { ROLLED_ROWS_MAX } from './layout.ts';

export interface RollUpLimits {
  /** A block younger than this may still be sent as live, and somebody may be following the tail of the journal. */
  readonly ageMinMs: number;
  /** Enough for columns to compress and for a query to skip. */
  readonly rowsEnough: number;
  /** Enough after a while, of small blocks: a directory a tag costs little by then. */
  readonly rowsMin: number;
  readonly rowsMinAgeMs: number;
  /** However few rows they have: a block takes a page and a row of the journal. */
  readonly blocksMin: number;
  readonly blocksMinAgeMs: number;
}

export const ROLL_UP_LIMITS: RollUpLimits = {
  ageMinMs: 30_000,
  rowsEnough: 32_768,
  rowsMin: 5_000,
  rowsMinAgeMs: 120_000,
  blocksMin: 8,
  blocksMinAgeMs: 15 * 60_000,
};

/** Blocks that unset clocks put at the same time to this: as what travels in one section. */
export const CLOCK_GRAIN_MS = 5;
/** Blocks this large are left to `rowsEnough`: rolling them sooner would write them more often than it helps. */
const LARGE_ROWS = 2_500;
/** They are removed in one transaction. */
const BLOCKS_MAX = 1024;
/** As they are stored: what is open at once. */
const BYTES_MAX = 8_000_000;
const RECORD_BYTES_MAX = 256 * 1024;
/** A block goes when its first row is too old: with hours of others, no more. */
const SPAN_MAX_MS = 4 * 3_600_000;

export class Group {
  readonly rows: BlockRow[] = [];
  #bytes = 0;

  get fromId(): number {
    return this.rows[0]?.id ?? Number.POSITIVE_INFINITY;
  }

  add(row: BlockRow): void {
    this.rows.push(row);
    this.#bytes += row.bytes;
  }

  /** @param checkpointId rows of blocks up to here are in the saved windows, later ones will be counted again. */
  fits(row: BlockRow, checkpointId: number): boolean {
    const [first, last] = [this.rows[0], this.rows.at(-1)];
    if (first === undefined || last === undefined) return true;
    const isReadings = holdsReadings(row.class);
    return (
      row.run === first.run &&
      row.pending === first.pending &&
      row.n0 === lastNumber(last) + 1 &&
      row.id <= checkpointId === first.id <= checkpointId &&
      sameClock(first, row) &&
      this.rows.length < BLOCKS_MAX &&
      spanOf(row).to - first.n0 < (isReadings ? ROLLED_ROWS_MAX : BLOCK_ROWS_MAX) &&
      this.#bytes + row.bytes <= (isReadings ? BYTES_MAX : RECORD_BYTES_MAX)
    );
  }

  /** Those of its blocks that are worth to become one now. @param ageMs infinite for a block of an earlier run. */
  enough(ageMs: (row: BlockRow) => number, limits: RollUpLimits): readonly BlockRow[] | undefined {
    return enoughOf(this.rows, ageMs, limits);
  }
}

/** Each row is written again only with as many others as it was with before: a large block divides the others. */
function enoughOf(
  rows: readonly BlockRow[],
  ageMs: (row: BlockRow) => number,
  limits: RollUpLimits,
): readonly BlockRow[] | undefined {
  const [first] = rows;
  if (first === undefined || rows.length < 2) return undefined;
  const count = rows.reduce((sum, row) => sum + row.rows, 0);
  const largest = rows.reduce((most, row) => Math.max(most, row.rows), 0);
  if (largest * 2 > count) {
    const at = rows.findIndex((row) => row.rows === largest);
    return enoughOf(rows.slice(0, at), ageMs, limits) ?? enoughOf(rows.slice(at + 1), ageMs, limits);
  }
  if (count >= limits.rowsEnough) return rows;
  const age = ageMs(first);
  const isSmall = count < rows.length * LARGE_ROWS;
  const isMany = rows.length >= limits.blocksMin && age >= limits.blocksMinAgeMs;
  return isMany || (isSmall && count >= limits.rowsMin && age >= limits.rowsMinAgeMs) ? rows : undefined;
}

/** Whether a block may become part of another at all. */
export function isSmallEnough({ rows, class: classNumber, holes, content }: BlockRow, limits: RollUpLimits): boolean {
  // What it is a piece of is whole again as soon as all of it is delivered.
  if (content !== undefined) return false;
  // Records are counted from n0 on, so there must be no holes between them.
  if (!holdsReadings(classNumber)) return rows < BLOCK_ROWS_MAX && holes === undefined;
  return rows < limits.rowsEnough;
}

function sameClock(a: BlockRow, b: BlockRow): boolean {
  if (a.synced !== b.synced || b.monoMs - a.monoMs > SPAN_MAX_MS) return false;
  return a.synced || clockOf(a) === clockOf(b);
}

function clockOf({ wallMs, monoMs }: BlockRow): number {
  return Math.round((wallMs - monoMs) / CLOCK_GRAIN_MS);
}
