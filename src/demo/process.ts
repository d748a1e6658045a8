/** A part of the demo as a process of its own: what it prints goes to a log file, and its `ready` line says where it listens. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { SluiceError } from '../errors.ts';
import { builtFile } from '../runtime/built.ts';
import type { Clock, Timer } from '../runtime/clock.ts';

const COMMAND = builtFile(import.meta.url, '../cli/main.js');
/** A Raspberry Pi with a slow card starts Node and SQLite in a few seconds. */
const READY_TIMEOUT_MS = 60_000;
/** What a part may take to drain before it is killed; the gateway itself promises 10 s. */
const STOP_TIMEOUT_MS = 15_000;
const LAST_LINES_KEPT = 12;

export interface PartOptions {
  readonly name: string;
  /** Arguments of `sluice`. */
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly logFile: string;
  readonly clock: Clock;
  /** Called when it ends without having been told to. */
  readonly onDied?: (error: SluiceError) => void;
}

/** Every part that runs, from its first moment on. */
const running = new Set<ChildProcess>();

/** When the demo itself ends at once (a second Ctrl-C) no part may stay behind. */
export function killAll(): void {
  for (const child of running) child.kill('SIGKILL');
}

export class Part {
  readonly name: string;
  /** What its ready line said. */
  readonly facts: Readonly<Record<string, unknown>>;
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #clock: Clock;
  readonly #exited: Promise<number>;
  #wanted = false;

  private constructor(
    options: PartOptions,
    child: ChildProcess,
    facts: Record<string, unknown>,
    exited: Promise<number>,
  ) {
    this.name = options.name;
    this.facts = facts;
    this.pid = child.pid ?? -1;
    this.#child = child;
    this.#clock = options.clock;
    this.#exited = exited;
    void exited.then((code) => {
      if (!this.#wanted) options.onDied?.(died(options, code));
    });
  }

  /** Resolves when the part has said that it is ready. @throws demo.part_failed with its last lines. */
  static async start(options: PartOptions): Promise<Part> {
    const child = spawn(process.execPath, [COMMAND, ...options.args], {
      // The channel carries nothing: when we are killed it breaks, and the part ends by itself.
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: { ...process.env, ...options.env },
      // A Ctrl-C at the terminal goes to the whole foreground group; the parts are to be stopped in order, by us.
      detached: true,
    });
    running.add(child);
    const log = createWriteStream(options.logFile, { flags: 'a' });
    const last: string[] = [];
    const exited = new Promise<number>((resolve) => {
      child.once('error', () => {
        running.delete(child);
        resolve(-1);
      });
      child.once('close', (code, signal) => {
        log.end();
        running.delete(child);
        resolve(signal === null ? (code ?? -1) : -1);
      });
    });
    const ready = new Promise<Record<string, unknown>>((resolve) => {
      const heard = (line: string) => {
        log.write(`${line}\n`);
        last.push(line);
        if (last.length > LAST_LINES_KEPT) last.shift();
        const facts = readyFacts(line);
        if (facts !== undefined) resolve(facts);
      };
      if (child.stdout !== null) createInterface({ input: child.stdout }).on('line', heard);
      if (child.stderr !== null) createInterface({ input: child.stderr }).on('line', heard);
    });
    let timer: Timer | undefined;
    const timeout = new Promise<'late'>((resolve) => {
      timer = options.clock.after(READY_TIMEOUT_MS, () => resolve('late'));
    });
    const first = await Promise.race([ready, exited, timeout]);
    timer?.cancel();
    if (typeof first === 'object') return new Part(options, child, first, exited);
    child.kill('SIGKILL');
    throw died(options, typeof first === 'number' ? first : undefined, last);
  }

  /** A text that its ready line must have carried. */
  fact(name: string): string {
    const value = this.facts[name];
    if (typeof value === 'string' || typeof value === 'number') return String(value);
    throw new SluiceError('demo.part_failed', 'stop', `${this.name} did not say its ${name}`);
  }

  /** SIGTERM, then SIGKILL if it does not end. Resolves with the exit code; −1 when it was killed. */
  async stop(): Promise<number> {
    this.#wanted = true;
    this.#child.kill('SIGTERM');
    const timer = this.#clock.after(STOP_TIMEOUT_MS, () => this.#child.kill('SIGKILL'));
    const code = await this.#exited;
    timer.cancel();
    return code;
  }

  /** As a power cut would end it. */
  async kill(): Promise<void> {
    this.#wanted = true;
    this.#child.kill('SIGKILL');
    await this.#exited;
  }
}

function readyFacts(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{') || !line.includes('"ready":true')) return undefined;
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

function died(options: PartOptions, code: number | undefined, last: readonly string[] = []): SluiceError {
  const how = code === undefined ? 'did not become ready' : code === -1 ? 'was killed' : `ended with exit code ${code}`;
  const lines = last.length === 0 ? '' : `:\n  ${last.join('\n  ')}`;
  return new SluiceError('demo.part_failed', 'stop', `the ${options.name} ${how}${lines}`, {
    hint: `its log is ${options.logFile}`,
  });
}
