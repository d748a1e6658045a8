// Where parts of the cache meet that were written apart.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { RunBook } from '../../src/cache/books.ts';
import { decodeContent, encodeContent } from '../../src/cache/content.ts';
import { shareOut } from '../../src/cache/counts.ts';
import { openDatabase } from '../../src/cache/database.ts';
import { Flight } from '../../src/cache/flight.ts';
import { RollUp } from '../../src/cache/roll-up.ts';
import { allBlocks, BLOCK_ID_STEP, type BlockRow } from '../../src/cache/store.ts';
import { SqliteStore } from '../../src/cache/store-sqlite.ts';
import { ChunkBuilder } from '../../src/reading.ts';
import { MemoryStore } from '../../src/simulate/memory-store.ts';
import { type BlockColumns, decodeBlock, encodeChunk, mergeBlocks } from '../../src/wire/block.ts';
import { hex } from '../../src/wire/bytes.ts';
import { parseAggregate } from '../../src/wire/control.ts';
import { canonicalTag, contentId } from '../../src/wire/tag.ts';
import { chunk, folder, openClock, openCore, START_MS, tag } from './rig.ts';

const NOW = { monoMs: 1e9, wallMs: START_MS, synced: true };

/** Commits of a few rows each, every one of other tags: as many slow tags give under a deadband. */
function sparse(n0: number, chunks: number, firstTag: number, tagsEach: number): BlockColumns {
  return mergeBlocks(
    Array.from({ length: chunks }, (_, at) => {
      const rows = Array.from({ length: tagsEach }, (__, row): [number, number, number] => {
        return [firstTag + at * tagsEach + row, START_MS + at * 1000, row];
      });
      return decodeBlock(
        encodeChunk(chunk(rows), n0 + at * tagsEach, () => 'number'),
        { rowsMax: tagsEach },
      );
    }),
  );
}

function put(store: MemoryStore, place: number, columns: BlockColumns): void {
  const bytes = encodeContent({ kind: 'readings', columns });
  const n0 = columns.chunks[0]?.n0 ?? 1;
  const row: BlockRow = {
    ...{ id: place * BLOCK_ID_STEP + 3, run: 1, class: 3, n0, rows: columns.rows, firstMs: START_MS, lastMs: START_MS },
    ...{ pending: 1, monoMs: place, wallMs: START_MS, synced: true, bytes: bytes.length, counts: [[1, columns.rows]] },
  };
  store.transaction(() => store.addBlock(row, bytes));
}

describe('blocks of many tags that are rarely read', () => {
  test('are rolled up as far as one block may be sparse, and no further', () => {
    const store = new MemoryStore();
    store.transaction(() =>
      store.putRun({
        ...{ seq: 1, run: new Uint8Array(16), boot: new Uint8Array(16) },
        ...{ previous: 0, clean: true, openedMs: 0, last: [0, 0, 0, 0, 0] },
      }),
    );
    const runs = new RunBook(store, new Uint8Array(16).fill(1), 0);
    // Each has a million of counts, nearly all 0; two together four, which no block may claim.
    for (let at = 0; at < 4; at++) put(store, at + 1, sparse(1 + at * 2000, 500, at * 2000, 4));
    const rollUp = new RollUp({ store, runs, flight: new Flight() });
    let steps = 0;
    while (rollUp.step(NOW) && steps < 500) steps++;
    expect(steps).toBeLessThan(500);
    const rows = [...allBlocks(store)];
    expect(rows.reduce((sum, row) => sum + row.rows, 0)).toBe(8000);
    for (const row of rows) expect(decodeContent(row, store.block(row.id)).kind).toBe('readings');
  });
});

let place: ReturnType<typeof folder>;
beforeEach(() => {
  place = folder();
});
afterEach(() => place.remove());

/** What is on the disk. */
function stored(): { row: BlockRow; records: readonly object[] }[] {
  const store = new SqliteStore(openDatabase(place.path));
  const all = [...allBlocks(store)].map((row) => {
    const content = decodeContent(row, store.block(row.id));
    return { row, records: content.kind === 'records' ? content.records : [] };
  });
  store.close();
  return all;
}

describe('readings between texts that are thinned out', () => {
  test('become rows that a cloud takes: none names more ranges than one may', () => {
    const clock = openClock();
    const core = openCore(place.path, clock, { ageMax: 10_000 });
    for (let index = 0; index < 32; index++)
      core.registerTag(tag(index, `press/tag${index}`, index % 2 === 0 ? 'float64' : 'text', { priority: 'low' }));
    const minuteMs = Math.ceil(START_MS / 60_000) * 60_000;
    for (let commit = 0; commit < 75; commit++) {
      const builder = new ChunkBuilder();
      for (let index = 0; index < 32; index++) {
        if (index % 2 === 0) builder.push(index, minuteMs + commit * 800, commit, 0);
        else builder.pushText(index, minuteMs + commit * 800, `text ${index} ${commit}`, 0);
      }
      core.add({ chunk: builder.take() });
      core.commit();
    }
    clock.advance(8_500);
    let steps = 0;
    while (core.ladderStep() && steps < 100) steps++;
    core.close();
    const sums = stored().flatMap(({ row, records }) => (row.class === 2 ? records : []));
    expect(sums.length).toBeGreaterThanOrEqual(16);
    const parsed = sums.map((record) => parseAggregate(JSON.parse(JSON.stringify(record))));
    expect(parsed.reduce((total, { count }) => total + count, 0)).toBe(75 * 16);
  });
});

describe('readings whose source nobody knows any more', () => {
  test('are taken from the sources that have some, as many as are wanted and no more', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -5, max: 5 })), fc.nat(20), (counts, rows) => {
        const [taken] = shareOut(
          counts.map((count, source) => [source, count]),
          rows,
        );
        const there = counts.reduce((sum, count) => sum + Math.max(0, count), 0);
        expect(taken.reduce((sum, [, count]) => sum + count, 0)).toBe(Math.min(rows, there));
      }),
    );
  });
});

describe('the last values of a tag that is being forgotten', () => {
  test('do not come back with what is saved meanwhile', () => {
    const clock = openClock();
    const open = () => {
      const core = openCore(place.path, clock);
      ['press/order', 'press/force'].forEach((name, index) => {
        core.registerTag(tag(index, name));
      });
      return core;
    };
    const core = open();
    const readings = (at: number) => chunk([0, 1].map((index) => [index, START_MS + at, 7]));
    core.add({ chunk: readings(0) });
    core.commit();
    const ids = ['press/order', 'press/force'].map((name) => hex(contentId(canonicalTag({ name, type: 'float64' }))));
    const hot = {
      ids,
      timeMs: Float64Array.of(1, 1),
      value: Float64Array.of(7, 7),
      quality: new Uint8Array(2),
      texts: [],
    };
    core.saveHot(hot);
    core.forgetting.request({ id: 'a'.repeat(32), tag: 'press/order', reason: null, by: 'me', atMs: START_MS });
    for (let steps = 0; core.forgetting.active && steps < 1000; steps++) {
      core.forgetting.step();
      // The main thread does not know yet.
      if (core.forgetting.active) core.saveHot(hot);
    }
    core.close();
    const again = open();
    expect(again.loadHot()?.ids).toEqual([ids[1]]);
    again.close();
  });
});
