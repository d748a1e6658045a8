/**
 * Questions to the history while the gateway runs, in a thread of its own that only reads: neither the main thread nor the
 * commits wait for it. It is started by the first question and ends when nobody has asked for a minute.
 */
import { Worker } from 'node:worker_threads';
import type { CacheConfig } from '../config/cache.ts';
import { asError, SluiceError } from '../errors.ts';
import { builtFile } from '../runtime/built.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import type { AtRestKeys } from './at-rest.ts';
import { readAtRestKeys } from './at-rest-key.ts';
import { type ErrorFacts, fromFacts } from './protocol.ts';
import type { Series } from './windows/series.ts';

/** A year out of a damaged card may take for ever. */
const ANSWER_MS_MAX = 10_000;
const IDLE_MS = 60_000;
/** Questions are answered one after another; who is further behind would not wait for it. */
const WAITING_MAX = 16;
/** It decodes a block at a time. */
const OLD_GENERATION_MB = 128;

export interface HistoryQuestion {
  readonly tag: string;
  readonly fromMs: number;
  readonly toMs: number;
  /** At most so many readings or windows. */
  readonly points: number;
}

export interface HistoryOptions {
  readonly path: string;
  readonly keys: AtRestKeys;
}

export interface ToHistory {
  readonly id: number;
  readonly question: HistoryQuestion;
}
export type FromHistory = { readonly id: number } & ({ readonly series: Series } | { readonly error: ErrorFacts });

interface Waiting {
  readonly resolve: (series: Series) => void;
  readonly reject: (error: Error) => void;
  readonly timer: Timer;
}

export class HistoryReader {
  readonly #config: Pick<CacheConfig, 'path' | 'encryptAtRest'>;
  readonly #clock: Clock;
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #idle: Timer | undefined;
  #nextId = 1;
  #isStopped = false;

  constructor(config: Pick<CacheConfig, 'path' | 'encryptAtRest'>, clock: Clock) {
    this.#config = config;
    this.#clock = clock;
  }

  /** @throws history.busy, history.late (retry); cache.… as `readCache`, `readAtRestKeys` */
  async series(question: HistoryQuestion): Promise<Series> {
    if (this.#isStopped) throw new SluiceError('history.stopped', 'stop', 'the gateway ends');
    if (this.#waiting.size >= WAITING_MAX)
      throw new SluiceError('history.busy', 'retry', 'too many ask for the history at once');
    this.#idle?.cancel();
    this.#worker ??= this.#start();
    const worker = this.#worker;
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      // A thread that hangs is of no use to the next either.
      const timer = this.#clock.after(ANSWER_MS_MAX, () => this.#end(late()));
      this.#waiting.set(id, { resolve, reject, timer });
      worker.postMessage({ id, question } satisfies ToHistory);
    });
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    const worker = this.#worker;
    this.#end(new SluiceError('history.stopped', 'stop', 'the gateway ends'));
    await worker?.terminate();
  }

  #start(): Worker {
    const { path, encryptAtRest } = this.#config;
    const workerData: HistoryOptions = { path, keys: readAtRestKeys(encryptAtRest) };
    const worker = new Worker(builtFile(import.meta.url, './history-worker.js'), {
      workerData,
      name: 'history',
      resourceLimits: { maxOldGenerationSizeMb: OLD_GENERATION_MB },
    });
    const ended = (error: Error) => {
      if (this.#worker === worker) this.#end(error);
    };
    worker.on('message', (answer: FromHistory) => this.#settle(answer));
    worker.on('error', (thrown) => ended(asError(thrown)));
    worker.on('exit', () => ended(new SluiceError('history.ended', 'retry', 'the history thread ended')));
    return worker;
  }

  #settle(answer: FromHistory): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    waiting?.timer.cancel();
    if ('series' in answer) waiting?.resolve(answer.series);
    else waiting?.reject(fromFacts(answer.error));
    if (this.#waiting.size > 0) return;
    this.#idle?.cancel();
    this.#idle = this.#clock.after(IDLE_MS, () => this.#end(late()));
  }

  #end(error: Error): void {
    this.#idle?.cancel();
    const worker = this.#worker;
    this.#worker = undefined;
    for (const { reject, timer } of this.#waiting.values()) {
      timer.cancel();
      reject(error);
    }
    this.#waiting.clear();
    worker?.terminate().catch(() => {}); // it has nothing of ours
  }
}

function late(): SluiceError {
  return new SluiceError('history.late', 'retry', `no answer from the history within ${ANSWER_MS_MAX / 1000} s`, {
    hint: 'ask for less time',
  });
}
