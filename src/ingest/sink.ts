/** Where a listening session puts what it hears; it lives as long as the session. */
import type { Receipt } from '../cache/types.ts';
import { type TagFields, tagFieldsSchema } from '../config/fields.ts';
import type { ListenSink, Receipts } from '../driver.ts';
import { SluiceError } from '../errors.ts';
import { type Chunk, ChunkBuilder, type TagDefinition } from '../reading.ts';
import type { PipelinePort, TagPort } from './ports.ts';

const DEFAULT_FIELDS: TagFields = tagFieldsSchema.parse({});

export interface SinkEvents {
  /** A tag of this source, known from the start or new. */
  tag(index: number): void;
  tagRefused(name: string): void;
  /** Before these readings are pushed. */
  delivering?(chunk: Chunk): void;
  delivered(): void;
}

export class SourceSink implements ListenSink {
  readonly chunk = new ChunkBuilder();
  readonly receipts: Receipts;
  readonly #source: string;
  readonly #registry: TagPort;
  readonly #pipeline: PipelinePort;
  readonly #events: SinkEvents;
  /** Committed before and not matched yet. */
  readonly #open: Map<number, string>;
  #added: Receipt[] = [];
  /** Receipts were delivered since durability was asked for last: what comes now may belong to them. */
  #hasReceipts = false;
  #wasRefused = false;
  #isClosed = false;

  /** @param committed what the cache holds for this source. */
  constructor(
    source: string,
    registry: TagPort,
    pipeline: PipelinePort,
    committed: readonly Receipt[],
    events: SinkEvents,
  ) {
    this.#source = source;
    this.#registry = registry;
    this.#pipeline = pipeline;
    this.#events = events;
    this.#open = new Map(committed.map((receipt) => [receipt.packetId, receipt.digest]));
    this.receipts = {
      seen: (packetId, digest) => this.#seen(packetId, digest),
      unseen: () => [...this.#open.keys()],
      add: (packetId, digest) => {
        this.#added.push({ source, packetId, digest });
      },
      release: (packetIds) => {
        if (!this.#isClosed && packetIds.length > 0) pipeline.releaseReceipts(source, packetIds);
      },
      clear: () => {
        this.#open.clear();
        this.#added = [];
        if (!this.#isClosed) pipeline.clearReceipts(source);
      },
    };
  }

  tag(name: string, about: Omit<TagDefinition, 'name'>, fields?: Partial<TagFields>): number | undefined {
    const definition: TagDefinition = { ...about, name: `${this.#source}/${name}` };
    const index = this.#registry.register(this.#source, definition, { ...DEFAULT_FIELDS, ...fields });
    if (index === undefined) this.#events.tagRefused(name);
    else this.#events.tag(index);
    return index;
  }

  reject(subject: string, original: Uint8Array | string, reason: string): void {
    if (!this.#isClosed) this.#pipeline.reject(this.#source, subject, original, reason);
  }

  deliver(): void {
    if (this.chunk.length === 0 && this.#added.length === 0) return;
    const [chunk, receipts] = [this.chunk.take(), this.#added];
    this.#added = [];
    // A session that was given up may still speak; what it says comes again over the next one.
    if (this.#isClosed) return;
    this.#events.delivering?.(chunk);
    const isTaken = this.#pipeline.push(this.#source, chunk, receipts);
    // A refused chunk without receipts, that nobody asked about, is over with the next one.
    this.#wasRefused = !isTaken || (this.#wasRefused && this.#hasReceipts);
    this.#hasReceipts ||= receipts.length > 0;
    this.#events.delivered();
  }

  durable(): Promise<void> {
    const wasRefused = this.#wasRefused;
    this.#hasReceipts = false;
    this.#wasRefused = false;
    if (!wasRefused && !this.#isClosed) return this.#pipeline.durable();
    return Promise.reject(
      new SluiceError('ingest.no_room', 'retry', 'the cache is full: what was delivered last was not taken', {
        hint: 'free disk space, or wait until the cloud has taken the backlog',
      }),
    );
  }

  close(): void {
    this.#isClosed = true;
  }

  #seen(packetId: number, digest: string): boolean {
    if (this.#open.get(packetId) !== digest) return false;
    this.#open.delete(packetId);
    if (!this.#isClosed) this.#pipeline.duplicate(this.#source);
    return true;
  }
}
