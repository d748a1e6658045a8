/**
 * Reading 100 registers over loopback: our client beside modbus-serial, in turns, each slice in a process of its own. The
 * server is libmodbus, in C, where it can be compiled; else modbus-serial's.
 */
import { undoing } from './cleanup.ts';
import { startLibmodbus } from './outside.ts';
import type { BenchResult } from './result.ts';
import { Script } from './script.ts';

export const CLIENTS = ['ours', 'modbus-serial', 'ours, 16 in flight', 'modbus-serial, 16 in flight'] as const;
export type Client = (typeof CLIENTS)[number];
/** Registers of one request. */
export const REGISTERS = 100;
export const WINDOW = 16;

const SLICE_MS = 1500;
const SLICE_QUICK_MS = 300;

export async function benchModbus({ quick, runs }: { quick: boolean; runs: number }): Promise<BenchResult[][]> {
  return undoing(async (undo) => {
    const words = Array.from({ length: REGISTERS * WINDOW }, (_, at) => (at * 40_503) & 0xffff);
    const libmodbus = await startLibmodbus(undo, words);
    const port = libmodbus ?? (await Script.start(undo, './modbus-server.js', [words.join()])).facts.port ?? 0;
    const server = libmodbus === undefined ? "modbus-serial's server" : "libmodbus's server";
    const results: BenchResult[][] = [];
    for (let run = 0; run < runs; run++) results.push(await oneRun(port, server, quick ? SLICE_QUICK_MS : SLICE_MS));
    return results;
  });
}

async function oneRun(port: number, server: string, sliceMs: number): Promise<BenchResult[]> {
  const results: BenchResult[] = [];
  const cost = new Map<Client, number>();
  for (const client of CLIENTS) {
    const slice = await undoing(async (undo) => {
      const script = await Script.start(undo, './modbus-client.js', [client, port]);
      return script.ask({ sliceMs });
    });
    const { requests = Number.NaN, cpuUs = Number.NaN, seconds = Number.NaN } = slice;
    cost.set(client, cpuUs / requests);
    results.push(
      { name: `modbus, ${server}, ${client}`, value: requests / seconds, unit: 'requests/s' },
      { name: `modbus, ${server}, ${client}: CPU`, value: cpuUs / requests, unit: 'µs/request' },
    );
  }
  const ratio = (ours: Client, theirs: Client) => (cost.get(ours) ?? Number.NaN) / (cost.get(theirs) ?? Number.NaN);
  const [one, theirOne, many, theirMany] = CLIENTS;
  return [
    ...results,
    { name: 'modbus, CPU of ours ÷ modbus-serial', value: ratio(one, theirOne), unit: '', target: 1 },
    { name: 'modbus, the same, 16 in flight', value: ratio(many, theirMany), unit: '', target: 1 },
  ];
}
