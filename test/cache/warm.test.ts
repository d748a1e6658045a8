// What a panel is shown right after a start: the last values and windows as the disk knows them.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { CacheCore } from '../../src/cache/core.ts';
import { HotTable } from '../../src/cache/hot.ts';
import { ChunkBuilder, type PlainValue, Quality } from '../../src/reading.ts';
import type { ManualClock } from '../../src/runtime/clock.ts';
import { chunk, folder, openClock, openCore, START_MS, tag } from './rig.ts';

const TAGS = [tag(0, 'a/x'), tag(1, 'a/text', 'text'), tag(2, 'a/big', 'int64'), tag(3, 'a/silent')];

let place: ReturnType<typeof folder>;
let clock: ManualClock;
let core: CacheCore;
beforeEach(() => {
  place = folder();
  clock = openClock();
  core = opened();
});
afterEach(() => place.remove());

function opened(): CacheCore {
  const made = openCore(place.path, clock, { windows: [1000, 10_000, 60_000] });
  for (const each of TAGS) made.registerTag(each);
  return made;
}

/** As after a crash: the process is gone, what was committed is there. */
function hotAfterCrash(): (PlainValue | undefined)[] {
  const hot = new HotTable(clock, { ttlMs: 1000 });
  for (const each of TAGS) hot.register(each);
  const state = opened().loadHot();
  if (state !== undefined) hot.load(state);
  TAGS.forEach((_, index) => {
    const known = hot.get(index);
    expect(known === undefined || known.quality === Quality.stale).toBe(true);
    expect(hot.isLive(index)).toBe(false);
  });
  return TAGS.map((_, index) => hot.get(index)?.value);
}

function second(value: number, text: string): void {
  const out = new ChunkBuilder();
  out.push(0, clock.wallMs(), value, 0);
  out.pushText(1, clock.wallMs(), text, 0);
  out.pushInt64(2, clock.wallMs(), -BigInt(value) - 2n ** 60n, 0);
  core.add({ chunk: out.take() });
  core.commit();
  clock.advance(1000);
}

function saveHot(): void {
  const hot = new HotTable(clock, { ttlMs: 1000 });
  for (const each of TAGS) hot.register(each);
  hot.update(
    chunk([
      [0, clock.wallMs() - 1000, 100],
      [3, START_MS - 5, 33],
    ]),
  );
  core.saveHot(hot.save());
}

describe('after a crash the last values', () => {
  test('are those of the journal since the checkpoint, and of the checkpoint where nothing came since', () => {
    second(99, 'before');
    saveHot();
    for (let i = 0; i < 30; i++) second(i, `text ${i}`);
    expect(hotAfterCrash()).toEqual([29, 'text 29', -29n - 2n ** 60n, 33]);
  });

  test('are there without any checkpoint', () => {
    for (let i = 0; i < 5; i++) second(i, `text ${i}`);
    expect(hotAfterCrash()).toEqual([4, 'text 4', -4n - 2n ** 60n, undefined]);
  });

  test('are there when the blocks were rolled into one that begins before the checkpoint', () => {
    for (let i = 0; i < 10; i++) second(i, 'old');
    saveHot();
    for (let i = 0; i < 700; i++) second(i, `text ${i % 7}`);
    while (core.rollUp());
    expect(hotAfterCrash()).toEqual([699, 'text 6', -699n - 2n ** 60n, 33]);
  });

  test('are of what came since the checkpoint, though it is older than others were by then', () => {
    second(99, 'before');
    saveHot();
    second(1, 'after');
    core.add({ chunk: chunk([[3, START_MS - 1, 44]]) });
    core.commit();
    expect(hotAfterCrash()[3]).toBe(44);
  });

  test('are of the newest time, whatever came last, and bad where the last one was bad', () => {
    second(1, 'a');
    core.add({ chunk: chunk([[0, clock.wallMs() - 50_000, 77]]) });
    core.add({ chunk: chunk([[3, clock.wallMs(), 0, Quality.commError]]) });
    core.commit();
    const hot = new HotTable(clock, { ttlMs: 1000 });
    for (const each of TAGS) hot.register(each);
    const state = opened().loadHot();
    if (state !== undefined) hot.load(state);
    expect(hot.get(0)?.value).toBe(1);
    expect(hot.get(3)).toMatchObject({ value: null, quality: Quality.commError });
  });

  test('are unknown on an empty disk', () => {
    expect(hotAfterCrash()).toEqual([undefined, undefined, undefined, undefined]);
  });
});

describe('the last windows', () => {
  test('are the newest of each tag and length, one of each, late parts joined', () => {
    for (let i = 0; i < 400; i++) {
      core.add({ chunk: chunk([[0, clock.wallMs(), i], ...(i < 200 ? ([[3, clock.wallMs(), i]] as const) : [])]) });
      core.add({ chunk: chunk([[0, clock.wallMs() + 100, i + 1]]) });
      if (i % 5 === 0) core.commit();
      clock.advance(1000);
    }
    core.close();
    const { names, windows } = opened().lastWindows([10_000, 60_000]);
    const of = (periodMs: number, name: string) => {
      const columns = windows.find((each) => each.periodMs === periodMs);
      const row = [...(columns?.tag ?? [])].findIndex((at) => names[at] === name);
      return row < 0 ? undefined : [columns?.startMs[row], columns?.count[row], columns?.max[row]];
    };
    for (const periodMs of [10_000, 60_000]) {
      // The last one that has ended; two readings a second.
      const startMs = (Math.floor(clock.wallMs() / periodMs) - 1) * periodMs;
      expect(of(periodMs, 'a/x')).toEqual([startMs, (2 * periodMs) / 1000, (startMs + periodMs - START_MS) / 1000]);
    }
    for (const { tag: tags } of windows) expect(new Set(tags).size).toBe(tags.length);
  });

  test('are none on an empty disk', () => {
    expect(core.lastWindows([1000])).toMatchObject({ windows: [] });
  });
});
