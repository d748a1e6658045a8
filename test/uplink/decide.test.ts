import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { BACKOFF_MS_MAX, RETRY_AFTER_MS_MAX } from '../../src/uplink/backoff.ts';
import {
  DICTIONARY_MISSES_MAX,
  decide,
  FAILURES_ASIDE,
  firstHistory,
  type History,
  halfHistory,
  noted,
  type Outcome,
  PARK_MS,
  type Passes,
  REFUSALS_ALONE_MAX,
  REFUSALS_MAX,
} from '../../src/uplink/decide.ts';

const NONE: Passes = { any: 0, alike: 0, refusals: 0 };
const passed = (any: number, alike = any, refusals = 0): Passes => ({ any, alike, refusals });
const MANY = firstHistory({ smallest: false, refusable: 100 });
const ROW = firstHistory({ smallest: true, refusable: 1 });
const CONTROL_ROW = firstHistory({ smallest: true, refusable: 0 });
const REFUSED: Outcome = { kind: 'refused', code: 'envelope.rows' };
const LOST: Outcome = { kind: 'failed', cause: 'network', text: 'reset', retryAfterMs: undefined };

/** Attempts one after the other, each with the passes of its moment; the decision on the last. */
function decided(history: History, attempts: readonly (readonly [Outcome, Passes])[]) {
  let decision = decide(history, { kind: 'acknowledged' }, NONE, 0.5);
  for (const [outcome, passes] of attempts) {
    history = noted(history, outcome, passes);
    decision = decide(history, outcome, passes, 0.5);
  }
  return decision;
}
const times = (count: number, outcome: Outcome, passes: Passes = NONE) =>
  Array.from({ length: count }, () => [outcome, passes] as const);

const passes = fc.record({ any: fc.nat(50), alike: fc.nat(50), refusals: fc.nat(50) });
const outcome: fc.Arbitrary<Outcome> = fc.oneof(
  fc.constant<Outcome>({ kind: 'acknowledged' }),
  fc.constant(REFUSED),
  fc.constant<Outcome>({ kind: 'dictionaryUnknown' }),
  fc.boolean().map((signed): Outcome => ({ kind: 'tooLarge', signed })),
  fc
    .tuple(
      fc.constantFrom('network', 'timeout', 'status', 'unsigned', 'foreign'),
      fc.option(fc.integer({ min: 1, max: RETRY_AFTER_MS_MAX }), { nil: undefined }),
    )
    .map(([cause, retryAfterMs]): Outcome => ({ kind: 'failed', cause: cause as 'network', text: 'x', retryAfterMs })),
  fc
    .tuple(fc.constantFrom('tls', 'unauthorised', 'redirect', 'status'), fc.boolean())
    .map(([code, perhapsBytes]): Outcome => ({ kind: 'denied', code, perhapsBytes, text: 'x', hint: 'y' })),
);
const history: fc.Arbitrary<History> = fc.record({
  smallest: fc.boolean(),
  refusable: fc.nat(3),
  failures: fc.nat(20),
  asideAtPass: fc.option(fc.nat(50), { nil: undefined }),
  refusals: fc.nat(20),
  refusedAtPass: fc.option(fc.nat(50), { nil: undefined }),
  refusedAtRefusal: fc.option(fc.nat(50), { nil: undefined }),
  dictionaryMisses: fc.nat(10),
});
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const anyDecision = (
  check: (decision: ReturnType<typeof decide>, outcome: Outcome, history: History, passes: Passes) => void,
) =>
  fc.assert(
    fc.property(history, outcome, passes, random, (before, what, passed, chance) => {
      const now = noted(before, what, passed);
      check(decide(now, what, passed, chance), what, now, passed);
    }),
    { numRuns: 2000 },
  );

describe('the answer table, whatever happened before', () => {
  test('delivers on a signed yes, and on nothing else', () => {
    anyDecision(({ action }, what) => expect(action.do === 'deliver').toBe(what.kind === 'acknowledged'));
  });

  test('writes off single readings only, and only on a signed answer', () => {
    anyDecision(({ action }, what, now, passed) => {
      if (action.do !== 'writeOff') return;
      expect(now).toMatchObject({ smallest: true });
      expect(now.refusable).toBeGreaterThan(0);
      expect(what.kind === 'refused' || (what.kind === 'tooLarge' && what.signed)).toBe(true);
      if (what.kind === 'refused') expect(passed.alike).toBeGreaterThan(now.refusedAtPass ?? Number.POSITIVE_INFINITY);
    });
  });

  test('halves only what has halves, and parks only what has none', () => {
    anyDecision(({ action }, _what, now) => {
      if (action.do === 'split') expect(now.smallest).toBe(false);
      if (action.do === 'park') expect(now.smallest).toBe(true);
    });
  });

  test('always tries again within an hour', () => {
    anyDecision(({ action }) => {
      if (action.do === 'again')
        expect(action.afterMs).toBeLessThanOrEqual(Math.max(BACKOFF_MS_MAX, RETRY_AFTER_MS_MAX));
      if (action.do === 'park') expect(action.afterMs).toBe(PARK_MS);
    });
  });

  test('says what to do about every hold', () => {
    anyDecision(({ cloud }) => {
      if (cloud.state === 'held') expect(cloud.hint).not.toBe('');
    });
  });
});

describe('a failure in transport', () => {
  test('keeps its place three times, then lets others go first', () => {
    expect(decided(MANY, times(FAILURES_ASIDE - 1, LOST)).action).toMatchObject({ do: 'again', aside: false });
    expect(decided(MANY, times(FAILURES_ASIDE, LOST)).action).toMatchObject({ do: 'again', aside: true });
  });

  test('is waited out for ever while nothing else passes', () => {
    expect(decided(MANY, times(1000, LOST)).action).toMatchObject({ do: 'again', aside: true });
    expect(decided(ROW, times(1000, LOST)).action).toMatchObject({ do: 'again', aside: true });
  });

  test('halves the batch when others passed between its third failure and the next', () => {
    const attempts = [...times(FAILURES_ASIDE, LOST), ...times(1, LOST, passed(1))];
    expect(decided(MANY, attempts).action).toEqual({ do: 'split' });
    expect(decided(ROW, attempts).action).toMatchObject({ do: 'park' });
  });

  test('does not blame the bytes for what passed before they were set aside', () => {
    expect(decided(MANY, times(FAILURES_ASIDE + 5, LOST, passed(7))).action).toMatchObject({ do: 'again' });
  });

  test('of a half under suspicion sets it aside at once', () => {
    const half = halfHistory({ ...MANY, failures: 9 }, { smallest: true, refusable: 1 });
    expect(decided(half, times(1, LOST)).action).toMatchObject({ do: 'again', aside: true });
  });

  test('waits at least as long as the server asked', () => {
    const asked: Outcome = { kind: 'failed', cause: 'status', text: '503', retryAfterMs: 90_000 };
    const { action, cloud } = decided(MANY, times(1, asked));
    expect(action).toMatchObject({ do: 'again', afterMs: 90_000 });
    expect(cloud).toMatchObject({ state: 'failed', pauseMs: 90_000 });
  });
});

describe('a signed refusal', () => {
  test('is tried three times, then halved, without waiting for others', () => {
    expect(decided(MANY, times(REFUSALS_MAX - 1, REFUSED)).action).toMatchObject({ do: 'again', aside: true });
    expect(decided(MANY, times(REFUSALS_MAX, REFUSED)).action).toEqual({ do: 'split' });
  });

  test('of one reading alone holds while nothing else has passed since', () => {
    const { action, cloud } = decided(ROW, times(50, REFUSED, passed(9)));
    expect(action).toMatchObject({ do: 'again' });
    expect(cloud).toMatchObject({ state: 'held', reason: 'everything_refused' });
  });

  test('of one reading alone waits for something to compare it with before it holds the others', () => {
    const alone = [1, 2, 3].map((refusals) => [REFUSED, passed(9, 9, refusals)] as const);
    expect(decided(ROW, alone).cloud).toEqual({ state: 'alive' });
    const withOthers = [1, 2, 4].map((refusals) => [REFUSED, passed(9, 9, refusals)] as const);
    expect(decided(ROW, withOthers).cloud).toMatchObject({ state: 'held', reason: 'everything_refused' });
  });

  test('of one reading alone writes it off once a batch like it has passed', () => {
    const attempts = [...times(REFUSALS_MAX, REFUSED), ...times(1, REFUSED, passed(1))];
    expect(decided(ROW, attempts).action).toEqual({ do: 'writeOff', reason: 'envelope.rows' });
  });

  test('is no proof against a row when only batches of another codec passed', () => {
    const attempts = [...times(REFUSALS_ALONE_MAX, REFUSED), ...times(1, REFUSED, passed(5, 0))];
    expect(decided(ROW, attempts).cloud).toMatchObject({ state: 'held' });
  });

  test('of a control row parks it', () => {
    const attempts = [...times(REFUSALS_MAX, REFUSED), ...times(1, REFUSED, passed(9))];
    expect(decided(CONTROL_ROW, attempts).action).toMatchObject({ do: 'park' });
  });
});

describe('too large', () => {
  const tooLarge = (signed: boolean): Outcome => ({ kind: 'tooLarge', signed });

  test('halves at once, signed or not', () => {
    expect(decided(MANY, times(1, tooLarge(true))).action).toEqual({ do: 'split' });
    expect(decided(MANY, times(1, tooLarge(false))).action).toEqual({ do: 'split' });
  });

  test('of one row: writes a reading off when signed, keeps it when anyone could have said it', () => {
    expect(decided(ROW, times(1, tooLarge(true))).action).toMatchObject({ do: 'writeOff' });
    expect(decided(ROW, times(1, tooLarge(false))).action).toMatchObject({ do: 'park' });
    expect(decided(CONTROL_ROW, times(1, tooLarge(true))).action).toMatchObject({ do: 'park' });
  });
});

describe('a no to us as a whole', () => {
  const denied = (code: string, perhapsBytes: boolean): Outcome => ({
    kind: 'denied',
    code,
    perhapsBytes,
    text: 'no',
    hint: 'look',
  });

  test('holds, and never touches the batch when it is signed or about the certificate', () => {
    for (const what of [denied('tls', false), denied('device_unknown', false)]) {
      const { action, cloud } = decided(MANY, [...times(9, what), ...times(9, what, passed(9))]);
      expect(action).toMatchObject({ do: 'again' });
      expect(cloud).toMatchObject({ state: 'held', hint: 'look' });
    }
  });

  test('isolates bytes that something on the way dislikes while the rest passes', () => {
    const what = denied('forbidden', true);
    const attempts = [...times(FAILURES_ASIDE, what), ...times(1, what, passed(4))];
    expect(decided(MANY, attempts).action).toEqual({ do: 'split' });
    expect(decided(ROW, attempts).action).toMatchObject({ do: 'park' });
  });

  test('seals anew when the dictionary is unknown, and holds when that never helps', () => {
    const unknown: Outcome = { kind: 'dictionaryUnknown' };
    expect(decided(MANY, times(1, unknown))).toMatchObject({ action: { do: 'reseal' }, cloud: { state: 'alive' } });
    expect(decided(MANY, times(DICTIONARY_MISSES_MAX + 1, unknown))).toMatchObject({
      action: { do: 'reseal' },
      cloud: { state: 'held' },
    });
  });
});
