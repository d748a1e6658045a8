/** The cache as the main thread sees it: hands over buffers, never waits for the disk, knows what is committed. */
import { SluiceError } from '../errors.ts';
import type { RecountReport } from './account.ts';
import { bytesOf, isUrgent, Outbox } from './outbox.ts';
import {
  type Call,
  type CallArguments,
  type CallResult,
  type Closed,
  type FromWorker,
  fromFacts,
  type ToWorker,
} from './protocol.ts';
import { type DamageNote, NOTES_KEPT } from './recover/notes.ts';
import type {
  AckedAnswer,
  Append,
  CacheClient,
  CacheTag,
  ClosedWindows,
  CutRequest,
  HelloAnswer,
  HelloQuestion,
  HotState,
  LadderState,
} from './types.ts';
import { Uncommitted, withResolvers } from './uncommitted.ts';

const CLOSED = 'the cache has stopped';
/** Sources are told to wait before appends have to be refused. */
const ACCEPTING_SHARE = 0.75;

/** The way to the thread of the cache, and back. */
export interface CachePort {
  post(message: ToWorker, transfer: readonly ArrayBuffer[]): void;
  onMessage(receive: (message: FromWorker) => void): void;
  /** @param end the thread is gone; with why, if it did not end by itself. */
  onEnd(end: (error?: Error) => void): void;
  /** At the end of this round of the event loop. */
  soon(work: () => void): void;
  /** Ends the thread, whatever it does. */
  terminate(): Promise<unknown>;
}

export class Client implements CacheClient {
  readonly uncommittedBytesMax: number;
  readonly ready: Promise<void>;
  readonly failed: Promise<never>;
  run: Uint8Array = new Uint8Array();
  boot: Uint8Array = new Uint8Array();
  damage: readonly DamageNote[] = [];
  account: RecountReport | undefined;
  readonly #damageListeners: ((note: DamageNote) => void)[] = [];
  readonly #port: CachePort;
  readonly #outbox = new Outbox();
  readonly #calls = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  readonly #listeners: ((windows: ClosedWindows) => void)[] = [];
  readonly #ladderListeners: ((state: LadderState) => void)[] = [];
  readonly #uncommitted = new Uncommitted();
  #hurry = false;
  #flushing = false;
  #nextCall = 1;
  #ended: Error | undefined;
  #closing = false;
  readonly #fail: (error: Error) => void;

  constructor(port: CachePort, uncommittedBytesMax: number) {
    this.#port = port;
    this.uncommittedBytesMax = uncommittedBytesMax;
    const failed = withResolvers<never>();
    this.failed = failed.promise;
    // Whoever awaits it gets the error; nobody has to.
    this.failed.catch(() => {});
    this.#fail = failed.reject;
    const ready = withResolvers<void>();
    this.ready = ready.promise;
    this.failed.catch(ready.reject);
    port.onMessage((message) => {
      if (message.type === 'ready') {
        this.run = message.run;
        this.boot = message.boot;
        this.damage = message.damage;
        this.account = message.account;
        ready.resolve();
      } else this.#receive(message);
    });
    port.onEnd((error) => this.#end(error ?? ended(CLOSED)));
  }

  registerTag({ index, source, definition, fields, periodMs }: CacheTag): void {
    this.#post({
      type: 'tag',
      tag: { index, source, definition, fields: { priority: fields.priority, ttl: fields.ttl }, periodMs },
    });
  }

  append(append: Append): void {
    if (this.#closing) throw ended('the cache is closed');
    if (this.#ended !== undefined) throw this.#ended;
    const bytes = bytesOf(append);
    const isOver = this.#uncommitted.bytes + bytes > this.uncommittedBytesMax;
    if (isOver && this.#uncommitted.bytes > 0 && !isUrgent(append)) {
      throw new SluiceError('cache.busy', 'retry', 'too many readings wait to be committed', {
        hint: 'The disk is slower than the sources, or full. Lower the rates or raise cache.uncommittedBytesMax.',
      });
    }
    this.#outbox.add(append);
    this.#uncommitted.add(bytes);
    this.#flushSoon();
  }

  committed(): Promise<void> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const { promise, isNew } = this.#uncommitted.wait();
    if (isNew) {
      this.#hurry = true;
      this.#flushSoon();
    }
    return promise;
  }

  uncommittedBytes(): number {
    return this.#uncommitted.bytes;
  }
  accepting(): boolean {
    return (
      this.#ended === undefined &&
      !this.#closing &&
      this.#uncommitted.bytes < this.uncommittedBytesMax * ACCEPTING_SHARE
    );
  }

  receipts(source: string) {
    return this.#call('receipts', source);
  }
  saveHot(state: HotState): void {
    this.#call('saveHot', state).catch(() => {});
  }
  loadHot() {
    return this.#call('loadHot');
  }
  lastWindows(periods: readonly number[]) {
    return this.#call('lastWindows', periods);
  }
  cut(request: CutRequest) {
    return this.#call('cut', request);
  }
  acknowledge(batchId: string, answer: AckedAnswer) {
    return this.#call('acknowledge', batchId, answer);
  }
  release(batchId: string) {
    return this.#call('release', batchId);
  }
  refuse(batchId: string, reason: string) {
    return this.#call('refuse', batchId, reason);
  }
  helloRuns(target: string, page = 0) {
    return this.#call('helloRuns', target, page);
  }
  hello({ id, target }: HelloQuestion, answer: HelloAnswer) {
    return this.#call('hello', { id, target }, answer);
  }
  setRecipient(...args: CallArguments<'setRecipient'>): void {
    this.#call('setRecipient', ...args).catch(() => {});
  }
  forgetDictionary(target: string) {
    return this.#call('forgetDictionary', target);
  }
  alarms() {
    return this.#call('alarms');
  }
  backlog(target: string) {
    return this.#call('backlog', target);
  }
  stats() {
    return this.#call('stats');
  }
  onWindows(listener: (windows: ClosedWindows) => void): void {
    if (this.#listeners.push(listener) === 1) this.#post({ type: 'watchWindows' });
  }
  onDamage(listener: (note: DamageNote) => void): void {
    this.#damageListeners.push(listener);
  }
  onLadder(listener: (state: LadderState) => void): void {
    this.#ladderListeners.push(listener);
  }

  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    if (this.#ended !== undefined) {
      // Its file and its lock go with the thread: whoever opens the cache again in this process needs them.
      await this.#port.terminate();
      throw this.#ended;
    }
    this.#flush();
    const id = this.#nextCall++;
    // What the worker answers `close` with.
    const { done, readings } = (await this.#ask(id, { type: 'close', id })) as Closed;
    await this.#port.terminate();
    if (done) return;
    throw new SluiceError('cache.full', 'retry', `the cache is full: ${readings} readings were not committed`, {
      hint: 'Bring the connection to the cloud back, raise cache.bytesMax, or free disk space.',
      facts: { readings },
    });
  }

  #call<C extends Call>(call: C, ...args: CallArguments<C>): Promise<CallResult<C>> {
    const id = this.#nextCall++;
    // The worker answers a call with what the core's method returns.
    return this.#ask(id, { type: 'call', id, call, args }) as Promise<CallResult<C>>;
  }

  #ask(id: number, message: ToWorker): Promise<unknown> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.#post(message);
    });
  }

  /** Not at once: what one burst of input brings goes in one message. */
  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    this.#port.soon(() => this.#flush());
  }

  #flush(): void {
    this.#flushing = false;
    if (this.#ended !== undefined) return;
    const hurry = this.#hurry;
    this.#hurry = false;
    if (this.#outbox.empty) {
      if (hurry) this.#post({ type: 'hurry' });
      return;
    }
    const { appends, transfer } = this.#outbox.take();
    const { seq, bytes: uncommittedBytes } = this.#uncommitted;
    this.#post({ type: 'append', seq, appends, hurry, uncommittedBytes }, transfer);
  }

  #post(message: ToWorker, transfer: readonly ArrayBuffer[] = []): void {
    if (this.#ended === undefined) this.#port.post(message, transfer);
  }

  #receive(message: Exclude<FromWorker, { type: 'ready' }>): void {
    switch (message.type) {
      case 'committed':
        this.#uncommitted.committedUpTo(message.seq);
        break;
      case 'windows':
        for (const windows of message.windows) for (const listener of this.#listeners) listener(windows);
        break;
      case 'ladder':
        for (const listener of this.#ladderListeners) listener(message.state);
        break;
      case 'damage':
        this.damage = [...this.damage, message.note].slice(-NOTES_KEPT);
        for (const listener of this.#damageListeners) listener(message.note);
        break;
      case 'result':
        this.#calls.get(message.id)?.resolve(message.value);
        this.#calls.delete(message.id);
        break;
      case 'error':
        this.#calls.get(message.id)?.reject(fromFacts(message.error));
        this.#calls.delete(message.id);
        break;
      case 'failed':
        this.#end(fromFacts(message.error));
        break;
    }
  }

  #end(error: Error): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.#uncommitted.fail(error);
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
    if (!this.#closing || error.message !== CLOSED) this.#fail(error);
  }
}

function ended(message: string): SluiceError {
  return new SluiceError('cache.closed', 'stop', message);
}
