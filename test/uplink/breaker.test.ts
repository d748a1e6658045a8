import { describe, expect, test } from '@jest/globals';
import { ManualClock } from '../../src/runtime/clock.ts';
import { Breaker, FAILURES_TO_OPEN, HELLO_TRIAL } from '../../src/uplink/breaker.ts';
import type { CloudNews } from '../../src/uplink/decide.ts';

const LOST: CloudNews = { state: 'failed', text: 'reset', pauseMs: undefined };
const HELD: CloudNews = { state: 'held', reason: 'tls', text: 'expired', hint: 'renew it' };
const PASSED: CloudNews = { state: 'passed' };
const ALIVE: CloudNews = { state: 'alive' };

function make() {
  const clock = new ManualClock();
  return { clock, breaker: new Breaker(clock, () => 0.5) };
}

function opened() {
  const made = make();
  for (let i = 1; i <= FAILURES_TO_OPEN; i++) made.breaker.tell(`b${i}`, LOST);
  return { ...made, opener: `b${FAILURES_TO_OPEN}` };
}

describe('the breaker', () => {
  test('opens after three failures in a row, and not when something passed between them', () => {
    const { breaker } = make();
    breaker.tell('a', LOST);
    breaker.tell('b', LOST);
    breaker.tell('c', PASSED);
    breaker.tell('d', LOST);
    breaker.tell('e', LOST);
    expect(breaker.state).toBe('closed');
    breaker.tell('f', LOST);
    expect(breaker.state).toBe('open');
  });

  test('lets one trial out when its wait is over, and never the batch that opened it', () => {
    const { breaker, clock, opener } = opened();
    expect(breaker.admitsNew).toBe(false);
    clock.advance(60_000);
    expect(breaker.admits(opener)).toBe(false);
    expect(breaker.admits('other')).toBe(true);
    breaker.sent('other');
    expect(breaker.admits('third')).toBe(false);
    expect(breaker.admitsNew).toBe(false);
    expect(breaker.nextMs).toBeUndefined();
  });

  test('closes for all when the trial passes', () => {
    const { breaker, clock, opener } = opened();
    clock.advance(60_000);
    breaker.sent('other');
    breaker.tell('other', PASSED);
    expect(breaker.state).toBe('closed');
    expect(breaker.admits(opener)).toBe(true);
  });

  test('waits longer the longer the outage lasts: at most half of it, and five minutes', () => {
    const { breaker, clock } = opened();
    const startMs = clock.monoMs();
    const waits: { waitMs: number; outageMs: number }[] = [];
    for (let i = 0; i < 60; i++) {
      const waitMs = (breaker.nextMs ?? 0) - clock.monoMs();
      waits.push({ waitMs, outageMs: clock.monoMs() - startMs });
      clock.advance(waitMs);
      breaker.sent(`t${i}`);
      breaker.tell(`t${i}`, LOST);
    }
    for (const { waitMs, outageMs } of waits) expect(waitMs).toBeLessThanOrEqual(Math.max(1000, outageMs / 2));
    expect(waits[0]?.waitMs).toBe(500);
    // The random number is a half here.
    expect(waits.at(-1)?.waitMs).toBe(150_000);
  });

  test('a hello that fails as a trial clears no batch of suspicion', () => {
    const { breaker, clock, opener } = opened();
    clock.advance(60_000);
    breaker.sent(HELLO_TRIAL);
    breaker.tell(HELLO_TRIAL, LOST);
    clock.advance(600_000);
    expect(breaker.admits(opener)).toBe(false);
    breaker.sent(HELLO_TRIAL);
    breaker.tell(HELLO_TRIAL, ALIVE);
    expect(breaker.admits(opener)).toBe(true);
  });

  test('an empty cut gives the trial back', () => {
    const { breaker, clock } = opened();
    clock.advance(60_000);
    breaker.sent('cut alarm');
    expect(breaker.admitsNew).toBe(false);
    breaker.unsent('cut alarm');
    expect(breaker.admitsNew).toBe(true);
  });

  test("keeps quiet for as long as the server asked, even when an earlier batch's answer comes in", () => {
    const { breaker, clock } = make();
    breaker.tell('a', { state: 'failed', text: '429', pauseMs: 30_000 });
    breaker.tell('b', PASSED);
    expect(breaker.admitsNew).toBe(false);
    clock.advance(29_999);
    expect(breaker.admits('b')).toBe(false);
    clock.advance(1);
    expect(breaker.admits('b')).toBe(true);
  });
});

describe('a hold', () => {
  test('lets one trial out in growing steps, every three minutes at most, whichever batch it is', () => {
    const { breaker, clock } = make();
    breaker.tell('a', HELD);
    expect(breaker.state).toBe('held');
    expect(breaker.hold).toMatchObject({ reason: 'tls', hint: 'renew it' });
    let waitMs = 0;
    for (let i = 0; i < 10; i++) {
      expect(breaker.admits('a')).toBe(false);
      waitMs = (breaker.nextMs ?? 0) - clock.monoMs();
      clock.advance(waitMs);
      expect(breaker.admits('a')).toBe(true);
      breaker.sent('a');
      expect(breaker.admits('b')).toBe(false);
      breaker.tell('a', HELD);
    }
    expect(waitMs).toBe(135_000);
    clock.advance(180_000);
    breaker.sent('a');
    breaker.tell('a', PASSED);
    expect(breaker.hold).toBeUndefined();
  });

  test('keeps its first time while the reason stays the same', () => {
    const { breaker, clock } = make();
    breaker.tell('a', HELD);
    const since = breaker.hold?.sinceMs;
    clock.advance(60_000);
    breaker.tell('a', HELD);
    expect(breaker.hold?.sinceMs).toBe(since);
  });

  test('for refusing everything does not end with another refusal', () => {
    const { breaker } = make();
    breaker.tell('a', { state: 'held', reason: 'everything_refused', text: 'x', hint: 'y' });
    breaker.tell('b', ALIVE);
    expect(breaker.state).toBe('held');
    breaker.tell('c', PASSED);
    expect(breaker.state).toBe('closed');
  });
});
