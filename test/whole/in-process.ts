// A whole gateway in this process (its worker is a real thread), with settings that no configuration file allows.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { request } from 'undici';
import { drivers } from '../../drivers/index.ts';
import { type Cloud, fixedDevices, startCloud } from '../../src/cloud/index.ts';
import { type Config, loadConfig } from '../../src/config/load.ts';
import { type GatewayStatus, runGateway } from '../../src/gateway.ts';
import { sleep, systemClock } from '../../src/runtime/clock.ts';
import { hex } from '../../src/wire/bytes.ts';
import {
  formatCloudPublic,
  formatDeviceKey,
  generateCloudKey,
  generateDeviceKey,
  toPublic,
} from '../../src/wire/keys.ts';

const WITHIN_MS = 60_000;
const POLL_MS = 50;

export class Site {
  readonly folder = mkdtempSync(join(tmpdir(), 'sluice-site-'));
  readonly cache = join(this.folder, 'cache');
  readonly log: { readonly level: number; readonly msg: string }[] = [];
  readonly #device = generateDeviceKey();
  readonly #keys = generateCloudKey();
  #cloud: Cloud | undefined;
  #port = 0;
  #url = '';
  #running: { readonly end: ReturnType<typeof runGateway>; readonly stop: AbortController } | undefined;

  constructor() {
    mkdirSync(join(this.folder, 'cloud'), { mode: 0o700 });
    this.#file('device.key', formatDeviceKey(this.#device));
    this.#file('cloud.pub', formatCloudPublic(toPublic(this.#keys)));
  }

  /** At the same port as before. */
  async startCloud(): Promise<void> {
    const { device, publicKey } = this.#device;
    this.#cloud = await startCloud({
      host: '127.0.0.1',
      port: this.#port,
      dataDir: join(this.folder, 'cloud'),
      keys: this.#keys,
      devices: fixedDevices([{ device: hex(device), name: 'box', publicKey: hex(publicKey) }]),
      clock: systemClock,
      logger: pino({ level: 'silent' }),
    });
    this.#port = this.#cloud.port;
  }

  async stopCloud(): Promise<void> {
    await this.#cloud?.close();
    this.#cloud = undefined;
  }

  /** @param settings of the file; the cloud, its keys and the cache's folder are filled in. @param change what no file allows. */
  async start(
    settings: Readonly<Record<string, unknown>>,
    change: (config: Config) => Config = (config) => config,
  ): Promise<void> {
    const { cache = {}, uplink = {}, ...rest } = settings as { cache?: object; uplink?: object }; // as the test wrote them
    const whole = {
      gateway: { id: 'box' },
      http: { listen: '127.0.0.1:0' },
      cache: { path: this.cache, ...cache },
      uplink: {
        url: `http://127.0.0.1:${this.#port === 0 ? 9 : this.#port}`,
        keys: { device: join(this.folder, 'device.key'), cloud: join(this.folder, 'cloud.pub') },
        ...uplink,
      },
      ...rest,
    };
    // JSON is YAML.
    const config = change(loadConfig(this.#file('sluice.yaml', JSON.stringify(whole)), drivers));
    const stop = new AbortController();
    let ready: (url: string) => void = () => {};
    const listening = new Promise<string>((resolve) => {
      ready = resolve;
    });
    const end = runGateway(config, {
      logger: pino({}, { write: (line: string) => void this.log.push(JSON.parse(line)) }),
      clock: systemClock,
      random: Math.random,
      version: '0.0.0',
      stopped: stop.signal,
      onReady: ({ http }) => ready(http ?? ''),
    });
    this.#running = { end, stop };
    this.#url = await Promise.race([listening, end.then(() => 'it has ended')]);
  }

  /** In order. */
  async end(): ReturnType<typeof runGateway> {
    const running = this.#running;
    this.#running = undefined;
    if (running === undefined) throw new Error('no gateway runs');
    running.stop.abort();
    return running.end;
  }

  async stop(): Promise<void> {
    if (this.#running !== undefined) await this.end().catch(() => {});
    await this.stopCloud();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async ask(path: string): Promise<{ code: number; text: string }> {
    const { statusCode, body } = await request(`${this.#url}${path}`);
    return { code: statusCode, text: await body.text() };
  }

  async until(what: string, holds: (status: GatewayStatus) => boolean): Promise<GatewayStatus> {
    const endMs = systemClock.monoMs() + WITHIN_MS;
    for (;;) {
      const status: GatewayStatus = JSON.parse((await this.ask('/status')).text);
      if (holds(status)) return status;
      if (systemClock.monoMs() > endMs) throw new Error(`${what}: ${JSON.stringify(status.cache)}`);
      await sleep(systemClock, POLL_MS);
    }
  }

  #file(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }
}
