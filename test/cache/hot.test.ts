// Last values, and when they stop being live.
import { describe, expect, test } from '@jest/globals';
import { HotTable } from '../../src/cache/hot.ts';
import type { HotState } from '../../src/cache/types.ts';
import { ChunkBuilder, Quality, THINNED } from '../../src/reading.ts';
import { ManualClock } from '../../src/runtime/clock.ts';
import { tagIdHex } from '../../src/wire/tag.ts';
import { chunk, START_MS, tag } from './rig.ts';

function table(clock: ManualClock) {
  const hot = new HotTable(clock, { ttlMs: 1000 });
  hot.register(tag(0, 'plc/x'));
  hot.register(tag(1, 'plc/slow', 'float64', { ttl: '5s' }));
  hot.register({ ...tag(2, 'broker/told'), periodMs: undefined });
  hot.register(tag(3, 'plc/n', 'int64'));
  hot.register(tag(4, 'plc/state', 'text'));
  return hot;
}

describe('the last value of a tag', () => {
  test('is live until its time to live has passed since the next one was due', () => {
    const clock = new ManualClock(START_MS);
    const hot = table(clock);
    hot.update(chunk([[0, START_MS, 5]]));
    clock.advance(1999);
    expect(hot.get(0)).toEqual({ value: 5, timeMs: START_MS, quality: Quality.good });
    clock.advance(1);
    expect(hot.get(0)).toEqual({ value: 5, timeMs: START_MS, quality: Quality.stale });
  });

  test('has another mark whenever it is another, and keeps it while it stays', () => {
    const clock = new ManualClock(START_MS);
    const hot = table(clock);
    const marks = () => {
      const all = new Float64Array(6);
      hot.mark(0, all);
      return [...all];
    };
    const seen = [marks()];
    const changes = [
      () => hot.update(chunk([[0, START_MS, 5]])),
      () => hot.update(chunk([[0, START_MS, 5]])),
      () => hot.update(chunk([[2, START_MS, 5]])),
      () => clock.advance(2000),
      () => hot.update(chunk([[0, START_MS + 2000, 5, Quality.commError]])),
      () => hot.forget([tagIdHex(tag(0, 'plc/x').definition)]),
    ];
    for (const change of changes) {
      const before = marks();
      expect(before).toEqual(marks());
      change();
      expect(marks()).not.toEqual(before);
      seen.push(marks());
    }
    // The teller has no end of its life, and the last is there for nobody.
    expect(seen.map((each) => each[5])).toEqual(seen.map(() => 0));
    expect(new Set(seen.map((each) => each[2])).size).toBe(2);
  });

  test('never flaps while it is read, deadband or not', () => {
    const clock = new ManualClock(START_MS);
    const hot = table(clock);
    const stale: number[] = [];
    hot.onStale((indexes) => stale.push(...indexes));
    for (let i = 0; i < 100; i++) {
      hot.update(chunk([[0, START_MS + i * 1000, 5, i === 0 ? 0 : THINNED]]));
      clock.advance(1000);
      expect(hot.get(0)?.quality).toBe(Quality.good);
    }
    expect(stale).toEqual([]);
    clock.advance(1100);
    expect(stale).toEqual([0]);
    clock.advance(10_000);
    expect(stale).toEqual([0]);
    hot.stop();
  });

  test('never flaps while its polls slow down and come back, and goes stale when they stay away', () => {
    const clock = new ManualClock(START_MS);
    const hot = table(clock);
    const stale: number[] = [];
    hot.onStale((indexes) => stale.push(...indexes));
    const read = () => hot.update(chunk([[0, clock.wallMs(), 5]]));
    for (const factor of [1, 2, 4, 8, 4, 2, 1, 8, 1]) {
      hot.slowed(factor, [0]);
      // The next reading comes at the new pace, counted from the last one.
      clock.advance(factor * 1000);
      read();
      clock.advance(factor * 1000);
      read();
      expect(stale).toEqual([]);
    }
    hot.slowed(4, [0]);
    clock.advance(4900);
    expect(hot.get(0)?.quality).toBe(Quality.good);
    clock.advance(200);
    expect(stale).toEqual([0]);
    hot.slowed(8, [0]);
    expect(hot.get(0)?.quality).toBe(Quality.stale);
    hot.stop();
  });

  test('has its own time to live where it says so, and none where it tells by itself', () => {
    const clock = new ManualClock(START_MS);
    const hot = table(clock);
    hot.update(
      chunk([
        [1, START_MS, 1],
        [2, START_MS, 2],
      ]),
    );
    clock.advance(5999);
    expect(hot.get(1)?.quality).toBe(Quality.good);
    clock.advance(1);
    expect(hot.get(1)?.quality).toBe(Quality.stale);
    clock.advance(86_400_000);
    expect(hot.get(2)?.quality).toBe(Quality.good);
  });

  test('stays bad when it goes stale: that says more', () => {
    const clock = new ManualClock(START_MS);
    const hot = table(clock);
    hot.update(chunk([[0, START_MS, 5, Quality.commError]]));
    clock.advance(60_000);
    expect(hot.get(0)).toEqual({ value: null, timeMs: START_MS, quality: Quality.commError });
  });

  test('keeps 64-bit integers and texts, and is stale from the start after a restart', () => {
    const clock = new ManualClock(START_MS);
    const hot = table(clock);
    const builder = new ChunkBuilder();
    builder.pushInt64(3, START_MS, -(2n ** 60n) - 1n, Quality.good);
    builder.pushText(4, START_MS, 'läuft', Quality.good);
    hot.update(builder.take());
    expect([hot.get(3)?.value, hot.get(4)?.value, hot.get(0)]).toEqual([-(2n ** 60n) - 1n, 'läuft', undefined]);
    const again = table(clock);
    again.load(structuredClone(hot.save()));
    expect(again.get(3)).toEqual({ value: -(2n ** 60n) - 1n, timeMs: START_MS, quality: Quality.stale });
    expect(again.get(4)?.value).toBe('läuft');
    again.update(chunk([[3, START_MS, 0]]));
    expect(again.get(3)).toEqual({ value: 0n, timeMs: START_MS, quality: Quality.good });
  });

  test('is kept of tags that say nothing over any number of restarts, whatever their type', () => {
    const clock = new ManualClock(START_MS);
    const first = table(clock);
    const builder = new ChunkBuilder();
    builder.push(0, START_MS, 5, 0);
    builder.pushText(4, START_MS, 'running', 0);
    const chunkOf = builder.take();
    new BigInt64Array(chunkOf.value.buffer)[0] = -(2n ** 60n) - 1n;
    chunkOf.tag[0] = 3;
    first.update(chunkOf);
    let state: HotState = first.save();
    const definitions = new Map(
      [tag(3, 'plc/n', 'int64'), tag(4, 'plc/state', 'text')].map((each) => [
        tagIdHex(each.definition),
        each.definition,
      ]),
    );
    const loaded = (hot: HotTable) => {
      hot.load({ ...state, definitions: state.ids.map((id) => definitions.get(id)) });
      return hot;
    };
    // As after a start while nobody has registered them yet; one of its own speaks.
    for (let i = 0; i < 3; i++) {
      const hot = loaded(new HotTable(clock, { ttlMs: 1000 }));
      hot.register(tag(0, 'other/x'));
      hot.update(chunk([[0, START_MS, i]]));
      state = hot.save();
      expect(state.ids).toHaveLength(3);
    }
    const last = loaded(table(clock));
    expect(last.get(3)).toEqual({ value: -(2n ** 60n) - 1n, timeMs: START_MS, quality: Quality.stale });
    expect(last.get(4)).toEqual({ value: 'running', timeMs: START_MS, quality: Quality.stale });
    // What was forgotten meanwhile does not travel on.
    const hot = loaded(new HotTable(clock, { ttlMs: 1000 }));
    hot.forget([...definitions.keys()]);
    expect(hot.save().ids).toEqual([]);
  });

  test('holds for as many tags as are registered', () => {
    const hot = new HotTable(new ManualClock(START_MS), { ttlMs: 1000 });
    for (let i = 0; i < 2000; i++) hot.register(tag(i, `plc/t${i}`));
    hot.update(chunk(Array.from({ length: 2000 }, (_, i) => [i, START_MS, i])));
    expect(hot.get(1999)?.value).toBe(1999);
  });
});
