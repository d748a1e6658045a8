/**
 * What every driver promises, proved against a real peer: `driverContract('modbus', makePeer)` in a test file runs it.
 * The peer is whatever the driver talks to (a slave, a broker, a pty), started on a free port by `make` for each test and
 * stopped after it. A driver with no peer (the simulator) leaves out the levers it has no use for: what cannot happen
 * to it is no promise, and no test.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Driver, ListenSession, ListenSink, PollSession, PreparedSource, Receipts } from '../../src/driver.ts';
import { isSluiceError } from '../../src/errors.ts';
import { type Chunk, ChunkBuilder, isBad } from '../../src/reading.ts';
import { type Clock, systemClock, type Timer } from '../../src/runtime/clock.ts';

export interface ContractPeer {
  readonly driver: Driver;
  /**
   * A source that reaches this peer, as it stands in the YAML without `driver`. Its time-outs are short (≤ 300 ms in all),
   * since the contract waits for them.
   */
  readonly settings: unknown;
  /** Listen drivers: makes the peer send at least one good reading. */
  speak?(): void | Promise<void>;
  /** From now on the peer accepts connections and bytes, and says nothing. */
  silence?(): void | Promise<void>;
  /** The peer drops every connection it has. */
  hangUp?(): void | Promise<void>;
  /** Connections the peer holds now. */
  connections?(): number;
  /** The same source where nobody answers the door (connection refused, no such device). */
  readonly unreachable?: unknown;
  stop(): Promise<void>;
}

/** Levers a driver's peer has not; name them so that a lever forgotten by accident fails the suite. */
export interface ContractOptions {
  readonly without?: readonly ('silence' | 'hangUp' | 'unreachable')[];
}

/** Longer than any time-out in a peer's settings, shorter than the test's own. */
const SOON_MS = 3_000;

export function driverContract(
  name: string,
  make: () => Promise<ContractPeer> | ContractPeer,
  options: ContractOptions = {},
): void {
  const having = (lever: 'silence' | 'hangUp' | 'unreachable') => (promise: string, prove: () => Promise<void>) => {
    if (options.without?.includes(lever) !== true) test(promise, prove);
  };

  describe(`driver contract: ${name}`, () => {
    let peer: ContractPeer;
    let clock: CountingClock;
    let sessions: (PollSession | ListenSession)[];
    beforeEach(async () => {
      peer = await make();
      clock = new CountingClock();
      sessions = [];
    });
    afterEach(async () => {
      await Promise.all(sessions.map((session) => session.close()));
      await peer.stop();
    });

    const prepare = (settings: unknown = peer.settings): PreparedSource =>
      peer.driver.prepare(peer.driver.schema.parse(settings));

    async function open(settings?: unknown, signal: AbortSignal = new AbortController().signal): Promise<Opened> {
      const source = prepare(settings);
      const opened = await openSource(source, clock, signal);
      sessions.push(opened.session);
      return opened;
    }

    test('refuses a setting it does not know', () => {
      const settings = { ...(peer.settings as Record<string, unknown>), noSuchSetting: 1 };
      expect(peer.driver.schema.safeParse(settings).success).toBe(false);
    });

    test('plans without a connection, the same each time, with every tag named once', () => {
      const [first, second] = [prepare(), prepare()];
      expect(second.groups).toEqual(first.groups);
      expect(second.endpoint).toBe(first.endpoint);
      const names = first.groups.flatMap((group) => group.tags.map((tag) => tag.name));
      expect(new Set(names).size).toBe(names.length);
    });

    test('gives one good reading for each tag that is due, or tells what the peer says', async () => {
      const opened = await open();
      const before = clock.wallMs();
      const chunk = await hear(opened, peer);
      expect(chunk.length).toBeGreaterThan(0);
      for (let row = 0; row < chunk.length; row++) expect(isBad(chunk.quality[row] ?? 0xff)).toBe(false);
      if (opened.mode === 'poll') {
        expect([...chunk.tag].sort((a, b) => a - b)).toEqual(opened.indexes.flat());
        for (const timeMs of chunk.timeMs) {
          expect(timeMs).toBeGreaterThanOrEqual(Math.floor(before));
          expect(timeMs).toBeLessThanOrEqual(Math.ceil(clock.wallMs()));
        }
      }
    });

    test('reads only the groups that are due', async () => {
      const opened = await open();
      if (opened.mode !== 'poll') return;
      for (const [group, indexes] of opened.indexes.entries()) {
        const out = new ChunkBuilder();
        expect(await opened.session.read([group], out, new AbortController().signal)).toEqual([]);
        expect([...out.take().tag].sort((a, b) => a - b)).toEqual(indexes);
      }
      expect(await opened.session.read([], new ChunkBuilder(), new AbortController().signal)).toEqual([]);
    });

    having('silence')('gives up on a silent peer in time and says so', async () => {
      const opened = await open();
      if (opened.mode === 'poll') {
        await peer.silence?.();
        const out = new ChunkBuilder();
        const due = opened.indexes.map((_, group) => group);
        const faults = await soon(opened.session.read(due, out, new AbortController().signal));
        expect(new Set(faults.map((fault) => fault.group))).toEqual(new Set(due));
        for (const fault of faults) {
          expect(fault.unitDown).toBe(true);
          expect(isSluiceError(fault.error)).toBe(true);
        }
        const chunk = out.take();
        expect([...chunk.tag].sort((a, b) => a - b)).toEqual(opened.indexes.flat());
        expect([...chunk.quality].every(isBad)).toBe(true);
      } else {
        await opened.session.close();
        await peer.silence?.();
        const thrown = await soon(rejection(open()));
        expect(isSluiceError(thrown)).toBe(true);
      }
    });

    having('unreachable')('fails to open with a cause and a way out when nobody answers the door', async () => {
      const thrown = await soon(rejection(open(peer.unreachable)));
      if (!isSluiceError(thrown)) throw thrown;
      expect(thrown.recovery).toBe('retry');
      expect(thrown.hint ?? '').not.toBe('');
      expect(clock.pending).toBe(0);
    });

    having('hangUp')('ends the session with the cause when the peer hangs up', async () => {
      const opened = await open();
      const ended = rejection(opened.session.closed);
      await peer.hangUp?.();
      const thrown = await soon(ended);
      if (!isSluiceError(thrown)) throw thrown;
      expect(thrown.recovery).toBe('retry');
      if (opened.mode === 'poll') {
        const due = opened.indexes.map((_, group) => group);
        await soon(rejection(opened.session.read(due, new ChunkBuilder(), new AbortController().signal)));
      }
    });

    having('hangUp')('fails a pending read at once when the peer hangs up', async () => {
      const opened = await open();
      if (opened.mode !== 'poll' || peer.silence === undefined) return;
      await peer.silence();
      const due = opened.indexes.map((_, group) => group);
      const pending = rejection(opened.session.read(due, new ChunkBuilder(), new AbortController().signal));
      await peer.hangUp?.();
      expect(isSluiceError(await soon(pending))).toBe(true);
    });

    test('closes twice as well as once, and leaves no handle behind', async () => {
      const opened = await open();
      await hear(opened, peer);
      await soon(Promise.all([opened.session.close(), opened.session.close()]));
      await soon(opened.session.closed);
      await soon(opened.session.close());
      expect(clock.pending).toBe(0);
      if (peer.connections !== undefined) await eventually(() => peer.connections?.() === 0);
    });

    having('silence')('rejects a pending read when it is closed', async () => {
      const opened = await open();
      if (opened.mode !== 'poll') return;
      await peer.silence?.();
      const due = opened.indexes.map((_, group) => group);
      const pending = rejection(opened.session.read(due, new ChunkBuilder(), new AbortController().signal));
      await soon(opened.session.close());
      await soon(pending);
      expect(clock.pending).toBe(0);
    });

    test('opens nothing once it is aborted', async () => {
      const reason = new Error('stopping');
      expect(await soon(rejection(open(undefined, AbortSignal.abort(reason))))).toBe(reason);
      expect(clock.pending).toBe(0);
      expect(peer.connections?.() ?? 0).toBe(0);
    });

    test('abandons an open that is aborted, with nothing left behind', async () => {
      const reason = new Error('stopping');
      const abort = new AbortController();
      const opening = open(undefined, abort.signal);
      abort.abort(reason);
      // A driver that needs no connection may have opened by then.
      const outcome = await soon(opening.catch((thrown: unknown) => thrown));
      if (peer.connections !== undefined || outcome instanceof Error) expect(outcome).toBe(reason);
      else await (outcome as Opened).session.close();
      expect(clock.pending).toBe(0);
      if (peer.connections !== undefined) await eventually(() => peer.connections?.() === 0);
    });

    having('silence')('abandons a read that is aborted, and can be closed afterwards', async () => {
      const opened = await open();
      if (opened.mode !== 'poll') return;
      await peer.silence?.();
      const reason = new Error('overdue');
      const abort = new AbortController();
      const due = opened.indexes.map((_, group) => group);
      const pending = rejection(opened.session.read(due, new ChunkBuilder(), abort.signal));
      abort.abort(reason);
      expect(await soon(pending)).toBe(reason);
      await soon(opened.session.close());
      expect(clock.pending).toBe(0);
    });
  });
}

type Opened =
  | { readonly mode: 'poll'; readonly session: PollSession; readonly indexes: readonly (readonly number[])[] }
  | { readonly mode: 'listen'; readonly session: ListenSession; readonly sink: CollectingSink };

async function openSource(source: PreparedSource, clock: Clock, signal: AbortSignal): Promise<Opened> {
  let next = 0;
  const indexes = source.groups.map((group) => group.tags.map(() => next++));
  const context = { gateway: 'box', source: 'contract', clock, random: () => 0.5 };
  if (source.open.mode === 'poll') {
    return { mode: 'poll', session: await source.open.session(indexes, context, signal), indexes };
  }
  const sink = new CollectingSink(next);
  return { mode: 'listen', session: await source.open.session(indexes, context, sink, signal), sink };
}

/** What one read of everything, or one word of the peer, brings. */
async function hear(opened: Opened, peer: ContractPeer): Promise<Chunk> {
  if (opened.mode === 'listen') {
    const heard = opened.sink.next();
    await peer.speak?.();
    return soon(heard);
  }
  const out = new ChunkBuilder();
  const due = opened.indexes.map((_, group) => group);
  expect(await soon(opened.session.read(due, out, new AbortController().signal))).toEqual([]);
  return out.take();
}

/** A sink that keeps what it gets; everything is durable at once. */
export class CollectingSink implements ListenSink {
  readonly chunk = new ChunkBuilder();
  readonly chunks: Chunk[] = [];
  readonly names: string[] = [];
  readonly rejected: { subject: string; original: Uint8Array | string; reason: string }[] = [];
  readonly receipts: Receipts = new MemoryReceipts();
  readonly #indexes = new Map<string, number>();
  readonly #first: number;
  #waiting: ((chunk: Chunk) => void)[] = [];

  /** @param first the index of the first tag that registers itself; those planned have the ones before. */
  constructor(first = 0) {
    this.#first = first;
  }
  tag(name: string): number {
    let index = this.#indexes.get(name);
    if (index === undefined) {
      index = this.#first + this.names.push(name) - 1;
      this.#indexes.set(name, index);
    }
    return index;
  }
  reject(subject: string, original: Uint8Array | string, reason: string): void {
    this.rejected.push({ subject, original, reason });
  }
  deliver(): void {
    if (this.chunk.length === 0) return;
    const chunk = this.chunk.take();
    this.chunks.push(chunk);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve(chunk);
  }
  async durable(): Promise<void> {}
  /** The next chunk that is delivered. */
  next(): Promise<Chunk> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

class MemoryReceipts implements Receipts {
  readonly #kept = new Map<string, number>();
  seen(packetId: number, digest: string): boolean {
    return this.#kept.delete(`${packetId} ${digest}`);
  }
  unseen(): readonly number[] {
    return [];
  }
  add(packetId: number, digest: string): void {
    this.#kept.set(`${packetId} ${digest}`, packetId);
  }
  release(packetIds: readonly number[]): void {
    for (const [key, id] of this.#kept) if (packetIds.includes(id)) this.#kept.delete(key);
  }
  clear(): void {
    this.#kept.clear();
  }
}

/** The system's clock that knows how many of its timers are still to fire. */
class CountingClock implements Clock {
  readonly #timers = new Set<Timer>();
  get pending(): number {
    return this.#timers.size;
  }
  wallMs = () => systemClock.wallMs();
  monoMs = () => systemClock.monoMs();
  synced = () => true;
  after(delayMs: number, callback: () => void): Timer {
    const inner = systemClock.after(delayMs, () => {
      this.#timers.delete(timer);
      callback();
    });
    const timer: Timer = {
      cancel: () => {
        inner.cancel();
        this.#timers.delete(timer);
      },
    };
    this.#timers.add(timer);
    return timer;
  }
}

/** What a promise rejects with; fails when it resolves. */
function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error('expected a rejection');
    },
    (reason: unknown) => reason,
  );
}

async function soon<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing happened within ${SOON_MS} ms`)), SOON_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function eventually(holds: () => boolean): Promise<void> {
  const endMs = performance.now() + SOON_MS;
  while (!holds()) {
    if (performance.now() > endMs) throw new Error(`not so within ${SOON_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
