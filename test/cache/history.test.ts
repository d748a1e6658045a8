// Questions to a long history open what they need and nothing else: whatever else there is is destroyed first.
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { CacheCore } from '../../src/cache/core.ts';
import { openDatabase } from '../../src/cache/database.ts';
import { readCache } from '../../src/cache/reader.ts';
import { encodeRolled } from '../../src/cache/rolled/encode.ts';
import { isRolled, openRolled } from '../../src/cache/rolled/open.ts';
import type { ManualClock } from '../../src/runtime/clock.ts';
import { tagIdHex } from '../../src/wire/tag.ts';
import { chunk, folder, openClock, openCore, START_MS, tag } from './rig.ts';

const TAGS = 20;
const name = (index: number) => `plc/t${String(index).padStart(2, '0')}`;

let place: ReturnType<typeof folder>;
let clock: ManualClock;
let core: CacheCore;

beforeEach(() => {
  place = folder();
  clock = openClock();
  start();
});
afterEach(() => {
  core.close();
  place.remove();
});

function start(): void {
  core = openCore(place.path, clock);
  for (let index = 0; index < TAGS; index++) core.registerTag(tag(index, name(index)));
}

/** A second of some tags. */
function commit(only = (_index: number) => true): void {
  const rows = Array.from({ length: TAGS }, (_, index) => index)
    .filter(only)
    .flatMap((index) =>
      Array.from({ length: 10 }, (_, i): [number, number, number] => [
        index,
        clock.wallMs() + i * 100 + index,
        index + i,
      ]),
    );
  core.add({ chunk: chunk(rows) });
  core.commit();
  clock.advance(1000);
}

function roll(): void {
  while (core.rollUp());
}

/** @param change what a stored block becomes. */
function rewrite(change: (block: Uint8Array, id: number) => Uint8Array | undefined): number {
  const db = openDatabase(place.path);
  let changed = 0;
  const blocks = db.prepare('SELECT id, block FROM blocks ORDER BY id').all() as { id: number; block: Uint8Array }[];
  for (const { id, block } of blocks) {
    const other = change(new Uint8Array(block), id);
    if (other === undefined) continue;
    db.prepare('UPDATE blocks SET block = ? WHERE id = ?').run(other, id);
    changed++;
  }
  db.close();
  return changed;
}

function asked<T>(question: (reader: ReturnType<typeof readCache>) => T): T {
  const reader = readCache(place.path);
  try {
    return question(reader);
  } finally {
    reader.close();
  }
}

function state(value: number) {
  const ids = Array.from({ length: TAGS }, (_, index) => tagIdHex({ name: name(index), type: 'float64' }));
  const columns = { timeMs: new Float64Array(TAGS).fill(clock.wallMs()), value: new Float64Array(TAGS).fill(value) };
  return { ids, ...columns, quality: new Uint8Array(TAGS), texts: [] };
}

test('a range opens the sections of its tag alone', () => {
  for (let i = 0; i < 30; i++) commit();
  clock.advance(130_000);
  roll();
  const whole = asked((reader) => reader.range(name(7), 0, Number.MAX_SAFE_INTEGER));
  expect(whole).toHaveLength(300);
  let sections = 0;
  rewrite((block) => {
    if (!isRolled(block)) return undefined;
    // Every byte of every section, but for one tag: found as the bytes that a block without that damage needs for it.
    const rolled = openRolled(block);
    const only = new Uint8Array(block);
    for (let at = block.length - 1; at > 18; at--) {
      only[at] = (only[at] ?? 0) ^ 0xff;
      try {
        openRolled(only).tag(7);
        sections++;
      } catch {
        only[at] = block[at] ?? 0;
      }
    }
    expect(() => openRolled(only).all()).toThrow();
    expect(rolled.rows).toBe(6_000);
    return only;
  });
  expect(sections).toBeGreaterThan(500);
  expect(asked((reader) => reader.range(name(7), 0, Number.MAX_SAFE_INTEGER))).toEqual(whole);
  expect(asked((reader) => reader.range(name(8), 0, Number.MAX_SAFE_INTEGER))).toEqual([]);
});

test('a range reads no block of another time', () => {
  for (let i = 0; i < 10; i++) commit();
  const [fromMs, toMs] = [START_MS + 4000, START_MS + 4999];
  const found = asked((reader) => reader.range(name(3), fromMs, toMs));
  expect(found.length).toBeGreaterThan(5);
  const db = openDatabase(place.path);
  const gone = db.prepare(
    'DELETE FROM blocks WHERE id IN (SELECT id FROM journal WHERE class >= 3 AND (last_ms < ? OR first_ms > ?))',
  );
  expect(gone.run(fromMs, toMs).changes).toBe(9);
  db.close();
  expect(asked((reader) => reader.range(name(3), fromMs, toMs))).toEqual(found);
});

test('the latest values come from what was saved, and from the blocks since', () => {
  for (let i = 0; i < 20; i++) commit();
  core.saveHot(state(1000));
  commit((index) => index < 10);
  commit((index) => index < 5);
  const before = asked((reader) => reader.latest());
  expect(before.filter(({ value }) => value === 1000)).toHaveLength(10);
  expect(before.map(({ tag: each }) => each)).toEqual(Array.from({ length: TAGS }, (_, index) => name(index)));
  const db = openDatabase(place.path);
  db.prepare(
    'DELETE FROM blocks WHERE id IN (SELECT id FROM journal WHERE class >= 3 ORDER BY id DESC LIMIT -1 OFFSET 2)',
  ).run();
  db.close();
  expect(asked((reader) => reader.latest())).toEqual(before);
});

test('the latest value is found when its block was rolled together with older ones', () => {
  for (let i = 0; i < 30; i++) commit();
  core.saveHot(state(-1));
  for (let i = 0; i < 30; i++) commit((index) => index === 4);
  clock.advance(16 * 60_000);
  const before = asked((reader) => reader.latest());
  roll();
  expect(asked((reader) => reader.latest())).toEqual(before);
  expect(before[4]?.value).toBe(13);
});

test('a start opens no block that is in the saved windows', () => {
  for (let i = 0; i < 60; i++) commit();
  clock.advance(130_000);
  roll();
  core.close();
  expect(rewrite((_, id) => Uint8Array.of(2, id % 256))).toBeGreaterThan(1);
  start();
  expect(core.stats()).toMatchObject({ damagedBlocks: 0 });
  commit();
  expect(asked((reader) => reader.range(name(7), 0, Number.MAX_SAFE_INTEGER))).toHaveLength(10);
});

test('who follows the journal sees every reading once, also when blocks become one behind his back', () => {
  for (let i = 0; i < 20; i++) commit();
  let followed = asked((reader) => reader.tail('*', 100_000));
  const seen = [...followed.readings];
  const follow = () => {
    followed = asked((reader) => reader.after('*', followed.next));
    seen.push(...followed.readings);
    return followed.readings.length;
  };
  for (let i = 0; i < 40; i++) commit();
  clock.advance(16 * 60_000);
  roll();
  expect(follow()).toBe(40 * TAGS * 10);
  expect(follow()).toBe(0);
  commit();
  expect(follow()).toBe(TAGS * 10);
  expect(new Set(seen.map(({ tag: each, timeMs }) => `${each} ${timeMs}`)).size).toBe(61 * TAGS * 10);
  expect(seen).toHaveLength(61 * TAGS * 10);
});

test('a block that is rolled again and again stays what it was', () => {
  const columns = openRolled(
    encodeRolled({
      rows: 2,
      chunks: [{ n0: 1, count: 2 }],
      tags: [{ tag: 3, kind: 'number', counts: [2] }],
      timeMs: Float64Array.of(1, 2),
      value: Float64Array.of(0.1, Number.NaN),
      quality: new Uint8Array(2),
      texts: [],
    }),
  ).all();
  expect(encodeRolled(openRolled(encodeRolled(columns)).all())).toEqual(encodeRolled(columns));
});
