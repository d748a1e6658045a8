/** Software that others wrote and that is not an npm package: used where it is installed. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { accessSync, constants, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Undo, watch } from './cleanup.ts';

const HOST = '127.0.0.1';
const UP_TIMEOUT_MS = 10_000;
const LOOK_MS = 20;
// Debian keeps daemons where users have no path to.
const MOSQUITTO = ['/usr/sbin/mosquitto', '/usr/local/sbin/mosquitto', '/opt/homebrew/sbin/mosquitto'];
const LIBMODBUS_HEADER = '/usr/include/modbus/modbus.h';
/** Shared with the tests against libmodbus. */
const LIBMODBUS_SERVER = fileURLToPath(new URL('../../test/peers/libmodbus-server.c', import.meta.url));

/** @returns its port, or undefined where it is not installed. */
export async function startMosquitto(undo: Undo): Promise<number | undefined> {
  const daemon = MOSQUITTO.find(isThere);
  if (daemon === undefined) return undefined;
  const port = await freePort();
  const lines = [
    `listener ${port} ${HOST}`,
    'allow_anonymous true',
    'set_tcp_nodelay true',
    // Its defaults (20 in flight, 1,000 queued) are for sensors, not for measuring.
    'max_inflight_messages 65535',
    'max_queued_messages 0',
  ];
  const config = join(undo.folder(), 'mosquitto.conf');
  writeFileSync(config, `${lines.join('\n')}\n`);
  await run(undo, daemon, ['-c', config], port);
  return port;
}

/** Holding registers 0 … with the given words. @returns its port, or undefined where gcc or libmodbus is missing. */
export async function startLibmodbus(undo: Undo, words: readonly number[]): Promise<number | undefined> {
  const binary = join(undo.folder(), 'libmodbus-server');
  if (!isThere(LIBMODBUS_HEADER) || !isThere(LIBMODBUS_SERVER)) return undefined;
  try {
    execFileSync('gcc', ['-O2', '-o', binary, LIBMODBUS_SERVER, '-lmodbus'], { stdio: 'ignore' });
  } catch {
    return undefined;
  }
  const port = await freePort();
  await run(undo, binary, [String(port), words.join(','), '0'], port);
  return port;
}

async function run(undo: Undo, command: string, args: readonly string[], port: number): Promise<void> {
  const child = spawn(command, args, { stdio: 'ignore' });
  undo.add(watch(child.pid));
  undo.child(child);
  const endMs = performance.now() + UP_TIMEOUT_MS;
  while (!(await answers(port))) {
    if (hasEnded(child) || performance.now() > endMs) throw new Error(`${command} does not listen on port ${port}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, HOST);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
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

function isThere(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
