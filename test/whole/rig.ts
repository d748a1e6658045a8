/** A gateway and a cloud as real processes with real files, for tests of the whole: killed, slowed, and lied to about the time. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { request } from 'undici';
import { type CacheReader, readCache } from '../../src/cache/index.ts';
import { Part } from '../../src/demo/process.ts';
import type { GatewayStatus } from '../../src/gateway.ts';
import { sleep, systemClock } from '../../src/runtime/clock.ts';
import { hex } from '../../src/wire/bytes.ts';
import {
  formatCloudKey,
  formatCloudPublic,
  formatDeviceKey,
  generateCloudKey,
  generateDeviceKey,
  toPublic,
} from '../../src/wire/keys.ts';
import { freePort } from '../peers/modbus-ports.ts';

const POLL_MS = 50;
const WITHIN_MS = 60_000;
const GATEWAY_ID = 'box';

export interface CloudReading {
  readonly tag: string;
  readonly t: string;
  readonly v: unknown;
  readonly q: string;
}

export class Whole {
  readonly path = mkdtempSync(join(tmpdir(), 'sluice-whole-'));
  readonly cache: string;
  readonly #settings: Readonly<Record<string, unknown>>;
  #ports: { readonly cloud: number; readonly http: number } = { cloud: 0, http: 0 };
  #cloud: Part | undefined;
  #gateway: Part | undefined;

  /** @param settings of the configuration file; keys, cloud, cache folder and status page are filled in. */
  private constructor(settings: Readonly<Record<string, unknown>>) {
    this.#settings = settings;
    this.cache = join(this.path, 'cache');
    mkdirSync(join(this.path, 'cloud'), { mode: 0o700 });
    const device = generateDeviceKey();
    const cloud = generateCloudKey();
    const entry = { device: hex(device.device), name: GATEWAY_ID, publicKey: hex(device.publicKey) };
    this.#write('device.key', formatDeviceKey(device));
    this.#write('cloud.key', formatCloudKey(cloud));
    this.#write('cloud.pub', formatCloudPublic(toPublic(cloud)));
    this.#write('devices.json', JSON.stringify([entry]));
  }

  static async make(settings: Readonly<Record<string, unknown>>): Promise<Whole> {
    const whole = new Whole(settings);
    const [cloud, http] = [await freePort(), await freePort()];
    whole.#ports = { cloud, http };
    return whole;
  }

  get pid(): number {
    return this.#gateway?.pid ?? -1;
  }

  async startCloud(): Promise<void> {
    const trust = ['--keys', join(this.path, 'cloud.key'), '--devices', join(this.path, 'devices.json')];
    const args = ['cloud', '--port', String(this.#ports.cloud), '--data', join(this.path, 'cloud'), ...trust];
    this.#cloud = await this.#start('cloud', args, {});
  }

  async startGateway(env: Readonly<Record<string, string>> = {}): Promise<void> {
    const { cache = {}, uplink = {}, ...rest } = this.#settings as { cache?: object; uplink?: object }; // as the test wrote them
    const config = {
      gateway: { id: GATEWAY_ID },
      http: { listen: `127.0.0.1:${this.#ports.http}` },
      ...rest,
      cache: { path: this.cache, ...cache },
      uplink: {
        url: `http://127.0.0.1:${this.#ports.cloud}`,
        keys: { device: join(this.path, 'device.key'), cloud: join(this.path, 'cloud.pub') },
        ...uplink,
      },
    };
    // JSON is YAML.
    this.#write('sluice.yaml', JSON.stringify(config));
    this.#gateway = await this.#start('gateway', ['run', '-c', join(this.path, 'sluice.yaml')], env);
  }

  async killCloud(): Promise<void> {
    await this.#cloud?.kill();
    this.#cloud = undefined;
  }

  /** SIGTERM. @returns its exit code. */
  async stopGateway(): Promise<number> {
    const code = (await this.#gateway?.stop()) ?? 0;
    this.#gateway = undefined;
    return code;
  }

  async stop(): Promise<void> {
    await this.#gateway?.kill();
    await this.#cloud?.kill();
    rmSync(this.path, { recursive: true, force: true });
  }

  async status(): Promise<GatewayStatus> {
    return (await this.#ask(this.#ports.http, '/status')) as GatewayStatus;
  }

  /** @throws when it does not come true within a minute, with the gateway's last lines. */
  async until(what: string, holds: (status: GatewayStatus) => boolean, withinMs = WITHIN_MS): Promise<GatewayStatus> {
    const endMs = systemClock.monoMs() + withinMs;
    for (;;) {
      const status = await this.status();
      if (holds(status)) return status;
      if (systemClock.monoMs() > endMs) {
        const { ledger } = status.cache;
        throw new Error(`${what}: not within ${withinMs} ms: ${JSON.stringify(ledger)}\n${this.log().slice(-4000)}`);
      }
      await sleep(systemClock, POLL_MS);
    }
  }

  /** In order of time. */
  async cloudReadings(fromMs: number, toMs: number): Promise<readonly CloudReading[]> {
    const path = `/v1/readings?tag=*&from=${fromMs}&to=${toMs}&limit=100000`;
    const { readings, truncated } = (await this.#ask(this.#ports.cloud, path)) as {
      readings: CloudReading[];
      truncated: boolean;
    };
    if (truncated) throw new Error('more readings than one answer holds');
    return readings;
  }

  /** The cache's file, read as the command line does. */
  read<T>(work: (reader: CacheReader) => T): T {
    const reader = readCache(this.cache);
    try {
      return work(reader);
    } finally {
      reader.close();
    }
  }

  log(): string {
    return readFileSync(join(this.path, 'gateway.log'), 'utf8');
  }

  async #ask(port: number, path: string): Promise<unknown> {
    const { statusCode, body } = await request(`http://127.0.0.1:${port}${path}`);
    const text = await body.text();
    if (statusCode !== 200) throw new Error(`${path} answered ${statusCode}: ${text.slice(0, 200)}`);
    return JSON.parse(text);
  }

  #write(name: string, text: string): void {
    writeFileSync(join(this.path, name), text, { mode: 0o600 });
  }

  #start(name: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<Part> {
    const logFile = join(this.path, `${name}.log`);
    return Part.start({ name, args, env: { NO_COLOR: '1', ...env }, logFile, clock: systemClock });
  }
}

/** All sources and targets together. */
export function sums({ cache }: Pick<GatewayStatus, 'cache'>): Readonly<Record<string, number>> {
  const total: Record<string, number> = {};
  const accounts: object[] = [
    ...Object.values(cache.ledger.sources),
    ...Object.values(cache.ledger.targets.cloud ?? {}),
  ];
  for (const account of accounts)
    for (const [reason, readings] of Object.entries(account)) total[reason] = (total[reason] ?? 0) + Number(readings);
  return total;
}
