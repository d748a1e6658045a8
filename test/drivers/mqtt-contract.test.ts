import { connect } from 'node:net';
import { mqtt } from '../../drivers/mqtt/index.ts';
import { driverContract } from './contract.ts';
import { WireBroker } from './wire-broker.ts';

driverContract('mqtt', async () => {
  const broker = await WireBroker.start();
  const settings = {
    url: broker.url,
    connectTimeout: '250ms',
    topics: [{ filter: 'sensors/+/climate', tag: '{1}/{field}', fields: { t: '$.t' } }],
  };
  return {
    driver: mqtt,
    settings,
    unreachable: { ...settings, url: `mqtt://127.0.0.1:${await closedPort()}` },
    speak: () => broker.publish({ topic: 'sensors/01/climate', payload: '{"t":21.5}', qos: 1 }),
    silence: () => {
      broker.silent = true;
    },
    hangUp: () => broker.hangUp(),
    connections: () => broker.connections,
    stop: () => broker.stop(),
  };
});

/** A port that was free a moment ago. */
async function closedPort(): Promise<number> {
  const broker = await WireBroker.start();
  const port = Number(new URL(broker.url).port);
  await broker.stop();
  await new Promise<void>((resolve) => connect(port, '127.0.0.1').on('error', () => resolve()));
  return port;
}
