/**
 * Tags that are marked bad because their source or unit is lost. A mark for which the cache has no room is made again until
 * it is taken: no other reading would ever say that the value ended there.
 */
import { type Chunk, ChunkBuilder, Quality } from '../reading.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import type { PipelinePort } from './ports.ts';

const AGAIN_MS = 1_000;

export class BadMarks {
  readonly #source: string;
  readonly #pipeline: Pick<PipelinePort, 'push' | 'pressed'>;
  readonly #clock: Clock;
  /** Tags whose mark was not taken. */
  readonly #owed = new Set<number>();
  #timer: Timer | undefined;

  constructor(source: string, pipeline: Pick<PipelinePort, 'push' | 'pressed'>, clock: Clock) {
    this.#source = source;
    this.#pipeline = pipeline;
    this.#clock = clock;
  }

  mark(indexes: readonly number[]): void {
    if (indexes.length === 0 || this.#push(indexes)) return;
    for (const index of indexes) this.#owed.add(index);
    this.#againLater();
  }

  /** Before these readings are pushed: what is owed comes first, or not at all, because they are news that it is not. */
  before({ tag, length }: Pick<Chunk, 'tag' | 'length'>): void {
    if (this.#owed.size === 0) return;
    this.#tryOwed();
    for (const index of tag.subarray(0, length)) this.#owed.delete(index);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#owed.clear();
  }

  #push(indexes: readonly number[]): boolean {
    const isTaken = this.#pipeline.push(this.#source, allBad(indexes, this.#clock.wallMs()));
    if (isTaken) for (const index of indexes) this.#owed.delete(index);
    return isTaken;
  }

  #againLater(): void {
    this.#timer ??= this.#clock.after(AGAIN_MS, () => {
      this.#timer = undefined;
      this.#tryOwed();
      if (this.#owed.size > 0) this.#againLater();
    });
  }

  #tryOwed(): void {
    // Each refused mark is counted: not tried before there may be room.
    if (this.#owed.size > 0 && !this.#pipeline.pressed()) this.#push([...this.#owed]);
  }
}

/** One `bad/comm_error` reading of each tag. */
function allBad(indexes: readonly number[], atMs: number): Chunk {
  const out = new ChunkBuilder(Math.max(1, indexes.length), Math.max(1, indexes.length));
  for (const index of indexes) out.push(index, atMs, 0, Quality.commError);
  return out.take();
}
