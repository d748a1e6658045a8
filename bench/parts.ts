/** The parts of `npm run bench`, in the order in which they run. */
import { benchBacklog } from './backlog.ts';
import { benchIdle } from './idle.ts';
import { type InProcess, inOwnProcess } from './in-process.ts';
import { benchLatest } from './latest.ts';
import { benchModbus } from './modbus.ts';
import { benchMqtt } from './mqtt.ts';
import type { BenchResult } from './result.ts';

export interface Scale {
  /** Short, to see that everything works: the figures say little. */
  readonly quick: boolean;
  /** What is compared with each other runs in turn within one run. */
  readonly runs: number;
}

export interface Part {
  readonly name: string;
  readonly about: string;
  run(scale: Scale): Promise<readonly (readonly BenchResult[])[]>;
}

export const PARTS: readonly Part[] = [
  {
    name: 'wire',
    about: 'the plant trace as blocks, payloads and envelopes',
    run: (scale) => repeated(scale, () => inOwnProcess('wire', scale)),
  },
  {
    name: 'pipeline',
    about: 'registry, validation, deadband, alarms',
    run: (scale) => repeated(scale, () => inOwnProcess('pipeline', scale)),
  },
  {
    name: 'cache',
    about: 'in process, columns in, durable out',
    async run(scale) {
      const measure = (what: InProcess) => inOwnProcess(what, scale);
      const fast = await repeated(scale, () => measure('throughput'));
      // Bytes do not depend on what else runs: beside each other these take 20 s, not 60.
      const slow = await Promise.all(Array.from({ length: scale.runs }, () => measure('plant-rate')));
      return [...fast, ...slow, await measure('written'), ...(await repeated(scale, () => measure('steps')))];
    },
  },
  {
    name: 'history',
    about: 'questions to 100 million readings, rolled up; building them takes minutes',
    run: async (scale) => [await inOwnProcess('history', scale)],
  },
  {
    name: 'latest',
    about: 'the latest values of 10,000 tags, asked of a gateway that reads them',
    run: (scale) => repeated(scale, () => benchLatest(scale)),
  },
  {
    name: 'mqtt',
    about: 'MQTT in, durable, acknowledged; a gateway process',
    run: (scale) => repeated(scale, () => benchMqtt(scale)),
  },
  { name: 'backlog', about: 'a backlog drained to a cloud process', run: benchBacklog },
  { name: 'idle', about: 'a gateway with 500 tags at rest, and its start', run: benchIdle },
  { name: 'modbus', about: '100 registers a request, beside modbus-serial', run: benchModbus },
];

async function repeated(
  { runs }: Scale,
  measure: () => Promise<readonly BenchResult[]>,
): Promise<readonly (readonly BenchResult[])[]> {
  const results: (readonly BenchResult[])[] = [];
  for (let run = 0; run < runs; run++) results.push(await measure());
  return results;
}
