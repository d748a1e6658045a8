// Background work: bounded steps that come second.
import { expect, test } from '@jest/globals';
import { Background } from '../../src/cache/background.ts';
import { ManualClock } from '../../src/runtime/clock.ts';

function counting(times: number) {
  const work = { left: times, done: 0, step: () => true };
  work.step = () => {
    work.done++;
    return --work.left > 0;
  };
  return work;
}
const fail = (thrown: unknown): never => {
  throw thrown;
};

test('takes turns until nobody has anything, then waits to be woken', () => {
  const clock = new ManualClock(0);
  const [a, b] = [counting(3), counting(5)];
  const background = new Background(clock, [a, b], fail);
  clock.advance(1000);
  expect(a.done + b.done).toBe(0);
  background.wake();
  clock.advance(45);
  expect([a.done, b.done]).toEqual([3, 2]);
  clock.advance(1000);
  const done = [a.done, b.done];
  expect(b.left).toBeLessThanOrEqual(0);
  clock.advance(10_000);
  expect([a.done, b.done]).toEqual(done);
  background.wake();
  clock.advance(1000);
  expect(a.done).toBe((done[0] ?? 0) + 1);
});

test('makes room before anything else', () => {
  const clock = new ManualClock(0);
  const [urgent, other] = [counting(4), counting(2)];
  const order: string[] = [];
  const noted = (name: string, work: { step(): boolean }) => () => {
    order.push(name);
    return work.step();
  };
  const steps = [{ step: noted('other', other) }, { urgent: true, step: noted('urgent', urgent) }];
  const background = new Background(clock, steps, fail);
  background.wake();
  clock.advance(100);
  expect(order.slice(0, 5)).toEqual(['urgent', 'urgent', 'urgent', 'urgent', 'other']);
});

test('holds back while the thread is late, but not for ever', () => {
  const clock = new ManualClock(0);
  // Everything comes 20 ms after its time.
  const late = { monoMs: () => clock.monoMs(), after: (ms: number, call: () => void) => clock.after(ms + 20, call) };
  const work = counting(2);
  const background = new Background(late, [work], fail);
  background.wake();
  clock.advance(5_000);
  expect(work.done).toBe(0);
  clock.advance(30_000);
  expect(work.done).toBe(2);
});

test('takes no more than half of the time', () => {
  const clock = new ManualClock(0);
  const started: number[] = [];
  let spent = 0;
  const step = () => {
    started.push(clock.monoMs() + spent);
    spent += 40;
    return started.length < 4;
  };
  const background = new Background(
    { monoMs: () => clock.monoMs() + spent, after: clock.after.bind(clock) },
    [{ step }],
    fail,
  );
  background.wake();
  clock.advance(1000);
  expect(started).toEqual([0, 80, 160, 240]);
});

test('stops with the first error, and when it is told', () => {
  const clock = new ManualClock(0);
  const thrown: unknown[] = [];
  const fault = new Error('the disk');
  const background = new Background(
    clock,
    [
      {
        step: () => {
          throw fault;
        },
      },
    ],
    (error) => thrown.push(error),
  );
  background.wake();
  clock.advance(100);
  background.wake();
  clock.advance(100);
  expect(thrown).toEqual([fault]);
  const work = counting(10);
  const other = new Background(clock, [work], fail);
  other.wake();
  other.stop();
  clock.advance(1000);
  expect(work.done).toBe(0);
});
