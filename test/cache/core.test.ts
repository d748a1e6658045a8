// The journal, its numbers and its marks, on a real file.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { CacheCore } from '../../src/cache/core.ts';
import { readCache } from '../../src/cache/reader.ts';
import type { TargetLedger } from '../../src/cache/types.ts';
import { Quality, THINNED } from '../../src/reading.ts';
import type { ManualClock } from '../../src/runtime/clock.ts';
import { chunk, drain, FarSide, folder, OK, openClock, openCore, request, START_MS, tag } from './rig.ts';

let place: ReturnType<typeof folder>;
let clock: ManualClock;
let core: CacheCore;
let far: FarSide;

beforeEach(() => {
  place = folder();
  clock = openClock();
  far = new FarSide();
  core = openCore(place.path, clock);
  core.registerTag(tag(0, 'boiler/flow'));
  core.registerTag(tag(1, 'boiler/pump', 'bool', { priority: 'low' }));
  core.registerTag(tag(2, 'weather/rain'));
});
afterEach(() => {
  core.close();
  place.remove();
});

function rows(from: number, count: number, tags = 3): [number, number, number][] {
  return Array.from({ length: count }, (_, i) => [(from + i) % tags, START_MS + (from + i) * 10, (from + i) % 2]);
}
function restart(more = {}): void {
  core.close();
  core = openCore(place.path, clock, more);
  core.registerTag(tag(0, 'boiler/flow'));
  core.registerTag(tag(1, 'boiler/pump', 'bool', { priority: 'low' }));
  core.registerTag(tag(2, 'weather/rain'));
}
function totals() {
  const accounts = Object.values(core.stats().ledger.targets.cloud ?? {});
  const sum = (pick: (each: TargetLedger) => number) => accounts.reduce((all, each) => all + pick(each), 0);
  return {
    delivered: sum((each) => each.delivered),
    pending: sum((each) => each.pending),
    refused: sum((each) => each.refused),
    lost: sum((each) => each.cloud_lost),
    damaged: sum((each) => each.damaged),
  };
}
function verified(): void {
  const reader = readCache(place.path);
  try {
    expect(reader.verify()).toMatchObject({ ok: true });
  } finally {
    reader.close();
  }
}

describe('the journal', () => {
  test('delivers every reading once, with tags announced and a run opened before them', () => {
    core.add({ chunk: chunk(rows(0, 3000)) });
    core.commit();
    drain(core, far);
    expect(far.readings()).toHaveLength(3000);
    expect(far.duplicates).toBe(0);
    expect(far.control.map(({ n, row }) => [n, row.type])).toEqual([
      [1, 'RUN_OPEN'],
      [2, 'TAG'],
      [3, 'TAG'],
      [4, 'TAG'],
    ]);
    expect(totals()).toMatchObject({ delivered: 3000, pending: 0 });
    verified();
  });

  test('keeps thinned rows out of the journal, and bad ones in', () => {
    core.add({
      chunk: chunk([
        [0, START_MS, 1],
        [0, START_MS + 1, 2, THINNED],
        [0, START_MS + 2, 3, Quality.commError],
      ]),
    });
    core.commit();
    drain(core, far);
    expect(far.readings().map((row) => row.split(' ').slice(1).join(' '))).toEqual([
      `${START_MS} 1 0`,
      `${START_MS + 2} 0 ${Quality.commError}`,
    ]);
  });

  test('leaves nothing behind when a process starts and stops without a reading', () => {
    for (let i = 0; i < 5; i++) restart();
    core.add({ chunk: chunk(rows(0, 1)) });
    core.commit();
    drain(core, far);
    expect(far.control.filter(({ row }) => row.type === 'RUN_OPEN')).toHaveLength(1);
    expect(far.control[0]?.row.previous).toBeNull();
  });

  test('opens a run with what it found of the one before', () => {
    core.add({ chunk: chunk(rows(0, 30)) });
    core.commit();
    restart({ run: new Uint8Array(16).fill(2) });
    core.add({ chunk: chunk(rows(30, 3)) });
    core.commit();
    drain(core, far);
    const opened = far.control.filter(({ row }) => row.type === 'RUN_OPEN');
    expect(opened[1]?.row).toMatchObject({ previous: { last: [0, 4, 0, 20, 10] }, clean: true, reason: 'start' });
    expect(far.readings()).toHaveLength(33);
  });

  test('counts rows that no block can hold as rejected, and keeps the rest', () => {
    const bad = chunk([
      [0, Number.NaN, 1],
      [0, START_MS, 2],
      [9, START_MS, 3],
    ]);
    core.add({ chunk: bad, counts: [{ source: 'boiler', received: 2, rejected: 0, duplicate: 0, thinned: 0 }] });
    core.commit();
    const { sources, rejections } = core.stats().ledger;
    expect(sources.boiler).toEqual({ received: 2, rejected: 1, duplicate: 0, thinned: 0, accepted: 1, committed: 1 });
    expect(sources.unknown).toMatchObject({ received: 1, rejected: 1 });
    expect(rejections).toEqual({ boiler: { malformed: 1 }, unknown: { unknown_tag: 1 } });
  });
});

describe('marks', () => {
  test('split a block of which only some rows were in the batch', () => {
    core.add({ chunk: chunk(rows(0, 3000, 1)) });
    core.commit();
    const first = core.cut(request('live', { rowsMax: 1000 }));
    expect(first?.rows).toBe(1000);
    if (first === undefined) return;
    far.take(first);
    core.acknowledge(first.batchId, OK);
    verified();
    expect(totals().pending).toBe(3000 - first.readings);
    drain(core, far);
    expect(far.readings()).toHaveLength(3000);
    expect(far.duplicates).toBe(0);
    verified();
  });

  test('never give a row to two batches at once', () => {
    core.add({ chunk: chunk(rows(0, 3000)) });
    core.commit();
    const batches = [1, 2, 3, 4, 5].map(() => core.cut(request('live', { rowsMax: 700 })));
    for (const batch of batches) if (batch !== undefined) far.take(batch);
    expect(far.duplicates).toBe(0);
    expect(far.readings()).toHaveLength(3000);
    expect(core.cut(request('live'))).toBeUndefined();
  });

  test('let a batch whose answer was lost go again with other borders, for one effect', () => {
    core.add({ chunk: chunk(rows(0, 3000)) });
    core.commit();
    const lost = core.cut(request('live', { rowsMax: 1100 }));
    if (lost !== undefined) far.take(lost);
    restart();
    for (
      let batch = core.cut(request('backlog', { rowsMax: 900 }));
      batch !== undefined;
      batch = core.cut(request('backlog', { rowsMax: 900 }))
    ) {
      far.take(batch);
      core.acknowledge(batch.batchId, OK);
    }
    expect(far.readings()).toHaveLength(3000);
    expect(far.duplicates).toBe(lost?.rows);
    expect(totals()).toMatchObject({ delivered: 3000, pending: 0 });
    verified();
  });

  test('ignore an answer that comes twice, or to a batch that was released', () => {
    core.add({ chunk: chunk(rows(0, 100)) });
    core.commit();
    const batch = core.cut(request('live'));
    core.release(batch?.batchId ?? '');
    core.acknowledge(batch?.batchId ?? '', OK);
    core.acknowledge('00', OK);
    expect(totals()).toMatchObject({ delivered: 0, pending: 100 });
  });

  test('cut halves down to single rows while the whole is in flight', () => {
    core.add({ chunk: chunk(rows(0, 5, 1)) });
    core.commit();
    drainControl();
    const whole = core.cut(request('live'));
    const seen: number[] = [];
    const visit = (batch: typeof whole): void => {
      if (batch === undefined) return;
      if (batch.halves === undefined) {
        seen.push(batch.rows);
        far.take(batch);
        core.acknowledge(batch.batchId, OK);
        return;
      }
      const halves = batch.halves.map((only) => core.cut(request('live', { only })));
      core.release(batch.batchId);
      for (const half of halves) visit(half);
    };
    visit(whole);
    expect(seen).toEqual([1, 1, 1, 1, 1]);
    expect(far.readings()).toHaveLength(5);
    expect(far.duplicates).toBe(0);
    verified();
  });
});

function drainControl(): void {
  const batch = core.cut(request('alarm'));
  if (batch === undefined) return;
  far.take(batch);
  core.acknowledge(batch.batchId, OK);
}

describe('lanes', () => {
  test('part by the time since the commit: live takes the young, backlog the old', () => {
    core.add({ chunk: chunk(rows(0, 100)) });
    core.commit();
    clock.advance(11_000);
    core.add({ chunk: chunk(rows(100, 50)) });
    core.commit();
    drainControl();
    expect(core.cut(request('live'))?.readings).toBe(50);
    expect(core.cut(request('backlog'))?.readings).toBe(100);
  });

  test('send alarms before anything else, and open a run with those that are active', () => {
    const alarm = {
      type: 'ALARM',
      id: 'a1',
      source: 'boiler',
      condition: 'down',
      state: 'raised',
      at: START_MS,
      text: 'boiler is down',
    } as const;
    core.add({ alarms: [alarm, { ...alarm, id: 'a2' }, { ...alarm, id: 'a2', state: 'cleared' }] });
    core.commit();
    restart();
    core.add({ chunk: chunk(rows(0, 1)) });
    core.commit();
    const batch = core.cut(request('alarm'));
    if (batch !== undefined) far.take(batch);
    const alarms = [...far.rows].filter(([key]) => /\/0\//.test(key)).map(([, row]) => JSON.parse(row));
    expect(alarms.map(({ id, state }) => `${id} ${state}`)).toEqual([
      'a1 raised',
      'a2 raised',
      'a2 cleared',
      'a1 raised',
    ]);
  });

  test('send the dictionary once, and again in full when the cloud does not know it', () => {
    core.add({ chunk: chunk(rows(0, 10)) });
    core.commit();
    drain(core, far);
    core.add({ chunk: chunk(rows(10, 10)) });
    core.commit();
    const batch = core.cut(request('live'));
    if (batch === undefined) throw new Error('nothing cut');
    expect(new FarSide().take(batch)).toBe('dictionary_unknown');
    expect(far.take(batch)).toBe('ok');
    core.release(batch.batchId);
    core.forgetDictionary('cloud');
    const again = core.cut(request('live'));
    expect(again && new FarSide().take(again)).toBe('ok');
  });

  test('stay below the size asked for', () => {
    core.add({ chunk: chunk(Array.from({ length: 9000 }, (_, i) => [i % 3, START_MS + i * 7.3, Math.sin(i)])) });
    core.commit();
    drainControl();
    const batch = core.cut(request('live', { bytesMax: 9000 }));
    expect(batch?.envelope.length).toBeLessThanOrEqual(9000);
    expect(batch?.rows).toBeGreaterThan(100);
  });
});

describe('refusals and losses', () => {
  test('write one refused row off with a GAP and a dead letter that shows it', () => {
    core.add({ chunk: chunk(rows(0, 3, 1)) });
    core.commit();
    drainControl();
    const batch = core.cut(request('live', { rowsMax: 1 }));
    core.refuse(batch?.batchId ?? '', 'rows_mismatch');
    expect(totals()).toMatchObject({ refused: 1, pending: 2 });
    drain(core, far);
    expect(far.control.at(-1)?.row).toMatchObject({
      type: 'GAP',
      reason: 'refused',
      class: 3,
      count: 1,
      ranges: [{ from: 1, to: 1 }],
    });
    const reader = readCache(place.path);
    const [letter] = reader.deadLetters(10);
    expect(letter?.subject).toBe('boiler/flow');
    expect(JSON.parse(Buffer.from(letter?.original ?? []).toString())).toEqual({
      tag: 'boiler/flow',
      t: START_MS,
      v: 0,
      q: 'good',
    });
    reader.close();
    verified();
  });

  test('mark what the cloud holds without sending it', () => {
    core.add({ chunk: chunk(rows(0, 300)) });
    core.commit();
    const batch = core.cut(request('live'));
    if (batch !== undefined) far.take(batch);
    restart();
    expect(core.hello(core.helloRuns('cloud'), far.answer())).toMatchObject({ reopened: 0, lost: 0 });
    expect(totals()).toMatchObject({ delivered: 300, pending: 0 });
    expect(core.cut(request('backlog'))).toBeUndefined();
  });

  test('send again what a restored cloud no longer holds, and say of the rest that it is lost', () => {
    core.add({ chunk: chunk(rows(0, 300, 1)) });
    core.commit();
    drain(core, far);
    const run = core.stats().run;
    far.forget(`${run}/3`, [{ from: 101, to: 200 }]);
    expect(core.hello(core.helloRuns('cloud'), far.answer())).toEqual({ marked: 0, reopened: 100, lost: 0 });
    expect(totals()).toMatchObject({ delivered: 200, pending: 100 });
    verified();
    drain(core, far);
    expect(far.readings()).toHaveLength(300);
    expect(totals()).toMatchObject({ delivered: 300, pending: 0 });
    verified();
  });

  test('send again what a restored cloud lost, also where a clone of this box said that it will never come', () => {
    core.add({ chunk: chunk(rows(0, 300, 1)) });
    core.commit();
    drain(core, far);
    const key = `${core.stats().run}/3`;
    far.forget(key, [{ from: 101, to: 200 }]);
    far.explained.set(key, [{ from: 101, to: 200 }]);
    expect(core.hello(core.helloRuns('cloud'), far.answer())).toEqual({ marked: 0, reopened: 100, lost: 0 });
    drain(core, far);
    expect(far.readings()).toHaveLength(300);
    expect(totals()).toMatchObject({ delivered: 300, pending: 0 });
    verified();
  });

  test('mark also while the cache is full: what the cloud holds makes the room', () => {
    core.close();
    core = openCore(place.path, clock, { bytesMax: 700_000, windows: [] });
    core.registerTag(tag(0, 'boiler/flow'));
    let count = 0;
    for (let done = true; done; count += 10_000) {
      core.add({ chunk: chunk(Array.from({ length: 10_000 }, (_, i) => [0, START_MS + count + i, Math.random()])) });
      done = core.commit().done;
    }
    // Taken by the cloud, and the answer was lost.
    for (let batch = core.cut(request('live')); batch !== undefined; batch = core.cut(request('live'))) far.take(batch);
    const { marked } = core.hello(core.helloRuns('cloud'), far.answer());
    expect(marked).toBeGreaterThanOrEqual(count - 10_000);
    expect(core.commit().done).toBe(true);
    expect(core.hello(core.helloRuns('cloud'), far.answer())).toEqual({ marked: 0, reopened: 0, lost: 0 });
    expect(core.backlog('cloud')).toMatchObject({ pendingReadings: 10_000 });
  });

  test('say what is lost at the cloud although readings find no room', () => {
    core.close();
    core = openCore(place.path, clock, { bytesMax: 700_000, windows: [], ageMax: 60_000 });
    core.registerTag(tag(0, 'boiler/flow'));
    const fill = (from: number) =>
      core.add({ chunk: chunk(Array.from({ length: 10_000 }, (_, i) => [0, START_MS + from + i, Math.random()])) });
    fill(0);
    core.commit();
    drain(core, far);
    clock.advance(200_000);
    let count = 10_000;
    for (let done = true; done; count += 10_000) {
      fill(count);
      done = core.commit().done;
    }
    far.forget(`${core.stats().run}/3`, [{ from: 11, to: 20 }]);
    expect(core.hello(core.helloRuns('cloud'), far.answer())).toMatchObject({ lost: 10 });
    drain(core, far);
    expect(core.commit().done).toBe(true);
    expect(core.hello(core.helloRuns('cloud'), far.answer())).toMatchObject({ reopened: 0, lost: 0 });
  });

  test('compare with the marks as they were when the question was asked', () => {
    core.add({ chunk: chunk(rows(0, 100)) });
    core.commit();
    const question = core.helloRuns('cloud');
    const answer = far.answer();
    drain(core, far);
    expect(core.hello(question, answer)).toEqual({ marked: 0, reopened: 0, lost: 0 });
    expect(totals()).toMatchObject({ delivered: 100, pending: 0 });
    expect(() => core.hello(question, answer)).toThrow(expect.objectContaining({ code: 'cache.question_unknown' }));
  });
});

describe('a message that may come again', () => {
  test('is known after a restart until it is released', () => {
    const receipt = { source: 'broker', packetId: 7, digest: 'abc' };
    core.add({ chunk: chunk(rows(0, 1)), receipts: { add: [receipt] } });
    core.commit();
    restart();
    expect(core.receipts('broker')).toEqual([receipt]);
    core.add({ receipts: { release: [{ source: 'broker', packetIds: [7] }] } });
    core.commit();
    restart();
    expect(core.receipts('broker')).toEqual([]);
  });
});
