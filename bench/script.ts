/** Processes of our own that make load or play a device, so that their CPU is not counted: started, told what to do, stopped. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Undo, watch } from './cleanup.ts';

type Facts = Readonly<Record<string, number>>;

export class Script {
  /** What it said when it was ready. */
  readonly facts: Facts;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, facts: Facts) {
    this.#child = child;
    this.facts = facts;
  }

  /** @param file of the built script beside this one. It ends when `undo` comes to it, or when this process does. */
  static async start(undo: Undo, file: string, args: readonly (string | number)[] = []): Promise<Script> {
    const child = fork(fileURLToPath(new URL(file, import.meta.url)), args.map(String), {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    undo.add(watch(child.pid));
    undo.child(child);
    return new Script(child, await answer(child, file));
  }

  /** Tells it to do something, and waits until it is done. */
  ask(order: Facts): Promise<Facts> {
    const answered = answer(this.#child, 'the script');
    this.#child.send(order);
    return answered;
  }
}

function answer(child: ChildProcess, name: string): Promise<Facts> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null) => reject(new Error(`${name} ended with ${code}`));
    child.once('exit', onExit);
    child.once('message', (message) => {
      child.off('exit', onExit);
      resolve(message as Facts);
    });
  });
}

/** The other side: says that it is ready, then answers orders. It ends with its parent. */
export function serve(ready: Facts, perform: (order: Facts) => Promise<Facts>): void {
  const tell = (facts: Facts) => process.send?.(facts);
  process.on('disconnect', () => process.exit());
  process.on('message', (order) => {
    // Nobody else sends.
    perform(order as Facts).then(tell, (error: unknown) => {
      console.error(error);
      process.exit(1);
    });
  });
  tell(ready);
}
