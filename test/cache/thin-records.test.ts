// Control and alarm rows over years: bounded in the file, and the real receiver's account adds up at the end.
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { decodeContent } from '../../src/cache/content.ts';
import type { CacheCore, CoreOptions } from '../../src/cache/core.ts';
import { openDatabase } from '../../src/cache/database.ts';
import { readCache } from '../../src/cache/reader.ts';
import { allBlocks } from '../../src/cache/store.ts';
import { SqliteStore } from '../../src/cache/store-sqlite.ts';
import type { Lane } from '../../src/cache/types.ts';
import type { ManualClock } from '../../src/runtime/clock.ts';
import { SimulatedCloud } from '../../src/simulate/cloud.ts';
import { Random } from '../../src/simulate/random.ts';
import { World } from '../../src/simulate/world.ts';
import { verifyAnswer } from '../../src/wire/answer.ts';
import { hex } from '../../src/wire/bytes.ts';
import { type ControlRow, parseControl } from '../../src/wire/control.ts';
import { signHello, verifyHelloAnswer } from '../../src/wire/hello.ts';
import { toPublic } from '../../src/wire/keys.ts';
import { count, type RangeSet, subtract, union } from '../../src/wire/ranges.ts';
import { chunk, cloudKey, device, folder, openClock, openCore, request, START_MS, tag } from './rig.ts';

const BYTES_MAX = 400_000;
const HOUR_MS = 3_600_000;

let place: ReturnType<typeof folder>;
let clock: ManualClock;
let world: World;
let cloud: SimulatedCloud;
beforeEach(() => {
  place = folder();
  clock = openClock();
  world = new World(new Random(1));
  const path = join(place.path, 'receiver');
  mkdirSync(path);
  cloud = new SimulatedCloud(world, clock, path, cloudKey, device);
  cloud.start();
});
afterEach(() => {
  cloud.stop();
  place.remove();
  expect(world.problems).toEqual([]);
});

const cachePath = () => join(place.path, 'cache');

function open(more: Partial<CoreOptions> = {}): CacheCore {
  const core = openCore(cachePath(), clock, { bytesMax: BYTES_MAX, windows: [], ageMax: 1e13, ...more });
  for (const [index, name] of ['plc/a', 'plc/b', 'plc/low'].entries())
    core.registerTag(tag(index, name, 'float64', index === 2 ? { priority: 'low' } : {}));
  return core;
}

let at = 0;
/** One commit of values that no compressor makes small, and what the ladder does about them. */
function commit(core: CacheCore, rows = 600): void {
  core.add({
    chunk: chunk(
      Array.from({ length: rows }, () => [
        ++at % 10 === 0 ? 2 : at % 2,
        START_MS + at * 20,
        Math.sin(at * 12.9898) * 43_758.5453,
      ]),
    ),
  });
  core.commit();
  for (let steps = 0; core.ladderStep(); steps++) if (steps > 10_000) throw new Error('it never ends');
}

interface Kept {
  readonly bytes: number;
  readonly rows: number;
  readonly controls: readonly ControlRow[];
}
/** What alarm and control rows take in the file. */
function records(): Kept {
  const db = openDatabase(cachePath());
  try {
    const store = new SqliteStore(db);
    const blocks = [...allBlocks(store)].filter((row) => row.class < 2);
    const controls = blocks.flatMap((row) => {
      const content = decodeContent(row, store.block(row.id));
      return row.class === 1 && content.kind === 'records' ? content.records.map(parseControl) : [];
    });
    const sum = (of: 'bytes' | 'rows') => blocks.reduce((all, row) => all + row[of], 0);
    return { bytes: sum('bytes') + blocks.length * 120, rows: sum('rows'), controls };
  } finally {
    db.close();
  }
}

/** All that waits, to the real receiver, each answer as it signed it. */
function deliver(core: CacheCore): void {
  for (const lane of ['alarm', 'live', 'backlog'] as readonly Lane[]) {
    for (let batch = core.cut(request(lane)); batch !== undefined; batch = core.cut(request(lane))) {
      const { status, body } = cloud.post('/v1/batches', batch.envelope);
      const answer = verifyAnswer(body, device.device, batch.digest, toPublic(cloudKey));
      if (status === 200) core.acknowledge(batch.batchId, { ...answer, incarnation: hex(answer.incarnation) });
      else {
        core.release(batch.batchId);
        core.forgetDictionary('cloud');
      }
    }
  }
}

function hello(core: CacheCore) {
  const outcome = { marked: 0, reopened: 0, lost: 0 };
  for (let page: number | undefined = 0; page !== undefined; ) {
    const question = core.helloRuns('cloud', page);
    const nonce = randomBytes(32);
    const sent = signHello({ nonce, sentMs: clock.wallMs(), runs: question.runs }, device);
    const { body } = cloud.post('/v1/hello', sent);
    const one = core.hello(question, verifyHelloAnswer(body, { nonce, device: device.device }, toPublic(cloudKey)));
    for (const key of ['marked', 'reopened', 'lost'] as const) outcome[key] += one[key];
    page = question.next;
  }
  return outcome;
}

/** Everything that ever got a number is held by the receiver, or explained to it; and it misses nothing itself. */
function settleAll(core: CacheCore): void {
  const reader = readCache(cachePath());
  expect(reader.verify()).toMatchObject({ ok: true, damaged: [], differences: [] });
  reader.close();
  const { catalog, ranges, cloudAlarms } = cloud.store;
  const deviceId = catalog.findDevice(hex(device.device)) ?? -1;
  let readings = 0;
  for (const { run, last } of core.runs.all()) {
    const id = catalog.findRun(deviceId, hex(run)) ?? -1;
    last.forEach((n, of) => {
      const cls = of as 0 | 1 | 2 | 3 | 4; // a number for each class
      const known = union(ranges.all('held', id, cls), ranges.all('explained', id, cls));
      expect({ cls, missing: subtract(n === 0 ? [] : [{ from: 1, to: n }], known) }).toEqual({ cls, missing: [] });
      if (cls >= 3) readings += count(ranges.all('held', id, cls));
    });
  }
  expect(core.stats().ledger.targets.cloud?.plc).toMatchObject({ pending: 0, delivered: readings });
  expect(cloudAlarms.list(undefined, true, 100).filter(({ kind }) => kind === 'loss')).toEqual([]);
}

/** Said at most hourly, after the answers that make it true. */
function saySettled(core: CacheCore): void {
  deliver(core);
  core.commit();
  clock.advance(2 * HOUR_MS);
  commit(core, 3);
  clock.advance(HOUR_MS);
  deliver(core);
  commit(core, 3);
  clock.advance(HOUR_MS);
  deliver(core);
  core.commit();
}

function told(): ControlRow[] {
  const rows = cloud.store.db.prepare<[], { json: string }>('SELECT json FROM record WHERE class = 1').all();
  return rows.map(({ json }) => parseControl(JSON.parse(json)));
}

describe('two years at level 4 without a link', () => {
  test('control rows take bounded room, and the receiver is told of every row in a few of them', () => {
    const kept: Kept[] = [];
    let [gaps, atFour, full] = [0, 0, 0];
    let core = open();
    for (let step = 0; step < 365; step++) {
      // Every two days; a restart each half a year.
      if (step % 90 === 89) {
        expect(core.close()).toBe(true);
        kept.push(records());
        core = open();
      }
      const before = core.runs.last(1);
      commit(core);
      if (core.stats().full) full++;
      gaps += core.runs.last(1) - before;
      clock.advance(HOUR_MS * 48);
      if (core.ladder.level === 4) atFour++;
    }
    expect(core.close()).toBe(true);
    kept.push(records());
    // Unthinned they take a third of the file by then, and more with every year.
    expect(full).toBeLessThan(20);
    expect(atFour).toBeGreaterThan(200);
    expect(gaps).toBeGreaterThan(350);
    for (const { rows, bytes } of kept) {
      expect(rows).toBeLessThan(200);
      expect(bytes).toBeLessThan(BYTES_MAX / 12);
    }
    core = open();
    expect(core.stats().ledger.targets.cloud?.plc).toMatchObject({ delivered: 0 });
    clock.advance(60_000);
    saySettled(core);
    settleAll(core);
    const said = told().filter(({ type }) => type === 'GAP');
    expect(said.length).toBeLessThan(200);
    expect(new Set(said.map((row) => (row.type === 'GAP' ? row.reason : '')))).toEqual(
      new Set(['dropped', 'aggregated']),
    );
    // The receiver knows all there is: nothing is told twice.
    const before = told().length;
    expect(hello(core)).toEqual({ marked: 0, reopened: 0, lost: 0 });
    deliver(core);
    expect(told()).toHaveLength(before);
    core.close();
  }, 60_000);

  test('rows that are on their way are left alone, and arrive as they were', () => {
    const core = open();
    while (core.ladder.level < 4) commit(core);
    for (let step = 0; step < 20; step++) commit(core);
    const flying = core.cut(request('alarm', { rowsMax: 5 }));
    if (flying === undefined) throw new Error('nothing was cut');
    for (let step = 0; step < 150; step++) commit(core);
    const { status } = cloud.post('/v1/batches', flying.envelope);
    expect(status).toBe(200);
    core.acknowledge(flying.batchId, { code: 0, rows: 5, duplicates: 0, incarnation: '00' });
    core.commit();
    expect(told().map(({ type }) => type)).toEqual(['RUN_OPEN', 'TAG', 'TAG', 'TAG', 'LADDER']);
    clock.advance(60_000);
    saySettled(core);
    settleAll(core);
    core.close();
  }, 60_000);
});

describe('delivered alarm and control rows', () => {
  const alarm = (n: number) => ({
    ...{ type: 'ALARM' as const, id: `plc/a:hi${n}`, condition: 'high', at: START_MS + n },
    text: `it was ${Math.sin(n) * 1e6} at the last look, and that is too much`,
  });

  test('go oldest first beyond their cap; what a receiver from an old backup lacks is told again', () => {
    const core = open({ thinning: { deliveredBytesMax: 6_000 } });
    for (let n = 0; n < 30; n++) commit(core);
    deliver(core);
    core.commit();
    const backup = cloud.backup();
    for (let n = 0; n < 120; n++) {
      core.add({
        alarms: [n, n + 0.2, n + 0.4, n + 0.6, n + 0.8].flatMap((id) => [
          { ...alarm(id), state: 'raised' as const },
          { ...alarm(id), state: 'cleared' as const },
        ]),
      });
      // Weeks without a link in between, in which the ladder drops and sums up.
      for (let i = 0; i < (n % 50 === 0 ? 80 : 0); i++) commit(core);
      commit(core, 3);
      clock.advance(HOUR_MS);
      deliver(core);
    }
    saySettled(core);
    settleAll(core);
    for (let steps = 0; core.rollUp() && steps < 10_000; steps++);
    expect(core.close()).toBe(true);
    const { bytes, controls } = records();
    // What nothing else would say again is still here; that is little.
    expect(controls.filter(({ type }) => type === 'RUN_OPEN' || type === 'TAG')).toHaveLength(4);
    // The cap, and what came since the last look at it.
    expect(bytes).toBeLessThan(14_000);

    if (backup === undefined) throw new Error('no backup');
    cloud.stop();
    cloud.restore(backup);
    cloud.start();
    const again = open({ thinning: { deliveredBytesMax: 6_000 } });
    const outcome = hello(again);
    expect(outcome.lost).toBeGreaterThan(800);
    saySettled(again);
    settleAll(again);
    expect(told().some((row) => row.type === 'GAP' && row.reason === 'cloud_lost')).toBe(true);
    const explained = (reason: string) =>
      told().reduce<RangeSet>(
        (all, row) => (row.type === 'GAP' && row.reason === reason && row.class === 3 ? union(all, row.ranges) : all),
        [],
      );
    expect(count(explained('dropped'))).toBeGreaterThan(10_000);
    expect(hello(again)).toEqual({ marked: 0, reopened: 0, lost: 0 });
    again.close();
  }, 60_000);
});
