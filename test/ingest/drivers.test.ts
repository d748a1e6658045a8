// From a config file through real drivers and the pipeline, on the system's clock: the parts fit together.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { drivers } from '../../drivers/index.ts';
import { loadConfig } from '../../src/config/load.ts';
import { type Ingest, type SourceState, startIngest } from '../../src/ingest/index.ts';
import { type Pipeline, startPipeline, TagRegistry } from '../../src/pipeline/index.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { Metrics } from '../../src/runtime/metrics.ts';
import { FakeCache } from '../pipeline/plant.ts';

let stop: (() => Promise<void>) | undefined;
afterEach(() => stop?.());

/** A Modbus TCP slave with one holding register that reads 215. */
function slave(): Promise<Server> {
  const server = createServer((socket) =>
    socket.on('data', (request) => {
      const count = request.readUInt16BE(10);
      const reply = Buffer.alloc(9 + count * 2);
      request.copy(reply, 0, 0, 8);
      reply.writeUInt16BE(3 + count * 2, 4);
      reply[8] = count * 2;
      for (let i = 0; i < count; i++) reply.writeUInt16BE(215, 9 + i * 2);
      socket.write(reply);
    }),
  );
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

test('a config with a live slave, a dead one and a simulator reads what there is and says what is wrong', async () => {
  const server = await slave();
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const folder = mkdtempSync(join(tmpdir(), 'sluice-ingest-'));
  const file = join(folder, 'sluice.yaml');
  const unit = (register: string) =>
    `units: [{ unit: 1, every: 50ms, tags: [{ name: t, register: "${register}", type: int16, scale: 0.1 }] }]`;
  writeFileSync(
    file,
    `
gateway: { id: line3 }
sources:
  alive: { driver: modbus, transport: "tcp://127.0.0.1:${port}", ${unit('holding:0')} }
  dead: { driver: modbus, transport: "tcp://127.0.0.1:1", ${unit('holding:0')} }
`,
  );
  const config = loadConfig(file, drivers, {});
  const cache = new FakeCache();
  const registry = new TagRegistry(config.pipeline.tagsMax, () => {});
  const metrics = new Metrics();
  const pipeline: Pipeline = startPipeline(config.pipeline, {
    registry,
    cache,
    clock: systemClock,
    hot: { update() {} },
  });
  const quiet = { debug() {}, info() {}, warn() {}, error() {} };
  const changes: SourceState[] = [];
  let ingest: Ingest | undefined;
  const bothKnown = new Promise<void>((resolve) => {
    ingest = startIngest(config.sources, {
      registry,
      pipeline,
      cache: { receipts: async () => [] },
      clock: systemClock,
      gateway: 'box',
      random: Math.random,
      logger: quiet,
      metrics,
      onState: (state) => {
        changes.push(state);
        pipeline.sourceState(state);
        if (new Set(changes.map(({ source }) => source)).size === 2) resolve();
      },
    });
  });
  stop = async () => {
    await ingest?.stop();
    await pipeline.stop();
    server.close();
    rmSync(folder, { recursive: true });
  };
  await bothKnown;
  await pipeline.durable();
  expect(changes.map(({ source, state }) => `${source} ${state}`).sort()).toEqual(['alive up', 'dead down']);
  expect(ingest?.states()[1]).toMatchObject({ error: { message: expect.any(String), code: expect.any(String) } });
  const alive = registry.byName('alive/t')?.index;
  expect(cache.rows().find(({ tag }) => tag === alive)).toMatchObject({ value: 21.5, quality: 0 });
  expect(cache.ledger().accepted).toBeGreaterThanOrEqual(2);
  expect(await metrics.text()).toMatch(/sluice_source_up\{source="alive"\} 1\n.*source="dead"\} 0/);
});
