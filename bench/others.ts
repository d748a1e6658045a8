/** How much of the machine went to others while we measured: a figure from a busy machine is not the program's. */
import { readFileSync } from 'node:fs';

/** Fields of /proc/<pid>/stat after the name: utime, stime, and the same of children that have ended (proc_pid_stat(5)). */
const OWN_TIMES = [11, 12, 13, 14];
/** Of the first line of /proc/stat: idle and iowait; guest time is in user time already. */
const IDLE_TIMES = [3, 4];
const TIMES = 8;

interface Ticks {
  readonly all: number;
  readonly idle: number;
  readonly own: number;
}

/** Begins now. @returns to be called when every process that we started has ended: a share of all cores, 0 to 1. */
export function watchOthers(): () => number {
  const before = ticks();
  return () => {
    const after = ticks();
    const all = after.all - before.all;
    const others = all - (after.idle - before.idle) - (after.own - before.own);
    return Math.max(0, others / all);
  };
}

function ticks(): Ticks {
  try {
    const times = (readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? '')
      .split(/\s+/)
      .slice(1, 1 + TIMES)
      .map(Number);
    const stat = readFileSync('/proc/self/stat', 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const sum = (values: readonly (number | undefined)[]) =>
      values.reduce<number>((total, value) => total + (value ?? 0), 0);
    return {
      all: sum(times),
      idle: sum(IDLE_TIMES.map((at) => times[at])),
      own: sum(OWN_TIMES.map((at) => Number(fields[at]))),
    };
  } catch {
    return { all: Number.NaN, idle: Number.NaN, own: Number.NaN };
  }
}
