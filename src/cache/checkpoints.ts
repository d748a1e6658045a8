/** When windows are saved (see `checkpoint.ts`): every so often, and together with any raw that goes. */
import { type Ahead, isCheckpointAhead, isRawMissing, saveWindows } from './checkpoint.ts';
import type { PreparedCommit } from './commit.ts';
import type { BlockStore } from './store.ts';
import type { WindowBook } from './windows/book.ts';

const READINGS_MAX = 5_000_000;

interface CheckpointOptions {
  readonly checkpointInterval: number;
  /** Readings between checkpoints, whatever the time: counting them again after a crash takes seconds. Default: 5 million. */
  readonly checkpointReadings?: number;
}

export class Checkpoints {
  readonly #store: BlockStore;
  readonly #windows: WindowBook;
  readonly #options: CheckpointOptions;
  #savedMs: number;
  #readings = 0;

  /** @param nowMs monotonic, here and below. */
  constructor(store: BlockStore, windows: WindowBook, options: CheckpointOptions, nowMs: number) {
    this.#store = store;
    this.#windows = windows;
    this.#options = options;
    this.#savedMs = nowMs;
  }

  /** @param coming readings that are about to be written. */
  isDue(nowMs: number, coming: number): boolean {
    const { checkpointInterval, checkpointReadings = READINGS_MAX } = this.#options;
    return (
      isCheckpointAhead(this.#store) ||
      nowMs - this.#savedMs >= checkpointInterval ||
      this.#readings + coming >= checkpointReadings
    );
  }

  /** Inside a transaction, all that the windows have seen being on disk. @param isWritten in it is what waited, too. */
  save(isWritten: boolean): void {
    saveWindows(this.#store, this.#windows, { isWritten });
  }

  /** A commit was written. @param isSaved with a checkpoint. */
  written(nowMs: number, readings: number, isSaved: boolean): void {
    this.#readings = isSaved ? 0 : this.#readings + readings;
    if (isSaved) this.#savedMs = nowMs;
  }

  /**
   * At the end of a transaction that may have removed raw: windows that would be counted from it are saved with it.
   * @param waiting what the windows have seen of is not on disk yet.
   */
  rawWent(waiting: readonly PreparedCommit[]): void {
    if (isRawMissing(this.#store)) saveWindows(this.#store, this.#windows, { ahead: aheadOf(waiting) });
  }
}

function aheadOf(waiting: readonly PreparedCommit[]): Ahead | undefined {
  const rows = waiting.flatMap(({ blocks }) => blocks.map(({ row }) => row));
  if (rows.length === 0) return undefined;
  const toId = rows.reduce((most, { id }) => Math.max(most, id), -1);
  return { toId, fromMs: rows.reduce((least, { firstMs }) => Math.min(least, firstMs), Number.POSITIVE_INFINITY) };
}
