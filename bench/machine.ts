/** The machine that the figures are from: a figure without it says nothing. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os';
import { isAbsolute, relative } from 'node:path';

const GB = 1e9;

/** Where the benchmarks keep their data; BENCH_DIR names a folder on the disk that is of interest. */
export const dataFolder = process.env.BENCH_DIR ?? tmpdir();

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly system: string;
  readonly kernel: string;
  /** Of the data folder. */
  readonly fileSystem: string;
  readonly node: string;
  readonly date: string;
  readonly commit: string;
  /** Of the last minute before the start: what else was going on. */
  readonly load: number;
}

export function describeMachine(): Machine {
  const cores = cpus();
  return {
    cpu: cores[0]?.model.trim() ?? 'unknown',
    cores: cores.length,
    memoryGb: Number((totalmem() / GB).toFixed(1)),
    system: /^PRETTY_NAME="?(.*?)"?$/m.exec(text('/etc/os-release'))?.[1] ?? process.platform,
    kernel: release(),
    fileSystem: fileSystemOf(dataFolder),
    node: process.versions.node,
    date: new Date().toISOString(),
    commit: commit(),
    load: Number((loadavg()[0] ?? 0).toFixed(2)),
  };
}

export function formatMachine(machine: Machine): string {
  const { cpu, cores, memoryGb, system, kernel, fileSystem, node, date, commit: at, load } = machine;
  return (
    `${cpu}, ${cores} cores, ${memoryGb} GB, ${system}, Linux ${kernel}, ${dataFolder} on ${fileSystem}, ` +
    `Node ${node}, ${date}, commit ${at}, load before the start ${load}`
  );
}

/** The type of the mount with the longest path above `folder`. */
function fileSystemOf(folder: string): string {
  const mounts = text('/proc/mounts')
    .split('\n')
    .map((mount) => mount.split(' '))
    .filter(([, path]) => path !== undefined && isWithin(folder, path));
  const [, , type] = mounts.sort(([, a = ''], [, b = '']) => b.length - a.length)[0] ?? [];
  return type ?? 'unknown';
}

function isWithin(folder: string, path: string): boolean {
  const way = relative(path, folder);
  return !way.startsWith('..') && !isAbsolute(way);
}

function commit(): string {
  try {
    const git = (...args: string[]) =>
      execFileSync('git', args, { cwd: import.meta.dirname, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    const changed = git('status', '--porcelain', '--untracked-files=no').trim() !== '';
    return `${git('rev-parse', '--short', 'HEAD').trim()}${changed ? ' with changes' : ''}`;
  } catch {
    return 'unknown';
  }
}

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
