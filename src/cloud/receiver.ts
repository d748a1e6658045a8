/**
 * Applies a checked batch in one durable transaction: the rows that are not held yet go to the tier, the ranges grow by them,
 * control rows take effect; all of it or none.
 *
 * Invariants:
 * - A row is in the tier if and only if its number is in `held`: both change here, together.
 * - Applying a batch again, cut differently, in any order or beside others, changes nothing but counters.
 * - After a rollback nothing in memory remembers it.
 */
import type { Statement } from 'better-sqlite3';
import type { HeldGap } from '../wire/answer.ts';
import { encodeBlock, selectRows } from '../wire/block.ts';
import { fromHex, hex } from '../wire/bytes.ts';
import { CLASSES, type ClassNumber } from '../wire/classes.ts';
import type { SectionContent } from '../wire/contents.ts';
import type { GapRow } from '../wire/control.ts';
import type { Opened } from '../wire/envelope.ts';
import { ID_BYTES, type Section } from '../wire/payload.ts';
import { contains, count, type RangeSet, rangeSet, subtract, union } from '../wire/ranges.ts';
import type { TagId } from '../wire/tag.ts';
import type { Catalog } from './catalog.ts';
import type { CloudAlarms } from './cloud-alarms.ts';
import type { Db } from './database.ts';
import type { Dictionaries } from './dictionaries.ts';
import type { RangesStore } from './ranges-store.ts';
import { parseRecord, type Records } from './records.ts';
import type { Runs } from './runs.ts';
import type { TierBlock, TransactionalTier } from './tier.ts';
import { Touched } from './touched.ts';

/** Of at most 16 bytes each; an answer has at most 1 MiB (`ANSWER_BYTES_MAX`). */
const HELD_RANGES_MAX = 50_000;
/** What an answer may have (`GAPS_MAX` there). */
const HELD_GAPS_MAX = 4096;

export interface Applied {
  /** Of the batch, all of them held now. */
  readonly rows: number;
  readonly duplicates: number;
  /** New readings. */
  readonly readings: number;
  /** Rows of the batch's GAPs that are held: delivered, not lost. */
  readonly heldGaps: readonly HeldGap[];
}

export interface ReceiverStores {
  readonly catalog: Catalog;
  readonly dictionaries: Dictionaries;
  readonly ranges: RangesStore;
  readonly runs: Runs;
  readonly records: Records;
  readonly cloudAlarms: CloudAlarms;
  readonly tier: TransactionalTier;
}

/** What is collected while a batch is applied. */
interface Work {
  readonly device: string;
  readonly deviceId: number;
  readonly nowMs: number;
  readonly tags: readonly TagId[];
  readonly touched: Touched;
  readonly blocks: TierBlock[];
  readonly gaps: GapRow[];
  duplicates: number;
}

export class Receiver {
  readonly #stores: ReceiverStores;
  readonly #transaction: (opened: Opened, nowMs: number) => Applied;
  readonly #count: Statement<[number, number, number, number, number]>;

  constructor(db: Db, stores: ReceiverStores) {
    this.#stores = stores;
    this.#transaction = db.transaction((opened: Opened, nowMs: number) => this.#applyAll(opened, nowMs)).immediate;
    this.#count = db.prepare(
      `UPDATE device SET last_seen_ms = ?, batches = batches + 1, rows = rows + ?, readings = readings + ?,
         duplicates = duplicates + ? WHERE id = ?`,
    );
  }

  /**
   * Durable when it returns.
   * @throws envelope.dictionary_unknown, envelope.control_malformed; SQLite's errors. Nothing has changed then.
   */
  apply(opened: Opened, nowMs: number): Applied {
    try {
      return this.#transaction(opened, nowMs);
    } catch (thrown) {
      const { catalog, dictionaries, tier } = this.#stores;
      for (const store of [catalog, dictionaries, tier]) store.forget();
      throw thrown;
    }
  }

  #applyAll({ header, payload, contents }: Opened, nowMs: number): Applied {
    const device = hex(header.device);
    const deviceId = this.#stores.catalog.device(device, nowMs);
    const { dictionary, sections } = payload;
    // A batch without readings does not depend on what a lost dictionary said.
    const needed = dictionary.added.length > 0 || contents.some(({ kind }) => kind === 'readings');
    const tags = needed ? this.#stores.dictionaries.resolve(deviceId, dictionary) : [];
    const work: Work = { device, deviceId, nowMs, tags, touched: new Touched(), blocks: [], gaps: [], duplicates: 0 };
    for (const [i, section] of sections.entries()) {
      const content = contents[i];
      if (content !== undefined) this.#applySection(work, section, content);
    }
    this.#stores.tier.apply(work.blocks);
    for (const [id, { run, classes }] of work.touched.runs()) {
      this.#stores.runs.check(deviceId, run, nowMs);
      for (const cls of classes) this.#checkLoss(deviceId, id, run, cls, nowMs);
    }
    const readings = work.blocks.reduce((sum, { columns }) => sum + columns.rows, 0);
    this.#count.run(nowMs, header.rows - work.duplicates, readings, work.duplicates, deviceId);
    return { rows: header.rows, duplicates: work.duplicates, readings, heldGaps: this.#heldGaps(work) };
  }

  #applySection(work: Work, section: Section, content: SectionContent): void {
    const { ranges, catalog } = this.#stores;
    const run = hex(section.run);
    const runId = catalog.run(work.deviceId, run, work.nowMs);
    const held = rangeSet(content.ranges.flatMap((wanted) => ranges.within('held', runId, section.class, wanted)));
    work.duplicates += count(held);
    const fresh = subtract(content.ranges, held);
    if (content.kind === 'readings') this.#readings(work, section, content, run, fresh);
    else this.#records(work, section, content, runId, fresh);
    for (const range of fresh) ranges.add('held', runId, section.class, range);
    if (fresh.length > 0) work.touched.add(runId, run, section.class);
  }

  #readings(
    work: Work,
    section: Section,
    { columns }: SectionContent & { kind: 'readings' },
    run: string,
    fresh: RangeSet,
  ): void {
    const selected = selectRows(columns, fresh);
    if (selected === undefined || section.body.kind !== 'readings') return;
    work.blocks.push({
      device: work.device,
      run,
      class: section.class,
      columns: selected,
      bytes: selected === columns ? section.body.block : encodeBlock(selected),
      // `openContents` saw to it that no tag number is outside of the dictionary.
      tags: selected.tags.map(({ tag }) => work.tags[tag] ?? ''),
      ...(section.clock && { unsyncedBoot: hex(section.clock.boot) }),
      receivedMs: work.nowMs,
    });
  }

  #records(
    work: Work,
    section: Section,
    { n0, records }: SectionContent & { kind: 'records' },
    runId: number,
    fresh: RangeSet,
  ): void {
    const { deviceId, device, nowMs, touched } = work;
    for (const [i, value] of records.entries()) {
      const n = n0 + i;
      const row = parseRecord(section.class, value);
      // Asked about again when the answer was lost, so it is answered for duplicates too.
      if (row.type === 'GAP') work.gaps.push(row);
      if (!contains(fresh, n)) continue;
      this.#stores.records.apply({ deviceId, device, runId, class: section.class, n, nowMs }, row, touched);
    }
  }

  #checkLoss(device: number, runId: number, run: string, cls: ClassNumber, nowMs: number): void {
    const { ranges, cloudAlarms } = this.#stores;
    const upTo = ranges.settledUpTo(runId, cls);
    if (upTo === 0) return;
    const holes = ranges.holes(runId, cls);
    const subject = `${run}/${CLASSES[cls]}`;
    const [first] = holes;
    if (first === undefined) {
      cloudAlarms.clear(device, 'loss', subject, nowMs);
      return;
    }
    const text = `${count(holes)} rows of class ${CLASSES[cls]} of run ${run} never came, from ${first.from} on, although all up to ${upTo} is said to be delivered`;
    cloudAlarms.raise(device, 'loss', subject, text, nowMs);
  }

  #heldGaps({ deviceId, gaps }: Work): HeldGap[] {
    const found = new Map<string, { run: Uint8Array; class: ClassNumber; held: RangeSet }>();
    for (const gap of gaps) {
      const runId = this.#stores.catalog.findRun(deviceId, gap.run);
      if (runId === undefined) continue;
      const key = `${gap.run}/${gap.class}`;
      const entry = found.get(key) ?? { run: fromHex(gap.run, ID_BYTES), class: gap.class, held: [] };
      const held = gap.ranges.flatMap((range) => this.#stores.ranges.within('held', runId, gap.class, range));
      entry.held = union(entry.held, rangeSet(held));
      if (entry.held.length > 0) found.set(key, entry);
    }
    return fewRanges([...found.values()]);
  }
}

/** As many as fit an answer. Of the others the gateway goes on believing that they are lost: the cloud has them all the same. */
function fewRanges(gaps: readonly HeldGap[]): HeldGap[] {
  let room = HELD_RANGES_MAX;
  return gaps.slice(0, HELD_GAPS_MAX).flatMap((gap) => {
    const held = gap.held.slice(0, room);
    room -= held.length;
    return held.length === 0 ? [] : [{ ...gap, held }];
  });
}
