/** A process with the plant's broker (aedes). */
import { startPlantBroker } from '../src/plant/broker.ts';
import { serve } from './script.ts';

const { port } = await startPlantBroker();
serve({ port }, async () => ({}));
