/** `npm run simulate -- [--seeds N] [--first N] [--seed N] [--steps N] [--from N] [--jobs N] [--verbose]` */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { Coverage, tellMany } from './many.ts';
import { STEPS, type Verdict } from './simulate.ts';

const { values } = parseArgs({
  options: {
    /** How many, from `first` on. */
    seeds: { type: 'string', default: '200' },
    first: { type: 'string', default: '1' },
    /** Only this one. */
    seed: { type: 'string' },
    steps: { type: 'string', default: String(STEPS) },
    from: { type: 'string', default: '0' },
    /** Threads. */
    jobs: { type: 'string', default: String(availableParallelism()) },
    verbose: { type: 'boolean', default: false },
  },
});

const steps = whole('steps');
const from = whole('from');
// One story is told by one.
const jobs = values.seed === undefined ? whole('jobs') : 1;
const [first, seeds] = values.seed === undefined ? [whole('first'), whole('seeds')] : [whole('seed'), 1];

/** A mistyped number must not pass as a night without a failure. */
function whole(name: 'seeds' | 'first' | 'seed' | 'steps' | 'from' | 'jobs'): number {
  const text = values[name] ?? '';
  if (/^\d+$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text);
  process.stderr.write(`--${name} takes a whole number, not ${text}\n`);
  process.exit(2);
}

function report({ seed, problems, lastEvents }: Verdict): void {
  process.stdout.write(`\nseed ${seed} fails:\n`);
  for (const problem of problems) process.stdout.write(`  ${problem}\n`);
  process.stdout.write(`\nthe last events:\n`);
  for (const event of lastEvents) process.stdout.write(`  ${event}\n`);
  process.stdout.write(`\nagain: npm run simulate -- --seed ${seed} --steps ${steps} --from ${from} --verbose\n\n`);
}

let failed = 0;
let told = 0;
let readings = 0;
let events = 0;
let simulatedMs = 0;
const coverage = new Coverage();
await tellMany({ first, seeds, jobs, steps, from, verbose: values.verbose }, (verdict) => {
  told++;
  readings += verdict.readings;
  events += verdict.events;
  simulatedMs += verdict.simulatedMs;
  coverage.add(verdict);
  if (verdict.problems.length > 0) {
    failed++;
    report(verdict);
  } else if (seeds === 1) process.stdout.write(`seed ${verdict.seed}: ${verdict.hash}\n`);
  else if (told % 100 === 0) process.stdout.write(`${told} seeds, ${failed} failed\n`);
});
const hours = Math.round(simulatedMs / 3_600_000);
if (seeds > 1) process.stdout.write(`\nwhat happened:\n${coverage.text()}\n`);
process.stdout.write(
  `seeds ${first} to ${first + seeds - 1}: ${failed} failed; ${hours} h simulated, ${events} events, ${readings} readings\n`,
);
process.exitCode = failed === 0 ? 0 : 1;
