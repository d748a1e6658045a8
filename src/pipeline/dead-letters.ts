/** Inputs that became no reading, with their reason and the original, as much as is worth the disk. */
import type { DeadLetter } from '../cache/types.ts';
import type { PipelineConfig } from '../config/pipeline.ts';
import { type Chunk, jsonValue, type PlainValue, type ValueType, valueReader } from '../reading.ts';
import type { Clock } from '../runtime/clock.ts';

const SECOND_MS = 1000;
/** While the cache takes nothing (a full disk) originals wait in memory; beyond this they are counted only. */
const WAITING_BYTES_MAX = 4 * 1024 * 1024;
const text = new TextEncoder();

export class DeadLetters {
  readonly #limits: PipelineConfig['deadLetters'];
  readonly #clock: Clock;
  #waiting: DeadLetter[] = [];
  #waitingBytes = 0;
  /** Letters of each source in the current second. */
  readonly #recent = new Map<string, { sinceMs: number; count: number }>();
  #uncounted = 0;

  constructor(limits: PipelineConfig['deadLetters'], clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  /** Rejected inputs whose original was not kept, because too many came at once. */
  get withoutOriginal(): number {
    return this.#uncounted;
  }

  /** Whether one more of this source may be kept now; counts it. */
  admits(source: string): boolean {
    const nowMs = this.#clock.monoMs();
    let recent = this.#recent.get(source);
    if (recent === undefined || nowMs - recent.sinceMs >= SECOND_MS) {
      recent = { sinceMs: nowMs, count: 0 };
      this.#recent.set(source, recent);
    }
    if (recent.count >= this.#limits.perSecondMax || this.#waitingBytes >= WAITING_BYTES_MAX) {
      this.#uncounted++;
      return false;
    }
    recent.count++;
    return true;
  }

  /** Call it after `admits`. */
  keep(source: string, subject: string, original: Uint8Array | string, reason: string): void {
    const bytes = typeof original === 'string' ? text.encode(original.slice(0, this.#limits.bytesMax)) : original;
    // A copy: the caller may use its buffer again.
    const kept = bytes.slice(0, this.#limits.bytesMax);
    this.#waitingBytes += kept.length;
    this.#waiting.push({ atMs: this.#clock.wallMs(), source, subject, reason, original: kept });
  }

  take(): DeadLetter[] {
    const taken = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    return taken;
  }

  giveBack(letters: readonly DeadLetter[]): void {
    this.#waiting = [...letters, ...this.#waiting];
    for (const { original } of letters) this.#waitingBytes += original.length;
  }
}

/** A rejected row as JSON, with what JSON itself has no word for (NaN, Infinity) as text. */
export function originalOf(chunk: Chunk, row: number, type: ValueType | undefined): string {
  const read = valueReader(chunk);
  // A bool that was refused is a number that is neither 0 nor 1: show which.
  const value = read(row, type === undefined || type === 'bool' ? 'float64' : type);
  return JSON.stringify({ value: spoken(value), time: spoken(chunk.timeMs[row] ?? null), quality: chunk.quality[row] });
}

function spoken(value: PlainValue): number | boolean | string | null {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : jsonValue(value);
}
