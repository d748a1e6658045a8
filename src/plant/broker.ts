/** The simulated plant's MQTT broker. It is a plant of no one: anybody on this machine may do anything. */
import { createServer } from 'node:net';
import { Aedes } from 'aedes';

export interface PlantBroker {
  readonly port: number;
  /** Resolves when every connection is closed. */
  close(): Promise<void>;
}

/** @param options.port 0, the default, takes a free one. */
export async function startPlantBroker(options: { host?: string; port?: number } = {}): Promise<PlantBroker> {
  const aedes = await Aedes.createBroker();
  // A client that breaks off is no fault of the plant's.
  aedes.on('clientError', () => {});
  aedes.on('connectionError', () => {});
  const server = createServer({ noDelay: true }, (socket) => {
    aedes.handle(socket);
  });
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(options.port ?? 0, options.host ?? '127.0.0.1', resolve);
    });
  } catch (error) {
    await new Promise<void>((resolve) => aedes.close(resolve));
    throw error;
  }
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await new Promise<void>((resolve) => aedes.close(resolve));
      await closed;
    },
  };
}
