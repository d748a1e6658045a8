/**
 * The newest reading of each tag, by the time of the reading and never by its arrival: a backlog changes nothing, and the
 * order in which batches come makes no difference.
 */
import type { Statement } from 'better-sqlite3';
import type { PlainValue, SlotKind } from '../reading.ts';
import { type BlockColumns, rowNumbers } from '../wire/block.ts';
import { columnValues } from './columns-reader.ts';
import type { Db } from './database.ts';
import type { TierReading } from './tier.ts';

/** A box whose clock runs ahead by more than this must not hide what comes after. */
export const FUTURE_MS_MAX = 5 * 60_000;

interface Row {
  readonly time_ms: number;
  readonly kind: SlotKind;
  readonly value: number | string | null;
  readonly quality: number;
}

export class Latest {
  readonly #put: Statement<[number, number, number, string, number | string | null, number]>;
  readonly #get: Statement<[number], Row>;

  constructor(db: Db) {
    this.#put = db.prepare(
      `INSERT INTO latest (tag, time_ms, n, kind, value, quality) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
         time_ms = excluded.time_ms, n = excluded.n, kind = excluded.kind, value = excluded.value, quality = excluded.quality
       WHERE excluded.time_ms > time_ms OR (excluded.time_ms = time_ms AND excluded.n > n)`,
    );
    this.#get = db.prepare('SELECT time_ms, kind, value, quality FROM latest WHERE tag = ?');
  }

  /**
   * @param tags numbers of the tags, in the block's order
   * @param shiftMs added to the times in the block
   */
  update(columns: BlockColumns, tags: Uint32Array, shiftMs: number, nowMs: number): void {
    const { timeMs, quality } = columns;
    const valueAt = columnValues(columns);
    const latestMs = nowMs + FUTURE_MS_MAX - shiftMs;
    let numbers: Float64Array | undefined;
    let row = 0;
    for (const [i, { kind, counts }] of columns.tags.entries()) {
      const start = row;
      for (const count of counts) row += count;
      let best = -1;
      let bestMs = Number.NEGATIVE_INFINITY;
      for (let at = start; at < row; at++) {
        const ms = timeMs[at] ?? 0;
        // The later of equal times: rows of a tag are in order of their numbers.
        if (ms >= bestMs && ms <= latestMs) {
          best = at;
          bestMs = ms;
        }
      }
      if (best < 0) continue;
      numbers ??= rowNumbers(columns);
      const value = stored(kind, valueAt(best, kind));
      this.#put.run(tags[i] ?? 0, bestMs + shiftMs, numbers[best] ?? 0, kind, value, quality[best] ?? 0);
    }
  }

  get(tag: number): TierReading | undefined {
    const row = this.#get.get(tag);
    return row && { timeMs: row.time_ms, value: plain(row.kind, row.value), quality: row.quality };
  }
}

function stored(kind: SlotKind, value: PlainValue): number | string | null {
  if (kind === 'bool') return value === null ? null : Number(value);
  return typeof value === 'bigint' || typeof value === 'boolean' ? String(value) : value;
}

function plain(kind: SlotKind, value: number | string | null): PlainValue {
  if (value === null) return null;
  if (kind === 'bool') return value === 1;
  return kind === 'int64' || kind === 'uint64' ? BigInt(value) : value;
}
