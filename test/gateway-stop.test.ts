// The end of the gateway, by a clock that stands still until told otherwise.
import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { endAll, endPipeline, endUplink } from '../src/gateway-stop.ts';
import { ManualClock } from '../src/runtime/clock.ts';
import type { Logger } from '../src/runtime/log.ts';

const never = () => new Promise<never>(() => {});

class Surroundings {
  readonly clock = new ManualClock();
  readonly logged: { level: string; text: string }[] = [];
  readonly logger: Logger;

  constructor() {
    const log = (level: string) => (_: object, text: string) => this.logged.push({ level, text });
    // The two levels that are used here.
    this.logger = { warn: log('warn'), error: log('error') } as unknown as Logger;
  }

  /** @returns what the work gave and the time it took. */
  async timed<T>(work: Promise<T>): Promise<{ value: T; tookMs: number }> {
    const startedMs = this.clock.monoMs();
    let isOver = false;
    const done = work.then((value) => ({ value, tookMs: this.clock.monoMs() - startedMs }));
    done.finally(() => {
      isOver = true;
    });
    for (let i = 0; i < 10; i++) await setImmediate();
    for (let i = 0; i < 200 && !isOver; i++) {
      this.clock.advance(100);
      await setImmediate();
    }
    return done;
  }
}

describe('the end of the gateway', () => {
  test('takes no time when every part ends by itself, the last started first', async () => {
    const around = new Surroundings();
    const order: string[] = [];
    const stages = ['cache', 'uplink', 'sources'].map((name) => ({ name, stop: () => void order.push(name) }));
    const { value, tookMs } = await around.timed(endAll(stages, around.clock, around.logger));
    expect(value).toEqual({ onDisk: true, leftBehind: false });
    expect(tookMs).toBe(0);
    expect(order).toEqual(['sources', 'uplink', 'cache']);
  });

  test('comes within 10 s although no part ends, and says that not everything is on disk', async () => {
    const around = new Surroundings();
    const stages = ['cache', 'uplink', 'sources'].map((name) => ({ name, stop: never }));
    const { value, tookMs } = await around.timed(endAll(stages, around.clock, around.logger));
    expect(value).toEqual({ onDisk: false, leftBehind: true });
    expect(tookMs).toBeLessThan(10_000);
    expect(around.logged.map(({ level }) => level)).toEqual(['warn', 'warn', 'error']);
  });

  test('names the readings that were taken and could not be committed', async () => {
    const around = new Surroundings();
    const pipeline = { name: 'the pipeline', stop: () => endPipeline({ stop: async () => 42 }) };
    const { value } = await around.timed(
      endAll([{ name: 'cache', stop: () => {} }, pipeline], around.clock, around.logger),
    );
    expect(value).toEqual({ onDisk: false, leftBehind: false });
    expect(around.logged).toMatchObject([{ level: 'error', text: expect.stringContaining('42 readings') }]);
  });

  test('sends while it waits for the last commit: that is what makes room', async () => {
    const around = new Surroundings();
    const steps: string[] = [];
    let makeRoom = () => {};
    const committed = () =>
      new Promise<void>((resolve) => {
        makeRoom = () => {
          steps.push('committed');
          resolve();
          makeRoom = () => {};
        };
      });
    const uplink = {
      drain: async () => {
        steps.push('drained');
        makeRoom();
      },
      stop: async () => void steps.push('stopped'),
    };
    await around.timed(endUplink(uplink, { committed }, around.clock));
    expect(steps).toEqual(['drained', 'committed', 'drained', 'stopped']);
  });

  test('does not wait for a commit for which there is no room, nor forget the uplink when the cache has failed', async () => {
    const around = new Surroundings();
    const stops: number[] = [];
    const uplink = { drain: async () => {}, stop: async () => void stops.push(around.clock.monoMs()) };
    const { tookMs } = await around.timed(endUplink(uplink, { committed: never }, around.clock));
    expect(tookMs).toBeLessThanOrEqual(4_000);
    const failed = endUplink(uplink, { committed: () => Promise.reject(new Error('the disk')) }, around.clock);
    await expect(failed).rejects.toThrow('the disk');
    expect(stops).toHaveLength(2);
  });
});
