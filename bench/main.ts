/**
 * `npm run bench [-- [--quick] [--json] [part …]]`: how fast, how small, at what cost, on this machine. A table as it goes
 * (on stderr where stdout is for JSON), each figure the median of three runs with the lowest and highest beside it, and
 * beside what we build to. A target that is missed is shown and changes nothing else: the exit code is 1 only when a
 * part could not be measured. BENCH_DIR names the folder to work in, for the disk that is of interest.
 */
import { parseArgs } from 'node:util';
import { describeMachine, formatMachine } from './machine.ts';
import { watchOthers } from './others.ts';
import { PARTS, type Part, type Scale } from './parts.ts';
import { type Figure, figuresOf, formatFigure } from './result.ts';

const RUNS = 3;
const USAGE_EXIT = 2;
/** What a machine that does nothing else is busy with all the same. */
const OTHERS_SHARE_MAX = 0.05;

interface PartReport {
  readonly part: string;
  readonly seconds: number;
  /** Of the machine, 0 to 1, that other processes took meanwhile. */
  readonly others: number;
  readonly figures: readonly Figure[];
  /** Why there are none. */
  readonly error?: string;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { json: { type: 'boolean', default: false }, quick: { type: 'boolean', default: false } },
  });
  const unknown = positionals.find((name) => !PARTS.some((part) => part.name === name));
  if (unknown !== undefined)
    throw new TypeError(`${unknown} is no part: there are ${PARTS.map(({ name }) => name).join(', ')}`);
  const print = values.json ? console.error : console.log;
  const chosen = PARTS.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  const machine = describeMachine();
  print(formatMachine(machine));
  const scale = { quick: values.quick, runs: values.quick ? 1 : RUNS };
  const parts: PartReport[] = [];
  for (const part of chosen) parts.push(await report(part, scale, print));
  const missed = parts.flatMap(({ figures }) => figures).filter(({ met }) => met === false);
  print(`\n${missed.length === 0 ? 'Every target is met.' : `${missed.length} missed:`}`);
  for (const figure of missed) print(formatFigure(figure));
  if (values.json) console.log(JSON.stringify({ machine, quick: scale.quick, runs: scale.runs, parts }, null, 2));
  return parts.some(({ error }) => error !== undefined) ? 1 : 0;
}

async function report(part: Part, scale: Scale, print: (line: string) => void): Promise<PartReport> {
  print(`\n${part.name}: ${part.about}`);
  const startMs = performance.now();
  const othersSince = watchOthers();
  const circumstances = () => ({ part: part.name, seconds: secondsSince(startMs), others: othersSince() });
  try {
    const figures = figuresOf(await part.run(scale));
    for (const figure of figures) print(formatFigure(figure));
    const report = { ...circumstances(), figures };
    if (report.others > OTHERS_SHARE_MAX) print(disturbed(report.others));
    return report;
  } catch (error) {
    print(`could not be measured: ${error instanceof Error ? error.stack : error}`);
    return { ...circumstances(), figures: [], error: String(error) };
  }
}

function disturbed(share: number): string {
  return `Other processes took ${Math.round(share * 100)} % of the machine meanwhile: on a quiet one the figures are better.`;
}

function secondsSince(startMs: number): number {
  return Math.round(performance.now() - startMs) / 1000;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof TypeError)) throw error;
  console.error(error.message);
  process.exitCode = USAGE_EXIT;
}
