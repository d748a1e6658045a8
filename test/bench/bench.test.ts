import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { chunksOf } from '../../bench/plant-chunks.ts';
import { plantTrace } from '../../bench/plant-trace.mjs';
import { type Figure, figuresOf, formatFigure, median } from '../../bench/result.ts';

const run = promisify(execFile);
const MAIN = fileURLToPath(new URL('../../dist/bench/main.js', import.meta.url));
const TIMEOUT_MS = 120_000;

interface Report {
  readonly machine: { readonly cpu: string; readonly fileSystem: string };
  readonly parts: readonly { readonly part: string; readonly figures: readonly Figure[]; readonly error?: string }[];
}

describe('npm run bench', () => {
  test(
    'measures what runs in process, and says on which machine',
    async () => {
      const { stdout } = await run(process.execPath, [MAIN, '--quick', '--json', 'pipeline', 'wire', 'cache']);
      const { machine, parts } = JSON.parse(stdout) as Report;
      expect(machine.cpu).not.toBe('');
      expect(parts.map(({ part, error }) => [part, error])).toEqual([
        ['wire', undefined],
        ['pipeline', undefined],
        ['cache', undefined],
      ]);
      const figures = parts.flatMap((part) => part.figures);
      expect(figures.length).toBeGreaterThan(20);
      // /proc is Linux's; elsewhere what it would tell is missing.
      const wrong = figures.filter(({ value }) => !(Number.isFinite(value) && value >= 0));
      expect(process.platform === 'linux' ? wrong : []).toEqual([]);
    },
    TIMEOUT_MS,
  );

  test('refuses a part that it does not have, and says which there are', async () => {
    const { code, stderr } = await run(process.execPath, [MAIN, 'wier']).catch((error) => error);
    expect(code).toBe(2);
    expect(stderr).toContain('wire, pipeline, cache');
  });
});

describe('figures', () => {
  const result = (value: number) => ({ name: 'speed', value, unit: '/s', target: 100, atLeast: true });

  test('are the middle of the runs, with the lowest and highest, beside the target', () => {
    const [figure, ...others] = figuresOf([[result(90)], [result(130)], [result(80)]]);
    expect(others).toEqual([]);
    expect(figure).toMatchObject({ value: 90, low: 80, high: 130, runs: 3, ratio: 0.9, met: false });
    expect(figure && formatFigure(figure)).toMatch(/speed +90 \/s +\[80 … 130\] +target ≥ 100: 0\.90 ×, MISSED$/);
  });

  test('meet a target that is a limit only below it', () => {
    const size = { name: 'size', value: 2, unit: 'B', target: 2.5 };
    expect(figuresOf([[size]])[0]?.met).toBe(true);
    expect(figuresOf([[{ ...size, value: 3 }]])[0]?.met).toBe(false);
  });

  test('of an even number of runs lie between the middle two', () => {
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([])).toBeNaN();
  });
});

describe('the plant trace in chunks', () => {
  test('is all there, in order, and goes on later when it is over', () => {
    const trace = plantTrace({ seconds: 2 });
    const chunks = [...chunksOf(trace, { fromRow: 900, rows: 1200, chunkRows: 450, passMs: 2000 })];
    expect(chunks.map(({ length }) => length)).toEqual([100, 450, 450, 100, 100]);
    const times = chunks.flatMap(({ timeMs }) => [...timeMs]);
    expect(times).toHaveLength(1200);
    expect(times[100]).toBe((trace.timeMs[0] ?? 0) + 2000);
    expect(times[1100]).toBe((trace.timeMs[0] ?? 0) + 4000);
    const values = chunks.flatMap(({ value }) => [...value]);
    expect(values.slice(100, 1100)).toEqual([...trace.value]);
  });
});
