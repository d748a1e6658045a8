import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { ListenSession } from '../../src/driver.ts';
import { type PlantBroker, startPlantBroker } from '../../src/plant/broker.ts';
import { type Sensors, startSensors } from '../../src/plant/sensor-clients.ts';
import { sensorMessage } from '../../src/plant/sensors.ts';
import { HandSink, KeptReceipts, openMqtt } from '../drivers/mqtt-source.ts';

let broker: PlantBroker;
let sensors: Sensors | undefined;
let session: ListenSession | undefined;
beforeEach(async () => {
  broker = await startPlantBroker();
});
afterEach(async () => {
  await session?.close();
  await sensors?.stop();
  session = undefined;
  sensors = undefined;
  await broker.close();
});

const settings = () => ({
  url: `mqtt://127.0.0.1:${broker.port}`,
  topics: [
    {
      filter: 'sensors/+/climate',
      tag: '{1}/{field}',
      fields: { t: '$.t', seq: { path: '$.seq', type: 'uint32' } },
      time: '$.ts',
    },
  ],
});
const tell = () => startSensors({ url: `mqtt://127.0.0.1:${broker.port}`, everyMs: 5, reading: sensorMessage });

/** `sensor seq` of everything that arrived, in order of sensor, then sequence. */
function heard(...sinks: HandSink[]): string[] {
  const rows = sinks.flatMap((sink) => sink.rows.filter((row) => row.tag.endsWith('/seq')));
  return rows.map((row) => `${row.tag.slice(0, 2)} ${String(row.value).padStart(6, '0')}`).sort();
}

function told(): string[] {
  const account = sensors?.published() ?? [];
  return account
    .map(({ topic, payload }) => `${topic.slice(8, 10)} ${String(JSON.parse(payload).seq).padStart(6, '0')}`)
    .sort();
}

describe('plant sensors', () => {
  test('tell a listener everything they account for, each once', async () => {
    const sink = new HandSink();
    session = await openMqtt(settings(), sink);
    sensors = await tell();
    await sink.until(() => sink.rows.length >= 400);
    await sensors.stop();
    expect(sensors.inFlight()).toBe(0);
    await sink.until(() => heard(sink).length >= told().length);
    expect(heard(sink)).toEqual(told());
    expect(new Set(told().map((entry) => entry.slice(0, 2))).size).toBe(10);
  });

  test('are heard without a gap or a double by a listener whose line breaks before its disk has it', async () => {
    const receipts = new KeptReceipts();
    const sinks: HandSink[] = [];
    /** Listens until there is enough, over as many connections as it takes: this broker also drops clients by itself. */
    const listen = async (isEnough: (sink: HandSink) => boolean): Promise<HandSink> => {
      for (;;) {
        const sink = new HandSink(receipts);
        sinks.push(sink);
        session = await openMqtt(settings(), sink);
        sensors ??= await tell();
        const lost = session.closed.then(
          () => true,
          () => true,
        );
        if (!(await Promise.race([lost, sink.until(() => isEnough(sink)).then(() => false)]))) return sink;
      }
    };
    for (let round = 0; round < 4; round++) {
      const sink = await listen((current) => current.rows.length >= 60);
      // Committed but not acknowledged: the line breaks in between.
      sink.fastDisk = false;
      await Promise.race([sink.until(() => sink.waiting > 0), session?.closed.catch(() => {})]);
      await session?.close();
    }
    await sensors?.stop();
    await listen(() => heard(...sinks).length >= told().length);
    expect(heard(...sinks)).toEqual(told());
  });
});
