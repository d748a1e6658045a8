/** What the uplink of a simulated gateway must never do. */
import type { UplinkLogger } from '../uplink/index.ts';
import type { World } from './world.ts';

/** One alarm batch, one live, four of the backlog, and a hello. */
const IN_FLIGHT_MAX = 7;

/** Told with each request that begins (+1) or ends (−1). */
export function countInFlight(world: World, name: string): (by: number) => void {
  let count = 0;
  return (by) => {
    count += by;
    if (count > IN_FLIGHT_MAX) world.problem(`${name} has ${count} requests under way`);
  };
}

export function uplinkLogger(world: World, name: string): UplinkLogger {
  const write = (level: string) => (facts: object, message: string) => {
    const error = 'error' in facts ? ` (${facts.error})` : '';
    world.log(`${name} ${level}: ${message}${error}`);
    if (message === 'uplink: unexpected') world.problem(`${name}: ${message}${error}`);
  };
  return { info: write('info'), warn: write('warn'), error: write('error') };
}
