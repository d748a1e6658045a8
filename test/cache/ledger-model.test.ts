// Any order of what can happen to a cache: the account always adds up, and every reading is delivered once or written off.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readCache } from '../../src/cache/reader.ts';
import type { CutBatch } from '../../src/cache/types.ts';
import { chunk, drain, FarSide, folder, OK, openClock, openCore, request, START_MS, tag } from './rig.ts';

type Step =
  | { do: 'commit'; rows: number; tags: number }
  | { do: 'cut'; lane: 'alarm' | 'live' | 'backlog'; rowsMax: number }
  | { do: 'ack' | 'lose answer' | 'release' | 'refuse' | 'halve'; which: number }
  | { do: 'hello' | 'restart' | 'crash' | 'wait' }
  | { do: 'cloud forgets'; from: number; rows: number };

const which = fc.nat(7);
const steps = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant('commit' as const),
        rows: fc.integer({ min: 1, max: 60 }),
        tags: fc.integer({ min: 1, max: 4 }),
      }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('cut' as const),
        lane: fc.constantFrom('alarm' as const, 'live' as const, 'backlog' as const),
        rowsMax: fc.integer({ min: 1, max: 50 }),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constantFrom(
          'ack' as const,
          'lose answer' as const,
          'release' as const,
          'refuse' as const,
          'halve' as const,
        ),
        which,
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constantFrom('hello' as const, 'restart' as const, 'crash' as const, 'wait' as const),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('cloud forgets' as const),
        from: fc.integer({ min: 1, max: 100 }),
        rows: fc.integer({ min: 1, max: 30 }),
      }),
    },
  ),
  { minLength: 5, maxLength: 60 },
);

const names = ['a/x', 'a/y', 'b/x', 'c/x'];

class Model {
  readonly place = folder();
  readonly clock = openClock();
  readonly far = new FarSide();
  core = this.open();
  flying: CutBatch[] = [];
  written = new Set<string>();
  value = 0;

  open() {
    const core = openCore(this.place.path, this.clock);
    names.forEach((name, index) => {
      core.registerTag(tag(index, name, 'float64', index === 1 ? { priority: 'low' } : {}));
    });
    return core;
  }

  run(step: Step): void {
    switch (step.do) {
      case 'commit': {
        const rows = Array.from({ length: step.rows }, (_, i): [number, number, number] => {
          this.written.add(String(++this.value));
          return [i % step.tags, START_MS + this.value, this.value];
        });
        this.core.add({ chunk: chunk(rows) });
        expect(this.core.commit().done).toBe(true);
        break;
      }
      case 'cut': {
        const batch = this.core.cut(request(step.lane, { rowsMax: step.rowsMax }));
        if (batch !== undefined) this.flying.push(batch);
        break;
      }
      case 'ack':
        this.answer(step.which, (batch) => {
          if (this.far.take(batch) === 'ok') this.core.acknowledge(batch.batchId, OK);
          else this.core.release(batch.batchId);
        });
        break;
      case 'lose answer':
        this.answer(step.which, (batch) => {
          this.far.take(batch);
          this.core.release(batch.batchId);
        });
        break;
      case 'release':
        this.answer(step.which, (batch) => this.core.release(batch.batchId));
        break;
      case 'refuse':
        this.answer(step.which, (batch) => this.core.refuse(batch.batchId, 'test'));
        break;
      case 'halve':
        this.answer(step.which, (batch) => {
          const halves = (batch.halves ?? []).map((only) => this.core.cut(request(batch.lane, { only })));
          this.core.release(batch.batchId);
          for (const half of halves) if (half !== undefined) this.flying.push(half);
        });
        break;
      case 'hello':
        this.hello();
        break;
      case 'restart':
      case 'crash':
        if (step.do === 'restart') this.core.close();
        // A crash leaves the old one as it is: it is not asked again.
        this.flying = [];
        this.core = this.open();
        break;
      case 'wait':
        this.clock.advance(15_000);
        break;
      case 'cloud forgets':
        for (const key of this.far.held.keys())
          this.far.forget(key, [{ from: step.from, to: step.from + step.rows - 1 }]);
        this.hello();
        break;
    }
  }

  answer(at: number, work: (batch: CutBatch) => void): void {
    const [batch] = this.flying.splice(at % Math.max(1, this.flying.length), 1);
    if (batch !== undefined) work(batch);
  }

  hello(): void {
    this.core.hello(this.core.helloRuns('cloud'), this.far.answer());
  }

  check(): void {
    const reader = readCache(this.place.path);
    const report = reader.verify();
    reader.close();
    expect(report).toMatchObject({ ok: true, differences: [], damaged: [] });
    const { sources } = this.core.stats().ledger;
    expect(Object.values(sources).reduce((sum, { accepted }) => sum + accepted, 0)).toBe(this.written.size);
  }

  end(): void {
    for (const { batchId } of this.flying) this.core.release(batchId);
    this.flying = [];
    this.hello();
    this.clock.advance(60_000);
    drain(this.core, this.far);
    this.check();
    const accounts = Object.values(this.core.stats().ledger.targets.cloud ?? {});
    const sum = (pick: (account: (typeof accounts)[number]) => number) =>
      accounts.reduce((all, each) => all + pick(each), 0);
    expect(sum(({ pending }) => pending)).toBe(0);
    const values = this.far.readings().map((row) => row.split(' ')[2] ?? '');
    expect(new Set(values).size).toBe(values.length);
    for (const value of values) expect(this.written).toContain(value);
    // What is delivered by the ledger is there, and nothing that is there was written off.
    expect(values.length).toBe(sum(({ delivered }) => delivered));
    expect(sum(({ delivered, refused }) => delivered + refused)).toBe(this.written.size);
    this.core.close();
    this.place.remove();
  }
}

describe('the ledger', () => {
  test('adds up after any order of commits, cuts, answers, refusals, restarts and restored clouds', () => {
    fc.assert(
      fc.property(steps, (plan) => {
        const model = new Model();
        try {
          for (const step of plan) {
            model.run(step);
            model.check();
          }
          model.end();
        } finally {
          model.place.remove();
        }
      }),
      { numRuns: 40 },
    );
  }, 60_000);
});
