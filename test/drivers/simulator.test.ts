import { describe, expect, test } from '@jest/globals';
import { simulator } from '../../drivers/simulator/index.ts';
import { type Chunk, ChunkBuilder, valueReader } from '../../src/reading.ts';
import { ManualClock } from '../../src/runtime/clock.ts';
import { driverContract } from './contract.ts';

driverContract(
  'simulator',
  () => ({
    driver: simulator,
    settings: {
      every: '1s',
      tags: [{ name: 'a' }, { name: 'b', shape: 'text' }, { name: 'c', shape: 'counter', count: 12 }],
    },
    stop: async () => {},
  }),
  { without: ['silence', 'hangUp', 'unreachable'] },
);

async function readings(settings: unknown, reads: number, stepMs: number): Promise<{ names: string[]; chunk: Chunk }> {
  const source = simulator.prepare(simulator.schema.parse(settings));
  if (source.open.mode !== 'poll') throw new Error('it polls');
  const tags = source.groups.flatMap((group) => group.tags);
  const clock = new ManualClock();
  let seed = 0;
  const random = () => {
    seed = (seed + 0.37) % 1;
    return seed;
  };
  const signal = new AbortController().signal;
  const session = await source.open.session(
    [tags.map((_, at) => at)],
    { gateway: 'box', source: 'sim', clock, random },
    signal,
  );
  const out = new ChunkBuilder();
  for (let read = 0; read < reads; read++) {
    await session.read([0], out, signal);
    clock.advance(stepMs);
  }
  await session.close();
  return { names: tags.map((tag) => tag.name), chunk: out.take() };
}

describe('simulator', () => {
  test('draws each shape between its bounds', async () => {
    const base = { period: '1s', amplitude: 2, offset: 10 };
    for (const shape of ['sine', 'ramp', 'square'] as const) {
      const { chunk } = await readings({ tags: [{ name: 'x', type: 'float64', shape, ...base }] }, 100, 10);
      expect(Math.max(...chunk.value)).toBeLessThanOrEqual(12);
      expect(Math.max(...chunk.value)).toBeGreaterThan(11.9);
      expect(Math.min(...chunk.value)).toBeGreaterThanOrEqual(8);
      expect(Math.min(...chunk.value)).toBeLessThan(8.1);
    }
  });

  test('counts exactly in 64 bits and wraps a 16 bit counter as a device does', async () => {
    const tags = [
      { name: 'big', shape: 'counter', type: 'uint64', offset: 2 ** 40, step: 3 },
      { name: 'small', shape: 'counter', type: 'uint16', offset: 65_534 },
    ];
    const { chunk } = await readings({ tags }, 3, 10);
    const read = valueReader(chunk);
    expect([0, 2, 4].map((row) => read(row, 'uint64'))).toEqual([2n ** 40n, 2n ** 40n + 3n, 2n ** 40n + 6n]);
    expect([1, 3, 5].map((row) => read(row, 'uint16'))).toEqual([65_534, 65_535, 0]);
  });

  test('repeats a random walk with the same seed', async () => {
    const settings = { tags: [{ name: 'x', shape: 'random-walk', step: 0.5 }] };
    const [first, second] = [await readings(settings, 50, 10), await readings(settings, 50, 10)];
    expect(second.chunk.value).toEqual(first.chunk.value);
    expect(new Set(first.chunk.value).size).toBeGreaterThan(40);
  });

  test('says its texts in turn and names many tags with leading zeros', async () => {
    const settings = { tags: [{ name: 's', shape: 'text', texts: ['on', 'off'], period: '10ms', count: 101 }] };
    const { names, chunk } = await readings(settings, 2, 10);
    expect([names[0], names[7], names[100]]).toEqual(['s_000', 's_007', 's_100']);
    const read = valueReader(chunk);
    expect(new Set([read(0, 'text'), read(101, 'text')])).toEqual(new Set(['on', 'off']));
  });

  test('refuses two tags of one name, and a shape that its type cannot hold', () => {
    const prepare = (settings: unknown) => simulator.prepare(simulator.schema.parse(settings));
    expect(() => prepare({ tags: [{ name: 'x' }, { name: 'x' }] })).toThrow('the tag x is there twice');
    expect(() => prepare({ tags: [{ name: 'x', shape: 'text', type: 'bool' }] })).toThrow(
      'the tag x has the shape text',
    );
  });
});
