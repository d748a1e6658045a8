import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Breaker } from '../../src/ingest/breaker.ts';
import { Reconnect } from '../../src/ingest/reconnect.ts';
import { phaseOf, Schedule } from '../../src/ingest/schedule.ts';

describe('schedule', () => {
  const groups = fc.array(
    fc.record({ unit: fc.constantFrom('unit 1', 'unit 2', 'unit 3'), everyMs: fc.integer({ min: 1, max: 60_000 }) }),
    { minLength: 1, maxLength: 5 },
  );

  test('reads each group at least once a period, never before its time, and counts all it leaves out', () => {
    fc.assert(
      fc.property(
        groups,
        fc.array(fc.double({ min: 0, max: 200_000, noNaN: true }), { maxLength: 50 }),
        (plan, waits) => {
          const schedule = new Schedule(
            'plc',
            plan.map((group, id) => ({ ...group, id })),
            0,
          );
          const taken = plan.map(() => 0);
          let skipped = 0;
          let nowMs = 0;
          for (const wait of waits) {
            nowMs += wait;
            const due = schedule.take(nowMs);
            skipped += due.skipped;
            for (const id of due.groups) taken[id] = (taken[id] ?? 0) + 1;
            expect(new Set(due.groups).size).toBe(due.groups.length);
            expect(schedule.nextMs()).toBeGreaterThan(nowMs - 1e-6);
          }
          const points = plan.map(({ unit, everyMs }) => {
            const phaseMs = phaseOf(`plc/${unit}`) * everyMs;
            return nowMs < phaseMs ? 0 : Math.floor((nowMs - phaseMs) / everyMs) + 1;
          });
          const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0);
          // Rounding may move a point by one at the very edge.
          expect(Math.abs(sum(taken) + skipped - sum(points))).toBeLessThanOrEqual(plan.length);
        },
      ),
    );
  });

  test('spreads the phases of many sources over the period, the same way after every start', () => {
    const phases = Array.from({ length: 1000 }, (_, i) => phaseOf(`plc${i}/unit 1`));
    const tenths = Array.from(
      { length: 10 },
      (_, tenth) => phases.filter((phase) => Math.floor(phase * 10) === tenth).length,
    );
    expect(Math.min(...tenths)).toBeGreaterThan(60);
    expect(Math.max(...tenths)).toBeLessThan(140);
    expect(phaseOf('plc1/unit 1')).toBe(phaseOf('plc1/unit 1'));
  });

  test('reads everything at once on a fresh connection, and leaves out what would follow on its heels', () => {
    fc.assert(
      fc.property(groups, fc.double({ min: 0, max: 1e9, noNaN: true }), (plan, nowMs) => {
        const schedule = new Schedule(
          'plc',
          plan.map((group, id) => ({ ...group, id })),
          nowMs,
        );
        expect(schedule.takeAll(nowMs)).toEqual(plan.map((_, id) => id));
        const shortest = Math.min(...plan.map(({ everyMs }) => everyMs));
        expect(schedule.nextMs() - nowMs).toBeGreaterThanOrEqual(shortest / 2 - 1e-3);
      }),
    );
  });
});

describe('breaker', () => {
  test('opens after three failures in a row, not before, and closes at the first answer', () => {
    const breaker = new Breaker(() => 0);
    expect([breaker.failed(0), breaker.failed(0)]).toEqual([false, false]);
    expect(breaker.answered()).toBe(false);
    expect([breaker.failed(0), breaker.failed(0), breaker.failed(0)]).toEqual([false, false, true]);
    expect([breaker.permits(4_999), breaker.permits(5_000)]).toEqual(['none', 'probe']);
    expect(breaker.failed(5_000)).toBe(false);
    expect(breaker.probeAtMs).toBe(15_000);
    expect(breaker.answered()).toBe(true);
    expect(breaker.permits(15_000)).toBe('all');
  });

  test('never waits longer than 60 s, and never less than 4 s', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { minLength: 20, maxLength: 20 }),
        (draws) => {
          const left = [...draws];
          const breaker = new Breaker(() => left.pop() ?? 0);
          let nowMs = 0;
          for (let i = 0; i < 12; i++) {
            breaker.failed(nowMs);
            if (!breaker.isOpen) continue;
            const waitMs = breaker.probeAtMs - nowMs;
            expect(waitMs).toBeLessThan(60_000.001);
            expect(waitMs).toBeGreaterThan(3_999.999);
            nowMs = breaker.probeAtMs;
          }
        },
      ),
    );
  });
});

test('reconnecting backs off from 1 s to 30 s, with full jitter, and starts anew once proven', () => {
  const most = new Reconnect(() => 1);
  expect(Array.from({ length: 7 }, () => most.nextMs())).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  most.proven();
  expect(most.nextMs()).toBe(1_000);
  expect(new Reconnect(() => 0).nextMs()).toBe(100);
});
