import { startPlant } from '../plant/plant.ts';
import { aborted } from '../runtime/abort.ts';
import { systemClock } from '../runtime/clock.ts';
import { Exit, type ExitCode } from './exit.ts';
import type { Output } from './output.ts';
import { stopSignal } from './stop-signal.ts';

const HOST = '127.0.0.1';

export interface PlantCommand {
  readonly modbusPort: number;
  readonly mqttPort: number;
  readonly truthPort: number;
  readonly broker?: string;
  readonly seed: number;
}

export async function plant(options: PlantCommand, output: Output): Promise<ExitCode> {
  const stopped = stopSignal();
  const running = await startPlant({ ...options, host: HOST, clock: systemClock });
  const modbus = `${HOST}:${running.modbusPort}`;
  const { mqtt } = running;
  const [mqttHost = HOST, mqttPort = ''] = mqtt.split(':');
  if (output.terminal) {
    output.line(
      `Modbus TCP  ${modbus}   units 1, 2, 3     mbpoll -m tcp -p ${running.modbusPort} -a 1 -r 1 -c 5 ${HOST}`,
    );
    output.line(
      `MQTT        ${mqtt}   ten sensors       mosquitto_sub -h ${mqttHost} -p ${mqttPort} -t 'sensors/#' -v`,
    );
    output.line(`Truth       ${running.truthUrl}/published`);
    output.line('Ctrl-C ends it.');
  } else {
    output.line(JSON.stringify({ ready: true, modbus, mqtt, truth: running.truthUrl }));
  }
  await aborted(stopped);
  await running.stop();
  return Exit.fine;
}
