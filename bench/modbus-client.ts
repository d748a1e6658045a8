/**
 * A process that reads registers as fast as it can. Arguments: which client, the server's port. Order: `sliceMs`; each slice
 * has a connection of its own, for the server takes one at a time.
 */
import modbusSerial from 'modbus-serial';
import { modbus } from '../drivers/modbus/index.ts';
import { ChunkBuilder } from '../src/reading.ts';
import { systemClock } from '../src/runtime/clock.ts';
import { type Client, REGISTERS, WINDOW } from './modbus.ts';
import { serve } from './script.ts';

const HOST = '127.0.0.1';
const WARM_UP_MS = 300;
const CHUNK_ROWS = 100_000;

interface Connection {
  /** Reads once. @returns requests that took. */
  read(): Promise<number>;
  close(): Promise<void>;
}

async function ours(port: number, window: number): Promise<Connection> {
  const tags = Array.from({ length: REGISTERS * window }, (_, at) => ({ name: `r${at}`, register: `holding:${at}` }));
  const settings = { transport: `tcp://${HOST}:${port}`, window, wordsMax: REGISTERS, units: [{ unit: 1, tags }] };
  const { groups, open } = modbus.prepare(modbus.schema.parse(settings));
  if (open.mode !== 'poll') throw new Error('modbus polls');
  let index = 0;
  const indexes = groups.map((group) => group.tags.map(() => index++));
  const context = { gateway: 'bench', source: 'bench', clock: systemClock, random: Math.random };
  const { signal } = new AbortController();
  const session = await open.session(indexes, context, signal);
  const due = groups.map((_, at) => at);
  const out = new ChunkBuilder(CHUNK_ROWS);
  const readOnce = async () => {
    const faults = await session.read(due, out, signal);
    if (faults.length > 0 || out.length !== tags.length) throw faults[0]?.error ?? new Error('not every tag was read');
    // Every read's readings go to the pipeline as a chunk of their own.
    out.take();
    return window;
  };
  return { read: readOnce, close: () => session.close() };
}

async function theirs(port: number, window: number): Promise<Connection> {
  const client = new modbusSerial.default();
  await client.connectTCP(HOST, { port });
  client.setID(1);
  const requests = Array.from({ length: window }, (_, at) => at * REGISTERS);
  const readOnce = async () => {
    const replies = await Promise.all(requests.map((address) => client.readHoldingRegisters(address, REGISTERS)));
    if (replies.some(({ data }) => data.length !== REGISTERS)) throw new Error('not every register was read');
    return window;
  };
  return { read: readOnce, close: () => new Promise((resolve) => client.close(() => resolve())) };
}

async function readFor({ read }: Connection, ms: number) {
  const startMs = performance.now();
  const before = process.cpuUsage();
  let requests = 0;
  while (performance.now() - startMs < ms) requests += await read();
  const { user, system } = process.cpuUsage(before);
  return { requests, seconds: (performance.now() - startMs) / 1000, cpuUs: user + system };
}

const [, , client, port] = process.argv as [string, string, Client, string];
const open = client.startsWith('ours') ? ours : theirs;
const window = client.endsWith('in flight') ? WINDOW : 1;
let isWarm = false;
serve({ port: Number(port) }, async ({ sliceMs = 0 }) => {
  const connection = await open(Number(port), window);
  if (!isWarm) await readFor(connection, WARM_UP_MS);
  isWarm = true;
  const slice = await readFor(connection, sliceMs);
  await connection.close();
  return slice;
});
