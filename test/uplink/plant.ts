/** A gateway's cache and uplink, a cloud, and the cable between them; with books of everything that was committed. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { pino } from 'pino';
import type { CacheCore } from '../../src/cache/core.ts';
import { readCache } from '../../src/cache/reader.ts';
import { type Cloud, type CloudOptions, fixedDevices, startCloud } from '../../src/cloud/index.ts';
import { uplinkSchema } from '../../src/config/uplink.ts';
import { type Chunk, ChunkBuilder, isBad, Quality, slotKind, type TagDefinition } from '../../src/reading.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { startUplink, type Uplink, type UplinkOptions } from '../../src/uplink/index.ts';
import { hex } from '../../src/wire/bytes.ts';
import { ContentDigest } from '../../src/wire/digest.ts';
import { generateCloudKey, generateDeviceKey, toPublic } from '../../src/wire/keys.ts';
import { asyncCache, openCore } from './core-cache.ts';
import { WireProxy } from './wire-proxy.ts';

const quiet = pino({ level: 'silent' });
export const TAGS: readonly TagDefinition[] = [
  ...Array.from({ length: 16 }, (_, i) => ({ name: `plc/t${i}`, type: 'float64' as const, unit: '°C' })),
  { name: 'plc/energy', type: 'uint64', unit: 'Wh' },
  { name: 'plc/offset', type: 'int64' },
  { name: 'plc/pump', type: 'bool' },
  { name: 'plc/state', type: 'text' },
];

export class Plant {
  readonly folder = mkdtempSync(join(tmpdir(), 'sluice-e2e-'));
  readonly device = generateDeviceKey();
  readonly keys = generateCloudKey();
  readonly cable = new WireProxy();
  readonly expected = new ContentDigest();
  cloud: Cloud | undefined;
  core: CacheCore | undefined;
  uplink: Uplink | undefined;
  committed = 0;

  async startCloud(dataDir = 'cloud', more: Partial<CloudOptions> = {}): Promise<void> {
    const { publicKey, device } = this.device;
    this.cloud = await startCloud({
      host: '127.0.0.1',
      port: 0,
      dataDir: join(this.folder, dataDir),
      keys: this.keys,
      devices: fixedDevices([{ device: hex(device), name: 'line3', publicKey: hex(publicKey) }]),
      clock: systemClock,
      logger: quiet,
      ...more,
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

  startUplink(config: Record<string, unknown> = {}, more: Partial<UplinkOptions> = {}): Uplink {
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
      {
        ...{ clock: systemClock, random: () => 0.02, logger: quiet },
        ...{ device: this.device, cloudKeys: toPublic(this.keys) },
        ...more,
      },
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

  /** By tag, as the cloud computes it from what it holds. */
  async cloudDigest(): Promise<Record<string, { count: number }>> {
    const response = await fetch(`${this.cloud?.url}/v1/digest?gateway=line3`);
    const { tags } = (await response.json()) as { tags: Record<string, { count: number }> }; // the cloud's own answer
    return tags;
  }

  deadLetters() {
    const reader = readCache(join(this.folder, 'cache'));
    const letters = reader.deadLetters(10);
    reader.close();
    return letters;
  }

  /** Commits one reading that is in no book: the cloud shall never hold it. */
  commitPoison(value: number): void {
    const builder = new ChunkBuilder(1);
    builder.push(0, Date.now(), value, Quality.good);
    const counts = [{ source: 'plc', received: 1, rejected: 0, duplicate: 0, thinned: 0 }];
    this.core?.add({ chunk: builder.take(), counts });
    expect(this.core?.commit().done).toBe(true);
  }

  /** The oracle: the ledger adds up, and the cloud holds exactly what was committed, each once, equal. */
  async expectAllDelivered(): Promise<void> {
    const { source, target } = this.account();
    expect(source).toMatchObject({ accepted: this.committed });
    expect(target).toMatchObject({ delivered: this.committed, pending: 0, refused: 0, cloud_lost: 0, dropped: 0 });
    expect(await this.cloudDigest()).toEqual(Object.fromEntries(this.expected.result()));
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

  /** What else must end with it, whatever the test finds. */
  readonly besides: (() => Promise<void>)[] = [];

  async stop(): Promise<void> {
    await this.uplink?.stop();
    for (const stop of this.besides.splice(0)) await stop();
    await this.cable.close();
    await this.cloud?.close();
    this.core?.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
