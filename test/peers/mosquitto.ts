/** A mosquitto on a free port of this machine, with its files in a folder of its own. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, listening } from './modbus-ports.ts';

const succeeds = (command: string) => spawnSync('sh', ['-c', command]).status === 0;
// Debian keeps daemons where users have no path to.
const DAEMON = ['/usr/sbin/mosquitto', '/usr/local/sbin/mosquitto'].find((path) => succeeds(`test -x ${path}`));
export const hasMosquitto = DAEMON !== undefined && succeeds('command -v mosquitto_pub && command -v mosquitto_sub');
export const hasOpenssl = succeeds('command -v openssl');

export class Mosquitto {
  readonly folder = mkdtempSync(join(tmpdir(), 'sluice-mosquitto-'));
  port = 0;
  #child: ChildProcess | undefined;

  static async start(lines: readonly string[] = ['allow_anonymous true']): Promise<Mosquitto> {
    const broker = new Mosquitto();
    broker.port = await freePort();
    await broker.run(lines);
    return broker;
  }

  /** Also again, on the same port and files. */
  async run(lines: readonly string[] = ['allow_anonymous true']): Promise<void> {
    const config = [
      // Else QoS 1 waits for delayed acknowledgements of TCP.
      'set_tcp_nodelay true',
      'persistence true',
      `persistence_location ${this.folder}/`,
      'user root',
      `listener ${this.port} 127.0.0.1`,
      ...lines,
    ];
    writeFileSync(join(this.folder, 'mosquitto.conf'), `${config.join('\n')}\n`);
    const child = spawn(DAEMON ?? '', ['-c', join(this.folder, 'mosquitto.conf')], { stdio: 'ignore' });
    this.#child = child;
    await listening(this.port, child);
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  /** SIGTERM saves its sessions, SIGKILL does not. */
  async kill(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'exit');
  }

  async stop(): Promise<void> {
    await this.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}
