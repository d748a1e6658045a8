/**
 * Which reads get a set of tags with the fewest requests.
 *
 * Tags are taken in order of their first register; a read grows while the registers nobody asked for in between are at
 * most `gap` and its length is within the caps. Starting each read at the first tag not yet covered is optimal: a later
 * start would miss that tag, an earlier one covers nothing more.
 */
import { isBitTable, TABLES, type Table } from './address.ts';

/** Where a tag lies: `count` registers, or one bit of a bit table. */
export interface Span {
  readonly table: Table;
  readonly address: number;
  readonly count: number;
}

export interface ReadLimits {
  /** Registers (or bits) that may be read for nothing to save a request. */
  readonly mergeGap: number;
  /** 125 in the standard (V1.1b3, 6.3); some devices take fewer. */
  readonly wordsMax: number;
  /** 2000 in the standard (V1.1b3, 6.1). */
  readonly bitsMax: number;
}

/**
 * What a device refused to be read across: registers `[from, to)`. With `from === to` only reads that span this border
 * are refused.
 */
export interface Hole {
  readonly table: Table;
  readonly from: number;
  readonly to: number;
}

export interface ReadRequest<T extends Span> {
  readonly table: Table;
  readonly address: number;
  readonly count: number;
  /** In order of address. */
  readonly tags: readonly T[];
}

/** Every tag is in exactly one request, whole; no request joins tags across a hole. */
export function planReads<T extends Span>(
  tags: readonly T[],
  limits: ReadLimits,
  holes: readonly Hole[] = [],
): ReadRequest<T>[] {
  return TABLES.flatMap((table) => {
    const inTable = tags.filter((tag) => tag.table === table).sort(byAddress);
    return planTable(
      table,
      inTable,
      limits,
      holes.filter((hole) => hole.table === table),
    );
  });
}

function planTable<T extends Span>(
  table: Table,
  tags: readonly T[],
  limits: ReadLimits,
  holes: readonly Hole[],
): ReadRequest<T>[] {
  const cap = isBitTable(table) ? limits.bitsMax : limits.wordsMax;
  const requests: ReadRequest<T>[] = [];
  let open: T[] = [];
  let start = 0;
  let end = 0;
  const close = () => {
    if (open.length > 0) requests.push({ table, address: start, count: end - start, tags: open });
  };
  for (const tag of tags) {
    const newEnd = Math.max(end, tag.address + tag.count);
    const fits = open.length > 0 && tag.address - end <= limits.mergeGap && newEnd - start <= cap;
    if (fits && !crosses(holes, start, newEnd)) {
      open.push(tag);
      end = newEnd;
      continue;
    }
    close();
    open = [tag];
    start = tag.address;
    end = tag.address + tag.count;
  }
  close();
  return requests;
}

function crosses(holes: readonly Hole[], start: number, end: number): boolean {
  return holes.some((hole) =>
    hole.from === hole.to ? start < hole.from && hole.from < end : start < hole.to && hole.from < end,
  );
}

function byAddress(a: Span, b: Span): number {
  return a.address - b.address || a.count - b.count;
}
