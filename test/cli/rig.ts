// The command line in this process, with what it says collected; and as the built program.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Output } from '../../src/cli/output.ts';
import { runProgram } from '../../src/cli/program.ts';
import { jsonReplacer } from '../../src/runtime/json.ts';

export const PROGRAM = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));

export interface Said {
  readonly code: number;
  readonly out: string;
  readonly problems: string;
}

export async function sluice(...args: string[]): Promise<Said> {
  const out: string[] = [];
  const problems: string[] = [];
  const output: Output = {
    line: (text = '') => void out.push(text),
    json: (value) => void out.push(JSON.stringify(value, jsonReplacer)),
    problem: (text) => void problems.push(text),
    terminal: false,
    closed: new AbortController().signal,
  };
  const code = await runProgram(args, output);
  return { code, out: out.join('\n'), problems: problems.join('\n') };
}

/** What a command printed with --json. */
export async function sluiceJson(...args: string[]): Promise<{ code: number; facts: unknown }> {
  const { code, out } = await sluice(...args, '--json');
  return { code, facts: JSON.parse(out) };
}

export class Place {
  readonly path = mkdtempSync(join(tmpdir(), 'sluice-test-cli-'));
  readonly #children: ChildProcess[] = [];

  file(name: string, text: string, mode = 0o644): string {
    const path = join(this.path, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text, { mode });
    return path;
  }

  /** The built program. */
  start(...args: string[]): ChildProcess {
    const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'pipe'], cwd: this.path });
    this.#children.push(child);
    return child;
  }

  async remove(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** A gateway that simulates its one source and keeps its readings. @param more sections of its own. */
export function gatewayConfig(cache: string, more = ''): string {
  return `gateway: { id: box }
cache:
  path: ${cache}
sources:
  made:
    driver: simulator
    every: 100ms
    tags:
      - { name: made/level, shape: sine, offset: 5, amplitude: 5, period: 1min }
${more}`;
}
