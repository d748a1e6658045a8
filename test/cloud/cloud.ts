/** A receiver on a free loopback port with a folder of its own, and the few ways to talk to it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { type Cloud, type CloudOptions, type DeviceEntry, fixedDevices, startCloud } from '../../src/cloud/index.ts';
import { type Clock, ManualClock, systemClock } from '../../src/runtime/clock.ts';
import { ANSWER_CODES, type Answer, type AnswerName } from '../../src/wire/answer.ts';
import { generateCloudKey } from '../../src/wire/keys.ts';
import { Gateway, START_MS } from './gateway.ts';

export const quiet = pino({ level: 'silent' });
/** A day after the first reading. */
export const NOW_MS = START_MS + 86_400_000;

/** Its wall clock stands still; timers run. */
export function standing(wallMs = NOW_MS): Clock {
  const clock = new ManualClock(wallMs);
  return { ...systemClock, wallMs: () => clock.wallMs() };
}

export class Stand {
  readonly keys = generateCloudKey();
  readonly gateway = new Gateway(this.keys);
  readonly dataDir = mkdtempSync(join(tmpdir(), 'sluice-cloud-'));
  devices: DeviceEntry[] = [this.gateway.entry];
  #cloud: Cloud | undefined;

  async start(options: Partial<CloudOptions> = {}): Promise<Cloud> {
    this.#cloud = await startCloud({
      host: '127.0.0.1',
      port: 0,
      dataDir: this.dataDir,
      keys: this.keys,
      devices: fixedDevices(this.devices),
      clock: standing(),
      logger: quiet,
      ...options,
    });
    return this.#cloud;
  }

  get url(): string {
    return this.#cloud?.url ?? '';
  }

  async stop(): Promise<void> {
    await this.#cloud?.close();
  }

  async end(): Promise<void> {
    await this.stop();
    rmSync(this.dataDir, { recursive: true, force: true });
  }

  async post(path: string, body: Uint8Array): Promise<{ status: number; body: Uint8Array; headers: Headers }> {
    const response = await fetch(this.url + path, { method: 'POST', body: new Uint8Array(body) });
    return { status: response.status, body: new Uint8Array(await response.arrayBuffer()), headers: response.headers };
  }

  /** Sends a batch; the answer must be signed for these bytes. */
  async deliver(envelope: Uint8Array, gateway = this.gateway): Promise<Answer & { status: number; name: string }> {
    const { status, body } = await this.post('/v1/batches', envelope);
    const answer = gateway.verify(body, envelope);
    return { ...answer, status, name: nameOf(answer.code) };
  }

  // biome-ignore lint/suspicious/noExplicitAny: tests say what they expect of it
  async ask(path: string, token?: string): Promise<{ status: number; json: any; text: string }> {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const response = await fetch(this.url + path, { headers });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') && !path.includes('ndjson');
    return { status: response.status, text, json: isJson ? JSON.parse(text) : undefined };
  }
}

export function nameOf(code: number): string {
  // Every code of the table has its name.
  return (Object.keys(ANSWER_CODES) as AnswerName[]).find((name) => ANSWER_CODES[name] === code) ?? String(code);
}
