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

/** Short, so that what else the machine does hits all of them alike. */
const SLICE_MS = 300;
const SLICES = 5;
const SLICES_QUICK = 2;

export async function benchModbus({ quick, runs }: { quick: boolean; runs: number }): Promise<BenchResult[][]> {
  return undoing(async (undo) => {
    const words = Array.from({ length: REGISTERS * WINDOW }, (_, at) => (at * 40_503) & 0xffff);
    const libmodbus = await startLibmodbus(undo, words);
    const port = libmodbus ?? (await Script.start(undo, './modbus-server.js', [words.join()])).facts.port ?? 0;
    const server = libmodbus === undefined ? "modbus-serial's server" : "libmodbus's server";
    const scripts = new Map<Client, Script>();
    for (const client of CLIENTS) scripts.set(client, await Script.start(undo, './modbus-client.js', [client, port]));
    const results: BenchResult[][] = [];
    for (let run = 0; run < runs; run++) results.push(await oneRun(scripts, server, quick ? SLICES_QUICK : SLICES));
    return results;
  });
}

async function oneRun(scripts: ReadonlyMap<Client, Script>, server: string, slices: number): Promise<BenchResult[]> {
  const totals = new Map<Client, { requests: number; cpuUs: number; seconds: number }>();
  for (let slice = 0; slice < slices; slice++) {
    for (const [client, script] of scripts) {
      const {
        requests = Number.NaN,
        cpuUs = Number.NaN,
        seconds = Number.NaN,
      } = await script.ask({ sliceMs: SLICE_MS });
      const sum = totals.get(client) ?? { requests: 0, cpuUs: 0, seconds: 0 };
      totals.set(client, {
        requests: sum.requests + requests,
        cpuUs: sum.cpuUs + cpuUs,
        seconds: sum.seconds + seconds,
      });
    }
  }
  const cost = new Map([...totals].map(([client, { cpuUs, requests }]) => [client, cpuUs / requests]));
  const results = [...totals].flatMap(([client, { requests, cpuUs, seconds }]) => [
    { name: `modbus, ${server}, ${client}`, value: requests / seconds, unit: 'requests/s' },
    { name: `modbus, ${server}, ${client}: CPU`, value: cpuUs / requests, unit: 'µs/request' },
  ]);
  const ratio = (ours: Client, theirs: Client) => (cost.get(ours) ?? Number.NaN) / (cost.get(theirs) ?? Number.NaN);
  const [one, theirOne, many, theirMany] = CLIENTS;
  return [
    ...results,
    { name: 'modbus, CPU of ours ÷ modbus-serial', value: ratio(one, theirOne), unit: '', target: 1 },
    { name: 'modbus, the same, 16 in flight', value: ratio(many, theirMany), unit: '', target: 1 },
  ];
}
