/** A thread that tells one story after another, as it is asked: `many.ts` asks. */
import { parentPort, workerData } from 'node:worker_threads';
import type { SimulationOptions } from './simulate.ts';
import { told } from './told.ts';

const port = parentPort;
if (port === null) throw new Error('teller.ts is started by many.ts');
// Given by many.ts.
const options = workerData as SimulationOptions;
port.on('message', (seed: number) => {
  told(seed, options).then((verdict) => port.postMessage(verdict));
});
