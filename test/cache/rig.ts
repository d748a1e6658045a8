// A cache core on a real file with a clock that stands still until told otherwise, and the far side of its target.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Database } from 'better-sqlite3';
import type { AtRestKeys } from '../../src/cache/at-rest.ts';
import { CacheCore, type CoreOptions } from '../../src/cache/core.ts';
import { openDatabase } from '../../src/cache/database.ts';
import { logBytesMax } from '../../src/cache/file-bytes.ts';
import { makeFolder } from '../../src/cache/folder.ts';
import { SqliteStore } from '../../src/cache/store-sqlite.ts';
import type { Append, CacheClient, CacheTag, CutBatch, CutRequest, Lane } from '../../src/cache/types.ts';
import { cacheSchema } from '../../src/config/cache.ts';
import { tagFieldsSchema } from '../../src/config/fields.ts';
import { type Chunk, ChunkBuilder, THINNED, type ValueType } from '../../src/reading.ts';
import { ManualClock } from '../../src/runtime/clock.ts';
import { hex } from '../../src/wire/bytes.ts';
import { rowNumbers } from '../../src/wire/columns.ts';
import { openContents } from '../../src/wire/contents.ts';
import { open } from '../../src/wire/envelope.ts';
import type { HeldRun, HelloAnswer } from '../../src/wire/hello.ts';
import { generateCloudKey, generateDeviceKey, recipientSecret, toPublic } from '../../src/wire/keys.ts';
import { dictionaryHash } from '../../src/wire/payload.ts';
import { add, contains, type RangeSet, rangeSet, union } from '../../src/wire/ranges.ts';

export const device = generateDeviceKey();
export const cloudKey = generateCloudKey();
export const START_MS = 1_780_000_000_000;

export function folder(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'sluice-test-cache-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export function config(path: string, more: Record<string, unknown> = {}) {
  return cacheSchema.parse({ path, ...more });
}

export function tag(
  index: number,
  name: string,
  type: ValueType = 'float64',
  more: Record<string, unknown> = {},
): CacheTag {
  return {
    index,
    source: name.split('/')[0] ?? '',
    definition: { name, type },
    fields: tagFieldsSchema.parse(more),
    periodMs: 1000,
  };
}

/** Rows of [tag, time, value, quality]. */
export function chunk(rows: readonly (readonly [number, number, number, number?])[]): Chunk {
  const builder = new ChunkBuilder();
  for (const [index, timeMs, value, quality = 0] of rows) builder.push(index, timeMs, value, quality);
  return builder.take();
}

/** Counts readings as they come in, as the pipeline does; what comes with counts of its own is left as it is. */
export class Gate {
  readonly #sources: string[] = [];

  register({ index, source }: CacheTag): void {
    this.#sources[index] = source;
  }

  counted(append: Append): Append {
    const { chunk: rows } = append;
    if (rows === undefined || append.counts !== undefined) return append;
    const counts = new Map<string, { received: number; thinned: number }>();
    for (let row = 0; row < rows.length; row++) {
      const source = this.#sources[rows.tag[row] ?? -1];
      // Nobody knows whose it is.
      if (source === undefined) continue;
      const sum = counts.get(source) ?? { received: 0, thinned: 0 };
      sum.received++;
      if (((rows.quality[row] ?? 0) & THINNED) !== 0) sum.thinned++;
      counts.set(source, sum);
    }
    return {
      ...append,
      counts: [...counts].map(([source, sums]) => ({ source, rejected: 0, duplicate: 0, ...sums })),
    };
  }
}

class GatedCore extends CacheCore {
  readonly #gate = new Gate();

  override registerTag(registered: CacheTag): void {
    this.#gate.register(registered);
    super.registerTag(registered);
  }
  override add(append: Append): void {
    super.add(this.#gate.counted(append));
  }
}

/** The same for a cache with its thread. */
export function gated(cache: CacheClient): CacheClient {
  const gate = new Gate();
  const [registerTag, append] = [cache.registerTag.bind(cache), cache.append.bind(cache)];
  cache.registerTag = (registered) => {
    gate.register(registered);
    registerTag(registered);
  };
  cache.append = (added) => append(gate.counted(added));
  return cache;
}

export function openCore(
  path: string,
  clock: ManualClock,
  more: Partial<CoreOptions> = {},
  keys?: AtRestKeys,
  watch: (db: Database) => void = () => {},
): CacheCore {
  makeFolder(path);
  const db = openDatabase(path);
  watch(db);
  const store = new SqliteStore(db, keys, logBytesMax(more.bytesMax ?? config(path).bytesMax));
  const core = new GatedCore(store, {
    ...config(path),
    clock,
    boot: new Uint8Array(16).fill(7),
    targets: [{ name: 'cloud', required: true }],
    device,
    version: '0.0.0',
    reason: 'start',
    ...more,
  });
  core.setRecipient('cloud', toPublic(cloudKey));
  return core;
}

export function request(lane: Lane, more: Partial<CutRequest> = {}): CutRequest {
  return { target: 'cloud', lane, rowsMax: 10_000, bytesMax: 1_000_000, liveMs: 10_000, ...more };
}

/** What a cloud does with batches, as far as the cache can tell. */
export class FarSide {
  held = new Map<string, RangeSet>();
  explained = new Map<string, RangeSet>();
  /** `run/class/n` → `tag id time value quality`. */
  rows = new Map<string, string>();
  control: { run: string; n: number; row: Record<string, unknown> }[] = [];
  dictionaries = new Map<string, string[]>();
  duplicates = 0;

  take(batch: CutBatch): 'ok' | 'dictionary_unknown' {
    const { header, payload } = open(batch.envelope, {
      signer: () => device.publicKey,
      recipient: (kid) => recipientSecret(cloudKey, kid),
    });
    const { base, added } = payload.dictionary;
    const known = base === undefined ? [] : this.dictionaries.get(hex(base));
    if (known === undefined) return 'dictionary_unknown';
    const tags = [...known, ...added.map(hex)];
    const hash = dictionaryHash(base, added);
    if (tags.length > 0) this.dictionaries.set(hex(hash), tags);
    const contents = openContents(payload, header.rows);
    payload.sections.forEach((section, at) => {
      const content = contents[at];
      const key = `${hex(section.run)}/${section.class}`;
      const held = this.held.get(key) ?? [];
      const fresh = (n: number) => {
        if (contains(held, n)) this.duplicates++;
        return !contains(held, n);
      };
      if (content?.kind === 'records') {
        content.records.forEach((record, i) => {
          const n = content.n0 + i;
          if (!fresh(n)) return;
          this.rows.set(`${key}/${n}`, JSON.stringify(record));
          // Parsed JSON objects by the contract of records.
          const row = record as Record<string, unknown>;
          if (section.class === 1) this.control.push({ run: hex(section.run), n, row });
          if (row.type === 'GAP') this.#explain(row);
        });
      } else if (content?.kind === 'readings') {
        const { columns } = content;
        const numbers = rowNumbers(columns);
        let row = 0;
        for (const { tag: number, counts } of columns.tags) {
          for (const end = row + counts.reduce((a, b) => a + b, 0); row < end; row++) {
            const n = numbers[row] ?? 0;
            if (!fresh(n)) continue;
            const text = `${tags[number]} ${columns.timeMs[row]} ${columns.value[row]} ${columns.quality[row]}`;
            this.rows.set(`${key}/${n}`, text);
          }
        }
      }
      this.held.set(key, union(held, content?.ranges ?? []));
    });
    return 'ok';
  }

  #explain(row: Record<string, unknown>): void {
    const key = `${row.run}/${row.class}`;
    for (const range of row.ranges as { from: number; to: number }[]) {
      this.explained.set(key, add(this.explained.get(key) ?? [], range));
    }
  }

  readings(): string[] {
    return [...this.rows].filter(([key]) => /\/[34]\//.test(key)).map(([, row]) => row);
  }

  /** An answer to any HELLO: everything that is held. */
  answer(): HelloAnswer {
    const runs = new Map<string, HeldRun['classes'][number][]>();
    for (const key of new Set([...this.held.keys(), ...this.explained.keys()])) {
      const [run = '', number] = key.split('/');
      const classes = runs.get(run) ?? [];
      // The keys are made of class numbers above.
      const classNumber = Number(number) as 0 | 1 | 2 | 3 | 4;
      classes.push({ class: classNumber, held: this.held.get(key) ?? [], explained: this.explained.get(key) ?? [] });
      runs.set(run, classes);
    }
    return {
      device: device.device,
      nonce: new Uint8Array(32),
      cloudMs: START_MS,
      incarnation: new Uint8Array(16),
      sizeMax: 1_000_000,
      codecs: [1, 2],
      keyListVersion: 1,
      held: [...runs].map(([run, classes]) => ({ run: Buffer.from(run, 'hex'), classes })),
    };
  }

  /** Goes back to an older state, as a cloud restored from a backup. */
  forget(key: string, ranges: RangeSet): void {
    const kept = (this.held.get(key) ?? []).flatMap(({ from, to }) => {
      const numbers = Array.from({ length: to - from + 1 }, (_, i) => from + i).filter((n) => !contains(ranges, n));
      return numbers.map((n) => ({ from: n, to: n }));
    });
    this.held.set(key, rangeSet(kept));
    for (const rowKey of this.rows.keys()) {
      const n = Number(rowKey.split('/')[2]);
      if (rowKey.startsWith(`${key}/`) && contains(ranges, n)) this.rows.delete(rowKey);
    }
  }
}

export const OK = { code: 0, rows: 0, duplicates: 0, incarnation: '00' };

/** Cuts and delivers everything that waits. */
export function drain(core: CacheCore, far: FarSide): number {
  let rows = 0;
  for (const lane of ['alarm', 'live', 'backlog'] as const) {
    for (let batch = core.cut(request(lane)); batch !== undefined; batch = core.cut(request(lane))) {
      if (far.take(batch) === 'dictionary_unknown') {
        core.release(batch.batchId);
        core.forgetDictionary('cloud');
        continue;
      }
      core.acknowledge(batch.batchId, OK);
      rows += batch.rows;
    }
  }
  return rows;
}

export function openClock(): ManualClock {
  return new ManualClock(START_MS);
}
