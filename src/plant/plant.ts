/** The whole simulated plant: the model, its Modbus server, its MQTT broker with ten sensors, and the truth about it all. */
import { codeOf, SluiceError } from '../errors.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import { startPlantBroker } from './broker.ts';
import { startModbusPlant } from './modbus.ts';
import { PlantModel, SENSOR_COUNT, STEP_MS, sensorMessage } from './model.ts';
import { startSensors } from './sensor-clients.ts';
import { startTruth } from './truth.ts';

const SENSOR_PERIOD_MS = 1000;

export interface PlantOptions {
  readonly host: string;
  /** Each port: 0 takes a free one. */
  readonly modbusPort: number;
  readonly mqttPort: number;
  readonly truthPort: number;
  readonly seed: number;
  /** The sensors publish to this broker, `mqtt://host:port`, instead of one of the plant's own. */
  readonly broker?: string | undefined;
  readonly clock: Clock;
}

export interface Plant {
  readonly modbusPort: number;
  /** `host:port` of the broker. */
  readonly mqtt: string;
  readonly truthUrl: string;
  stop(): Promise<void>;
}

export async function startPlant(options: PlantOptions): Promise<Plant> {
  const { host, clock } = options;
  const model = new PlantModel({ seed: options.seed });
  const stages: (() => Promise<void>)[] = [];
  const stop = async () => {
    for (const stage of stages.reverse()) await stage();
    stages.length = 0;
  };
  try {
    stages.push(stepping(model, clock));
    const modbus = await startModbusPlant({ host, port: options.modbusPort, model });
    stages.push(() => modbus.close());
    const own = options.broker === undefined ? await startPlantBroker({ host, port: options.mqttPort }) : undefined;
    if (own !== undefined) stages.push(() => own.close());
    const url = options.broker ?? `mqtt://${host}:${own?.port}`;
    const sensors = await startSensors({
      url,
      count: SENSOR_COUNT,
      everyMs: SENSOR_PERIOD_MS,
      reading: sensorMessage,
      clock,
    });
    stages.push(() => sensors.stop());
    const truth = await startTruth({
      host,
      port: options.truthPort,
      model,
      published: () => sensors.published(),
      quiet: () => sensors.stop(),
    });
    stages.push(() => truth.close());
    return { modbusPort: modbus.port, mqtt: new URL(url).host, truthUrl: truth.url, stop };
  } catch (cause) {
    await stop();
    if (codeOf(cause) !== 'EADDRINUSE') throw cause;
    throw new SluiceError('plant.listen_failed', 'stop', 'the simulated plant cannot listen: a port is taken', {
      cause,
      hint: 'Another plant may run. Choose other ports with --modbus-port and --mqtt-port; 0 takes a free one.',
    });
  }
}

function stepping(model: PlantModel, clock: Clock): () => Promise<void> {
  let timer: Timer;
  const step = () => {
    model.step(clock.wallMs());
    timer = clock.after(STEP_MS, step);
  };
  timer = clock.after(STEP_MS, step);
  return async () => timer.cancel();
}
