/**
 * What the cache's core keeps, behind one small interface: `store-sqlite.ts` on a disk, in memory for simulation.
 *
 * Invariants that every implementation holds: `transaction` is all or nothing and durable when it returns; nothing else
 * writes; lists come in ascending order of their key and are read whole (no cursor stays open between calls).
 *
 * A block's id is its place in time: commit order, with `BLOCK_ID_STEP` numbers to itself, so that pieces of a split
 * block (`pieceId`) sort where the whole one was. A rolled block has the id of the first block in it, and its pieces again
 * lie where the blocks were that their rows came from, or before. Ids of pieces of one class never meet those of another,
 * although a rolled block spans the place of others: they are apart by more than there are classes.
 */
import type { ClassNumber } from '../wire/classes.ts';
import { count, type Range, type RangeSet, subtract } from '../wire/ranges.ts';

/** Between the rows of a block that could begin a piece; the rest of dividing an id by it is the class. */
const PIECE_ID_STEP = 8;
/** Room for a piece a row. 2^53 ÷ 81,920 blocks last for 35 years at a hundred a second, a million readings a second. */
export const BLOCK_ID_STEP = 10_240 * PIECE_ID_STEP;
/** Rows of a block as it is committed: columns compress well by then, and a damaged block costs no more than this. */
export const BLOCK_ROWS_MAX = 10_000;

export interface BlockRow {
  readonly id: number;
  /** `RunRow.seq`. */
  readonly run: number;
  readonly class: ClassNumber;
  readonly n0: number;
  readonly rows: number;
  /** Times of the readings; of the commit for records. */
  readonly firstMs: number;
  readonly lastMs: number;
  /** Bit b is set while target b lacks it. */
  readonly pending: number;
  /** When it was taken in: since boot, and wall clock, which `synced` says to believe or not. */
  readonly monoMs: number;
  readonly wallMs: number;
  readonly synced: boolean;
  readonly bytes: number;
  /**
   * Numbers from `n0` on that it no longer holds, because their tag was forgotten; before the first row there are none.
   * `rows`, `counts` and the content are without them (`numbersOf`, `lastNumber`).
   */
  readonly holes?: RangeSet;
  /** Of a block whose content is not its own alone, see `SharedContent`. */
  readonly content?: SharedContent;
  /** Readings a source: `[[source id, rows], …]`; empty for records. Here too, so that a damaged block can be accounted for. */
  readonly counts: SourceCounts;
}

/** Pieces of a block that was divided share what it holds; each is the rows of it in its span. Their bytes are shares of its own. */
export interface SharedContent {
  /** As a rule that of the block that was divided, and so of its first piece. */
  readonly id: number;
  /** As it was divided: a piece of all of its rows is a block as any other again. */
  readonly n0: number;
  readonly rows: number;
}

/** What its pieces would share. */
export const sharedBy = ({ id, n0, rows, content }: BlockRow): SharedContent => content ?? { id, n0, rows };

/** No piece of what a block is a piece of has a lower id. */
export function firstId({ id, content }: Pick<BlockRow, 'id' | 'content'>): number {
  return content === undefined ? id : Math.min(id, content.id);
}

/** Whether a piece is all there is, and in its own place. */
export function isWhole({ id, n0, rows }: BlockRow, content: SharedContent): boolean {
  return id === content.id && n0 === content.n0 && rows === content.rows;
}

/** Of a block that is committed: `place` is a multiple of `BLOCK_ID_STEP`. */
export function blockId(place: number, classNumber: ClassNumber): number {
  return place + classNumber;
}

/** Of the part of a block that begins with number `n`. */
export function pieceId({ id, n0 }: Pick<BlockRow, 'id' | 'n0'>, n: number): number {
  return id + (n - n0) * PIECE_ID_STEP;
}

/** The last number it has, or had. */
export function lastNumber({ n0, rows, holes }: Pick<BlockRow, 'n0' | 'rows' | 'holes'>): number {
  return n0 + rows - 1 + (holes === undefined ? 0 : count(holes));
}

/** From its first number to its last, holes included: no other block has one of them. */
export function spanOf(row: Pick<BlockRow, 'n0' | 'rows' | 'holes'>): Range {
  return { from: row.n0, to: lastNumber(row) };
}

/** The numbers of its rows. */
export function numbersOf(row: Pick<BlockRow, 'n0' | 'rows' | 'holes'>): RangeSet {
  return row.holes === undefined ? [spanOf(row)] : subtract([spanOf(row)], row.holes);
}

export type SourceCounts = readonly (readonly [source: number, rows: number])[];

export interface RunRow {
  readonly seq: number;
  readonly run: Uint8Array;
  readonly boot: Uint8Array;
  /** `seq` of the run before; 0 for none. */
  readonly previous: number;
  readonly clean: boolean;
  readonly openedMs: number;
  /** The last n a class, as far as the blocks no longer tell. */
  readonly last: readonly number[];
}

export interface TagRow {
  readonly seq: number;
  readonly id: Uint8Array;
  readonly content: string;
  readonly source: number;
  readonly low: boolean;
}

export interface TargetRow {
  readonly bit: number;
  readonly name: string;
  readonly required: boolean;
  readonly removed: boolean;
  readonly dictionary: Uint8Array | undefined;
  readonly dictionaryCount: number;
}

export interface LedgerRow {
  /** Empty for what is counted before any target. */
  readonly target: string;
  readonly source: number;
  readonly reason: string;
  readonly count: number;
}

export interface WindowBlock {
  readonly id: number;
  readonly periodMs: number;
  readonly fromMs: number;
  /** End of the last window. */
  readonly toMs: number;
  readonly rows: number;
  readonly block: Uint8Array;
}

export interface DeadLetterRow {
  readonly atMs: number;
  readonly source: string;
  readonly subject: string;
  readonly reason: string;
  readonly original: Uint8Array;
}

export interface ReceiptRow {
  readonly source: string;
  readonly packetId: number;
  readonly digest: string;
}

/** What of a run and class a target was told will never come. */
export interface ExplainedRow {
  readonly target: string;
  readonly run: number;
  readonly class: ClassNumber;
  readonly reason: string;
  /** `encodeRanges` form. */
  readonly ranges: Uint8Array;
}

export interface PendingSum {
  readonly class: ClassNumber;
  readonly blocks: number;
  readonly rows: number;
  readonly bytes: number;
  readonly oldestMs: number;
}

export interface BlockStore {
  /** @throws cache.full (retry) when there is no room: nothing changed. cache.disk (stop) for any other failure of the disk. */
  transaction<T>(work: () => T): T;

  meta(key: string): string | undefined;
  setMeta(key: string, value: string): void;
  /** Large values by name, such as the last values and open windows. */
  blob(key: string): Uint8Array | undefined;
  setBlob(key: string, value: Uint8Array): void;

  runs(): RunRow[];
  putRun(row: RunRow): void;
  tags(): TagRow[];
  addTag(row: TagRow): void;
  sources(): { readonly id: number; readonly name: string }[];
  addSource(id: number, name: string): void;
  targets(): TargetRow[];
  putTarget(row: TargetRow): void;

  /** `row.content` is not looked at. */
  addBlock(row: BlockRow, block: Uint8Array): void;
  /** Content of a block, or what it is a piece of; undefined when there is none. */
  block(id: number): Uint8Array | undefined;
  /** What it shares with other pieces goes with the last of them. */
  removeBlock(id: number): void;
  /** Puts pieces in the place of a block, or of some that share their content; that stays. A piece of all of it is whole again. */
  divide(rows: readonly BlockRow[], pieces: readonly BlockRow[]): void;
  /** All pieces of what a block is a piece of; itself where it shares nothing. */
  sharing(row: BlockRow): BlockRow[];
  setPending(id: number, pending: number): void;
  /** Adds a bit to every block: for a new target. */
  addPending(bits: number): void;
  /** Blocks of a class that lack one of `bits`, from `id` on (or back, when `descending`). */
  pendingBlocks(bits: number, classNumber: ClassNumber, id: number, limit: number, descending?: boolean): BlockRow[];
  pendingSums(bits: number): PendingSum[];
  /** All blocks from `id` on. */
  blocks(id: number, limit: number): BlockRow[];
  /** Blocks of readings that may hold some of that time, both ends included, from `id` on. */
  blocksBetween(fromMs: number, toMs: number, id: number, limit: number): BlockRow[];
  /** Blocks of readings and aggregates that no bit of `bits` holds back, from `id` on. */
  removableBlocks(bits: number, id: number, limit: number): BlockRow[];
  /** Blocks of alarm and control rows that no bit of `bits` holds back, from `id` on. */
  deliveredRecords(bits: number, id: number, limit: number): BlockRow[];
  deliveredRecordsSum(bits: number): { readonly blocks: number; readonly bytes: number };
  lastBlockId(): number;
  /** The highest n a class of a run. */
  lastNumbers(run: number): number[];
  /** Moves a block aside, as it is; the oldest of those set aside make room. */
  setAside(row: BlockRow, atMs: number): void;

  count(target: string, source: number, reason: string, by: number): void;
  /** The account did not read back as it was written, and began empty at this opening. Until the first transaction ends. */
  isLedgerLost(): boolean;
  ledger(): LedgerRow[];
  explained(target: string): ExplainedRow[];
  putExplained(row: ExplainedRow): void;

  addWindows(row: Omit<WindowBlock, 'id'>): void;
  windowsAfter(id: number, limit: number): WindowBlock[];
  /** That was ever given: no other block gets it when that one is gone. */
  lastWindowsId(): number;
  /** Blocks of a length that may hold windows of that time, with an id above `id`, in the order they were written. */
  windowsBetween(periodMs: number, fromMs: number, toMs: number, id: number, limit: number): WindowBlock[];
  /** Lengths there are, the shortest first. */
  windowPeriods(): number[];
  /** Whole shelves (`windows/shelf.ts`), the oldest of a length: about `limit` blocks, at least one shelf; how many went. */
  removeWindows(periodMs: number, beforeMs: number, limit: number): number;
  /** In the place of the one with its id; without rows it is removed. */
  putWindows(row: WindowBlock): void;

  addDeadLetter(row: DeadLetterRow): void;
  /** Removes the oldest beyond `keep`; how many. */
  trimDeadLetters(keep: number): number;
  /** How many. */
  removeDeadLetters(subject: string): number;
  /** All that was set aside; how many. */
  removeDamaged(): number;
  /** What was forgotten for whom, oldest first (`forget/audit.ts`). */
  audit(): string[];
  putAudit(id: string, atMs: number, row: string): void;
  /** Removes the oldest beyond `keep`. */
  trimAudit(keep: number): void;
  /**
   * Overwrites what was deleted and is still in free pages and the log: one bounded step, outside of transactions.
   * `busy`: somebody reads the file; again later.
   * @throws cache.full, cache.disk as `transaction`
   */
  wipeStep(): 'more' | 'busy' | 'done';
  receipts(source: string): ReceiptRow[];
  addReceipt(row: ReceiptRow): void;
  removeReceipts(source: string, packetIds?: readonly number[]): void;
  alarms(): string[];
  /** Undefined removes it. */
  putAlarm(id: string, row: string | undefined): void;

  /** Of the file, without pages that are free again, and of a log that a reader keeps from being written back. */
  bytesUsed(): number;
  /** Of the log beside the file. */
  logBytes(): number;
  /** Between transactions, while there is no room: writes a log back that is too large, if nobody reads any more. */
  cutLog(): void;
  /** Between transactions, while the disk has no room but what the ballast left: the log needs none while it is short. */
  writeBack(): void;
  /** Counts by looking at everything: for status, not for every commit. */
  totals(): Readonly<Record<'blocks' | 'windowBlocks' | 'deadLetters' | 'damagedBlocks', number>>;
  close(): void;
}

const PAGE = 512;

/** In pages: the store may change between two of them. */
export function* allBlocks(store: Pick<BlockStore, 'blocks'>, fromId = 0): Generator<BlockRow> {
  for (let id = fromId; ; ) {
    const page = store.blocks(id, PAGE);
    yield* page;
    const end = page.at(-1);
    if (end === undefined || page.length < PAGE) return;
    id = end.id + 1;
  }
}
