/**
 * Who may come in, and in which order. Nothing queues without a limit: who would wait too long is told to come again.
 * Requests of one device are applied one after the other, in the order in which their bodies were complete; between any two
 * the process looks at its sockets.
 */
import { setImmediate } from 'node:timers/promises';
import { SluiceError } from '../errors.ts';

export interface GateLimits {
  /** Requests being received or waiting, over all devices. */
  readonly requestsMax: number;
  /** Bytes of theirs in memory. */
  readonly bytesMax: number;
  /** Requests of one device that wait for the one being applied: a gateway has at most six under way. */
  readonly waitingPerDeviceMax: number;
}

export class Gate {
  readonly #limits: GateLimits;
  readonly #lines = new Map<string, { waiting: number; last: Promise<unknown> }>();
  #requests = 0;
  #bytes = 0;

  constructor(limits: GateLimits) {
    this.#limits = limits;
  }

  get requests(): number {
    return this.#requests;
  }

  /** @throws cloud.busy */
  enter(): Visitor {
    if (this.#requests >= this.#limits.requestsMax) throw busy(`${this.#requests} requests are under way`);
    this.#requests++;
    let bytes = 0;
    return {
      keep: (more) => {
        if (this.#bytes + more > this.#limits.bytesMax) return false;
        this.#bytes += more;
        bytes += more;
        return true;
      },
      leave: () => {
        this.#requests--;
        this.#bytes -= bytes;
      },
    };
  }

  /** Runs `work` when it is the device's turn. @throws cloud.busy when too many of this device wait */
  async inTurn<T>(device: string, work: () => T): Promise<T> {
    const line = this.#lines.get(device) ?? { waiting: 0, last: Promise.resolve() };
    if (line.waiting >= this.#limits.waitingPerDeviceMax) throw busy(`${line.waiting} batches of this device wait`);
    this.#lines.set(device, line);
    line.waiting++;
    const turn = line.last.then(() => setImmediate()).then(work);
    // The next one's turn comes whatever became of this one.
    line.last = turn.then(nothing, nothing);
    try {
      return await turn;
    } finally {
      line.waiting--;
      if (line.waiting === 0) this.#lines.delete(device);
    }
  }

  /** Resolves when nothing is being applied any more. */
  async idle(): Promise<void> {
    while (this.#lines.size > 0) await Promise.all([...this.#lines.values()].map(({ last }) => last));
  }
}

export interface Visitor {
  /** Whether so many more bytes may be kept. */
  keep(bytes: number): boolean;
  leave(): void;
}

function nothing(): void {}

function busy(message: string): SluiceError {
  return new SluiceError('cloud.busy', 'retry', message);
}
