/** What Linux tells of a process: CPU of all threads, memory, bytes written. Of a live process only; NaN elsewhere. */
import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ: what /proc counts in, on every Linux that Node runs on. */
const TICKS_A_SECOND = 100;
const US_A_TICK = 1e6 / TICKS_A_SECOND;
const NS_A_US = 1000;
/** Fields of /proc/<pid>/stat after the name in parentheses (proc_pid_stat(5): utime is field 14, stime 15). */
const UTIME = 11;
const STIME = 12;
const MB = 1e6;
const KIB = 1024;

export interface Usage {
  /** User and system, all threads, also those that ended. */
  readonly cpuUs: number;
  /** Of the main thread: where sources, pipeline, uplink and HMI run. */
  readonly mainUs: number;
  /** Handed to the disk. */
  readonly deviceBytes: number;
  /** Handed to the kernel for files, sockets and pipes. */
  readonly calledBytes: number;
}

export function usageOf(pid: number): Usage {
  const stat = read(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const io = read(`/proc/${pid}/io`);
  return {
    cpuUs: (Number(fields[UTIME]) + Number(fields[STIME])) * US_A_TICK,
    // Nanoseconds on the CPU; finer than the ticks.
    mainUs: Number(read(`/proc/${pid}/task/${pid}/schedstat`).split(' ')[0] || Number.NaN) / NS_A_US,
    deviceBytes: numberAfter(io, 'write_bytes'),
    calledBytes: numberAfter(io, 'wchar'),
  };
}

export function since(before: Usage, after: Usage): Usage {
  return {
    cpuUs: after.cpuUs - before.cpuUs,
    mainUs: after.mainUs - before.mainUs,
    deviceBytes: after.deviceBytes - before.deviceBytes,
    calledBytes: after.calledBytes - before.calledBytes,
  };
}

export function memoryOf(pid: number): { readonly rssMb: number; readonly peakMb: number } {
  const status = read(`/proc/${pid}/status`);
  const mb = (name: string) => (numberAfter(status, name) * KIB) / MB;
  return { rssMb: mb('VmRSS'), peakMb: mb('VmHWM') };
}

export function threadsOf(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/task`).length;
  } catch {
    return Number.NaN;
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function numberAfter(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(text)?.[1] ?? Number.NaN);
}
