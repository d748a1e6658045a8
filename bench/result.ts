/** One figure of a benchmark, as it is printed and written to JSON. */
export interface BenchResult {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What we build to: at most this, or at least, where `atLeast` says so. */
  readonly target?: number;
  readonly atLeast?: boolean;
}

export function meetsTarget({ value, target, atLeast }: BenchResult): boolean {
  return target === undefined || (atLeast ? value >= target : value <= target);
}

export function formatResult(result: BenchResult): string {
  const { name, value, unit, target, atLeast } = result;
  const figure = value >= 1000 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);
  const goal =
    target === undefined
      ? ''
      : `  (target ${atLeast ? '≥' : '≤'} ${target.toLocaleString('en')}${meetsTarget(result) ? '' : ', MISSED'})`;
  return `${name.padEnd(58)} ${figure.padStart(10)} ${unit}${goal}`;
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
  samples.sort((a, b) => a - b);
  return samples[rounds >> 1] ?? 0;
}
