/** One story, whatever happens in it. */
import { asError, describe } from '../errors.ts';
import { type SimulationOptions, simulate, type Verdict } from './simulate.ts';

/** What throws is told with its seed, and the others are told all the same. */
export async function told(seed: number, options: SimulationOptions): Promise<Verdict> {
  try {
    return await simulate(seed, options);
  } catch (thrown) {
    const problems = [asError(thrown).stack ?? describe(thrown)];
    const coverage = new Map<string, number>();
    return { seed, problems, hash: '', events: 0, readings: 0, simulatedMs: 0, lastEvents: [], coverage };
  }
}
