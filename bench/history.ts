/**
 * Questions to a long history: 100 million readings of 500 tags at 1 Hz, rolled up. Built through the real store and codec; what the core needs beside (tags, run, last values, windows) it
 * writes itself before. The readings are simpler to make than the plant trace's and no smaller: their noise is white.
 */

import { statSync } from 'node:fs';
import { join } from 'node:path';
import { CacheCore } from '../src/cache/core.ts';
import { openDatabase } from '../src/cache/database.ts';
import { DATABASE_FILE, makeFolder } from '../src/cache/folder.ts';
import { readCache } from '../src/cache/reader.ts';
import { encodeRolled } from '../src/cache/rolled/encode.ts';
import { openRolled } from '../src/cache/rolled/open.ts';
import { allBlocks, BLOCK_ID_STEP, type BlockRow, blockId } from '../src/cache/store.ts';
import { SqliteStore } from '../src/cache/store-sqlite.ts';
import { cacheSchema } from '../src/config/cache.ts';
import { ManualClock } from '../src/runtime/clock.ts';
import { type BlockColumns, decodeBlock, encodeChunk, mergeBlocks } from '../src/wire/block.ts';
import { CLASS } from '../src/wire/classes.ts';
import { tagId } from '../src/wire/tag.ts';
import { undoing } from './cleanup.ts';
import { registerPlantTags, sliceTrace, TYPES } from './plant-chunks.ts';
import { plantTrace, random, tags } from './plant-trace.mjs';
import { quantile } from './quantile.ts';
import type { BenchResult } from './result.ts';

const READINGS = 100_000_000;
/** 131 s of all tags: as large as a rolled block gets. */
const SECONDS_A_BLOCK = 131;
const START_MS = 1_760_000_000_000;
const HOUR_MS = 3_600_000;
const RANGES = 300;
const LATEST_TAGS = 10_000;
const LATESTS = 200;
/** The first question reads the tags. */
const WARM_UP = 20;
const FULL_BYTES = 1e9;
const BYTES_MAX = '4GB';
const PAGE_BYTES = 4096;

export async function benchHistory({ quick }: { readonly quick: boolean }): Promise<BenchResult[]> {
  const share = quick ? 0.1 : Number(process.env.BENCH_HISTORY_SHARE ?? 1);
  return undoing(async (undo) => [
    ...storedPlant(undo.folder()),
    ...longHistory(undo.folder(), READINGS * share),
    ...latestOfMany(undo.folder()),
  ]);
}

function longHistory(folder: string, readings: number): BenchResult[] {
  const seconds = Math.ceil(readings / tags.length);
  const blocks = Math.ceil(seconds / SECONDS_A_BLOCK);
  const endMs = START_MS + blocks * SECONDS_A_BLOCK * 1000;
  const clock = new ManualClock(endMs);
  const first = open(folder, clock);
  registerPlantTags(first.core);
  // Every tag gets its number, and the run begins.
  first.core.add({ chunk: sliceTrace(plantTrace({ seconds: 1 }), 0, tags.length, 0) });
  first.core.commit();
  fill(first.store, blocks);
  first.core.saveHot(hotState(endMs));
  first.core.commit();
  first.core.close();
  const bytes = statSync(join(folder, DATABASE_FILE)).size;
  const rows = blocks * SECONDS_A_BLOCK * tags.length;
  progress(`${Math.round(rows / 1e6)} million readings in ${Math.round(bytes / 1e6)} MB`);
  const times = ranges(folder, endMs);
  const latest = latests(folder);
  const full = open(folder, clock);
  pad(full.store, FULL_BYTES * (readings / READINGS));
  full.core.close();
  const start = performance.now();
  const again = open(folder, clock);
  const startMs = performance.now() - start;
  again.core.close();
  const size = `${Math.round(rows / 1e6)} M readings`;
  const mb = Math.round(statSync(join(folder, DATABASE_FILE)).size / 1e6);
  return [
    { name: `history: 1 h of one tag in ${size}, p50`, value: quantile(times, 0.5), unit: 'ms' },
    { name: `history: 1 h of one tag in ${size}, p99`, value: quantile(times, 0.99), unit: 'ms', target: 50 },
    { name: `history: latest of 500 tags in ${size}, p99`, value: quantile(latest.warm, 0.99), unit: 'ms' },
    { name: `history: start of the core on ${mb} MB, half of it pending`, value: startMs / 1000, unit: 's', target: 3 },
  ];
}

/** To a full cache: what is in its blocks is nothing to a start, so these are copies. */
function pad(store: SqliteStore, bytesWanted: number): void {
  const last = [...allBlocks(store)].findLast(({ rows }) => rows > tags.length);
  const bytes = last && store.block(last.id);
  if (last === undefined || bytes === undefined) throw new Error('there are rolled blocks');
  let { id, n0 } = last;
  while (store.bytesUsed() < bytesWanted) {
    store.transaction(() => {
      for (let i = 0; i < 64; i++) {
        id += BLOCK_ID_STEP * SECONDS_A_BLOCK;
        n0 += last.rows;
        store.addBlock({ ...last, id, n0, pending: i % 2 }, bytes);
      }
    });
  }
}

/** Rolled blocks, numbered behind the one commit that is there. */
function fill(store: SqliteStore, blocks: number): void {
  const rows = SECONDS_A_BLOCK * tags.length;
  const run = store.runs().at(-1);
  if (run === undefined) throw new Error('the run has begun');
  const columns = templateColumns();
  const wave = walk();
  let id = Math.ceil((store.lastBlockId() + 1) / BLOCK_ID_STEP) * BLOCK_ID_STEP;
  for (let at = 0; at < blocks; ) {
    store.transaction(() => {
      for (const until = Math.min(blocks, at + 16); at < until; at++) {
        const fromMs = START_MS + at * SECONDS_A_BLOCK * 1000;
        const n0 = tags.length + 1 + at * rows;
        wave(columns, fromMs);
        const shifted = columns.chunks.map(({ count }, i) => ({ n0: n0 + i * count, count }));
        const bytes = encodeRolled({ ...columns, chunks: shifted });
        const times = { firstMs: fromMs, lastMs: fromMs + SECONDS_A_BLOCK * 1000, monoMs: 0, wallMs: fromMs };
        const place = { id: blockId(id, CLASS.normal), run: run.seq, class: CLASS.normal, n0, rows, pending: 0 };
        store.addBlock({ ...place, ...times, synced: true, bytes: bytes.length, counts: [[1, rows]] }, bytes);
        id += BLOCK_ID_STEP * SECONDS_A_BLOCK;
      }
    });
    if (at % 160 === 0) progress(`built ${Math.round((100 * at) / blocks)} %`);
  }
}

function templateColumns(): BlockColumns {
  const chunks = Array.from({ length: SECONDS_A_BLOCK }, (_, i) => ({ n0: 1 + i * tags.length, count: tags.length }));
  const counts = new Array<number>(SECONDS_A_BLOCK).fill(1);
  const rows = SECONDS_A_BLOCK * tags.length;
  return {
    rows,
    chunks,
    tags: tags.map(({ id, kind }) => ({ tag: id, kind: kind === 'state' ? 'bool' : 'number', counts })),
    timeMs: new Float64Array(rows),
    value: new Float64Array(rows),
    quality: new Uint8Array(rows),
    texts: [],
  };
}

/** Each tag by its kind: steps of tenths, of hundredths, a float of 24 random bits, a counter, a state. */
function walk(): (columns: BlockColumns, fromMs: number) => void {
  const uniform = random(7);
  const last = tags.map(() => Math.round(uniform() * 2000));
  const next = (kind: string, at: number): number => {
    const value = last[at] ?? 0;
    const step = uniform();
    if (kind === 'vibration') return Math.fround(2 + step);
    const by = { temperature: 3, pressure: 9, counter: 2, state: 0 }[kind] ?? 0;
    last[at] =
      kind === 'state'
        ? step < 0.005
          ? 1 - (value & 1)
          : value & 1
        : Math.round(value + (kind === 'counter' ? 9 : 0) + (step - 0.5) * by);
    return kind === 'temperature'
      ? (last[at] ?? 0) / 10
      : kind === 'pressure'
        ? (last[at] ?? 0) / 100
        : (last[at] ?? 0);
  };
  return ({ timeMs, value }, fromMs) => {
    let row = 0;
    tags.forEach(({ kind }, at) => {
      for (let second = 0; second < SECONDS_A_BLOCK; second++, row++) {
        timeMs[row] = fromMs + second * 1000 + at + Math.round(uniform() * 12);
        value[row] = next(kind, at);
      }
    });
  };
}

function hotState(atMs: number) {
  return {
    ids: tags.map(({ name, kind }) =>
      Buffer.from(tagId({ name: name.replace(/^[^/]*/, 'plant1'), type: TYPES[kind] })).toString('hex'),
    ),
    timeMs: new Float64Array(tags.length).fill(atMs),
    value: new Float64Array(tags.length),
    quality: new Uint8Array(tags.length),
    texts: [],
  };
}

function ranges(folder: string, endMs: number): number[] {
  const reader = readCache(folder);
  const uniform = random(3);
  const times: number[] = [];
  for (let i = 0; i < WARM_UP + RANGES; i++) {
    const tag = tags[Math.floor(uniform() * tags.length)]?.name.replace(/^[^/]*/, 'plant1') ?? '';
    const fromMs = START_MS + uniform() * (endMs - START_MS - HOUR_MS);
    const start = performance.now();
    const found = reader.range(tag, fromMs, fromMs + HOUR_MS).length;
    if (i >= WARM_UP) times.push(performance.now() - start);
    if (found < 3590 || found > 3610) throw new Error(`${found} readings of ${tag} in an hour`);
  }
  reader.close();
  return times;
}

function latests(folder: string): { readonly first: number; readonly warm: number[] } {
  const reader = readCache(folder);
  const times: number[] = [];
  for (let i = 0; i < WARM_UP + LATESTS; i++) {
    const start = performance.now();
    reader.latest();
    times.push(performance.now() - start);
  }
  reader.close();
  return { first: times[0] ?? Number.NaN, warm: times.slice(WARM_UP) };
}

/**
 * From the file, as a program beside the gateway reads it; what panels get is measured in latest.ts. All of them read once a
 * second, and as many seconds committed as lie between two times that last values are saved.
 */
function latestOfMany(folder: string): BenchResult[] {
  const clock = new ManualClock(START_MS);
  const { core } = open(folder, clock);
  const definitions = Array.from({ length: LATEST_TAGS }, (_, i) => ({
    name: `many/line${i % 50}/value${i}`,
    type: 'float64' as const,
  }));
  definitions.forEach((definition, index) => {
    core.registerTag({ index, source: 'many', definition, fields: { priority: 'normal' }, periodMs: 1000 });
  });
  const second = (): void => {
    const tag = Uint32Array.from({ length: LATEST_TAGS }, (_, i) => i);
    const timeMs = Float64Array.from(tag, (i) => clock.wallMs() + i / 100);
    const value = Float64Array.from(tag, (i) => i % 97);
    core.add({ chunk: { length: LATEST_TAGS, tag, timeMs, value, quality: new Uint8Array(LATEST_TAGS), texts: [] } });
    core.commit();
    clock.advance(1000);
  };
  for (let i = 0; i < 5; i++) second();
  const ids = definitions.map((definition) => Buffer.from(tagId(definition)).toString('hex'));
  const columns = { timeMs: new Float64Array(LATEST_TAGS).fill(START_MS), value: new Float64Array(LATEST_TAGS) };
  core.saveHot({ ids, ...columns, quality: new Uint8Array(LATEST_TAGS), texts: [] });
  for (let i = 0; i < 30; i++) second();
  core.close();
  const { first, warm } = latests(folder);
  return [
    { name: 'history: latest of 10,000 tags from the file, p50', value: quantile(warm, 0.5), unit: 'ms' },
    { name: 'history: latest of 10,000 tags from the file, p99', value: quantile(warm, 0.99), unit: 'ms' },
    { name: 'history: latest of 10,000 tags from the file, first time', value: first, unit: 'ms' },
  ];
}

/** What the plant trace takes after roll-up: the blocks alone, and all of the file. */
function storedPlant(folder: string): BenchResult[] {
  const results = [false, true].flatMap((sharedTimes) =>
    [131, 33, 10].map((seconds): BenchResult => {
      const columns = plantColumns(seconds, sharedTimes);
      const bytes = encodeRolled(columns);
      if (openRolled(bytes).rows !== columns.rows) throw new Error('a block of other rows');
      const times = sharedTimes ? 'shared times' : 'own times';
      return {
        name: `history: rolled block, ${Math.round(columns.rows / 1000)}k rows, ${times}`,
        value: bytes.length / columns.rows,
        unit: 'B/reading',
      };
    }),
  );
  const seconds = 1200;
  const trace = plantTrace({ seconds });
  const clock = new ManualClock(START_MS);
  const { core, store } = open(folder, clock);
  registerPlantTags(core);
  for (let at = 0; at < seconds; at++) {
    core.add({ chunk: sliceTrace(trace, at * tags.length, (at + 1) * tags.length, 0) });
    core.commit();
    clock.advance(1000);
    if (at % 10 === 0) while (core.rollUp());
  }
  const readings = seconds * tags.length;
  const blocks = [...allBlocks(store)].filter(({ class: classNumber }) => classNumber === CLASS.normal);
  const rolled = blocks.filter(({ rows }) => rows > tags.length);
  const sum = (of: (row: BlockRow) => number, rows: readonly BlockRow[]) => rows.reduce((all, row) => all + of(row), 0);
  // A page of 4096 bytes is half empty at the end of a block, and its row of the journal takes a hundred.
  const cost = sum(({ bytes }) => Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES + 100, rolled);
  const value = cost / sum(({ rows }) => rows, rolled);
  const file = store.bytesUsed() / readings;
  core.close();
  return [
    ...results,
    { name: 'history: stored after roll-up, in whole pages', value, unit: 'B/reading', target: 2 },
    { name: 'history: file after 20 min, with windows and what is not rolled yet', value: file, unit: 'B/reading' },
  ];
}

function plantColumns(seconds: number, sharedTimes: boolean): BlockColumns {
  const trace = plantTrace({ seconds, sharedTimes });
  const rows = tags.length;
  const kindOf = (tag: number) => (tags[tag]?.kind === 'state' ? 'bool' : 'number');
  const blocks = Array.from({ length: seconds }, (_, second) =>
    decodeBlock(encodeChunk(sliceTrace(trace, second * rows, (second + 1) * rows, 0), 1 + second * rows, kindOf), {
      rowsMax: rows,
    }),
  );
  return mergeBlocks(blocks);
}

function open(folder: string, clock: ManualClock): { core: CacheCore; store: SqliteStore } {
  const config = cacheSchema.parse({ path: folder, bytesMax: BYTES_MAX, ageMax: '3650d' });
  makeFolder(folder);
  const store = new SqliteStore(openDatabase(folder));
  const identity = { device: undefined, version: 'bench', reason: 'start', boot: new Uint8Array(16) };
  return { core: new CacheCore(store, { ...config, ...identity, clock, targets: [] }), store };
}

function progress(text: string): void {
  process.stderr.write(`  ${text}\n`);
}
