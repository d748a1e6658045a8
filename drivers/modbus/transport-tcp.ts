/**
 * One TCP connection with up to `window` requests on the wire, matched to their replies by transaction id. It is the only
 * file of the driver that knows sockets; what a reply means is for its handler.
 *
 * A reply whose transaction is not on the wire any more came too late (or was never asked for): it is dropped and counted.
 * The id of a request that was given up is not used again while its reply may still come, so that a late reply is never
 * taken for another request's, not even after the ids went round.
 */
import { connect, type Socket } from 'node:net';
import { codeOf, isSluiceError, SluiceError } from '../../src/errors.ts';
import type { Clock, Timer } from '../../src/runtime/clock.ts';
import type { TcpAddress } from './config.ts';
import { encodeRead, FrameReader, REQUEST_BYTES, type ReadFrame } from './frame.ts';

export interface TcpOptions {
  readonly address: TcpAddress;
  readonly connectTimeoutMs: number;
  /** From a request's write to its reply. */
  readonly timeoutMs: number;
  readonly window: number;
  readonly clock: Clock;
}

/** Calls come one at a time, never from within `send`. */
export interface ReplyHandler<T extends ReadFrame> {
  /** @param bytes valid during the call only; the reply is `bytes[start, end)`. */
  onReply(request: T, bytes: Uint8Array, start: number, end: number): void;
  onTimeout(request: T): void;
  /** The connection is gone; nothing more comes. Not called for `close`. */
  onLost(error: SluiceError): void;
}

/** Several full windows of the longest replies; what does not fit waits in the kernel. */
const RECEIVE_BYTES = 8192;
/** How soon the kernel starts to ask whether a silent peer is still there. */
const KEEP_ALIVE_MS = 10_000;
/** Given up and still unanswered; beyond this the oldest is taken to be lost for good. */
const ABANDONED_MAX = 1024;
const FREE = -1;

export class TcpTransport<T extends ReadFrame> {
  readonly #options: TcpOptions;
  #handler: ReplyHandler<T> | undefined;
  readonly #socket: Socket;
  readonly #reader = new FrameReader((transaction, bytes, start, end) => this.#onFrame(transaction, bytes, start, end));
  readonly #ids: Int32Array;
  readonly #requests: (T | undefined)[];
  readonly #deadlines: Float64Array;
  readonly #abandoned = new Set<number>();
  readonly #socketClosed: Promise<void>;
  #inFlight = 0;
  #nextId = 0;
  #outgoing: Buffer | undefined;
  #outgoingBytes = 0;
  #timer: Timer | undefined;
  #isOver = false;
  #lost: SluiceError | undefined;
  #strays = 0;

  /** @throws `modbus.connect`, or the signal's reason. */
  static async open<T extends ReadFrame>(options: TcpOptions, signal: AbortSignal): Promise<TcpTransport<T>> {
    signal.throwIfAborted();
    const transport = new TcpTransport<T>(options);
    await transport.#connected(signal);
    return transport;
  }

  private constructor(options: TcpOptions) {
    this.#options = options;
    this.#ids = new Int32Array(options.window).fill(FREE);
    this.#requests = new Array<T | undefined>(options.window).fill(undefined);
    this.#deadlines = new Float64Array(options.window);
    this.#socket = connect({
      ...options.address,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
      onread: {
        buffer: Buffer.allocUnsafe(RECEIVE_BYTES),
        callback: (length, bytes) => {
          this.#receive(bytes, length);
          return true;
        },
      },
    });
    this.#socketClosed = new Promise((resolve) => this.#socket.once('close', () => resolve()));
  }

  /** From now on `handler` hears what comes; it is told at once when the connection is gone already. */
  start(handler: ReplyHandler<T>): void {
    this.#handler = handler;
    if (this.#lost !== undefined) handler.onLost(this.#lost);
  }

  /** Requests that may be sent now. */
  get free(): number {
    return this.#options.window - this.#inFlight;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Replies that came too late or to nothing. */
  get strays(): number {
    return this.#strays;
  }

  /** Puts a request into the next `flush`; there must be a free place. */
  send(request: T): void {
    const place = this.#ids.indexOf(FREE);
    if (place < 0) throw new RangeError('the window is full');
    const transaction = this.#freshId();
    // Never a buffer used before: the kernel may not have taken the last one yet.
    this.#outgoing ??= Buffer.allocUnsafe(REQUEST_BYTES * this.#options.window);
    encodeRead(this.#outgoing, this.#outgoingBytes, transaction, request);
    this.#outgoingBytes += REQUEST_BYTES;
    this.#ids[place] = transaction;
    this.#requests[place] = request;
    this.#deadlines[place] = this.#options.clock.monoMs() + this.#options.timeoutMs;
    this.#inFlight++;
  }

  /** Writes what was sent, as one segment where it fits. */
  flush(): void {
    if (this.#outgoing === undefined) return;
    this.#socket.write(this.#outgoing.subarray(0, this.#outgoingBytes));
    this.#outgoing = undefined;
    this.#outgoingBytes = 0;
    this.#timer ??= this.#options.clock.after(this.#options.timeoutMs, () => this.#onTimer());
  }

  /** Gives up what is on the wire; the handler hears no more of it. */
  abandon(): void {
    for (let place = 0; place < this.#ids.length; place++) if (this.#ids[place] !== FREE) this.#giveUp(place);
  }

  /** Ends the connection because the peer cannot be trusted any more. */
  drop(error: SluiceError): void {
    if (this.#isOver) return;
    this.#lost = error;
    this.#end();
    this.#handler?.onLost(error);
  }

  /** A broken stream, or a step that throws, ends this connection and nothing else. */
  guarded(step: () => void): void {
    try {
      step();
    } catch (thrown) {
      this.drop(isSluiceError(thrown) ? thrown : lost('handling a reply failed', thrown));
    }
  }

  /** Idempotent; resolves when the socket is gone. */
  close(): Promise<void> {
    this.#end();
    return this.#socketClosed;
  }

  async #connected(signal: AbortSignal): Promise<void> {
    const { address, connectTimeoutMs, clock } = this.#options;
    const socket = this.#socket;
    let timer: Timer | undefined;
    let onAbort = () => {};
    try {
      await new Promise<void>((resolve, reject) => {
        onAbort = () => reject(signal.reason);
        signal.addEventListener('abort', onAbort, { once: true });
        timer = clock.after(connectTimeoutMs, () =>
          reject(connectFailed(address, `no answer in ${connectTimeoutMs} ms`)),
        );
        socket.once('connect', resolve);
        socket.once('error', (cause) => reject(connectFailed(address, codeOf(cause), cause)));
      });
    } catch (error) {
      await this.close();
      throw error;
    } finally {
      timer?.cancel();
      signal.removeEventListener('abort', onAbort);
    }
    socket.on('error', (cause) => this.drop(lost(`the connection broke (${codeOf(cause)})`, cause)));
    socket.once('end', () => this.drop(lost('the peer closed the connection')));
    socket.once('close', () => this.drop(lost('the connection is gone')));
    // All of these may have happened between the connect and the promise.
    if (socket.destroyed || socket.readableEnded) this.drop(lost('the peer closed the connection'));
  }

  #onFrame(transaction: number, bytes: Uint8Array, start: number, end: number): void {
    if (this.#isOver) return;
    const place = this.#ids.indexOf(transaction);
    const request = place < 0 ? undefined : this.#requests[place];
    if (request === undefined) {
      this.#strays++;
      this.#abandoned.delete(transaction);
      return;
    }
    this.#release(place);
    this.#handler?.onReply(request, bytes, start, end);
  }

  #receive(bytes: Uint8Array, length: number): void {
    if (this.#isOver) return;
    try {
      this.#reader.push(bytes, length);
    } catch (thrown) {
      this.drop(isSluiceError(thrown) ? thrown : lost('handling a reply failed', thrown));
    }
  }

  /** One timer for all: it sleeps until the earliest deadline it knew of, so that a prompt reply never touches it. */
  #onTimer(): void {
    const now = this.#options.clock.monoMs();
    for (let place = 0; place < this.#ids.length; place++) {
      const request = this.#requests[place];
      if (request === undefined || (this.#deadlines[place] ?? 0) > now) continue;
      this.#giveUp(place);
      this.guarded(() => this.#handler?.onTimeout(request));
    }
    // What the handler sent meanwhile may not be the first to be due.
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#inFlight === 0) return;
    let next = Number.POSITIVE_INFINITY;
    for (let place = 0; place < this.#ids.length; place++) {
      if (this.#requests[place] !== undefined) next = Math.min(next, this.#deadlines[place] ?? next);
    }
    this.#timer = this.#options.clock.after(next - now, () => this.#onTimer());
  }

  #freshId(): number {
    do this.#nextId = (this.#nextId + 1) & 0xffff;
    while (this.#abandoned.has(this.#nextId) || this.#ids.includes(this.#nextId));
    return this.#nextId;
  }

  #giveUp(place: number): void {
    this.#abandoned.add(this.#ids[place] ?? FREE);
    if (this.#abandoned.size > ABANDONED_MAX) {
      for (const oldest of this.#abandoned) {
        this.#abandoned.delete(oldest);
        break;
      }
    }
    this.#release(place);
  }

  #release(place: number): void {
    this.#ids[place] = FREE;
    this.#requests[place] = undefined;
    this.#inFlight--;
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#ids.fill(FREE);
    this.#requests.fill(undefined);
    this.#inFlight = 0;
    this.#outgoing = undefined;
    // A socket without this listener would bring the process down with an error that comes after the end.
    this.#socket.on('error', () => {});
    this.#socket.destroy();
  }
}

function connectFailed({ host, port }: TcpAddress, why: string, cause?: unknown): SluiceError {
  return new SluiceError('modbus.connect', 'retry', `cannot connect to ${host} port ${port}: ${why}`, {
    hint: 'Check that the device is on, that its address and port are right, and that it takes one more connection.',
    cause,
  });
}

function lost(what: string, cause?: unknown): SluiceError {
  return new SluiceError('modbus.connection', 'retry', what, {
    hint: 'Check the network, and whether the device allows as many connections as it has clients.',
    cause,
  });
}
