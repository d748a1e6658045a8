/** Real cache, real sealing, real cloud, real sockets; only the cable misbehaves. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import type { CacheCore } from '../../src/cache/core.ts';
import { readCache } from '../../src/cache/reader.ts';
import { type Cloud, fixedDevices, startCloud } from '../../src/cloud/index.ts';
import { uplinkSchema } from '../../src/config/uplink.ts';
import { type Chunk, ChunkBuilder, isBad, Quality, slotKind, type TagDefinition } from '../../src/reading.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { startUplink, type Uplink } from '../../src/uplink/index.ts';
import { hex } from '../../src/wire/bytes.ts';
import { ContentDigest } from '../../src/wire/digest.ts';
import { generateCloudKey, generateDeviceKey, toPublic } from '../../src/wire/keys.ts';
import { asyncCache, openCore } from './core-cache.ts';
import { WireProxy } from './wire-proxy.ts';

const quiet = pino({ level: 'silent' });
const TAGS: readonly TagDefinition[] = [
  ...Array.from({ length: 16 }, (_, i) => ({ name: `plc/t${i}`, type: 'float64' as const, unit: '°C' })),
  { name: 'plc/energy', type: 'uint64', unit: 'Wh' },
  { name: 'plc/offset', type: 'int64' },
  { name: 'plc/pump', type: 'bool' },
  { name: 'plc/state', type: 'text' },
];

class Plant {
  readonly folder = mkdtempSync(join(tmpdir(), 'sluice-e2e-'));
  readonly device = generateDeviceKey();
  readonly keys = generateCloudKey();
  readonly cable = new WireProxy();
  readonly expected = new ContentDigest();
  cloud: Cloud | undefined;
  core: CacheCore | undefined;
  uplink: Uplink | undefined;
  committed = 0;

  async startCloud(dataDir = 'cloud'): Promise<void> {
    const { publicKey, device } = this.device;
    this.cloud = await startCloud({
      host: '127.0.0.1',
      port: 0,
      dataDir: join(this.folder, dataDir),
      keys: this.keys,
      devices: fixedDevices([{ device: hex(device), name: 'line3', publicKey: hex(publicKey) }]),
      clock: systemClock,
      logger: quiet,
    });
    this.cable.to = this.cloud.port;
  }

  openCache(): CacheCore {
    this.core = openCore(join(this.folder, 'cache'), this.device);
    TAGS.forEach((definition, index) => {
      this.core?.registerTag({ index, source: 'plc', definition, fields: { priority: 'normal' }, periodMs: 100 });
    });
    return this.core;
  }

  startUplink(config: Record<string, unknown> = {}): Uplink {
    if (this.core === undefined) throw new Error('open the cache first');
    const url = `http://127.0.0.1:${this.cable.port}`;
    this.uplink = startUplink(
      uplinkSchema.parse({
        url,
        keys: { device: 'd', cloud: 'c' },
        cutInterval: '50ms',
        liveMaxAge: '1s',
        rowsMax: 2000,
        timeout: '5s',
        ...config,
      }),
      asyncCache(this.core),
      { clock: systemClock, random: () => 0.02, logger: quiet, device: this.device, cloudKeys: toPublic(this.keys) },
    );
    return this.uplink;
  }

  /** Commits so many readings of all types; what they are is remembered on the other side of the ledger. */
  commit(rows: number): void {
    const builder = new ChunkBuilder(rows);
    const startMs = Date.now();
    for (let i = 0; i < rows; i++) {
      const n = this.committed + i;
      const tag = n % TAGS.length;
      const quality = n % 97 === 0 ? Quality.commError : Quality.good;
      const timeMs = startMs + i / 100;
      const type = TAGS[tag]?.type ?? 'float64';
      if (type === 'uint64' || type === 'int64') builder.pushInt64(tag, timeMs, BigInt(n) * 1_000_003n - 5n, quality);
      else if (type === 'text') builder.pushText(tag, timeMs, `state ${n % 7}`, quality);
      else builder.push(tag, timeMs, type === 'bool' ? n % 2 : Math.sin(n) * 100, quality);
    }
    const chunk = builder.take();
    this.#expect(chunk);
    this.committed += rows;
    this.core?.add({ chunk, counts: [{ source: 'plc', received: rows, rejected: 0, duplicate: 0, thinned: 0 }] });
    expect(this.core?.commit().done).toBe(true);
  }

  #expect({ length, tag, timeMs, value, quality, texts }: Chunk): void {
    const words = new Uint32Array(value.buffer, value.byteOffset, value.length * 2);
    for (let row = 0; row < length; row++) {
      const { name = '', type = 'float64' } = TAGS[tag[row] ?? 0] ?? {};
      const [at, q] = [timeMs[row] ?? 0, quality[row] ?? 0];
      if (type === 'text' && !isBad(q)) this.expected.addText(name, at, texts[value[row] ?? 0] ?? '', q);
      else
        this.expected.add(
          name,
          at,
          slotKind(type),
          isBad(q) ? 0 : (words[row * 2] ?? 0),
          isBad(q) ? 0 : (words[row * 2 + 1] ?? 0),
          q,
        );
    }
  }

  account() {
    const { ledger } = this.core?.stats() ?? {};
    return { source: ledger?.sources.plc, target: ledger?.targets.cloud?.plc };
  }

  async drained(timeoutMs = 15_000): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    while (this.core?.backlog('cloud').pendingReadings !== 0) {
      if (performance.now() > endMs) throw new Error(`not drained: ${JSON.stringify(this.uplink?.state(), null, 1)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** The oracle: the ledger adds up, and the cloud holds exactly what was committed, each once, equal. */
  async expectAllDelivered(): Promise<void> {
    const { source, target } = this.account();
    expect(source).toMatchObject({ accepted: this.committed });
    expect(target).toMatchObject({ delivered: this.committed, pending: 0, refused: 0, cloud_lost: 0, dropped: 0 });
    const response = await fetch(`${this.cloud?.url}/v1/digest?gateway=line3`);
    expect(await response.json()).toEqual({ gateway: 'line3', tags: Object.fromEntries(this.expected.result()) });
    const reader = readCache(join(this.folder, 'cache'));
    expect(reader.digest()).toEqual(this.expected.result());
    expect(reader.verify()).toMatchObject({ readings: this.committed, damaged: [], differences: [] });
    reader.close();
  }

  async start(): Promise<this> {
    await this.cable.listen();
    await this.startCloud();
    this.openCache();
    return this;
  }

  async stop(): Promise<void> {
    await this.uplink?.stop();
    await this.cable.close();
    await this.cloud?.close();
    this.core?.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const plants: Plant[] = [];
afterEach(async () => {
  for (const plant of plants.splice(0)) await plant.stop();
});

async function plant(): Promise<Plant> {
  const made = new Plant();
  plants.push(made);
  return await made.start();
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('end to end', () => {
  test('50,000 readings through an outage, lost answers and a restarted cloud: each there once, equal', async () => {
    const line = await plant();
    const uplink = line.startUplink();
    for (let i = 0; i < 10; i++) {
      line.commit(1000);
      if (i === 3) line.cable.loseAnswers = 4;
      await pause(40);
    }
    line.cable.cut();
    for (let i = 0; i < 20; i++) {
      line.commit(1500);
      await pause(60);
    }
    expect(uplink.state().breaker).toBe('open');
    await line.cloud?.close();
    await line.startCloud();
    for (let i = 0; i < 10; i++) {
      line.commit(1000);
      await pause(40);
    }
    await line.drained();
    expect(line.committed).toBe(50_000);
    await line.expectAllDelivered();
    expect(line.cable.lost).toBe(4);
    expect(uplink.state()).toMatchObject({ breaker: 'closed', holds: [], refusedReadings: 0 });
    expect(uplink.state().freshnessMs).toBeLessThan(5000);
    expect(uplink.state().ignored).toEqual({ unsigned: 0, foreign: 0, unknownKey: 0, malformed: 0 });
  });

  test('a restarted gateway learns by hello what was delivered before its marks were written', async () => {
    const line = await plant();
    line.commit(3000);
    // Every answer is lost: the cloud has the rows, the marks say they are pending.
    line.cable.loseAnswers = Number.MAX_SAFE_INTEGER;
    const first = line.startUplink({ timeout: '500ms' });
    await pause(600);
    await first.stop();
    expect(line.account().target).toMatchObject({ delivered: 0 });
    line.core?.close();
    line.openCache();
    line.cable.loseAnswers = 0;
    const second = line.startUplink();
    await line.drained();
    await line.expectAllDelivered();
    expect(second.state().delivered).toBeLessThan(3000);
  });

  test('a drain before the end delivers at once what would have waited for the next interval', async () => {
    const line = await plant();
    const uplink = line.startUplink({ cutInterval: '1h' });
    line.commit(100);
    await line.drained();
    line.commit(5000);
    const startedMs = performance.now();
    await uplink.drain(systemClock.monoMs() + 4000);
    expect(performance.now() - startedMs).toBeLessThan(3000);
    await uplink.stop();
    await line.expectAllDelivered();
  });

  test('a drain gives up where the cloud is away', async () => {
    const line = await plant();
    line.cable.cut();
    const uplink = line.startUplink();
    line.commit(100);
    while (uplink.state().breaker === 'closed') await pause(10);
    await uplink.drain(systemClock.monoMs() + 60_000);
    await uplink.stop();
    expect(line.account().target).toMatchObject({ delivered: 0, pending: 100 });
  });

  test('a cloud that lost its store is filled again with what is kept', async () => {
    const line = await plant();
    const uplink = line.startUplink();
    line.commit(2000);
    await line.drained();
    await line.cloud?.close();
    await line.startCloud('a new disk');
    line.commit(500);
    const endMs = performance.now() + 10_000;
    const count = async () => {
      const response = await fetch(`${line.cloud?.url}/v1/digest?gateway=line3`);
      const { tags } = (await response.json()) as { tags: Record<string, { count: number }> };
      return Object.values(tags).reduce((sum, tag) => sum + tag.count, 0);
    };
    while ((await count()) < 2500 && performance.now() < endMs) await pause(50);
    await line.drained();
    await line.expectAllDelivered();
    expect(uplink.state().lastHelloMs).toBeDefined();
  });
});
