/**
 * The tier that is always there: readings in the receiver's own database, so that they are durable in the very transaction
 * that says they are held. It keeps blocks as they came and answers from raw readings; what it cannot do fast for years of data
 * is left to the tiers beside it.
 *
 * A long query gives way to arriving batches between two blocks. It reads without a snapshot: a block that comes meanwhile may
 * or may not be in the answer, none is ever in it by half.
 */
import type { BlockColumns } from '../wire/block.ts';
import type { AggregateRow } from '../wire/control.ts';
import { ContentDigest, type TagDigest } from '../wire/digest.ts';
import type { TagId } from '../wire/tag.ts';
import { AggregateStore, Covered } from './aggregate-store.ts';
import { decode, eachReading } from './block-readings.ts';
import { BlockStore, type StoredBlock, spanOfTimes } from './block-store.ts';
import type { Catalog } from './catalog.ts';
import type { Db } from './database.ts';
import { Latest } from './latest.ts';
import { Pace } from './pace.ts';
import { Slices } from './slices.ts';
import type { TagKey, TierBlock, TierReading, TierRow, TierWindow, TimeSpan, TransactionalTier } from './tier.ts';
import { Windows } from './windows.ts';

/** After a correction of the clock, blocks looked at for the latest values: a polled tag is in each of the newest. */
const CORRECTED_BLOCKS_MAX = 64;

/** A reading on its way into an answer; `n` orders those of one time. */
interface Collected extends TierRow {
  readonly n: number;
}

type Visit = (columns: BlockColumns, block: StoredBlock, positions: readonly number[]) => void;

export class EmbeddedTier implements TransactionalTier {
  readonly name = 'embedded';
  readonly #catalog: Catalog;
  readonly blocks: BlockStore;
  readonly #latest: Latest;
  readonly #aggregates: AggregateStore;
  readonly #db: Db;
  readonly #nowMs: () => number;

  constructor(db: Db, catalog: Catalog, nowMs: () => number) {
    this.#db = db;
    this.#catalog = catalog;
    this.blocks = new BlockStore(db);
    this.#latest = new Latest(db);
    this.#aggregates = new AggregateStore(db);
    this.#nowMs = nowMs;
  }

  apply(blocks: readonly TierBlock[]): void {
    for (const block of blocks) this.#apply(block);
  }

  #apply({ device, run, class: cls, columns, bytes, tags, unsyncedBoot, receivedMs }: TierBlock): void {
    const deviceId = this.#catalog.device(device, receivedMs);
    const tagIds = Uint32Array.from(tags, (tag) => this.#catalog.tag(deviceId, tag));
    const shiftMs = unsyncedBoot === undefined ? 0 : (this.#offset(deviceId, unsyncedBoot) ?? 0);
    const [firstMs, lastMs] = spanOfTimes(columns.timeMs);
    this.blocks.insert({
      device: deviceId,
      run: this.#catalog.run(deviceId, run, receivedMs),
      class: cls,
      firstMs: firstMs + shiftMs,
      lastMs: lastMs + shiftMs,
      shiftMs,
      rows: columns.rows,
      tags: tagIds,
      boot: unsyncedBoot ?? null,
      data: bytes,
    });
    this.#latest.update(columns, tagIds, shiftMs, receivedMs);
  }

  correctClock(device: string, boot: string, offsetMs: number): void {
    const nowMs = this.#nowMs();
    const deviceId = this.#catalog.device(device, nowMs);
    if (this.#offset(deviceId, boot) !== undefined) return;
    this.#db.prepare('INSERT INTO boot (device, boot, offset_ms) VALUES (?, ?, ?)').run(deviceId, boot, offsetMs);
    for (const id of this.blocks.correct(deviceId, boot, offsetMs, CORRECTED_BLOCKS_MAX)) {
      const block = this.blocks.get(id);
      if (block) this.#latest.update(decode(block), block.tags, block.shiftMs, nowMs);
    }
  }

  addAggregate(device: string, row: AggregateRow, receivedMs: number): void {
    const deviceId = this.#catalog.device(device, receivedMs);
    this.#aggregates.add(this.#catalog.tag(deviceId, row.tag), row);
  }

  async latest(keys: readonly TagKey[]): Promise<(TierReading | undefined)[]> {
    return keys.map((key) => {
      const tag = this.#catalog.idOf(key);
      return tag === undefined ? undefined : this.#latest.get(tag);
    });
  }

  async range(keys: readonly TagKey[], span: TimeSpan, limit: number, signal?: AbortSignal) {
    let kept: Collected[] = [];
    let cutoffMs = Number.NEGATIVE_INFINITY;
    let truncated = false;
    const trim = (): void => {
      kept.sort((a, b) => a.timeMs - b.timeMs || a.key - b.key || a.n - b.n);
      if (kept.length <= limit) return;
      cutoffMs = kept[kept.length - limit]?.timeMs ?? cutoffMs;
      let start = kept.findIndex(({ timeMs }) => timeMs >= cutoffMs);
      start = Math.max(start, kept.length - 2 * limit);
      truncated ||= start > 0;
      kept = kept.slice(start);
    };
    const keyOf = new Map(keys.map((key, i) => [this.#catalog.idOf(key) ?? 0, i]));
    const collect: Visit = (columns, { shiftMs, tags }, positions) => {
      for (const position of positions) {
        const key = keyOf.get(tags[position] ?? 0) ?? 0;
        eachReading(columns, shiftMs, position, span, (timeMs, value, quality, n) => {
          if (timeMs >= cutoffMs) kept.push({ key, timeMs, value, quality, n });
          else truncated = true;
        });
      }
      if (kept.length > 3 * limit) trim();
    };
    await this.#visit(keys, span, () => cutoffMs, collect, signal);
    // What was not looked at any more was older than the cutoff, which exists only after something was left out.
    trim();
    return { readings: kept.map(({ key, timeMs, value, quality }) => ({ key, timeMs, value, quality })), truncated };
  }

  async *scan(keys: readonly TagKey[], span: TimeSpan, signal?: AbortSignal): AsyncGenerator<readonly TierRow[]> {
    const slices = new Slices(span);
    const first = this.#firstMs(keys);
    if (first !== undefined) slices.skipTo(first);
    for (let slice = slices.next(); slice !== undefined; slice = slices.next()) {
      const part = await this.range(keys, slice, slices.rowsMax, signal);
      signal?.throwIfAborted();
      if (slices.took(slice, part.readings.length, part.truncated) && part.readings.length > 0) yield part.readings;
    }
  }

  async windows(
    series: readonly (readonly TagKey[])[],
    span: TimeSpan,
    periodMs: number,
    signal?: AbortSignal,
  ): Promise<TierWindow[][]> {
    const found = series.map(() => new Windows(periodMs));
    const covered = new Covered();
    const windowsOf = new Map<number, Windows>();
    for (const [i, keys] of series.entries()) {
      const windows = found[i];
      if (windows === undefined) continue;
      for (const key of keys) windowsOf.set(this.#catalog.idOf(key) ?? 0, windows);
      this.#addAggregates(keys, span, windows, covered);
    }
    const add: Visit = (columns, { run, class: cls, shiftMs, tags }, positions) => {
      for (const position of positions) {
        const tag = tags[position] ?? 0;
        const windows = windowsOf.get(tag);
        const isSummedUp = covered.of(run, cls, tag);
        const kind = columns.tags[position]?.kind ?? 'number';
        eachReading(columns, shiftMs, position, span, (timeMs, value, quality, n) => {
          if (isSummedUp?.(n, timeMs) !== true) windows?.add(kind, timeMs, value, quality, n);
        });
      }
    };
    await this.#visit(series.flat(), span, () => Number.NEGATIVE_INFINITY, add, signal);
    return found.map((windows) => windows.result());
  }

  async digest(device: string, nameOf: (tag: TagId) => string, signal?: AbortSignal): Promise<Map<string, TagDigest>> {
    const digest = new ContentDigest();
    const deviceId = this.#catalog.findDevice(device);
    if (deviceId === undefined) return digest.result();
    const names = this.#names(device, nameOf);
    const pace = new Pace(signal);
    for (const id of this.blocks.each(deviceId)) {
      const block = this.blocks.get(id);
      if (block === undefined) continue;
      const columns = decode(block);
      const numbers = new Map(columns.tags.map(({ tag }, i) => [tag, block.tags[i] ?? 0]));
      digest.addColumns(columns, (tag) => names.get(numbers.get(tag) ?? 0));
      await pace.did(columns.rows);
    }
    return digest.result();
  }

  close(): void {}

  forget(): void {
    this.blocks.forget();
  }

  #offset(device: number, boot: string): number | undefined {
    return this.#db
      .prepare<unknown[], { offset_ms: number }>('SELECT offset_ms FROM boot WHERE device = ? AND boot = ?')
      .get(device, boot)?.offset_ms;
  }

  #names(device: string, nameOf: (tag: TagId) => string): Map<number, string> {
    const names = new Map<number, string>();
    for (const { id, tag } of this.#catalog.tags(0, Number.MAX_SAFE_INTEGER, device)) names.set(id, nameOf(tag));
    return names;
  }

  #addAggregates(keys: readonly TagKey[], span: TimeSpan, windows: Windows, covered: Covered): void {
    for (const key of keys) {
      const device = this.#catalog.findDevice(key.device);
      const tag = this.#catalog.idOf(key);
      if (device === undefined || tag === undefined) continue;
      for (const row of this.#aggregates.find(tag, span)) {
        windows.addAggregate(row);
        const run = this.#catalog.findRun(device, row.run);
        if (run !== undefined) covered.add(run, tag, row);
      }
    }
  }

  /** Where the oldest block of these devices begins: what is asked from 1970 on does not begin there. */
  #firstMs(keys: readonly TagKey[]): number | undefined {
    let first: number | undefined;
    for (const device of new Set(keys.map((key) => key.device))) {
      const id = this.#catalog.findDevice(device);
      const ms = id === undefined ? undefined : this.blocks.firstMs(id);
      if (ms !== undefined && (first === undefined || ms < first)) first = ms;
    }
    return first;
  }

  async #visit(
    keys: readonly TagKey[],
    span: TimeSpan,
    cutoffMs: () => number,
    visit: Visit,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const pace = new Pace(signal);
    for (const device of new Set(keys.map((key) => key.device))) {
      const deviceId = this.#catalog.findDevice(device);
      if (deviceId === undefined) continue;
      const wanted = new Set<number>();
      for (const key of keys) {
        const tag = key.device === device ? this.#catalog.idOf(key) : undefined;
        if (tag !== undefined) wanted.add(tag);
      }
      for (const { id, positions } of this.blocks.find(deviceId, wanted, span, cutoffMs)) {
        const block = this.blocks.get(id);
        if (block === undefined) continue;
        const columns = decode(block);
        visit(columns, block, positions);
        await pace.did(columns.rows);
      }
    }
  }
}
