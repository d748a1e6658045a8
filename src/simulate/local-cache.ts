/**
 * The cache of one simulated process: the real client, loop and core, with messages between main thread and worker that
 * take their time.
 */
import { Client } from '../cache/client.ts';
import type { CacheCore } from '../cache/core.ts';
import type { ForgetRequest } from '../cache/forget/audit.ts';
import { CacheLoop } from '../cache/loop.ts';
import { errorFacts, type FromWorker, type ToWorker } from '../cache/protocol.ts';
import type { Transferable } from '../cache/windows/closed.ts';
import { WriteBudget } from '../cache/write-budget.ts';
import { asError, codeOf, isSluiceError } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Random } from './random.ts';

export interface LocalCacheOptions {
  readonly core: CacheCore;
  readonly clock: Clock;
  readonly random: Random;
  readonly commitIntervalMs: number;
  readonly uncommittedBytesMax: number;
  /** Bytes a day; from the configuration's default down to what stretches hurried commits. */
  readonly writeBudget: number;
  /** What `sluice forget` left in the folder: it outlives the process. */
  readonly forgets: Map<string, ForgetRequest>;
  /** In the worker, at the moment a tag was forgotten. @param id of the request */
  readonly onForgotten: (id: string) => void;
  /** What no disk explains. The process starts again, and all may look well in the end. */
  readonly onDefect: (error: Error) => void;
}

export interface LocalCache {
  /** What the main thread has of it. */
  readonly client: Client;
  /** From the worker to the client. */
  readonly post: (message: FromWorker, transfer?: readonly Transferable[]) => void;
}

export function localCache(options: LocalCacheOptions): LocalCache {
  const { core, clock, random, commitIntervalMs, forgets, onForgotten, onDefect } = options;
  const [toWorker, fromWorker] = [new Post(clock, random), new Post(clock, random)];
  const listeners: ((message: FromWorker) => void)[] = [];
  const hear = (message: FromWorker) => {
    if (message.type === 'forgotten') send({ type: 'heard', request: message.done.report.id });
    for (const listener of listeners) listener(message);
  };
  const post: LocalCache['post'] = (message, transfer = []) => {
    if (message.type === 'forgotten') onForgotten(message.done.report.id);
    // As a message does: buffers that are transferred are gone for the sender.
    const sent = structuredClone(message, { transfer: [...transfer] });
    fromWorker.send(() => hear(sent));
  };
  const loop = new CacheLoop({
    core,
    clock,
    commitIntervalMs,
    budget: new WriteBudget(options.writeBudget, clock.monoMs(), 0, undefined),
    budgetMs: () => clock.monoMs(),
    written: () => undefined,
    spool: {
      posted: () => [...forgets].map(([file, request]) => ({ file, request })),
      remove: ({ file }) => void forgets.delete(file),
    },
    post,
    onClosed: () => {},
    onFailed: (thrown) => {
      if (codeOf(thrown) !== 'cache.disk') onDefect(asError(thrown));
      const error = errorFacts(thrown);
      fromWorker.send(() => hear({ type: 'failed', error }));
    },
    onRefused: (thrown) => {
      if (!isSluiceError(thrown)) onDefect(asError(thrown));
    },
  });
  const send = (message: ToWorker) => toWorker.send(() => loop.receive(message));
  const { run, boot } = core.runs.current;
  const client = new Client(
    {
      post: (message: ToWorker, transfer) => {
        send(structuredClone(message, { transfer: [...transfer] }));
      },
      onMessage: (receive) => {
        listeners.push(receive);
        receive({ type: 'ready', run, boot, damage: [], account: undefined });
      },
      // A simulated thread ends with its process.
      onEnd: () => {},
      soon: (work) => clock.after(0, work),
      terminate: async () => {},
    },
    options.uncommittedBytesMax,
  );
  return { client, post };
}

/** Messages one way: each takes a while, none overtakes another. */
class Post {
  readonly #clock: Clock;
  readonly #random: Random;
  #lastMs = 0;

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  send(receive: () => void): void {
    const nowMs = this.#clock.monoMs();
    const tookMs = this.#random.chance(0.02) ? this.#random.between(1, 200) : this.#random.between(0, 0.5);
    this.#lastMs = Math.max(this.#lastMs, nowMs + tookMs);
    this.#clock.after(this.#lastMs - nowMs, receive);
  }
}
