// A tag that is forgotten leaves nothing behind but its account, and takes nothing along: not before, in or after delivery,
// and not when the process dies in the middle.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { CacheCore, CoreOptions } from '../../src/cache/core.ts';
import { postForget } from '../../src/cache/forget/spool.ts';
import { type CacheReader, readCache } from '../../src/cache/reader.ts';
import type { HotState } from '../../src/cache/types.ts';
import { ChunkBuilder } from '../../src/reading.ts';
import type { ManualClock } from '../../src/runtime/clock.ts';
import { count } from '../../src/wire/ranges.ts';
import { drain, FarSide, folder, OK, openClock, openCore, request, START_MS, tag } from './rig.ts';

const TAG = 'press/order';
const OTHERS = ['press/force', 'press/speed', 'weather/rain'];
const CHILD = fileURLToPath(new URL('./forget-child.mjs', import.meta.url));
const STEPS_MAX = 10_000;

let place: ReturnType<typeof folder>;
let clock: ManualClock;
let core: CacheCore;
let far: FarSide;
let written: string[];

beforeEach(() => {
  place = folder();
  clock = openClock();
  far = new FarSide();
  written = [];
  core = start(place.path);
});
afterEach(() => {
  core.close();
  place.remove();
});

function start(path: string, more: Partial<CoreOptions> = {}): CacheCore {
  const opened = openCore(path, clock, more);
  opened.registerTag(tag(0, OTHERS[0] ?? ''));
  opened.registerTag(tag(1, TAG, 'text'));
  opened.registerTag(tag(2, OTHERS[1] ?? ''));
  opened.registerTag(tag(3, OTHERS[2] ?? ''));
  return opened;
}

/** One commit: `rows` readings of each tag. */
function commit(rows = 3): void {
  const builder = new ChunkBuilder();
  for (let i = 0; i < rows; i++) {
    const at = written.length;
    const text = `Order${(at * 2654435761) % 999983}Zx${at}`;
    written.push(text);
    const timeMs = START_MS + at * 400;
    for (const index of [0, 2, 3]) builder.push(index, timeMs, at * 10 + index, 0);
    builder.pushText(1, timeMs, text, 0);
  }
  const counts = ['press', 'weather'].map((source) => {
    return { source, received: source === 'press' ? rows * 3 : rows, rejected: 0, duplicate: 0, thinned: 0 };
  });
  core.add({ chunk: builder.take(), counts });
  core.commit();
  clock.advance(1000);
}

const ask = (id = 'a'.repeat(32)) =>
  core.forgetting.request({ id, tag: TAG, reason: 'the customer left', by: 'jo (uid 1000)', atMs: clock.wallMs() });

/** As far as it goes without an answer. */
function steps(of: CacheCore = core): void {
  for (let i = 0; i < STEPS_MAX; i++) if (!of.forgetting.step()) return;
  throw new Error('it never ends');
}

function look<T>(at: (reader: CacheReader) => T, path = place.path): T {
  const reader = readCache(path);
  try {
    return at(reader);
  } finally {
    reader.close();
  }
}

function leftOnDisk(path = place.path): string[] {
  const bytes = ['cache.db', 'cache.db-wal']
    .map((name) => join(path, name))
    .map((file) => (existsSync(file) ? readFileSync(file).toString('latin1') : ''))
    .join('');
  return written.filter((text) => bytes.includes(text));
}

function expectNothingOf(path = place.path): void {
  look((reader) => {
    expect(reader.verify()).toMatchObject({ ok: true, damaged: [], differences: [] });
    expect(reader.range(TAG, 0, Number.MAX_SAFE_INTEGER)).toEqual([]);
    expect(reader.latest(TAG)).toEqual([]);
    for (const period of reader.windowPeriods())
      expect(reader.windows(TAG, period, 0, Number.MAX_SAFE_INTEGER)).toEqual([]);
    expect(reader.deadLetters(100).filter(({ subject }) => subject === TAG)).toEqual([]);
  }, path);
}

/** Readings of the other tags, here. */
function others(path = place.path): unknown[] {
  return look((reader) => OTHERS.map((name) => reader.range(name, 0, Number.MAX_SAFE_INTEGER)), path);
}

/** Marks change with the next commit. */
function deliver(of: CacheCore = core): void {
  drain(of, far);
  of.commit();
}

/** The far side holds all that was accepted and not written off, each once. */
function expectDelivered(of: CacheCore, path: string): void {
  deliver(of);
  deliver(of);
  const explained = [...far.explained].reduce(
    (sum, [key, ranges]) => sum + (/\/[34]$/.test(key) ? count(ranges) : 0),
    0,
  );
  const ledger = look((reader) => reader.ledger(), path);
  const sums = Object.values(ledger.targets.cloud ?? {});
  const total = (name: 'delivered' | 'forgotten' | 'pending') => sums.reduce((sum, each) => sum + each[name], 0);
  expect(total('pending')).toBe(0);
  expect(explained).toBe(total('forgotten'));
  expect(far.readings()).toHaveLength(written.length * 4 - explained);
  expect(total('delivered')).toBe(far.readings().length);
}

describe('forgetting a tag', () => {
  test('before delivery writes it off, and leaves the others as they were', () => {
    for (let i = 0; i < 8; i++) commit();
    const before = others();
    ask();
    steps();
    expectNothingOf();
    expect(others()).toEqual(before);
    expect(core.stats().ledger.targets.cloud?.press).toMatchObject({ forgotten: 24, pending: 48, delivered: 0 });
    expect(leftOnDisk()).toEqual([]);
    expectDelivered(core, place.path);
    expect(far.readings().filter((row) => row.includes('Order'))).toEqual([]);
    expect(far.control.filter(({ row }) => row.reason === 'forgotten').length).toBeGreaterThan(0);
  });

  test('after delivery removes the history, and owes nobody anything', () => {
    for (let i = 0; i < 8; i++) commit();
    deliver();
    const before = others();
    ask();
    steps();
    expectNothingOf();
    expect(others()).toEqual(before);
    expect(core.stats().ledger.targets.cloud?.press).toMatchObject({ forgotten: 0, delivered: 72 });
    expect(far.control.filter(({ row }) => row.type === 'GAP')).toEqual([]);
    expect(leftOnDisk()).toEqual([]);
    // What the far side lost later is sent again but for what was forgotten.
    const run = Buffer.from(core.runs.current.run).toString('hex');
    far.forget(`${run}/3`, [{ from: 1, to: 96 }]);
    core.hello(core.helloRuns('cloud'), far.answer());
    deliver();
    expect(far.readings()).toHaveLength(72);
    expect(core.stats().ledger.targets.cloud?.press).toMatchObject({ pending: 0 });
    look((reader) => expect(reader.verify().ok).toBe(true));
  });

  test('waits with what is in flight for the answer', () => {
    for (let i = 0; i < 6; i++) commit();
    const batch = core.cut(request('live', { rowsMax: 30 }));
    if (batch === undefined) throw new Error('there is something to cut');
    ask();
    steps();
    expect(core.forgetting.active).toBe(true);
    const [report] = look((reader) => reader.forgotten());
    expect(report).toMatchObject({ phase: 'journal', doneMs: null });
    expect(report?.inFlight).toBeGreaterThan(0);
    look((reader) => expect(reader.verify().ok).toBe(true));
    far.take(batch);
    core.acknowledge(batch.batchId, OK);
    core.commit();
    steps();
    expect(core.forgetting.active).toBe(false);
    expectNothingOf();
    expect(leftOnDisk()).toEqual([]);
    expectDelivered(core, place.path);
  });

  test('takes what was in flight and given back', () => {
    for (let i = 0; i < 6; i++) commit();
    const batch = core.cut(request('live', { rowsMax: 30 }));
    ask();
    steps();
    core.release(batch?.batchId ?? '');
    steps();
    expectNothingOf();
    expect(core.stats().ledger.targets.cloud?.press).toMatchObject({ forgotten: 18 });
    expectDelivered(core, place.path);
  });

  test('costs no more blocks than there were, rolled up or not', () => {
    for (let i = 0; i < 40; i++) commit(2);
    const blocksBefore = core.stats().blocks;
    clock.advance(3_600_000);
    core.commit();
    for (let i = 0; core.rollUp(); i++) if (i > STEPS_MAX) throw new Error('it never ends');
    expect(core.stats().blocks).toBeLessThan(blocksBefore);
    const rolled = core.stats().blocks;
    const before = others();
    ask();
    steps();
    // One more at most: the GAP rows.
    expect(core.stats().blocks).toBeLessThanOrEqual(rolled + 1);
    expectNothingOf();
    expect(others()).toEqual(before);
    expect(leftOnDisk()).toEqual([]);
    commit(2);
    expectDelivered(core, place.path);
  });

  test('takes dead letters, damaged blocks that were set aside, and the saved last value', () => {
    commit();
    const letter = { atMs: START_MS, source: 'press', reason: 'no', original: Buffer.from('the letter') };
    core.add({
      deadLetters: [
        { ...letter, subject: TAG },
        { ...letter, subject: 'press/force', original: Buffer.from('kept') },
      ],
    });
    const hexOf = (name: string) => {
      const rows = Array.from({ length: core.tags.size }, (_, seq) => core.tags.row(seq));
      return Buffer.from(rows.find((row) => row?.content.includes(name))?.id ?? []).toString('hex');
    };
    written.push('TheLastOrder');
    // As a gateway saves it: every tag that ever had a value.
    core.saveHot({
      ids: [...OTHERS, TAG].map(hexOf),
      timeMs: new Float64Array(4).fill(START_MS + 1000),
      value: Float64Array.of(5, 6, 7, 0),
      quality: new Uint8Array(4),
      texts: ['TheLastOrder'],
    });
    core.commit();
    ask();
    steps();
    look((reader) => {
      expect(reader.deadLetters(9).map(({ subject }) => subject)).toEqual(['press/force']);
      expect(reader.latest('*').map(({ tag: name }) => name)).toEqual(OTHERS.toSorted());
    });
    expect(core.loadHot()).toMatchObject({ ids: OTHERS.map(hexOf), value: Float64Array.of(5, 6, 7) });
    expect(leftOnDisk()).toEqual([]);
  });

  test('is not asked through a link that leads elsewhere', () => {
    const elsewhere = folder();
    symlinkSync(elsewhere.path, join(place.path, 'forget'));
    expect(() => postForget(place.path, { tag: TAG, reason: null, by: 'jo', atMs: 0 })).toThrow('is no folder');
    expect(readdirSync(elsewhere.path)).toEqual([]);
    elsewhere.remove();
  });

  test('takes the last value, whoever saves it once more before he has heard of it', () => {
    const hexOf = (name: string) => {
      const rows = Array.from({ length: core.tags.size }, (_, seq) => core.tags.row(seq));
      return Buffer.from(rows.find((row) => row?.content.includes(name))?.id ?? []).toString('hex');
    };
    const hot = (): HotState => ({
      ids: [hexOf('press/force'), hexOf(TAG)],
      timeMs: new Float64Array(2).fill(START_MS + 1000),
      value: Float64Array.of(5, 0),
      quality: new Uint8Array(2),
      texts: ['TheLastOrder'],
    });
    const saved = (): string[] => look((reader) => reader.latest('*').map(({ tag: name }) => name));
    commit();
    core.saveHot(hot());
    core.commit();
    // A reader that stays open, as that of panels.
    const reader = readCache(place.path);
    expect(reader.latest(TAG)).toHaveLength(1);
    ask();
    steps();
    expect(reader.latest(TAG)).toEqual([]);
    reader.close();
    const [done] = core.forgetting.takeDone();
    core.saveHot(hot());
    core.commit();
    expect(saved()).not.toContain(TAG);
    // After a restart as well: nothing of it is in the file.
    core.close();
    core = start(place.path);
    expect(core.loadHot()?.ids).not.toContain(hexOf(TAG));
    // What comes after that is of later readings.
    core.close();
    core = start(place.path);
    ask('b'.repeat(32));
    steps();
    core.forgetting.heard(done?.report.id ?? '');
    core.forgetting.heard(core.forgetting.takeDone()[0]?.report.id ?? '');
    core.saveHot(hot());
    core.commit();
    expect(saved()).toContain(TAG);
  });

  test('is audited: who, when, why, how much; once, however often it is asked', () => {
    commit();
    ask();
    ask();
    steps();
    ask();
    steps();
    expect(look((reader) => reader.forgotten())).toEqual([
      {
        id: 'a'.repeat(32),
        tag: TAG,
        reason: 'the customer left',
        by: 'jo (uid 1000)',
        atMs: clock.wallMs(),
        phase: 'done',
        removed: { pending: 3, kept: 0, aggregates: 0, windows: expect.any(Number), deadLetters: 0, damaged: 0 },
        inFlight: 0,
        doneMs: clock.wallMs(),
      },
    ]);
    expect(core.forgetting.takeDone()).toHaveLength(1);
  });

  test('keeps what comes of the tag afterwards', () => {
    commit();
    ask();
    steps();
    commit();
    expect(look((reader) => reader.range(TAG, 0, Number.MAX_SAFE_INTEGER))).toHaveLength(3);
    deliver();
    expect(core.stats().ledger.targets.cloud?.press).toMatchObject({ forgotten: 3, delivered: 15, pending: 0 });
  });

  test('goes on after a crash at any moment, wherever its rows were, and the account adds up', () => {
    const action = fc.oneof(
      { weight: 4, arbitrary: fc.constant('commit' as const) },
      { weight: 2, arbitrary: fc.constant('cut' as const) },
      { weight: 2, arbitrary: fc.constant('answer' as const) },
      { weight: 1, arbitrary: fc.constant('give back' as const) },
      { weight: 1, arbitrary: fc.constant('ask' as const) },
      { weight: 4, arbitrary: fc.constant('step' as const) },
      { weight: 1, arbitrary: fc.constant('roll up' as const) },
      { weight: 2, arbitrary: fc.constant('crash' as const) },
    );
    fc.assert(
      fc.property(fc.array(action, { minLength: 10, maxLength: 60 }), (actions) => {
        core.close();
        place.remove();
        place = folder();
        far = new FarSide();
        written = [];
        core = start(place.path);
        let cut: NonNullable<ReturnType<CacheCore['cut']>>[] = [];
        let asked = 0;
        for (const each of actions) {
          if (each === 'commit') commit(2);
          if (each === 'ask') ask(String(asked++).padStart(32, '0'));
          if (each === 'step') core.forgetting.step();
          if (each === 'roll up') {
            clock.advance(1_800_000);
            for (let i = 0; i < 5; i++) core.rollUp();
          }
          if (each === 'cut') {
            const batch = core.cut(request(cut.length % 2 === 0 ? 'live' : 'backlog', { rowsMax: 13 }));
            if (batch !== undefined) cut.push(batch);
          }
          if (each === 'give back') core.release(cut.pop()?.batchId ?? '');
          if (each === 'answer') {
            const batch = cut.shift();
            if (batch === undefined) continue;
            if (far.take(batch) === 'ok') core.acknowledge(batch.batchId, OK);
            else core.release(batch.batchId);
          }
          if (each === 'crash') {
            // The file as a killed process leaves it: what was committed, log and all.
            const next = folder();
            cpSync(place.path, next.path, { recursive: true });
            core.close();
            place.remove();
            place = next;
            cut = [];
            core = start(place.path);
          }
        }
        for (const { batchId } of cut) core.release(batchId);
        core.commit();
        if (asked > 0) {
          ask('f'.repeat(32));
          steps();
          expect(core.forgetting.active).toBe(false);
          expectNothingOf();
          expect(leftOnDisk()).toEqual([]);
        }
        expectDelivered(core, place.path);
        look((reader) => expect(reader.verify().ok).toBe(true));
      }),
      { numRuns: 20 },
    );
  });

  test('goes on in a real process that is really killed, again and again', async () => {
    for (let i = 0; i < 120; i++) commit(4);
    const batch = core.cut(request('backlog', { rowsMax: 300, liveMs: 1 }));
    if (batch === undefined) throw new Error('there is something to cut');
    far.take(batch);
    core.acknowledge(batch.batchId, OK);
    core.close();
    const before = others();
    postForget(place.path, { tag: TAG, reason: null, by: 'jo (uid 1000)', atMs: START_MS });
    let state = 12_345;
    let isDone = false;
    for (let round = 0; !isDone; round++) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
      // Later each time: a slow machine comes to an end as well.
      isDone = await runAndKill(100 * round + (state / 0x8000_0000) * 100);
      look((reader) => expect(reader.verify()).toMatchObject({ ok: true, damaged: [] }));
      expect(others()).toEqual(before);
    }
    expectNothingOf();
    core = start(place.path);
    expect(core.forgetting.active).toBe(false);
    const [report] = look((reader) => reader.forgotten());
    expect(report?.phase).toBe('done');
    expect((report?.removed.pending ?? 0) + (report?.removed.kept ?? 0)).toBe(480);
    expect(report?.removed.pending).toBe(core.stats().ledger.targets.cloud?.press?.forgotten);
    expectDelivered(core, place.path);
  }, 60_000);
});

/** @param ms from its opening of the cache on. @returns whether it said before that it is done. */
async function runAndKill(ms: number): Promise<boolean> {
  const child = spawn(process.execPath, [CHILD, place.path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  let isDone = false;
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'open') setTimeout(() => child.kill('SIGKILL'), ms);
    if (line === 'forgotten') isDone = true;
  }
  expect(await exit).toEqual([null, 'SIGKILL']);
  return isDone;
}
