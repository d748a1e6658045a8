/**
 * Removes what is kept of a device or of one tag of it, in bounded steps between everything else; each is a transaction with the
 * place where the next one goes on.
 *
 *     blocks    every block that was there at the request: without the tag's rows it is written anew, empty it goes
 *     records   per run: aggregate, alarm and control rows about it
 *     rest      aggregates, the last values, definitions of tags, lists of tags that no block needs, dictionaries
 *     wipe      the log is folded into the file and cut; `secure_delete` has zeroed what was freed in it
 *
 * The numbers of rows stay held: a gateway that sends them again is told that they are here, and nothing comes back. Gateways
 * whose dictionary went seal once more with all ids (`dictionary_unknown`).
 */

import type { BlockColumns } from '../../wire/block.ts';
import { decodeBlock, encodeBlock, fitBlocks, ROWS_MAX, selectRows } from '../../wire/block.ts';
import { type RangeSet, rangeSet } from '../../wire/ranges.ts';
import type { Audit } from '../audit.ts';
import type { BlockStore, PagedBlock } from '../block-store.ts';
import type { Catalog } from '../catalog.ts';
import type { Db } from '../database.ts';
import type { Dictionaries } from '../dictionaries.ts';
import { type ForgetJob, ForgetJobs, type ForgetRequest, type Forgotten } from './jobs.ts';
import { ForgetRows } from './rows.ts';

/** Some 20 ms of decoding and encoding. */
const ROWS_A_STEP = 100_000;
const BLOCKS_A_STEP = 200;

export interface ForgetParts {
  readonly db: Db;
  readonly catalog: Catalog;
  readonly blocks: BlockStore;
  readonly dictionaries: Dictionaries;
  readonly audit: Pick<Audit, 'record'>;
  readonly nowMs: () => number;
}

export class Forgetting {
  readonly jobs: ForgetJobs;
  readonly #parts: ForgetParts;
  readonly #rows: ForgetRows;

  constructor(parts: ForgetParts) {
    this.#parts = parts;
    this.jobs = new ForgetJobs(parts.db);
    this.#rows = new ForgetRows(parts.db);
  }

  /** The last values are gone when it returns; the rest follows. @returns its number */
  request(request: ForgetRequest, address: string | null): number {
    return this.#transact(() => {
      const id = this.jobs.add(request);
      const deviceId = this.#parts.catalog.findDevice(request.device);
      if (deviceId !== undefined) this.#rows.removeLatest(this.#numbers(deviceId, request));
      this.#audit(request, address, { id, step: 'asked for', reason: request.reason });
      return id;
    });
  }

  /** @returns whether there is more to do */
  step(): boolean {
    const job = this.jobs.next();
    if (job === undefined) return false;
    // Another process that reads the file keeps the log from being cut; it is tried again after the usual rest.
    if (job.phase === 'wipe') this.#wipe(job);
    else this.#transact(() => this.jobs.put(this.#stepOf(job)));
    return true;
  }

  #stepOf(job: ForgetJob): ForgetJob {
    const device = this.#parts.catalog.findDevice(job.device);
    if (device === undefined) return { ...job, phase: 'wipe' };
    if (job.phase === 'blocks') return this.#blocks(job, device);
    if (job.phase === 'records') return this.#records(job, device);
    return this.#rest(job, device);
  }

  #blocks(job: ForgetJob, device: number): ForgetJob {
    const { blocks } = this.#parts;
    const numbers = new Set(this.#numbers(device, job));
    let { cursor, removed } = job;
    let work = 0;
    const page = blocks.page(device, cursor, job.upTo, BLOCKS_A_STEP);
    for (const block of page) {
      if (work > ROWS_A_STEP) return { ...job, cursor, removed };
      cursor = block.id;
      const gone = job.tag === null ? block.tags.length : block.tags.filter((tag) => numbers.has(tag)).length;
      if (gone === 0) continue;
      removed = plus(removed, gone === block.tags.length ? this.#removeBlock(block) : this.#rewrite(block, numbers));
      work += job.tag === null ? ROWS_A_STEP / BLOCKS_A_STEP : block.rows;
    }
    return page.length < BLOCKS_A_STEP ? { ...job, phase: 'records', cursor: 0, removed } : { ...job, cursor, removed };
  }

  #removeBlock({ id, rows }: PagedBlock): Partial<Forgotten> {
    this.#parts.blocks.remove(id);
    return { readings: rows, blocks: 1 };
  }

  #rewrite({ id, tags, rows }: PagedBlock, gone: ReadonlySet<number>): Partial<Forgotten> {
    const { blocks } = this.#parts;
    const stored = blocks.get(id);
    if (stored === undefined) return {};
    const columns = decodeBlock(stored.data, { rowsMax: ROWS_MAX });
    const left = selectRows(
      columns,
      numbersOf(columns, (position) => !gone.has(tags[position] ?? 0)),
    );
    if (left === undefined) return this.#removeBlock({ id, tags, rows });
    const numberOf = new Map(columns.tags.map(({ tag }, position) => [tag, tags[position] ?? 0]));
    const pieces = fitBlocks(left).map((piece) => ({
      columns: piece,
      tags: Uint32Array.from(piece.tags, ({ tag }) => numberOf.get(tag) ?? 0),
      data: encodeBlock(piece),
    }));
    blocks.replace(id, pieces);
    return { readings: columns.rows - left.rows };
  }

  #records(job: ForgetJob, device: number): ForgetJob {
    const run = this.#rows.nextRun(device, job.cursor);
    if (run === undefined) return { ...job, phase: 'rest', cursor: 0 };
    const records = this.#rows.removeRecords(run, job.tag, this.#ids(device, job));
    return { ...job, cursor: run, removed: plus(job.removed, { records }) };
  }

  #rest(job: ForgetJob, device: number): ForgetJob {
    const { blocks, catalog, dictionaries } = this.#parts;
    blocks.directories.removeUnused(device);
    const used = blocks.directories.inUse(device);
    const numbers = this.#numbers(device, job);
    const aggregates = this.#rows.removeAggregates(numbers);
    const tags = this.#rows.removeTags(numbers.filter((tag) => !used.has(tag)));
    this.#rows.removeDictionaries(device);
    if (job.tag === null) this.#rows.removeAlarmsAbout(device);
    catalog.forget();
    dictionaries.forget();
    return { ...job, phase: 'wipe', removed: plus(job.removed, { aggregates, tags }) };
  }

  #wipe(job: ForgetJob): void {
    const { db, nowMs } = this.#parts;
    if (!logIsCut(db)) return;
    this.#transact(() => {
      const { readings, blocks, aggregates, records, tags } = job.removed;
      this.jobs.put({ ...job, phase: 'done', doneMs: nowMs() });
      this.#audit(job, null, { id: job.id, step: 'done', readings, blocks, aggregates, records, tags });
    });
  }

  /** Looked up at each step: a TAG row that comes meanwhile says that more tags have this name. */
  #numbers(device: number, request: Pick<ForgetRequest, 'device' | 'tag'>): number[] {
    return this.#rows.tags(device, request.tag).map(({ id }) => id);
  }

  #ids(device: number, { tag }: ForgetJob): string[] {
    return tag === null ? [] : this.#rows.tags(device, tag).map((row) => row.tag);
  }

  #audit(
    { who, device, tag }: ForgetRequest,
    address: string | null,
    details: Readonly<Record<string, string | number | null>>,
  ): void {
    const action = tag === null ? 'forget.device' : 'forget.tag';
    const object = tag === null ? device : `${device}:${tag}`;
    this.#parts.audit.record({ who, address, action, object, outcome: 'done', details });
  }

  #transact<T>(work: () => T): T {
    const { db, catalog, blocks, dictionaries } = this.#parts;
    try {
      return db.transaction(work).immediate();
    } catch (thrown) {
      for (const store of [catalog, blocks, dictionaries]) store.forget();
      throw thrown;
    }
  }
}

/** Asked without waiting: nothing else would be done meanwhile. */
function logIsCut(db: Db): boolean {
  const waitMs = Number(db.pragma('busy_timeout', { simple: true }));
  db.pragma('busy_timeout = 0');
  try {
    const [result] = db.pragma('wal_checkpoint(TRUNCATE)') as { busy: number }[]; // its one row
    return result?.busy === 0;
  } finally {
    db.pragma(`busy_timeout = ${waitMs}`);
  }
}

/** The numbers of the rows of the tags at some positions. */
function numbersOf(columns: BlockColumns, isWanted: (position: number) => boolean): RangeSet {
  const next = columns.chunks.map(({ n0 }) => n0);
  const ranges: { from: number; to: number }[] = [];
  for (const [position, { counts }] of columns.tags.entries()) {
    for (const [chunk, count] of counts.entries()) {
      const from = next[chunk] ?? 0;
      if (count > 0 && isWanted(position)) ranges.push({ from, to: from + count - 1 });
      next[chunk] = from + count;
    }
  }
  return rangeSet(ranges);
}

function plus(removed: Forgotten, more: Partial<Forgotten>): Forgotten {
  return {
    readings: removed.readings + (more.readings ?? 0),
    blocks: removed.blocks + (more.blocks ?? 0),
    aggregates: removed.aggregates + (more.aggregates ?? 0),
    records: removed.records + (more.records ?? 0),
    tags: removed.tags + (more.tags ?? 0),
  };
}
