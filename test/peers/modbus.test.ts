/**
 * Our Modbus client against servers and clients that others wrote: pymodbus, libmodbus (a server in C, compiled here) and
 * mbpoll. They skip where the software is missing: `apt-get install gcc libmodbus-dev mbpoll python3-pymodbus`.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { PlainValue } from '../../src/reading.ts';
import { openModbus } from '../drivers/modbus/source.ts';
import { freePort, listening } from './modbus-ports.ts';

const run = promisify(execFile);
const PYTHON = '/usr/bin/python3';
const succeeds = (command: string, args: string[]) => spawnSync(command, args).status === 0;
const has = {
  pymodbus: succeeds(PYTHON, ['-c', 'import pymodbus.server']),
  libmodbus: succeeds('sh', ['-c', 'command -v gcc && test -f /usr/include/modbus/modbus.h']),
  mbpoll: succeeds('sh', ['-c', 'command -v mbpoll']),
};
const where = (isThere: boolean) => (isThere ? describe : describe.skip);

/** A device's content as both servers are told it: registers 0 … of both register tables, and bits 0 … */
const TAGS: readonly { name: string; at: number; type: string; order: string; words: number[]; value: PlainValue }[] = [
  { name: 'i16', at: 0, type: 'int16', order: 'ABCD', words: [0xff85], value: -123 },
  { name: 'u16', at: 1, type: 'uint16', order: 'ABCD', words: [0xfffe], value: 65_534 },
  { name: 'i32', at: 2, type: 'int32', order: 'ABCD', words: [0xfffe, 0x1dc0], value: -123_456 },
  { name: 'u32 CDAB', at: 4, type: 'uint32', order: 'CDAB', words: [0x2d00, 0xee6b], value: 4_000_001_280 },
  { name: 'f32', at: 6, type: 'float32', order: 'ABCD', words: [0x42f6, 0xe979], value: Math.fround(123.456) },
  { name: 'f32 CDAB', at: 8, type: 'float32', order: 'CDAB', words: [0xe979, 0x42f6], value: Math.fround(123.456) },
  { name: 'f32 BADC', at: 10, type: 'float32', order: 'BADC', words: [0xf642, 0x79e9], value: Math.fround(123.456) },
  { name: 'f32 DCBA', at: 12, type: 'float32', order: 'DCBA', words: [0x79e9, 0xf642], value: Math.fround(123.456) },
  { name: 'f64', at: 14, type: 'float64', order: 'ABCD', words: [0x4009, 0x21fb, 0x5444, 0x2d18], value: Math.PI },
  { name: 'f64 CDAB', at: 18, type: 'float64', order: 'CDAB', words: [0x2d18, 0x5444, 0x21fb, 0x4009], value: Math.PI },
  { name: 'u64', at: 22, type: 'uint64', order: 'ABCD', words: [0x0020, 0, 0, 1], value: 2n ** 53n + 1n },
  {
    name: 'u64 max',
    at: 26,
    type: 'uint64',
    order: 'DCBA',
    words: [0xffff, 0xffff, 0xffff, 0xffff],
    value: 2n ** 64n - 1n,
  },
  { name: 'i64 min', at: 30, type: 'int64', order: 'DCBA', words: [0, 0, 0, 0x0080], value: -(2n ** 63n) },
  {
    name: 'i64 CDABGHEF',
    at: 34,
    type: 'int64',
    order: 'CDABGHEF',
    words: [0xffff, 0xffff, 0xfffe, 0xffff],
    value: -2n,
  },
  { name: 'text', at: 38, type: 'text', order: 'ABCD', words: [0x534c, 0x2d37, 0x2020], value: 'SL-7' },
];
const WORDS = TAGS.flatMap(({ words }) => words);
const BITS = [1, 0, 1, 1, 0, 0, 0, 1, 1, 0];

function sourceOf(port: number) {
  const registers = ['holding', 'input'].flatMap((table) =>
    TAGS.map(({ name, at, type, order, words }) => ({
      name: `${table} ${name}`,
      register: `${table}:${at}`,
      type,
      order,
      ...(type === 'text' ? { length: words.length } : {}),
    })),
  );
  const bits = ['coil', 'discrete'].flatMap((table) =>
    BITS.map((_, at) => ({ name: `${table} ${at}`, register: `${table}:${at}` })),
  );
  return { transport: `tcp://127.0.0.1:${port}`, units: [{ unit: 1, tags: [...registers, ...bits] }] };
}

const EXPECTED = Object.fromEntries([
  ...['holding', 'input'].flatMap((table) => TAGS.map(({ name, value }) => [`${table} ${name}`, value])),
  ...['coil', 'discrete'].flatMap((table) => BITS.map((bit, at) => [`${table} ${at}`, bit === 1])),
]);

const PYMODBUS_SERVER = `
import sys, json
from pymodbus.server import StartTcpServer
from pymodbus.datastore import ModbusSlaveContext, ModbusServerContext, ModbusSequentialDataBlock
port, words, bits = int(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
block = ModbusSequentialDataBlock
slave = ModbusSlaveContext(di=block(0, bits), co=block(0, bits), hr=block(0, words), ir=block(0, words), zero_mode=True)
StartTcpServer(context=ModbusServerContext(slaves={1: slave}, single=False), address=("127.0.0.1", port))
`;

/** Shared with the benchmark. */
const LIBMODBUS_SERVER = fileURLToPath(new URL('./libmodbus-server.c', import.meta.url));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-modbus-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Starts a server before the tests of a describe block and stops it after them. */
function served(start: (port: number) => Promise<ChildProcess>): { port: number } {
  const at = { port: 0 };
  let child: ChildProcess | undefined;
  beforeAll(async () => {
    at.port = await freePort();
    child = await start(at.port);
    await listening(at.port, child);
  });
  afterAll(async () => {
    if (child === undefined || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child?.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
  });
  return at;
}

async function compiled(source: string): Promise<string> {
  const binary = join(folder, 'libmodbus-server');
  await run('gcc', ['-O1', '-Wall', '-Werror', '-o', binary, source, '-lmodbus']);
  return binary;
}

const startPymodbus = async (port: number) => {
  const args = ['-c', PYMODBUS_SERVER, String(port), JSON.stringify(WORDS), JSON.stringify(BITS)];
  return spawn(PYTHON, args, { stdio: 'ignore' });
};
const startLibmodbus = async (port: number) =>
  spawn(await compiled(LIBMODBUS_SERVER), [String(port), WORDS.join(), BITS.join()], { stdio: 'ignore' });

function readsEverything(at: { port: number }) {
  test('every table, type and byte order is read exactly, again and again', async () => {
    const { session, values } = await openModbus(sourceOf(at.port));
    for (let round = 0; round < 10; round++) expect(await values()).toEqual(EXPECTED);
    await session.close();
  });

  test('registers it does not have are named, and the others still read', async () => {
    const beyond = { name: 'beyond', register: `holding:${WORDS.length + 3}` };
    const { units, transport } = sourceOf(at.port);
    const tags = units.flatMap((unit) => unit.tags);
    const { session, read } = await openModbus({ transport, units: [{ unit: 1, tags: [...tags, beyond] }] });
    for (let round = 0; round < 3; round++) {
      const { tags: seen, faults } = await read();
      expect(seen.get('beyond')).toMatchObject({ quality: 'bad', reason: 'device_exception' });
      expect(faults).toMatchObject([{ unitDown: false, error: { code: 'modbus.exception', facts: { code: 2 } } }]);
      for (const [name, value] of Object.entries(EXPECTED)) expect(seen.get(name)?.value).toEqual(value);
    }
    await session.close();
  });
}

where(has.pymodbus)("pymodbus's server", () => {
  const at = served(startPymodbus);
  readsEverything(at);

  test('reads sixteen at a time without mixing answers up', async () => {
    const { session, values } = await openModbus({ ...sourceOf(at.port), wordsMax: 4, mergeGap: 0, window: 16 });
    for (let round = 0; round < 10; round++) expect(await values()).toEqual(EXPECTED);
    await session.close();
  });
});

where(has.libmodbus)("libmodbus's server", () => {
  readsEverything(served(startLibmodbus));
});

where(has.mbpoll && has.pymodbus)('mbpoll on the same server', () => {
  const at = served(startPymodbus);

  /** mbpoll counts registers from 1. */
  async function mbpoll(type: string, first: number, count: number): Promise<string[]> {
    const place = ['-a', '1', '-r', String(first + 1), '-c', String(count), '-t', type, '-1', '-q'];
    const { stdout } = await run('mbpoll', ['-m', 'tcp', '-p', String(at.port), ...place, '127.0.0.1']);
    return [...stdout.matchAll(/^\[\d+\]:\s+(\S+)/gm)].map((match) => match[1] ?? '');
  }

  test('agrees with our client on registers, 32-bit integers, floats and coils', async () => {
    const { session, values } = await openModbus(sourceOf(at.port));
    const ours = await values();
    await session.close();
    expect((await mbpoll('4:hex', 0, WORDS.length)).map((word) => Number(word))).toEqual(WORDS);
    expect((await mbpoll('3:hex', 0, WORDS.length)).map((word) => Number(word))).toEqual(WORDS);
    // mbpoll's own order of 32 bits is the little-endian one: CDAB.
    const [float] = await mbpoll('4:float', 8, 1);
    expect(Number(float)).toBeCloseTo(Number(ours['holding f32 CDAB']), 3);
    const [integer] = await mbpoll('4:int', 4, 1);
    expect(Number(integer) >>> 0).toBe(ours['holding u32 CDAB']);
    expect((await mbpoll('0', 0, BITS.length)).map(Number)).toEqual(BITS.map((_, i) => Number(ours[`coil ${i}`])));
    expect((await mbpoll('1', 0, BITS.length)).map(Number)).toEqual(BITS.map((_, i) => Number(ours[`discrete ${i}`])));
  });
});
