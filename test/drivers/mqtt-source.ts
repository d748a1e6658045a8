/** An MQTT source on a sink whose disk the test moves by hand. */
import { mqtt } from '../../drivers/mqtt/index.ts';
import type { ListenSession, ListenSink, Receipts } from '../../src/driver.ts';
import { ChunkBuilder, type PlainValue, type TagDefinition, type ValueType, valueReader } from '../../src/reading.ts';
import { type Clock, systemClock } from '../../src/runtime/clock.ts';

export interface Row {
  readonly tag: string;
  readonly timeMs: number;
  readonly value: PlainValue;
  readonly quality: number;
}

/** What the cache holds outlives connections; what may come again is what it held when this one began. */
export class KeptReceipts {
  readonly kept = new Map<number, string>();
  clears = 0;
  readonly released: number[] = [];

  session(): Receipts {
    const open = new Map(this.kept);
    return {
      seen: (packetId, digest) => open.get(packetId) === digest && open.delete(packetId),
      unseen: () => [...open.keys()],
      add: (packetId, digest) => {
        this.kept.set(packetId, digest);
      },
      release: (packetIds) => {
        for (const id of packetIds) if (this.kept.delete(id)) this.released.push(id);
      },
      clear: () => {
        this.clears++;
        open.clear();
        this.kept.clear();
      },
    };
  }
}

export class HandSink implements ListenSink {
  readonly chunk: ChunkBuilder;
  readonly receipts: Receipts;
  readonly rows: Row[] = [];
  readonly rejected: { subject: string; reason: string; bytes: number }[] = [];
  readonly tags: { name: string; about: Omit<TagDefinition, 'name'>; fields: unknown }[] = [];
  tagsMax = Number.POSITIVE_INFINITY;
  /** `true`: everything is durable at once. Otherwise `commit` says when. */
  fastDisk = true;
  #waiting: { resolve: () => void; reject: (error: Error) => void }[] = [];
  #watchers = new Set<() => void>();

  constructor(receipts = new KeptReceipts(), rowsMax = 65_536) {
    this.receipts = receipts.session();
    this.chunk = new ChunkBuilder(rowsMax);
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  tag(name: string, about: Omit<TagDefinition, 'name'>, fields?: unknown): number | undefined {
    const known = this.tags.findIndex((tag) => tag.name === name);
    if (known >= 0) return known;
    return this.tags.length >= this.tagsMax ? undefined : this.tags.push({ name, about, fields }) - 1;
  }

  reject(subject: string, original: Uint8Array | string, reason: string): void {
    this.rejected.push({ subject, reason, bytes: original.length });
    this.#tell();
  }

  deliver(): void {
    const chunk = this.chunk.take();
    const read = valueReader(chunk);
    for (let row = 0; row < chunk.length; row++) {
      const tag = this.tags[chunk.tag[row] ?? 0];
      const type: ValueType = tag?.about.type ?? 'float64';
      const quality = chunk.quality[row] ?? 0;
      this.rows.push({ tag: tag?.name ?? '?', timeMs: chunk.timeMs[row] ?? 0, value: read(row, type), quality });
    }
    this.#tell();
  }

  durable(): Promise<void> {
    if (this.fastDisk) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#tell();
    });
  }

  /** The disk has everything, or will never have it. */
  commit(error?: Error): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { resolve, reject } of waiting) error === undefined ? resolve() : reject(error);
  }

  /** The disk has what the oldest open question is about, and no more. */
  commitOldest(): void {
    this.#waiting.shift()?.resolve();
  }

  until(holds: () => boolean): Promise<void> {
    if (holds()) return Promise.resolve();
    return new Promise((resolve) => {
      const watcher = () => {
        if (!holds()) return;
        this.#watchers.delete(watcher);
        resolve();
      };
      this.#watchers.add(watcher);
    });
  }

  #tell(): void {
    for (const watcher of this.#watchers) watcher();
  }
}

export async function openMqtt(
  settings: Record<string, unknown>,
  sink: ListenSink,
  clock: Clock = systemClock,
): Promise<ListenSession> {
  const source = mqtt.prepare(mqtt.schema.parse(settings));
  if (source.open.mode !== 'listen') throw new Error('it listens');
  const context = { gateway: 'box', source: 'weather', clock, random: () => 0.5 };
  return source.open.session([], context, sink, new AbortController().signal);
}
