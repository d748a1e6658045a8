import { describe, expect, test } from '@jest/globals';
import { BacklogPace, BatchRows, ROWS_MIN } from '../../src/uplink/pace.ts';

describe('the size of batches', () => {
  test('is halved by a time-out and doubled again by successes', () => {
    const size = new BatchRows(10_000);
    size.timedOut();
    size.timedOut();
    expect(size.rows).toBe(2500);
    size.passed();
    size.passed();
    size.passed();
    expect(size.rows).toBe(10_000);
  });

  test('does not shrink below what an envelope is worth for slowness alone', () => {
    const size = new BatchRows(10_000);
    for (let i = 0; i < 50; i++) size.timedOut();
    expect(size.rows).toBe(ROWS_MIN);
  });

  test('never exceeds a small configured maximum', () => {
    const size = new BatchRows(10);
    size.timedOut();
    expect(size.rows).toBe(10);
  });

  test('grows to another maximum at once, unless the link has taught otherwise, and is back under the first at once', () => {
    const size = new BatchRows(10_000);
    size.limit(100_000);
    expect(size.rows).toBe(100_000);
    size.limit(10_000);
    expect(size.rows).toBe(10_000);
    size.timedOut();
    size.limit(100_000);
    expect(size.rows).toBe(5000);
    for (let i = 0; i < 10; i++) size.passed();
    expect(size.rows).toBe(100_000);
    size.tooLarge(100_000);
    size.limit(10_000);
    expect(size.rows).toBe(10_000);
    size.limit(100_000);
    expect(size.rows).toBeLessThanOrEqual(50_000);
    size.forgetCeiling();
    for (let i = 0; i < 10; i++) size.passed();
    expect(size.rows).toBe(100_000);
  });

  test('stays under what was too large until a hello', () => {
    const size = new BatchRows(10_000);
    size.tooLarge(10_000);
    for (let i = 0; i < 5; i++) size.passed();
    expect(size.rows).toBe(5000);
    size.tooLarge(1);
    expect(size.rows).toBe(1);
    size.forgetCeiling();
    size.passed();
    expect(size.rows).toBe(10_000);
  });
});

describe('the pace of the backlog', () => {
  test('gives way when live gets slow, and comes back step by step', () => {
    const pace = new BacklogPace(4, 2000);
    expect(pace.slots).toBe(4);
    pace.live(5000);
    pace.live(5000);
    expect(pace).toMatchObject({ slots: 1, gapMs: 0 });
    pace.live(5000);
    pace.live(5000);
    expect(pace).toMatchObject({ slots: 1, gapMs: 500 });
    for (let i = 0; i < 10; i++) pace.live(5000);
    expect(pace.gapMs).toBe(5000);
    for (let i = 0; i < 20; i++) pace.live(80);
    expect(pace).toMatchObject({ slots: 4, gapMs: 0 });
  });
});
