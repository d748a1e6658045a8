/**
 * What waits on the main thread to go to the worker in one message: small chunks are joined, counts added up, because a
 * message costs about ten microseconds whatever it holds. Order is kept.
 */
import type { Chunk } from '../reading.ts';
import { summed } from './counts.ts';
import type { Append, CommitCounts } from './types.ts';

/** Below this many rows copying is cheaper than four more buffers in the message. */
const SMALL_ROWS = 256;
const JOINED_ROWS = 4096;
const ROW_BYTES = 4 + 8 + 8 + 1;
const TEXT_UNIT_BYTES = 2;
/** An object with a few numbers, roughly. */
const SMALL_OBJECT_BYTES = 200;

export class Outbox {
  #items: Append[] = [];
  #counts = new Map<string, CommitCounts>();
  #joined: Joined | undefined;

  get empty(): boolean {
    return this.#items.length === 0 && this.#counts.size === 0 && this.#joined === undefined;
  }

  add({ chunk, counts, ...rest }: Append): void {
    for (const each of counts ?? []) this.#count(each);
    if (chunk !== undefined && chunk.length > 0) this.#addChunk(chunk);
    if (Object.values(rest).some((value) => value !== undefined)) this.#items.push(rest);
  }

  take(): { appends: Append[]; transfer: ArrayBuffer[] } {
    this.#finishJoined();
    const appends = this.#items;
    if (this.#counts.size > 0) appends.push({ counts: [...this.#counts.values()] });
    this.#items = [];
    this.#counts = new Map();
    const buffers = new Set<ArrayBuffer>();
    for (const { chunk } of appends) {
      for (const column of chunk === undefined ? [] : [chunk.tag, chunk.timeMs, chunk.value, chunk.quality]) {
        if (column.buffer instanceof ArrayBuffer) buffers.add(column.buffer);
      }
    }
    return { appends, transfer: [...buffers] };
  }

  #count(added: CommitCounts): void {
    const known = this.#counts.get(added.source);
    this.#counts.set(added.source, {
      source: added.source,
      received: added.received + (known?.received ?? 0),
      rejected: added.rejected + (known?.rejected ?? 0),
      duplicate: added.duplicate + (known?.duplicate ?? 0),
      thinned: added.thinned + (known?.thinned ?? 0),
      reasons: summed(known?.reasons, added.reasons),
    });
  }

  #addChunk(chunk: Chunk): void {
    if (chunk.length >= SMALL_ROWS || chunk.texts.length > 0) {
      this.#finishJoined();
      this.#items.push({ chunk: columnsOf(chunk) });
      return;
    }
    if (this.#joined !== undefined && this.#joined.length + chunk.length > JOINED_ROWS) this.#finishJoined();
    this.#joined ??= new Joined();
    this.#joined.add(chunk);
  }

  #finishJoined(): void {
    if (this.#joined !== undefined) this.#items.push({ chunk: this.#joined.chunk() });
    this.#joined = undefined;
  }
}

class Joined {
  length = 0;
  readonly #tag = new Uint32Array(JOINED_ROWS);
  readonly #timeMs = new Float64Array(JOINED_ROWS);
  readonly #value = new Float64Array(JOINED_ROWS);
  readonly #quality = new Uint8Array(JOINED_ROWS);

  add({ length, tag, timeMs, value, quality }: Chunk): void {
    // TypedArray.set moves bytes: 64-bit integers arrive as they were.
    this.#tag.set(tag.subarray(0, length), this.length);
    this.#timeMs.set(timeMs.subarray(0, length), this.length);
    this.#value.set(value.subarray(0, length), this.length);
    this.#quality.set(quality.subarray(0, length), this.length);
    this.length += length;
  }

  chunk(): Chunk {
    const { length } = this;
    return columnsOf({
      length,
      tag: this.#tag,
      timeMs: this.#timeMs,
      value: this.#value,
      quality: this.#quality,
      texts: [],
    });
  }
}

/** Exactly the rows that count, and nothing of a class that a message would lose. */
function columnsOf({ length, tag, timeMs, value, quality, texts }: Chunk): Chunk {
  return {
    length,
    tag: tag.subarray(0, length),
    timeMs: timeMs.subarray(0, length),
    value: value.subarray(0, length),
    quality: quality.subarray(0, length),
    texts,
  };
}

/** What may pass a full cache, and is taken however much waits: alarms and counts. */
export function isUrgent({ chunk, deadLetters, receipts }: Append): boolean {
  return chunk === undefined && deadLetters === undefined && receipts === undefined;
}

/** Roughly what an append holds of memory until it is committed. */
export function bytesOf({ chunk, counts, deadLetters, receipts, alarms }: Append): number {
  let bytes = 0;
  if (chunk !== undefined) {
    bytes += chunk.length * ROW_BYTES;
    for (const text of chunk.texts) bytes += text.length * TEXT_UNIT_BYTES;
  }
  for (const { original } of deadLetters ?? []) bytes += original.length + SMALL_OBJECT_BYTES;
  const objects = (counts?.length ?? 0) + (receipts?.add?.length ?? 0) + (alarms?.length ?? 0);
  return bytes + objects * SMALL_OBJECT_BYTES;
}
