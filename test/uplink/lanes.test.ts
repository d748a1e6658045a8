/** The lanes over a fake cache, a clock driven by hand and a scripted cloud: hours in milliseconds, the same every time. */
import { describe, expect, test } from '@jest/globals';
import { uplinkSchema } from '../../src/config/uplink.ts';
import { ManualClock } from '../../src/runtime/clock.ts';
import type { CloudNews, Outcome } from '../../src/uplink/decide.ts';
import { ASIDE_MAX } from '../../src/uplink/lane.ts';
import { Lanes } from '../../src/uplink/lanes.ts';
import type { Attempt, LanesOptions } from '../../src/uplink/types.ts';
import type { Lane } from '../../src/wire/classes.ts';
import { FakeCache, rowsOf } from './fake-cache.ts';

const YES: Outcome = { kind: 'acknowledged' };
const REFUSED: Outcome = { kind: 'refused', code: 'payload_malformed' };
const LOST: Outcome = { kind: 'failed', cause: 'network', text: 'reset', retryAfterMs: undefined };
const TIMEOUT: Outcome = { kind: 'failed', cause: 'timeout', text: 'no answer', retryAfterMs: undefined };
const BAD_CERTIFICATE: Outcome = { kind: 'denied', code: 'tls', perhapsBytes: false, text: 'expired', hint: 'renew' };

interface Sent {
  readonly atMs: number;
  readonly lane: Lane;
  readonly rows: readonly number[];
  readonly envelope: Uint8Array;
}

interface Plan {
  readonly config?: Record<string, unknown>;
  /** What the cloud says to these rows. */
  answer: (rows: readonly number[], lane: Lane) => Outcome;
  tookMs?: number;
  hello?: () => CloudNews;
}

function simulate(plan: Plan) {
  const clock = new ManualClock();
  const cache = new FakeCache(clock);
  const sent: Sent[] = [];
  const counts = { hellos: 0, flying: 0, flyingMax: 0, inMemoryMax: 0, rowsInMemoryMax: 0 };
  // A small generator of its own: the same sequence in every run.
  let seed = 1;
  const random = () => {
    seed = (seed * 16807) % 2147483647;
    return seed / 2147483647;
  };
  const send: LanesOptions['send'] = async (lane, { envelope }) => {
    const rows = rowsOf(envelope);
    sent.push({ atMs: clock.monoMs(), lane, rows, envelope });
    counts.flying++;
    counts.flyingMax = Math.max(counts.flyingMax, counts.flying);
    await new Promise<void>((resolve) => clock.after(plan.tookMs ?? 10, resolve));
    counts.flying--;
    const outcome = plan.answer(rows, lane);
    const answer = { code: 0, rows: rows.length, duplicates: 0, incarnation: '00' };
    return (outcome.kind === 'acknowledged' ? { outcome, answer } : { outcome }) satisfies Attempt;
  };
  const config = uplinkSchema.parse({ url: 'https://cloud.test', keys: { device: 'd', cloud: 'c' }, ...plan.config });
  const logger = {
    info() {},
    warn() {},
    error(facts: object) {
      throw new Error(JSON.stringify(facts));
    },
  };
  const lanes = new Lanes({
    config,
    target: 'cloud',
    cache,
    clock,
    random,
    logger,
    send,
    hello: async () => {
      counts.hellos++;
      return plan.hello?.() ?? { state: 'alive' };
    },
    onChange: () => {
      counts.inMemoryMax = Math.max(counts.inMemoryMax, cache.flight.size);
      counts.rowsInMemoryMax = Math.max(counts.rowsInMemoryMax, cache.count('flight'));
    },
    onIncarnation: () => {},
    onWrittenOff: () => {},
  });
  /** Lets time pass in small steps; what was promised in between is carried out. */
  const run = async (ms: number, stepMs = 50) => {
    for (let past = 0; past < ms; past += stepMs) {
      clock.advance(stepMs);
      for (let i = 0; i < 12; i++) await Promise.resolve();
    }
  };
  return { clock, cache, lanes, sent, counts, run, plan };
}

describe('ordinary days', () => {
  test('sends alarms within half a second, live every two seconds, the backlog in large batches', async () => {
    const { cache, lanes, sent, run } = simulate({ answer: () => YES, config: { rowsMax: 100 } });
    cache.commit(350, 'reading', 60_000);
    cache.commit(5);
    lanes.start();
    await run(3000);
    cache.commit(1, 'alarm');
    cache.commit(3);
    await run(3000);
    expect(cache.count('delivered')).toBe(359);
    expect(sent.filter(({ lane }) => lane === 'backlog').map(({ rows }) => rows.length)).toEqual([100, 100, 100, 50]);
    expect(sent.filter(({ lane }) => lane === 'live').map(({ rows }) => rows.length)).toEqual([5, 3]);
    expect(sent.find(({ lane }) => lane === 'alarm')?.atMs).toBeLessThanOrEqual(3600);
    expect(lanes.counters).toMatchObject({ delivered: 358, resent: 0 });
  });

  test('while the disk fills the backlog goes in larger batches, compressed more strongly; live and alarms as ever', async () => {
    const { cache, lanes, sent, run } = simulate({ answer: () => YES, config: { rowsMax: 100 } });
    cache.commit(350, 'reading', 60_000);
    cache.commit(150);
    const stronger: Record<string, unknown> = {};
    const cut = cache.cut.bind(cache);
    cache.cut = (request) => {
      stronger[request.lane] = request.stronger;
      return cut(request);
    };
    lanes.press(true);
    lanes.start();
    await run(3000);
    expect(sent.filter(({ lane }) => lane === 'backlog').map(({ rows }) => rows.length)).toEqual([350]);
    expect(sent.filter(({ lane }) => lane === 'live').map(({ rows }) => rows.length)).toContain(100);
    expect(stronger).toEqual({ alarm: false, live: false, backlog: true });
    lanes.press(false);
    cache.commit(150, 'reading', 60_000);
    await run(3000);
    expect(sent.filter(({ lane }) => lane === 'backlog').map(({ rows }) => rows.length)).toEqual([350, 100, 50]);
    expect(stronger.backlog).toBe(false);
  });

  test('a nudge sends an alarm at once', async () => {
    const { cache, lanes, sent, run } = simulate({ answer: () => YES });
    lanes.start();
    await run(100);
    cache.commit(1, 'alarm');
    lanes.nudge();
    await run(50);
    expect(sent).toHaveLength(1);
  });

  test('never has more in flight than one alarm, one live and four backlog batches, however slow the cloud', async () => {
    const { cache, lanes, counts, run } = simulate({ answer: () => YES, tookMs: 30_000, config: { rowsMax: 10 } });
    cache.commit(3000, 'reading', 60_000);
    lanes.start();
    for (let i = 0; i < 120; i++) {
      cache.commit(20);
      cache.commit(1, 'alarm');
      await run(1000, 100);
    }
    expect(counts.flyingMax).toBe(6);
    expect(cache.flightMax).toBeLessThanOrEqual(6);
  });

  test('the backlog gives way while live is slow, and takes all of its slots back when live is quick or idle', async () => {
    const plan = { answer: () => YES, tookMs: 4000, config: { rowsMax: 10 } };
    const { cache, lanes, sent, counts, clock, run } = simulate(plan);
    cache.commit(20_000, 'reading', 60_000);
    lanes.start();
    const backlogSince = (ms: number) => sent.filter(({ lane, atMs }) => lane === 'backlog' && atMs >= ms).length;
    for (let i = 0; i < 60; i++) {
      cache.commit(1);
      await run(1000);
    }
    const slow = backlogSince(clock.monoMs() - 20_000);
    expect(slow).toBeLessThanOrEqual(5);
    plan.tookMs = 100;
    await run(26_000);
    counts.flyingMax = 0;
    const fromMs = clock.monoMs();
    await run(5000);
    expect(counts.flyingMax).toBe(4);
    expect(backlogSince(fromMs)).toBeGreaterThan(20);
  });

  test('halves batches on time-outs and doubles them again', async () => {
    const { cache, lanes, sent, run } = simulate({
      answer: (rows) => (rows.length > 300 ? TIMEOUT : YES),
      config: { rowsMax: 1000, backlogParallel: 1 },
    });
    cache.commit(3000, 'reading', 60_000);
    lanes.start();
    await run(300_000, 200);
    expect(cache.count('delivered')).toBe(3000);
    expect(Math.max(...sent.map(({ rows }) => rows.length))).toBe(1000);
    expect(cache.refusals).toEqual([]);
  });
});

describe('outages', () => {
  test('resends the very same bytes until they are answered', async () => {
    let down = true;
    const { cache, lanes, sent, run } = simulate({
      answer: () => (down ? LOST : YES),
      hello: () => (down ? { state: 'failed', text: 'down', pauseMs: undefined } : { state: 'alive' }),
    });
    cache.commit(5);
    lanes.start();
    await run(20_000);
    down = false;
    await run(600_000, 500);
    expect(cache.count('delivered')).toBe(5);
    const first = sent[0]?.envelope;
    expect(sent.length).toBeGreaterThan(2);
    for (const { envelope } of sent) expect(envelope).toBe(first);
  });

  test('tries rarely while the cloud is away, one batch at a time, and keeps few batches in memory', async () => {
    const { cache, lanes, sent, counts, run } = simulate({ answer: () => LOST, config: { rowsMax: 10 } });
    lanes.start();
    for (let i = 0; i < 360; i++) {
      cache.commit(2);
      await run(10_000, 1000);
    }
    const lastHour = sent.filter(({ atMs }) => atMs > 600_000);
    // Full jitter up to five minutes: two and a half on average over the fifty minutes left.
    expect(lastHour.length).toBeLessThan(60);
    expect(lastHour.length).toBeGreaterThan(5);
    expect(counts.inMemoryMax).toBeLessThanOrEqual(6 + 3 * ASIDE_MAX);
    expect(cache.count('refused')).toBe(0);
  });

  test('after it, alarms go first, live is fresh at once, and the backlog drains', async () => {
    let down = true;
    const { cache, lanes, sent, clock, run } = simulate({
      answer: () => (down ? LOST : YES),
      config: { rowsMax: 500 },
    });
    lanes.start();
    for (let i = 0; i < 200; i++) {
      cache.commit(100);
      if (i % 50 === 0) cache.commit(1, 'alarm');
      await run(5000, 500);
    }
    down = false;
    const backMs = clock.monoMs();
    for (let i = 0; i < 320; i++) {
      cache.commit(10);
      await run(1000, 100);
    }
    await run(12_000, 100);
    expect(cache.count('delivered')).toBe(cache.rows.length);
    const after = sent.filter(({ atMs }) => atMs >= backMs);
    const firstPass = after[0]?.atMs ?? 0;
    const alarmAt = after.findIndex(({ lane }) => lane === 'alarm');
    expect(alarmAt).toBeLessThanOrEqual(1);
    expect(firstPass - backMs).toBeLessThanOrEqual(300_000);
    const liveAt = after.filter(({ lane }) => lane === 'live').map(({ atMs }) => atMs);
    const gaps = liveAt.slice(1).map((atMs, i) => atMs - (liveAt[i] ?? 0));
    expect(Math.max(...gaps)).toBeLessThanOrEqual(2500);
    expect(lanes.counters.freshnessMs).toBeLessThan(5000);
  });

  test('when only the batch that opened the breaker is left, a hello finds the cloud again', async () => {
    let down = true;
    const simulation = simulate({
      answer: () => (down ? LOST : YES),
      hello: () => (down ? { state: 'failed', text: 'down', pauseMs: undefined } : { state: 'alive' }),
    });
    const { cache, lanes, counts, sent, run } = simulation;
    cache.commit(1);
    lanes.start();
    await run(120_000);
    const tries = sent.length;
    expect(lanes.breaker.state).toBe('open');
    expect(counts.hellos).toBeGreaterThan(0);
    expect(tries).toBe(3);
    down = false;
    await run(300_000, 500);
    expect(cache.count('delivered')).toBe(1);
  });

  test('a server that asks for a minute gets a minute from every lane', async () => {
    let busy = true;
    const { cache, lanes, sent, run } = simulate({
      answer: () => (busy ? { kind: 'failed', cause: 'status', text: '429', retryAfterMs: 60_000 } : YES),
    });
    cache.commit(5);
    lanes.start();
    await run(100);
    busy = false;
    cache.commit(1, 'alarm');
    await run(59_000, 100);
    expect(sent).toHaveLength(1);
    await run(3000);
    expect(cache.count('delivered')).toBe(6);
  });
});

describe('poison', () => {
  test('in one reading costs that reading only, within a minute, while the rest flows', async () => {
    const { cache, lanes, run } = simulate({ answer: (rows) => (rows.includes(777) ? REFUSED : YES) });
    cache.commit(10_000, 'reading', 60_000);
    lanes.start();
    for (let i = 0; i < 60; i++) {
      cache.commit(10);
      await run(1000);
    }
    await run(3000);
    expect(cache.refusals).toEqual([{ rows: [777], reason: 'payload_malformed' }]);
    expect(cache.count('delivered')).toBe(10_599);
    expect(lanes.counters.freshnessMs).toBeLessThan(5000);
    expect(lanes.counters.refusedRows).toBe(1);
  });

  test('in a control row parks it, and it passes when the cloud learned better', async () => {
    let better = false;
    const { cache, lanes, run } = simulate({ answer: (rows) => (!better && rows.includes(2) ? REFUSED : YES) });
    cache.commit(1);
    cache.commit(1, 'control');
    cache.commit(5);
    lanes.start();
    await run(60_000);
    expect(cache.count('delivered')).toBe(6);
    expect(cache.refusals).toEqual([]);
    expect(lanes.lanes.map(({ parked }) => parked)).toEqual([0, 1, 0]);
    better = true;
    await run(3_700_000, 1000);
    expect(cache.count('delivered')).toBe(7);
    expect(lanes.lanes.map(({ parked }) => parked)).toEqual([0, 0, 0]);
  });

  test('that breaks connections is halved and parked, never written off', async () => {
    const { cache, lanes, run } = simulate({ answer: (rows) => (rows.includes(40) ? LOST : YES) });
    cache.commit(64, 'reading', 60_000);
    lanes.start();
    for (let i = 0; i < 240; i++) {
      cache.commit(1);
      await run(1000);
    }
    await run(10_000);
    expect(cache.refusals).toEqual([]);
    expect(cache.count('delivered')).toBe(63 + 240);
    expect(lanes.lanes.map(({ parked }) => parked)).toEqual([0, 0, 1]);
  });

  test('everywhere: with every batch refused all halts, nothing is written off, and it heals by itself', async () => {
    let broken = true;
    const { cache, lanes, sent, counts, run } = simulate({
      answer: () => (broken ? REFUSED : YES),
      config: { rowsMax: 200 },
    });
    lanes.start();
    for (let i = 0; i < 180; i++) {
      cache.commit(50);
      await run(10_000, 500);
    }
    expect(lanes.breaker.hold).toMatchObject({ reason: 'everything_refused' });
    expect(cache.count('refused')).toBe(0);
    expect(cache.count('delivered')).toBe(0);
    expect(sent.filter(({ atMs }) => atMs > 1_200_000).length).toBeLessThan(20);
    // Six slots and two aside a lane, whole or in halves.
    expect(counts.rowsInMemoryMax).toBeLessThanOrEqual((6 + 3 * ASIDE_MAX) * 200);
    broken = false;
    await run(600_000, 500);
    expect(cache.count('delivered')).toBe(cache.rows.length);
    expect(lanes.breaker.state).toBe('closed');
  });

  test('too large for the cloud: batches shrink to what passes, and one row that never can is written off', async () => {
    const { cache, lanes, sent, run } = simulate({
      answer: (rows) => (rows.length > 7 || rows.includes(13) ? { kind: 'tooLarge', signed: true } : YES),
      config: { rowsMax: 1000, backlogParallel: 1 },
    });
    cache.commit(1000, 'reading', 60_000);
    lanes.start();
    await run(120_000);
    expect(cache.count('delivered')).toBe(999);
    expect(cache.refusals).toEqual([{ rows: [13], reason: 'too_large' }]);
    const sizes = sent.map(({ rows }) => rows.length);
    expect(sizes[0]).toBe(1000);
  });

  test('a proxy that finds every body too large costs no row', async () => {
    const { cache, lanes, run } = simulate({
      answer: () => ({ kind: 'tooLarge', signed: false }),
      config: { rowsMax: 16 },
    });
    cache.commit(64);
    lanes.start();
    await run(120_000, 100);
    expect(cache.refusals).toEqual([]);
    expect(cache.count('delivered')).toBe(0);
    expect(lanes.lanes.reduce((sum, { parked }) => sum + parked, 0)).toBeGreaterThan(0);
  });
});

describe('holds', () => {
  test('an expired certificate holds all lanes but for one trial every few minutes', async () => {
    let expired = true;
    const { cache, lanes, sent, counts, run } = simulate({ answer: () => (expired ? BAD_CERTIFICATE : YES) });
    lanes.start();
    for (let i = 0; i < 180; i++) {
      cache.commit(5);
      await run(10_000, 500);
    }
    expect(sent.length).toBeLessThan(30);
    expect(counts.flyingMax).toBeLessThanOrEqual(3);
    expect(lanes.breaker.hold).toMatchObject({ reason: 'tls', hint: 'renew' });
    expired = false;
    await run(400_000, 500);
    expect(cache.count('delivered')).toBe(900);
    expect(lanes.breaker.hold).toBeUndefined();
  });

  test('an unknown dictionary is forgotten and the rows are sealed again', async () => {
    let knows = false;
    const { cache, lanes, sent, run } = simulate({ answer: () => (knows ? YES : { kind: 'dictionaryUnknown' }) });
    cache.commit(5);
    lanes.start();
    await run(100);
    knows = true;
    await run(3000);
    expect(cache.dictionariesForgotten).toBe(1);
    expect(cache.count('delivered')).toBe(5);
    expect(sent[1]?.envelope).not.toEqual(sent[0]?.envelope);
  });
});

describe('stopping', () => {
  test('waits for the answer that is on its way and releases the rest', async () => {
    const { cache, lanes, run } = simulate({ answer: (rows) => (rows.includes(1) ? LOST : YES), tookMs: 1000 });
    cache.commit(1, 'alarm');
    cache.commit(5);
    lanes.start();
    await run(500);
    const stopped = lanes.stop(5000);
    cache.commit(5);
    await run(2000);
    await stopped;
    expect(cache.count('delivered')).toBe(5);
    expect(cache.count('pending')).toBe(6);
    expect(cache.flight.size).toBe(0);
  });
});
