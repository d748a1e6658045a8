/** Stands before a block store: lets processes crash, disks fill up and fail at any write or commit; tells what was committed. */
import type { BlockRow, BlockStore, WindowBlock } from '../cache/store.ts';
import { SluiceError } from '../errors.ts';

/** The process is gone: whoever catches this is dead and must change nothing any more. */
export class Crash extends Error {
  override readonly name = 'Crash';
}

/** What happens at the `countdown`-th write from now, or at the commit it is in: before it, or after it reached the disk. */
export interface Ambush {
  countdown: number;
  readonly at: 'write' | 'before commit' | 'after commit';
  /** `no room`: for this transaction, and for no other. */
  readonly what: 'crash' | 'disk error' | 'no room';
}

/** What one transaction did. */
export interface Committed {
  readonly blocks: readonly { readonly row: BlockRow; readonly bytes: Uint8Array }[];
  /** As they were before. */
  readonly removed: readonly BlockRow[];
  /** Ids of blocks whose marks may have changed. */
  readonly marked: readonly number[];
  /** Ids of blocks of windows that may have gone, and what was in them. */
  readonly windows: ReadonlyMap<number, WindowBlock>;
  /** Names of the other writes. */
  readonly writes: ReadonlySet<string>;
}

export interface StoreHooks {
  /** Asked at every write. */
  isFull(): boolean;
  ambush: Ambush | undefined;
  /** The process has died of an ambush. */
  onCrash(): void;
  /** After the transaction is durable, before its caller knows. */
  onCommitted(committed: Committed): void;
}

const PAGE = 256;
const WRITES = new Set([
  ...['setMeta', 'setBlob', 'putRun', 'addTag', 'addSource', 'putTarget', 'addBlock', 'removeBlock', 'setPending'],
  ...['addPending', 'setAside', 'count', 'putExplained', 'addWindows', 'removeWindows', 'addDeadLetter'],
  ...['trimDeadLetters', 'addReceipt', 'removeReceipts', 'putAlarm', 'putWindows', 'removeDeadLetters'],
  ...['removeDamaged', 'divide', 'putAudit', 'trimAudit', 'wipeStep'],
]);

export interface FaultyStore {
  readonly store: BlockStore;
  /** Like the end of the process: nothing works any more. */
  kill(): void;
}

export function faultyStore(inner: BlockStore, hooks: StoreHooks): FaultyStore {
  let isDead = false;
  let done = nothing();
  const requireAlive = (): void => {
    if (isDead) throw new Crash('the process is dead');
  };
  const spring = (what: Ambush['what']): never => {
    hooks.ambush = undefined;
    if (what === 'disk error') throw new SluiceError('cache.disk', 'stop', 'the simulated disk failed');
    if (what === 'no room') throw new SluiceError('cache.full', 'retry', 'the simulated disk is full');
    isDead = true;
    hooks.onCrash();
    throw new Crash('the process was killed');
  };
  const beforeWrite = (): void => {
    if (hooks.isFull()) throw new SluiceError('cache.full', 'retry', 'the simulated disk is full');
    const { ambush } = hooks;
    if (ambush === undefined) return;
    ambush.countdown--;
    if (ambush.countdown <= 0 && ambush.at === 'write') spring(ambush.what);
  };
  const atCommit = (at: Ambush['at']): void => {
    const { ambush } = hooks;
    if (ambush !== undefined && ambush.countdown <= 0 && ambush.at === at) spring(ambush.what);
  };
  const transaction = <T>(work: () => T): T => {
    requireAlive();
    done = nothing();
    const result = inner.transaction(() => {
      const returned = work();
      atCommit('before commit');
      return returned;
    });
    hooks.onCommitted(done);
    atCommit('after commit');
    return result;
  };
  const wrapped: Record<string, unknown> = { transaction };
  for (const name of methodsOf(inner)) {
    if (name === 'transaction') continue;
    const method = (inner as unknown as Record<string, (...args: unknown[]) => unknown>)[name]; // methodsOf's own names
    wrapped[name] = (...args: unknown[]) => {
      requireAlive();
      if (WRITES.has(name)) beforeWrite();
      if (WRITES.has(name)) note(inner, done, name, args);
      return method?.apply(inner, args);
    };
  }
  return {
    // Every method of `inner` under its own name.
    store: wrapped as unknown as BlockStore,
    kill: () => {
      isDead = true;
    },
  };
}

function nothing() {
  return {
    blocks: [] as { row: BlockRow; bytes: Uint8Array }[],
    removed: [] as BlockRow[],
    marked: [] as number[],
    windows: new Map<number, WindowBlock>(),
    writes: new Set<string>(),
  };
}

/** @param args of the store's method of that name. */
function note(inner: BlockStore, done: ReturnType<typeof nothing>, name: string, args: unknown[]): void {
  if (name === 'addBlock') done.blocks.push({ row: args[0] as BlockRow, bytes: (args[1] as Uint8Array).slice() });
  else if (name === 'removeBlock') {
    const [row] = inner.blocks(args[0] as number, 1);
    if (row !== undefined && row.id === args[0]) done.removed.push(row);
  } else if (name === 'divide') {
    // `divide(rows, pieces)`: its arguments.
    done.removed.push(...(args[0] as BlockRow[]));
    done.marked.push(...(args[1] as BlockRow[]).map(({ id }) => id));
    done.writes.add(name);
  } else if (name === 'setPending') done.marked.push(args[0] as number);
  else done.writes.add(name);
  if (name === 'removeWindows' || name === 'putWindows')
    for (const each of allWindows(inner)) if (!done.windows.has(each.id)) done.windows.set(each.id, each);
}

export function* allWindows(store: BlockStore): Generator<WindowBlock> {
  for (let id = 0; ; ) {
    const page = store.windowsAfter(id, PAGE);
    yield* page;
    const end = page.at(-1);
    if (end === undefined) return;
    id = end.id;
  }
}

function methodsOf(store: BlockStore): string[] {
  const names = [...Object.keys(store), ...Object.getOwnPropertyNames(Object.getPrototypeOf(store))];
  return names.filter((name) => name !== 'constructor' && typeof (store as never)[name] === 'function');
}
