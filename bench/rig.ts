/** Gateways and clouds as processes of their own, by the command that users run, with fresh keys in a folder of its own. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { request } from 'undici';
import { Part } from '../src/demo/process.ts';
import type { GatewayStatus } from '../src/gateway.ts';
import { systemClock } from '../src/runtime/clock.ts';
import {
  type DeviceKey,
  formatCloudKey,
  formatCloudPublic,
  formatDeviceKey,
  generateCloudKey,
  generateDeviceKey,
  toPublic,
} from '../src/wire/keys.ts';
import { type Undo, watch } from './cleanup.ts';
import { type Usage, usageOf } from './procfs.ts';

export interface GatewayPlan {
  readonly sources: Readonly<Record<string, object>>;
  /** Of the cloud to deliver to; without it nothing is sent. */
  readonly cloudUrl?: string | undefined;
  /** Default: an empty one. */
  readonly cachePath?: string;
  readonly cache?: object;
}

export class Rig {
  readonly #undo: Undo;
  readonly #folder: string;
  readonly device: DeviceKey = generateDeviceKey();
  #count = 0;

  constructor(undo: Undo) {
    this.#undo = undo;
    this.#folder = undo.folder();
    const cloud = generateCloudKey();
    const entry = { device: hex(this.device.device), name: 'bench', publicKey: hex(this.device.publicKey) };
    this.#write('device.key', formatDeviceKey(this.device));
    this.#write('cloud.key', formatCloudKey(cloud));
    this.#write('cloud.pub', formatCloudPublic(toPublic(cloud)));
    this.#write('devices.json', JSON.stringify([entry]));
  }

  folder(name: string): string {
    const path = join(this.#folder, `${name}-${this.#count++}`);
    mkdirSync(path, { mode: 0o700 });
    return path;
  }

  /** With nothing in its store. */
  async cloud(): Promise<RunningPart> {
    const keys = ['--keys', join(this.#folder, 'cloud.key'), '--devices', join(this.#folder, 'devices.json')];
    return this.#start('cloud', ['cloud', '--port', '0', '--data', this.folder('cloud'), ...keys]);
  }

  async gateway({ sources, cloudUrl, cachePath, cache = {} }: GatewayPlan): Promise<Gateway> {
    const keys = { device: join(this.#folder, 'device.key'), cloud: join(this.#folder, 'cloud.pub') };
    const config = {
      gateway: { id: 'bench' },
      sources,
      cache: { path: cachePath ?? this.folder('cache'), ...cache },
      ...(cloudUrl === undefined ? {} : { uplink: { url: cloudUrl, keys } }),
      http: { listen: '127.0.0.1:0' },
      log: { level: 'info', format: 'json' },
    };
    // JSON is YAML.
    const file = this.#write(`gateway-${this.#count++}.yaml`, JSON.stringify(config));
    const startMs = performance.now();
    const { part, stop } = await this.#start('gateway', ['run', '-c', file]);
    return new Gateway(part, stop, performance.now() - startMs);
  }

  async #start(name: string, args: readonly string[]): Promise<RunningPart> {
    const logFile = join(this.#folder, `${name}-${this.#count++}.log`);
    const part = await Part.start({ name, args, env: { NO_COLOR: '1' }, logFile, clock: systemClock });
    const forget = watch(part.pid);
    let stopped: Promise<number> | undefined;
    const stop = () => {
      stopped ??= part.stop().finally(forget);
      return stopped;
    };
    this.#undo.add(stop);
    return { part, stop };
  }

  #write(name: string, text: string): string {
    const path = join(this.#folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }
}

export interface RunningPart {
  readonly part: Part;
  /** In order. @returns its exit code. */
  stop(): Promise<number>;
}

export class Gateway {
  readonly pid: number;
  /** From the start of the process to its ready line. */
  readonly startMs: number;
  readonly #url: string;
  readonly stop: () => Promise<number>;

  constructor(part: Part, stop: () => Promise<number>, startMs: number) {
    this.pid = part.pid;
    this.startMs = startMs;
    this.#url = part.fact('http');
    this.stop = stop;
  }

  usage(): Usage {
    return usageOf(this.pid);
  }

  async status(): Promise<GatewayStatus> {
    return JSON.parse(await this.text('/status')) as GatewayStatus;
  }

  /** What it answers over HTTP. */
  async text(path: string): Promise<string> {
    const { statusCode, body } = await request(`${this.#url}${path}`);
    const text = await body.text();
    if (statusCode !== 200) throw new Error(`${path} answered ${statusCode}: ${text.slice(0, 200)}`);
    return text;
  }

  /** Asks for the status until `holds`. @throws after `withinMs`, with what was missing. */
  async until(
    what: string,
    holds: (status: GatewayStatus) => boolean,
    { withinMs = 60_000, everyMs = 50 }: { withinMs?: number; everyMs?: number } = {},
  ): Promise<GatewayStatus> {
    const endMs = performance.now() + withinMs;
    for (;;) {
      const status = await this.status();
      if (holds(status)) return status;
      if (performance.now() > endMs) {
        const { sources, cache, backlog } = status;
        throw new Error(
          `${what}: not within ${withinMs} ms: ${JSON.stringify({ sources, ledger: cache.ledger, backlog })}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, everyMs));
    }
  }
}

export function accepted(status: GatewayStatus): number {
  return Object.values(status.cache.ledger.sources).reduce((sum, source) => sum + source.accepted, 0);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
