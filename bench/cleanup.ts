/** What must not outlive a benchmark, however it ends: processes and folders. Undone in reverse order. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { dataFolder } from './machine.ts';

const folders = new Set<string>();
const pids = new Map<number, NodeJS.Signals>();

process.on('exit', () => {
  for (const [pid, signal] of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // It ended by itself.
    }
  }
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

// Without these a signal would end the process and nothing would be cleaned up.
process.on('SIGINT', () => process.exit(130));
process.on('SIGTERM', () => process.exit(143));

/** Stages of one benchmark; `undo` ends them, the last one first. */
export class Undo {
  readonly #steps: (() => Promise<unknown> | unknown)[] = [];

  add(step: () => Promise<unknown> | unknown): void {
    this.#steps.push(step);
  }

  /** A folder that is removed in the end. */
  folder(): string {
    const folder = mkdtempSync(join(dataFolder, 'sluice-bench-'));
    folders.add(folder);
    this.add(() => {
      rmSync(folder, { recursive: true, force: true });
      folders.delete(folder);
    });
    return folder;
  }

  /** A process of ours that has no way of its own to end in order. */
  child(child: ChildProcess): void {
    const forget = watch(child.pid);
    this.add(async () => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
      forget();
    });
  }

  async undo(): Promise<void> {
    for (const step of this.#steps.splice(0).reverse()) await step();
  }
}

/** The process is killed when this one ends. @returns to be called when it has ended. */
export function watch(pid: number | undefined, signal: NodeJS.Signals = 'SIGKILL'): () => void {
  if (pid !== undefined) pids.set(pid, signal);
  return () => {
    if (pid !== undefined) pids.delete(pid);
  };
}

/** Runs `work`, and undoes what it did whether it succeeds or not. */
export async function undoing<T>(work: (undo: Undo) => Promise<T>): Promise<T> {
  const undo = new Undo();
  try {
    return await work(undo);
  } finally {
    await undo.undo();
  }
}
