/** `npm run simulate -- [--seeds N] [--first N] [--seed N] [--steps N] [--from N] [--verbose]` */
import { parseArgs } from 'node:util';
import { asError, describe } from '../errors.ts';
import { STEPS, simulate, type Verdict } from './simulate.ts';

const { values } = parseArgs({
  options: {
    /** How many, from `first` on. */
    seeds: { type: 'string', default: '200' },
    first: { type: 'string', default: '1' },
    /** Only this one. */
    seed: { type: 'string' },
    steps: { type: 'string', default: String(STEPS) },
    from: { type: 'string', default: '0' },
    verbose: { type: 'boolean', default: false },
  },
});

const steps = whole('steps');
const from = whole('from');
const [first, seeds] = values.seed === undefined ? [whole('first'), whole('seeds')] : [whole('seed'), 1];

/** A mistyped number must not pass as a night without a failure. */
function whole(name: 'seeds' | 'first' | 'seed' | 'steps' | 'from'): number {
  const text = values[name] ?? '';
  if (/^\d+$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text);
  process.stderr.write(`--${name} takes a whole number, not ${text}\n`);
  process.exit(2);
}

/** What throws is told with its seed, and the others are told all the same. */
async function told(seed: number): Promise<Verdict> {
  try {
    return await simulate(seed, { steps, from, verbose: values.verbose });
  } catch (thrown) {
    const problems = [asError(thrown).stack ?? describe(thrown)];
    return { seed, problems, hash: '', events: 0, readings: 0, simulatedMs: 0, lastEvents: [] };
  }
}

function report({ seed, problems, lastEvents }: Verdict): void {
  process.stdout.write(`\nseed ${seed} fails:\n`);
  for (const problem of problems) process.stdout.write(`  ${problem}\n`);
  process.stdout.write(`\nthe last events:\n`);
  for (const event of lastEvents) process.stdout.write(`  ${event}\n`);
  process.stdout.write(`\nagain: npm run simulate -- --seed ${seed} --steps ${steps} --from ${from} --verbose\n\n`);
}

let failed = 0;
let readings = 0;
let events = 0;
let simulatedMs = 0;
for (let seed = first; seed < first + seeds; seed++) {
  const verdict = await told(seed);
  readings += verdict.readings;
  events += verdict.events;
  simulatedMs += verdict.simulatedMs;
  if (verdict.problems.length > 0) {
    failed++;
    report(verdict);
  } else if (seeds === 1) process.stdout.write(`seed ${seed}: ${verdict.hash}\n`);
  else if ((seed - first + 1) % 100 === 0) process.stdout.write(`${seed - first + 1} seeds, ${failed} failed\n`);
}
const hours = Math.round(simulatedMs / 3_600_000);
process.stdout.write(
  `seeds ${first} to ${first + seeds - 1}: ${failed} failed; ${hours} h simulated, ${events} events, ${readings} readings\n`,
);
process.exitCode = failed === 0 ? 0 : 1;
