/** The block store in one SQLite file. All SQL of the writing side is here. */
import type Database from 'better-sqlite3';
import type { ClassNumber } from '../wire/classes.ts';
import { type AtRestKeys, NO_KEYS, type Sealer } from './at-rest.ts';
import { openSealer } from './at-rest-store.ts';
import { diskError } from './disk-error.ts';
import { FileBytes } from './file-bytes.ts';
import { Wipe } from './forget/wipe.ts';
import { KeptBlocks } from './kept-blocks.ts';
import { KeptLedger } from './kept-ledger.ts';
import { KeptReceipts, type ReceiptsTable } from './kept-receipts.ts';
import { blockRow, type JournalRecord, type TargetRecord, targetRow } from './rows.ts';
import { prepareStatements, type Statements } from './statements.ts';
import type {
  BlockRow,
  BlockStore,
  DeadLetterRow,
  ExplainedRow,
  LedgerRow,
  ReceiptRow,
  RunRow,
  TagRow,
  TargetRow,
  WindowBlock,
} from './store.ts';
import { shelvesEnd } from './windows/shelf.ts';

/** Set aside for a look later; a disk that goes bad must not fill itself with its own evidence. */
const DAMAGED_KEPT = 64;

export class SqliteStore implements BlockStore {
  readonly #db: Database.Database;
  readonly #sql: Statements;
  readonly #sealer: Sealer;
  readonly #wipe: Wipe;
  readonly #bytes: FileBytes;
  readonly #blocks: KeptBlocks;
  readonly #sealed: 0 | 1;
  #lastLetterId: number;
  readonly #ledger: KeptLedger;
  readonly #receipts: KeptReceipts;

  /**
   * @param db opened by `openDatabase`: WAL, synchronous FULL, right schema, checkpointed.
   * @param keys of encryption at rest. @throws cache.key_missing, cache.key_wrong (stop) when they do not open what is there.
   * @param logMax of the log: what it takes beyond counts as used.
   */
  constructor(db: Database.Database, keys: AtRestKeys = NO_KEYS, logMax = Number.POSITIVE_INFINITY) {
    this.#db = db;
    this.#sql = prepareStatements(db);
    this.#sealer = openSealer(db, keys);
    this.#sealed = this.#sealer.kid === undefined ? 0 : 1;
    this.#wipe = new Wipe(db);
    this.#bytes = new FileBytes(db, logMax);
    this.#blocks = new KeptBlocks(this.#sql, this.#sealer);
    this.#lastLetterId = (this.#sql.lastDeadLetterId.get() as { id: number | null }).id ?? 0;
    const sql = this.#sql;
    this.#ledger = new KeptLedger({
      read: (part) => (sql.ledger.get(part) as { counters: Uint8Array } | undefined)?.counters, // its column
      write: (part, counters) => sql.putLedger.run(part, counters),
    });
    this.#receipts = new KeptReceipts({
      all: () => sql.receipts.all() as ReturnType<ReceiptsTable['all']>, // its columns
      put: (id, source, receipts) =>
        receipts === undefined ? sql.removeReceipts.run(id) : sql.putReceipts.run(id, source, receipts),
    });
  }

  transaction<T>(work: () => T): T {
    try {
      this.#sql.begin.run();
      const result = work();
      this.#ledger.write();
      this.#receipts.write();
      this.#sql.commit.run();
      return result;
    } catch (thrown) {
      // A failed COMMIT may or may not have ended it.
      if (this.#db.inTransaction) this.#rollback();
      this.#undo(thrown);
      throw diskError(thrown);
    }
  }

  #rollback(): void {
    try {
      this.#sql.rollback.run();
    } catch {
      // SQLite rolls back by itself on I/O errors; what failed first is what gets reported.
    }
  }

  /** What is kept in memory says again what the file does. */
  #undo(cause: unknown): void {
    try {
      this.#ledger.undo();
      this.#receipts.undo();
    } catch {
      throw diskError(cause);
    }
  }

  meta(key: string): string | undefined {
    const row = this.#sql.meta.get(key) as { value: string } | undefined; // the statement's columns
    return row?.value;
  }
  setMeta(key: string, value: string): void {
    this.#sql.setMeta.run(key, value);
  }
  blob(key: string): Uint8Array | undefined {
    const row = this.#sql.blob.get(key) as { value: Uint8Array } | undefined; // the statement's columns
    return row?.value;
  }
  setBlob(key: string, value: Uint8Array): void {
    this.#sql.setBlob.run(key, value);
  }

  runs(): RunRow[] {
    const rows = this.#sql.runs.all() as (Omit<RunRow, 'clean' | 'last'> & { clean: number; last: string })[]; // its columns
    return rows.map((row) => ({ ...row, clean: row.clean === 1, last: JSON.parse(row.last) }));
  }
  putRun({ seq, run, boot, previous, clean, openedMs, last }: RunRow): void {
    this.#sql.putRun.run(seq, run, boot, previous, clean ? 1 : 0, openedMs, JSON.stringify(last));
  }
  tags(): TagRow[] {
    const rows = this.#sql.tags.all() as (Omit<TagRow, 'low'> & { low: number })[]; // the statement's columns
    return rows.map((row) => ({ ...row, low: row.low === 1 }));
  }
  addTag({ seq, id, content, source, low }: TagRow): void {
    this.#sql.addTag.run(seq, id, content, source, low ? 1 : 0);
  }
  sources(): { id: number; name: string }[] {
    return this.#sql.sources.all() as { id: number; name: string }[]; // the statement's columns
  }
  addSource(id: number, name: string): void {
    this.#sql.addSource.run(id, name);
  }
  targets(): TargetRow[] {
    return (this.#sql.targets.all() as TargetRecord[]).map(targetRow);
  }
  putTarget({ bit, name, required, removed, dictionary, dictionaryCount }: TargetRow): void {
    this.#sql.putTarget.run(bit, name, required ? 1 : 0, removed ? 1 : 0, dictionary ?? null, dictionaryCount);
  }

  addBlock = (row: BlockRow, block: Uint8Array) => this.#blocks.add(row, block);
  block = (id: number) => this.#blocks.get(id);
  removeBlock = (id: number) => this.#blocks.remove(id);
  divide = (rows: readonly BlockRow[], pieces: readonly BlockRow[]) => this.#blocks.divide(rows, pieces);
  sharing = (row: BlockRow) => this.#blocks.sharing(row);
  setPending(id: number, pending: number): void {
    this.#sql.setPending.run(pending, id);
  }
  addPending(bits: number): void {
    this.#sql.addPending.run(bits);
  }
  pendingBlocks(bits: number, classNumber: ClassNumber, id: number, limit: number, descending = false): BlockRow[] {
    const statement = descending ? this.#sql.pendingDown : this.#sql.pendingUp;
    return (statement.all(classNumber, id, bits, limit) as JournalRecord[]).map(blockRow);
  }
  pendingSums(bits: number) {
    return this.#sql.pendingSums.all(bits) as ReturnType<BlockStore['pendingSums']>; // the statement's columns
  }
  blocks(id: number, limit: number): BlockRow[] {
    return (this.#sql.blocks.all(id, limit) as JournalRecord[]).map(blockRow);
  }
  blocksBetween(fromMs: number, toMs: number, id: number, limit: number): BlockRow[] {
    return (this.#sql.blocksBetween.all(id, fromMs, toMs, limit) as JournalRecord[]).map(blockRow);
  }
  removableBlocks(bits: number, id: number, limit: number): BlockRow[] {
    return (this.#sql.removable.all(id, bits, limit) as JournalRecord[]).map(blockRow);
  }
  deliveredRecords(bits: number, id: number, limit: number): BlockRow[] {
    return (this.#sql.deliveredRecords.all(id, bits, limit) as JournalRecord[]).map(blockRow);
  }
  deliveredRecordsSum(bits: number) {
    return this.#sql.deliveredRecordsSum.get(bits) as ReturnType<BlockStore['deliveredRecordsSum']>; // its columns
  }
  lastBlockId(): number {
    return (this.#sql.lastBlockId.get() as { id: number | null }).id ?? 0;
  }
  lastNumbers(run: number): number[] {
    const last = [0, 0, 0, 0, 0];
    for (const row of this.#sql.lastNumbers.all(run) as { class: number; n: number }[]) last[row.class] = row.n;
    return last;
  }
  setAside(row: BlockRow, atMs: number): void {
    const found = this.block(row.id);
    const content = found === undefined ? null : this.#sealer.seal('damaged', row.id, found);
    this.#sql.setAside.run(row.id, atMs, row.run, row.class, row.n0, row.rows, content, this.#sealed);
    this.#sql.trimDamaged.run(DAMAGED_KEPT);
    this.removeBlock(row.id);
  }

  count(target: string, source: number, reason: string, by: number): void {
    this.#ledger.count(target, source, reason, by);
  }
  isLedgerLost(): boolean {
    return this.#ledger.isLost;
  }
  ledger(): LedgerRow[] {
    return this.#ledger.rows();
  }
  explained(target: string): ExplainedRow[] {
    return this.#sql.explained.all(target) as ExplainedRow[]; // the statement's columns
  }
  putExplained({ target, run, class: classNumber, reason, ranges }: ExplainedRow): void {
    this.#sql.putExplained.run(target, run, classNumber, reason, ranges);
  }

  addWindows({ periodMs, fromMs, toMs, rows, block }: Omit<WindowBlock, 'id'>): void {
    this.#sql.addWindows.run(periodMs, fromMs, toMs, rows, block);
  }
  windowsAfter(id: number, limit: number): WindowBlock[] {
    return this.#sql.windowsAfter.all(id, limit) as WindowBlock[]; // the statement's columns
  }
  lastWindowsId(): number {
    return (this.#sql.lastWindowsId.get() as { id: number } | undefined)?.id ?? 0;
  }
  windowsBetween(periodMs: number, fromMs: number, toMs: number, id: number, limit: number): WindowBlock[] {
    return this.#sql.windowsBetween.all(periodMs, fromMs, toMs, id, limit) as WindowBlock[]; // the statement's columns
  }
  windowPeriods(): number[] {
    return (this.#sql.windowPeriods.all() as { ms: number }[]).map(({ ms }) => ms);
  }
  removeWindows(periodMs: number, beforeMs: number, limit: number): number {
    const end = (at: number) => (this.#sql.windowEnds.get(periodMs, at) as { ms: number } | undefined)?.ms;
    return this.#sql.removeWindows.run(periodMs, shelvesEnd(periodMs, beforeMs, end(0), end(limit))).changes;
  }

  addDeadLetter({ atMs, source, subject, reason, original }: DeadLetterRow): void {
    const id = ++this.#lastLetterId;
    const content = this.#sealer.seal('dead_letters', id, original);
    this.#sql.addDeadLetter.run(id, atMs, source, subject, reason, content, this.#sealed);
  }
  putWindows({ id, fromMs, toMs, rows, block }: WindowBlock): void {
    if (rows === 0) this.#sql.removeWindowsById.run(id);
    else this.#sql.putWindows.run(fromMs, toMs, rows, block, id);
  }
  removeDeadLetters(subject: string): number {
    return this.#sql.removeDeadLetters.run(subject).changes;
  }
  removeDamaged(): number {
    return this.#sql.removeDamaged.run().changes;
  }
  audit(): string[] {
    return (this.#sql.audit.all() as { row: string }[]).map(({ row }) => row);
  }
  putAudit(id: string, atMs: number, row: string): void {
    this.#sql.putAudit.run(id, atMs, row);
  }
  trimAudit(keep: number): void {
    this.#sql.trimAudit.run(keep);
  }
  wipeStep(): 'more' | 'busy' | 'done' {
    try {
      return this.#wipe.step();
    } catch (thrown) {
      throw diskError(thrown);
    }
  }
  trimDeadLetters(keep: number): number {
    return this.#sql.trimDeadLetters.run(keep).changes;
  }
  receipts(source: string): ReceiptRow[] {
    return this.#receipts.of(source);
  }
  addReceipt(row: ReceiptRow): void {
    this.#receipts.add(row);
  }
  removeReceipts(source: string, packetIds?: readonly number[]): void {
    this.#receipts.remove(source, packetIds);
  }
  alarms(): string[] {
    return (this.#sql.alarms.all() as { row: string }[]).map(({ row }) => row);
  }
  putAlarm(id: string, row: string | undefined): void {
    if (row === undefined) this.#sql.removeAlarm.run(id);
    else this.#sql.putAlarm.run(id, row);
  }

  bytesUsed(): number {
    return this.#bytes.used(this.#wipe.pages);
  }
  logBytes(): number {
    return this.#bytes.log();
  }
  cutLog = () => this.#bytes.cutLog();
  writeBack = () => this.#bytes.writeBack();
  totals() {
    return this.#sql.totals.get() as ReturnType<BlockStore['totals']>; // the statement's columns
  }

  close(): void {
    this.#db.close();
  }
}
