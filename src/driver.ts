/**
 * The driver contract. A driver speaks one protocol and knows nothing of schedules, reconnects, breakers, logging or
 * storage: the runner (src/ingest) owns those. A driver is a folder in drivers/ plus one line in drivers/index.ts.
 *
 * Life of a source: the config is parsed with the driver's `schema`; `plan` says, without any connection, which tags there
 * are and which of them are read together; the runner registers the tags (each gets its index), opens a session, and
 * either asks it (`poll`) or is told (`listen`). A session lives for one connection: when it is lost the session ends with
 * an error and the runner opens a new one.
 */
import type { z } from 'zod';
import type { TagFields } from './config/fields.ts';
import type { SluiceError } from './errors.ts';
import type { ChunkBuilder, TagDefinition } from './reading.ts';
import type { Clock } from './runtime/clock.ts';

/** A tag as the driver describes it: `name` is within the source; `address` is the driver's own business. */
export interface TagPlan<Address> extends Omit<TagDefinition, 'name'> {
  readonly name: string;
  readonly fields: TagFields;
  readonly address: Address;
}

/** Tags that are read at the same times. */
export interface GroupPlan<Address> {
  /** What fails together behind one connection, e.g. `unit 3`: the breaker is kept for each. */
  readonly unit: string;
  readonly everyMs: number;
  readonly tags: readonly TagPlan<Address>[];
}

/** A planned group whose tags have their index in the registry. `id` is its position in what `plan` returned. */
export interface TagGroup<Address> {
  readonly id: number;
  readonly unit: string;
  readonly everyMs: number;
  readonly tags: readonly (TagPlan<Address> & { readonly index: number })[];
}

/** A group that could not be read. Its tags have been pushed as bad already. */
export interface GroupFault {
  readonly group: number;
  readonly error: SluiceError;
  /** The unit gave no usable answer at all, which the breaker counts; a device that answers "no" is alive. */
  readonly unitDown: boolean;
}

export interface Session {
  /** Settles when the connection is gone: resolves after `close`, rejects with the cause when it was lost. */
  readonly closed: Promise<void>;
  /** Idempotent; resolves when every handle is released. Pending reads reject. */
  close(): Promise<void>;
}

/** We ask: Modbus, request/response serial. The runner owns the timer and the overall time-out. */
export interface PollSession extends Session {
  readonly mode: 'poll';
  /**
   * Reads the groups that are due into `out`, one reading for each of their tags, all tags of one reply with one time.
   * A block that fails marks its tags bad, is reported, and does not throw. A lost connection throws.
   * @param due ids of groups; never called again before it settled.
   */
  read(due: readonly number[], out: ChunkBuilder, signal: AbortSignal): Promise<readonly GroupFault[]>;
}

/** Messages that a broker keeps until we acknowledge them: what was committed but not acknowledged is known by these. */
export interface Receipts {
  /** Whether exactly this message was committed before and may come again: acknowledge it, push nothing. Matches once. */
  seen(packetId: number, digest: string): boolean;
  /** Packet ids that were committed before this session and that `seen` has not matched. */
  unseen(): readonly number[];
  /** Kept in the same commit as what is delivered next. */
  add(packetId: number, digest: string): void;
  /** The acknowledgement of these has certainly arrived. */
  release(packetIds: readonly number[]): void;
  /** The broker has no session of ours: nothing old can come again. */
  clear(): void;
}

/** Where a listening session puts what it hears. */
export interface ListenSink {
  readonly chunk: ChunkBuilder;
  readonly receipts: Receipts;
  /** The index of a tag, registered by its first use; undefined when the registry is full (the runner counts that). */
  tag(name: string, about: Omit<TagDefinition, 'name'>, fields?: Partial<TagFields>): number | undefined;
  /** An input that is no reading: kept as a dead letter with the reason. At most 64 kB of the original is kept. */
  reject(subject: string, original: Uint8Array | string, reason: string): void;
  /** Hands on what is in `chunk`. Call it after each burst of input, and when the chunk is full. */
  deliver(): void;
  /** Resolves when everything delivered before is on disk; rejects if it never will be. */
  durable(): Promise<void>;
}

/** It tells: MQTT, chatty serial lines. */
export interface ListenSession extends Session {
  readonly mode: 'listen';
}

export interface DriverContext {
  /** Of this box: makes names unique where several boxes use one broker. */
  readonly gateway: string;
  readonly source: string;
  readonly clock: Clock;
  /** Uniform numbers in [0, 1), seeded in tests. */
  readonly random: () => number;
}

interface DriverShape<Schema extends z.ZodType, Address> {
  readonly name: string;
  /** The source's settings without `driver`; a `z.strictObject`. Every time-out and limit has a default here. */
  readonly schema: Schema;
  /** What cannot be opened twice, e.g. `tcp://10.0.0.5:502`: sources with an equal endpoint share one. */
  endpoint(config: z.output<Schema>): string;
  /** Pure. Throws a SluiceError `config.…` that names the tag when settings contradict each other. */
  plan(config: z.output<Schema>): readonly GroupPlan<Address>[];
}

export interface PollDriverShape<Schema extends z.ZodType, Address> extends DriverShape<Schema, Address> {
  readonly mode: 'poll';
  open(
    config: z.output<Schema>,
    groups: readonly TagGroup<Address>[],
    context: DriverContext,
    signal: AbortSignal,
  ): Promise<PollSession>;
}

export interface ListenDriverShape<Schema extends z.ZodType, Address> extends DriverShape<Schema, Address> {
  readonly mode: 'listen';
  open(
    config: z.output<Schema>,
    groups: readonly TagGroup<Address>[],
    context: DriverContext,
    sink: ListenSink,
    signal: AbortSignal,
  ): Promise<ListenSession>;
}

/** One configured source with its driver's types hidden: what the runner works with. */
export interface PreparedSource {
  readonly driver: string;
  readonly endpoint: string;
  readonly groups: readonly GroupPlan<unknown>[];
  /** `indexes[g][t]` is the registry index of tag t in group g. */
  readonly open:
    | {
        readonly mode: 'poll';
        session(
          indexes: readonly (readonly number[])[],
          context: DriverContext,
          signal: AbortSignal,
        ): Promise<PollSession>;
      }
    | {
        readonly mode: 'listen';
        session(
          indexes: readonly (readonly number[])[],
          context: DriverContext,
          sink: ListenSink,
          signal: AbortSignal,
        ): Promise<ListenSession>;
      };
}

export interface Driver {
  readonly name: string;
  readonly schema: z.ZodType;
  /** @param config what `schema` parsed. */
  prepare(config: unknown): PreparedSource;
}

/** Closes over a driver's own types, so that nothing outside needs them. */
export function defineDriver<Schema extends z.ZodType, Address>(
  driver: PollDriverShape<Schema, Address> | ListenDriverShape<Schema, Address>,
): Driver {
  return {
    name: driver.name,
    schema: driver.schema,
    prepare(input) {
      // Parsed output again: strict schemas of ours are not idempotent (durations become numbers), so it is taken as it is.
      const config = input as z.output<Schema>;
      const groups = driver.plan(config);
      const bind = (indexes: readonly (readonly number[])[]): TagGroup<Address>[] =>
        groups.map((group, id) => ({
          id,
          unit: group.unit,
          everyMs: group.everyMs,
          tags: group.tags.map((tag, at) => ({ ...tag, index: indexes[id]?.[at] ?? -1 })),
        }));
      return {
        driver: driver.name,
        endpoint: driver.endpoint(config),
        groups,
        open:
          driver.mode === 'poll'
            ? {
                mode: 'poll',
                session: (indexes, context, signal) => driver.open(config, bind(indexes), context, signal),
              }
            : {
                mode: 'listen',
                session: (indexes, context, sink, signal) => driver.open(config, bind(indexes), context, sink, signal),
              },
      };
    },
  };
}
