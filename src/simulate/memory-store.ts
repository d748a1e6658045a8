/** A block store in memory, for simulation: transactions that undo themselves, copies, no disk. Semantics as `store-sqlite.ts`. */
import type {
  BlockRow,
  BlockStore,
  DeadLetterRow,
  ExplainedRow,
  LedgerRow,
  PendingSum,
  ReceiptRow,
  RunRow,
  TagRow,
  TargetRow,
  WindowBlock,
} from '../cache/store.ts';
import { shelvesEnd } from '../cache/windows/shelf.ts';
import type { ClassNumber } from '../wire/classes.ts';
import { MemoryBlocks, ROW_BYTES } from './memory-blocks.ts';
import { byText, copied, requireNew, sortedBy, Tables } from './tables.ts';

const CLASSES = 5;
const FIRST_REMOVABLE_CLASS = 2;
const DAMAGED_KEPT = 64;
/** As an empty SQLite file has. */
const BASE_BYTES = 20_000;

export class MemoryStore implements BlockStore {
  readonly #tables: Tables;
  #undo: (() => void)[] | undefined;
  readonly #blocks: MemoryBlocks;
  #bytes = 0;

  constructor(of?: MemoryStore) {
    this.#tables = of === undefined ? new Tables() : of.#tables.copy();
    this.#blocks = new MemoryBlocks(
      this.#tables,
      (table, key, value) => this.#set(table, key, value),
      (by) => this.#grow(by),
    );
    for (const { block } of this.#tables.windows.values()) this.#bytes += block.length + ROW_BYTES;
    for (const block of this.#tables.blocks.values()) this.#bytes += block.length + ROW_BYTES;
  }

  /** The store as it was after its last commit, as a copied file is. */
  copy(): MemoryStore {
    if (this.#undo !== undefined) throw new Error('a store is copied between transactions');
    return new MemoryStore(this);
  }

  transaction<T>(work: () => T): T {
    if (this.#undo !== undefined) throw new Error('transactions do not nest');
    this.#undo = [];
    try {
      return work();
    } catch (thrown) {
      for (const undo of this.#undo.reverse()) undo();
      this.#blocks.forgetOrder();
      throw thrown;
    } finally {
      this.#undo = undefined;
    }
  }

  #set<K, V>(table: Map<K, V>, key: K, value: V | undefined): void {
    if (this.#undo === undefined) throw new Error('written outside of a transaction');
    const had = table.has(key);
    const before = table.get(key);
    // Undone in the opposite order, a key that was there comes back to where lists, being sorted, expect it.
    this.#undo.push(() => {
      if (had) table.set(key, before as V);
      else table.delete(key);
    });
    if (value === undefined) table.delete(key);
    else table.set(key, value);
  }

  meta = (key: string) => this.#tables.meta.get(key);
  setMeta = (key: string, value: string) => this.#set(this.#tables.meta, key, value);
  blob = (key: string) => copied(this.#tables.blobs.get(key));
  setBlob = (key: string, value: Uint8Array) => this.#set(this.#tables.blobs, key, value.slice());

  runs = (): RunRow[] => sortedBy(this.#tables.runs.values(), ({ seq }) => seq);
  putRun(row: RunRow): void {
    const known = this.#tables.runs.get(row.seq);
    this.#set(
      this.#tables.runs,
      row.seq,
      known === undefined ? { ...row, last: [...row.last] } : { ...known, clean: row.clean, last: [...row.last] },
    );
  }
  tags = (): TagRow[] => sortedBy(this.#tables.tags.values(), ({ seq }) => seq);
  addTag(row: TagRow): void {
    requireNew(this.#tables.tags, row.seq);
    this.#set(this.#tables.tags, row.seq, row);
  }
  sources = () =>
    sortedBy(
      [...this.#tables.sources].map(([id, name]) => ({ id, name })),
      ({ id }) => id,
    );
  addSource(id: number, name: string): void {
    requireNew(this.#tables.sources, id);
    this.#set(this.#tables.sources, id, name);
  }
  targets = (): TargetRow[] => sortedBy(this.#tables.targets.values(), ({ bit }) => bit);
  putTarget = (row: TargetRow) => this.#set(this.#tables.targets, row.bit, row);

  addBlock = (row: BlockRow, block: Uint8Array) => this.#blocks.add(row, block);
  block = (id: number) => this.#blocks.get(id);
  removeBlock = (id: number) => this.#blocks.remove(id);
  divide = (rows: readonly BlockRow[], pieces: readonly BlockRow[]) => this.#blocks.divide(rows, pieces);
  sharing = (row: BlockRow): BlockRow[] => this.#blocks.sharing(row);
  #grow(by: number): void {
    this.#bytes += by;
    this.#undo?.push(() => {
      this.#bytes -= by;
    });
  }
  setPending(id: number, pending: number): void {
    const row = this.#tables.journal.get(id);
    if (row !== undefined) this.#set(this.#tables.journal, id, { ...row, pending });
  }
  addPending(bits: number): void {
    for (const row of [...this.#tables.journal.values()]) this.setPending(row.id, row.pending | bits);
  }
  pendingBlocks(bits: number, classNumber: ClassNumber, id: number, limit: number, descending = false): BlockRow[] {
    const isWanted = (row: BlockRow) => row.class === classNumber && (row.pending & bits) !== 0;
    return descending ? this.#blocks.down(id, limit, isWanted) : this.#blocks.up(id, limit, isWanted);
  }
  pendingSums(bits: number): PendingSum[] {
    const pending = this.#blocks.up(0, Number.MAX_SAFE_INTEGER, (row) => (row.pending & bits) !== 0);
    const sums: PendingSum[] = [];
    for (let classNumber = 0; classNumber < CLASSES; classNumber++) {
      const mine = pending.filter((row) => row.class === classNumber);
      if (mine.length === 0) continue;
      sums.push({
        class: classNumber as ClassNumber, // the loop's bounds
        blocks: mine.length,
        rows: mine.reduce((sum, { rows }) => sum + rows, 0),
        bytes: mine.reduce((sum, { bytes }) => sum + bytes, 0),
        oldestMs: Math.min(...mine.map(({ wallMs }) => wallMs)),
      });
    }
    return sums;
  }
  blocks = (id: number, limit: number): BlockRow[] => this.#blocks.up(id, limit, () => true);
  blocksBetween = (fromMs: number, toMs: number, id: number, limit: number): BlockRow[] =>
    this.#blocks.up(
      id,
      limit,
      (row) => row.class > FIRST_REMOVABLE_CLASS && row.lastMs >= fromMs && row.firstMs <= toMs,
    );
  removableBlocks = (bits: number, id: number, limit: number): BlockRow[] =>
    this.#blocks.up(id, limit, (row) => row.class >= FIRST_REMOVABLE_CLASS && (row.pending & bits) === 0);
  deliveredRecords = (bits: number, id: number, limit: number): BlockRow[] =>
    this.#blocks.up(id, limit, (row) => row.class < FIRST_REMOVABLE_CLASS && (row.pending & bits) === 0);
  deliveredRecordsSum(bits: number): { readonly blocks: number; readonly bytes: number } {
    const rows = this.deliveredRecords(bits, 0, Number.POSITIVE_INFINITY);
    return { blocks: rows.length, bytes: rows.reduce((sum, { bytes }) => sum + bytes, 0) };
  }
  lastBlockId = (): number => this.#blocks.ids().at(-1) ?? 0;
  lastNumbers(run: number): number[] {
    const last = [0, 0, 0, 0, 0];
    for (const row of this.#tables.journal.values())
      if (row.run === run) last[row.class] = Math.max(last[row.class] ?? 0, row.n0 + row.rows - 1);
    return last;
  }
  setAside(row: BlockRow, atMs: number): void {
    const { damaged } = this.#tables;
    this.#set(damaged, row.id, { ...row, atMs });
    const newest = sortedBy(damaged.values(), (each) => -each.atMs);
    for (const { id } of newest.slice(DAMAGED_KEPT)) this.#set(damaged, id, undefined);
    this.removeBlock(row.id);
  }

  count(target: string, source: number, reason: string, by: number): void {
    if (by === 0) return;
    const key = `${target}\n${source}\n${reason}`;
    const count = (this.#tables.ledger.get(key)?.count ?? 0) + by;
    this.#set(this.#tables.ledger, key, { target, source, reason, count });
  }
  isLedgerLost = () => false;
  ledger = (): LedgerRow[] => byText([...this.#tables.ledger]);
  explained = (target: string): ExplainedRow[] =>
    byText([...this.#tables.explained]).filter((row) => row.target === target);
  putExplained = (row: ExplainedRow) =>
    this.#set(this.#tables.explained, `${row.target}\n${row.run}\n${row.class}\n${row.reason}`, row);

  addWindows(row: Omit<WindowBlock, 'id'>): void {
    const id = this.lastWindowsId() + 1;
    this.#set(this.#tables.windows, id, { ...row, id, block: row.block.slice() });
    this.#set(this.#tables.lastIds, 'windows', id);
    this.#grow(row.block.length + ROW_BYTES);
  }
  windowsAfter = (id: number, limit: number): WindowBlock[] =>
    sortedBy(this.#tables.windows.values(), (row) => row.id)
      .filter((row) => row.id > id)
      .slice(0, limit);
  lastWindowsId = (): number => this.#tables.lastIds.get('windows') ?? 0;
  windowsBetween = (periodMs: number, fromMs: number, toMs: number, id: number, limit: number): WindowBlock[] =>
    sortedBy(this.#tables.windows.values(), (row) => row.id)
      .filter((row) => row.periodMs === periodMs && row.toMs > fromMs && row.fromMs < toMs && row.id > id)
      .slice(0, limit);
  windowPeriods = (): number[] =>
    [...new Set([...this.#tables.windows.values()].map(({ periodMs }) => periodMs))].sort((a, b) => a - b);
  removeWindows(periodMs: number, beforeMs: number, limit: number): number {
    const all = [...this.#tables.windows.values()].filter((row) => row.periodMs === periodMs);
    const mine = sortedBy(all, ({ toMs }) => toMs);
    const endMs = shelvesEnd(periodMs, beforeMs, mine[0]?.toMs, mine[limit]?.toMs);
    const gone = mine.filter(({ toMs }) => toMs <= endMs);
    for (const { id, block } of gone) {
      this.#set(this.#tables.windows, id, undefined);
      this.#grow(-block.length - ROW_BYTES);
    }
    return gone.length;
  }

  addDeadLetter = (row: DeadLetterRow) =>
    this.#set(this.#tables.deadLetters, Math.max(0, ...this.#tables.deadLetters.keys()) + 1, row);
  putWindows(row: WindowBlock): void {
    const { windows } = this.#tables;
    const before = windows.get(row.id);
    if (before === undefined) return;
    this.#set(windows, row.id, row.rows === 0 ? undefined : { ...row, block: row.block.slice() });
    this.#grow((row.rows === 0 ? -ROW_BYTES : row.block.length) - before.block.length);
  }
  removeDeadLetters(subject: string): number {
    const found = [...this.#tables.deadLetters].filter(([, letter]) => letter.subject === subject);
    for (const [id] of found) this.#set(this.#tables.deadLetters, id, undefined);
    return found.length;
  }
  removeDamaged(): number {
    const ids = [...this.#tables.damaged.keys()];
    for (const id of ids) this.#set(this.#tables.damaged, id, undefined);
    return ids.length;
  }
  audit = (): string[] => {
    const byTime = sortedBy(this.#tables.audit.values(), ({ atMs }) => atMs);
    return byTime.map(({ row }) => row);
  };
  putAudit = (id: string, atMs: number, row: string) => this.#set(this.#tables.audit, id, { atMs, row });
  trimAudit(keep: number): void {
    const ids = sortedBy([...this.#tables.audit], ([, { atMs }]) => -atMs).map(([id]) => id);
    for (const id of ids.slice(keep)) this.#set(this.#tables.audit, id, undefined);
  }
  /** Nothing is left of what was deleted. */
  wipeStep = () => 'done' as const;
  trimDeadLetters(keep: number): number {
    const ids = [...this.#tables.deadLetters.keys()].sort((a, b) => b - a).slice(keep);
    for (const id of ids) this.#set(this.#tables.deadLetters, id, undefined);
    return ids.length;
  }
  receipts = (source: string): ReceiptRow[] =>
    sortedBy(
      [...this.#tables.receipts.values()].filter((row) => row.source === source),
      ({ packetId }) => packetId,
    );
  addReceipt = (row: ReceiptRow) => this.#set(this.#tables.receipts, `${row.source}\n${row.packetId}`, row);
  removeReceipts(source: string, packetIds?: readonly number[]): void {
    for (const id of packetIds ?? this.receipts(source).map(({ packetId }) => packetId))
      this.#set(this.#tables.receipts, `${source}\n${id}`, undefined);
  }
  alarms = (): string[] => byText([...this.#tables.alarms]);
  putAlarm = (id: string, row: string | undefined) => this.#set(this.#tables.alarms, id, row);

  bytesUsed = (): number => BASE_BYTES + this.#bytes;
  logBytes = (): number => 0;
  cutLog(): void {}
  writeBack(): void {}
  totals = () => ({
    blocks: this.#tables.journal.size,
    windowBlocks: this.#tables.windows.size,
    deadLetters: this.#tables.deadLetters.size,
    damagedBlocks: this.#tables.damaged.size,
  });
  close(): void {}
}
