/** The demo's folder, keys and processes: plant, cloud and gateway, each with real protocols on free loopback ports. */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { SluiceError } from '../errors.ts';
import { builtFile } from '../runtime/built.ts';
import type { Clock } from '../runtime/clock.ts';
import { writePair } from '../runtime/safe-write.ts';
import { cloudFiles, deviceFiles } from '../wire/keyfiles.ts';
import { generateCloudKey, generateDeviceKey } from '../wire/keys.ts';
import { Part } from './process.ts';

/** Beside `dist/` in the project and in the package. */
export const DEMO_CONFIG = join(dirname(builtFile(import.meta.url, './parts.js')), '../../../examples/demo.yaml');
const HOST = '127.0.0.1';

export interface DemoFolder {
  readonly path: string;
  readonly config: string;
  readonly cache: string;
  readonly cloudData: string;
  log(part: string): string;
  /** Removes it, unless the user named it. */
  remove(): void;
}

export function demoFolder(named: string | undefined): DemoFolder {
  const path = named ?? mkdtempSync(join(tmpdir(), 'sluice-demo-'));
  for (const folder of ['keys', 'cloud', 'logs']) mkdirSync(join(path, folder), { recursive: true, mode: 0o700 });
  makeKeys(join(path, 'keys'));
  return {
    path,
    config: DEMO_CONFIG,
    cache: join(path, 'cache'),
    cloudData: join(path, 'cloud'),
    log: (part) => join(path, 'logs', `${part}.log`),
    remove: () => {
      if (named === undefined) rmSync(path, { recursive: true, force: true });
    },
  };
}

function makeKeys(folder: string): void {
  // A named folder is used again: new keys could not open what the old ones sealed.
  if (existsSync(join(folder, 'devices.json'))) return;
  const device = generateDeviceKey();
  const cloud = generateCloudKey();
  const { secret, public: open } = deviceFiles(device, 'demo');
  writePair(folder, cloudFiles(cloud));
  // Last: where it is there, all are.
  writePair(folder, { secret, public: ['devices.json', open[1]] });
}

/** Ports that are free now and stay the same while parts are killed and started again. */
export interface DemoPorts {
  readonly cloud: number;
  readonly hmi: number;
  readonly http: number;
}

export async function freePorts(): Promise<DemoPorts> {
  const [cloud, hmi, http] = await Promise.all([freePort(), freePort(), freePort()]);
  return { cloud, hmi, http };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, HOST, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

/** Starts the parts, and starts them again after they were killed. */
export class Parts {
  readonly #folder: DemoFolder;
  readonly #ports: DemoPorts;
  readonly #clock: Clock;
  readonly #seed: number;
  readonly #broker: string | undefined;
  readonly #onDied: (error: SluiceError) => void;
  #plant: Part | undefined;
  #cloud: Part | undefined;
  #gateway: Part | undefined;

  constructor(options: {
    readonly folder: DemoFolder;
    readonly ports: DemoPorts;
    readonly clock: Clock;
    readonly seed: number;
    /** The sensors' broker, when it is not the plant's own. */
    readonly broker?: string;
    readonly onDied: (error: SluiceError) => void;
  }) {
    this.#folder = options.folder;
    this.#ports = options.ports;
    this.#clock = options.clock;
    this.#seed = options.seed;
    this.#broker = options.broker;
    this.#onDied = options.onDied;
  }

  get httpUrl(): string {
    return `http://${HOST}:${this.#ports.http}`;
  }
  get cloudUrl(): string {
    return `http://${HOST}:${this.#ports.cloud}`;
  }
  get hmiPort(): number {
    return this.#ports.hmi;
  }
  get truthUrl(): string {
    return this.#plant?.fact('truth') ?? '';
  }
  get plant(): Part | undefined {
    return this.#plant;
  }

  async startPlant(): Promise<void> {
    const args = ['plant', '--modbus-port', '0', '--mqtt-port', '0', '--truth-port', '0', '--seed', String(this.#seed)];
    const broker = this.#broker === undefined ? [] : ['--broker', this.#broker];
    this.#plant = await this.#start('plant', [...args, ...broker]);
  }

  async startCloud(): Promise<void> {
    const keys = join(this.#folder.path, 'keys');
    const data = ['--data', this.#folder.cloudData];
    const trust = ['--keys', join(keys, 'cloud.key'), '--devices', join(keys, 'devices.json')];
    this.#cloud = await this.#start('cloud', ['cloud', '--port', String(this.#ports.cloud), ...data, ...trust]);
  }

  async startGateway(): Promise<void> {
    this.#gateway = await this.#start('gateway', ['run', '-c', this.#folder.config], {
      SLUICE_PLANT_MODBUS: this.#plant?.fact('modbus') ?? '',
      SLUICE_PLANT_MQTT: this.#plant?.fact('mqtt') ?? '',
      SLUICE_CACHE: this.#folder.cache,
      SLUICE_KEYS: join(this.#folder.path, 'keys'),
      SLUICE_CLOUD: this.cloudUrl,
      SLUICE_HMI: `${HOST}:${this.#ports.hmi}`,
      SLUICE_HTTP: `${HOST}:${this.#ports.http}`,
    });
  }

  /** SIGKILL: as a power cut would end it. */
  async killCloud(): Promise<void> {
    await this.#cloud?.kill();
    this.#cloud = undefined;
  }
  async killGateway(): Promise<void> {
    await this.#gateway?.kill();
    this.#gateway = undefined;
  }

  /** SIGTERM: it drains. @returns its exit code. */
  async stopGateway(): Promise<number> {
    const code = (await this.#gateway?.stop()) ?? 0;
    this.#gateway = undefined;
    return code;
  }

  async stopAll(): Promise<void> {
    await this.stopGateway();
    await Promise.all([this.#cloud?.stop(), this.#plant?.stop()]);
    this.#cloud = undefined;
    this.#plant = undefined;
  }

  #start(name: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Part> {
    return Part.start({
      name,
      args,
      env: { ...env, NO_COLOR: '1' },
      logFile: this.#folder.log(name),
      clock: this.#clock,
      onDied: this.#onDied,
    });
  }
}
