/** Figures of a benchmark: what one run gave, and what several runs gave together. */
export interface BenchResult {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What we build to: at most this, or at least, where `atLeast` says so. */
  readonly target?: number;
  readonly atLeast?: boolean;
}

/** The middle of several runs, as it is printed and written to JSON. */
export interface Figure extends BenchResult {
  readonly low: number;
  readonly high: number;
  readonly runs: number;
  /** Value ÷ target; undefined without a target. */
  readonly ratio?: number;
  readonly met?: boolean;
}

const NAME_WIDTH = 64;
const VALUE_WIDTH = 10;
const SPREAD_WIDTH = 18;

export function meetsTarget({ value, target, atLeast }: BenchResult): boolean {
  return target === undefined || (atLeast ? value >= target : value <= target);
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? Number.NaN) + high) / 2;
}

/** One figure for each name, in order of first appearance. A run may lack a figure. */
export function figuresOf(runs: readonly (readonly BenchResult[])[]): Figure[] {
  const results = runs.flat();
  const firsts = results.filter(({ name }, at) => results.findIndex((other) => other.name === name) === at);
  return firsts.map((first) => {
    const values = results.filter(({ name }) => name === first.name).map(({ value }) => value);
    const value = median(values);
    const spread = { low: Math.min(...values), high: Math.max(...values), runs: values.length };
    const result = { ...first, value };
    if (first.target === undefined) return { ...result, ...spread };
    return { ...result, ...spread, ratio: value / first.target, met: meetsTarget(result) };
  });
}

export function formatFigure(figure: Figure): string {
  const { low, high, runs } = figure;
  const spread = runs > 1 ? `[${number(low)} … ${number(high)}]` : '';
  return line(figure, spread);
}

export function formatResult(result: BenchResult): string {
  return line(result, '');
}

function line(result: BenchResult, spread: string): string {
  const { name, value, unit, target, atLeast } = result;
  const figure = `${name.padEnd(NAME_WIDTH)} ${number(value).padStart(VALUE_WIDTH)} ${unit.padEnd(12)} ${spread.padEnd(SPREAD_WIDTH)}`;
  if (target === undefined) return figure.trimEnd();
  const ratio = `${(value / target).toFixed(2)} ×`;
  return `${figure}  target ${atLeast ? '≥' : '≤'} ${number(target)}: ${ratio}, ${meetsTarget(result) ? 'met' : 'MISSED'}`;
}

function number(value: number): string {
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)));
}

/** Middle of the CPU microseconds (user + system) that a call of `run` takes; warmed up first. */
export function cpuMicroseconds(run: () => void, { warmUp = 20, rounds = 7, calls = 20 } = {}): number {
  for (let i = 0; i < warmUp; i++) run();
  const samples: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const before = process.cpuUsage();
    for (let i = 0; i < calls; i++) run();
    const { user, system } = process.cpuUsage(before);
    samples.push((user + system) / calls);
  }
  return median(samples);
}
