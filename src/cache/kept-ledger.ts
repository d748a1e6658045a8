/**
 * The ledger as it is kept in the file: two lists of counters, each one packed row with a checksum. One holds the sums as
 * they were some hundred transactions ago, the other what was counted since. Only the second is rewritten with every
 * transaction: a few bytes a counter, where a row for each would touch many pages once there are many sources.
 */

import { SluiceError } from '../errors.ts';
import { ByteReader, ByteWriter } from '../wire/bytes.ts';
import { crc32c } from '../wire/crc32c.ts';
import type { LedgerRow } from './store.ts';

/** Ids of the two rows. */
export const SUMS = 0;
export const SINCE = 1;
/** Transactions between two rewritings of the sums: ten minutes at one a second. */
const FOLD_AFTER = 600;
const CRC_BYTES = 4;
const NAME_BYTES_MAX = 4096;

/** `target\nreason` → source → count. */
type Counters = Map<string, Map<number, number>>;

/**
 * Names of target and reason (length, UTF-8), how many sources, for each the distance to the one before and the count
 * (zigzag varints); at the end CRC32C.
 */
function encode(counters: Counters): Uint8Array {
  const writer = new ByteWriter();
  for (const [key, counts] of counters) {
    writer.utf8(key).varint(counts.size);
    let before = 0;
    for (const [source, count] of [...counts].sort(byKey)) {
      writer.varint(source - before).zigzag(count);
      before = source;
    }
  }
  const body = writer.take();
  return writer.u32(crc32c(body)).take();
}

/** Undefined for what was not written so. */
function decode(stored: Uint8Array | undefined): Counters | undefined {
  const counters: Counters = new Map();
  if (stored === undefined) return counters;
  // Damage may also make a text or a number of it.
  if (!ArrayBuffer.isView(stored)) return undefined;
  const end = stored.length - CRC_BYTES;
  if (end < 0 || new ByteReader(stored.subarray(end)).u32() !== crc32c(stored, 0, end)) return undefined;
  const reader = new ByteReader(stored.subarray(0, end));
  while (reader.remaining > 0) {
    const counts = new Map<number, number>();
    counters.set(reader.utf8(NAME_BYTES_MAX), counts);
    for (let left = reader.varint(), source = 0; left > 0; left--) {
      source += reader.varint();
      counts.set(source, reader.zigzag());
    }
  }
  return counters;
}

function add(counters: Counters, key: string, source: number, by: number): void {
  let counts = counters.get(key);
  if (counts === undefined) {
    counts = new Map();
    counters.set(key, counts);
  }
  counts.set(source, (counts.get(source) ?? 0) + by);
}

function joined(...lists: readonly Counters[]): Counters {
  const all: Counters = new Map();
  for (const list of lists)
    for (const [key, counts] of list) for (const [source, count] of counts) add(all, key, source, count);
  return all;
}

/** By target, reason and source. */
function rowsOf(counters: Counters): LedgerRow[] {
  return [...counters].sort(byKey).flatMap(([key, counts]) => {
    const [target = '', reason = ''] = key.split('\n');
    return [...counts].sort(byKey).map(([source, count]) => ({ target, source, reason, count }));
  });
}

function byKey<K extends string | number>([a]: [K, unknown], [b]: [K, unknown]): number {
  return a < b ? -1 : 1;
}

/** Of both stored rows; undefined when one of them is damaged: sums without what came later are no account. */
export function readLedger(stored: (part: number) => Uint8Array | undefined): LedgerRow[] | undefined {
  const [sums, since] = [decode(stored(SUMS)), decode(stored(SINCE))];
  return sums === undefined || since === undefined ? undefined : rowsOf(joined(sums, since));
}

/** The two rows. */
export interface LedgerRows {
  read(part: number): Uint8Array | undefined;
  write(part: number, counters: Uint8Array): void;
}

export class KeptLedger {
  readonly #rows: LedgerRows;
  #sums: Counters = new Map();
  #since: Counters = new Map();
  #written = 0;
  #changed = false;
  /** It did not read back as it was written, and began empty. */
  isLost = false;

  constructor(rows: LedgerRows) {
    this.#rows = rows;
    this.#read();
  }

  count(target: string, source: number, reason: string, by: number): void {
    if (by === 0) return;
    add(this.#since, `${target}\n${reason}`, source, by);
    this.#changed = true;
  }

  rows(): LedgerRow[] {
    return rowsOf(joined(this.#sums, this.#since));
  }

  /** Before the commit of a transaction. */
  write(): void {
    if (!this.#changed && !this.isLost) return;
    this.#changed = false;
    if (++this.#written >= FOLD_AFTER || this.isLost) {
      this.#written = 0;
      this.isLost = false;
      this.#sums = joined(this.#sums, this.#since);
      this.#since = new Map();
      this.#rows.write(SUMS, encode(this.#sums));
    }
    this.#rows.write(SINCE, encode(this.#since));
  }

  /** After a transaction that was rolled back: what the file says is true. */
  undo(): void {
    const wasLost = this.isLost;
    this.#changed = false;
    this.#read();
    // Found at the next start, which says so.
    if (this.isLost && !wasLost) throw new SluiceError('cache.corrupt', 'stop', 'the ledger in the cache is damaged');
  }

  #read(): void {
    const [sums, since] = [decode(this.#rows.read(SUMS)), decode(this.#rows.read(SINCE))];
    this.isLost = sums === undefined || since === undefined;
    this.#sums = (!this.isLost && sums) || new Map();
    this.#since = (!this.isLost && since) || new Map();
  }
}
