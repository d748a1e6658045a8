/**
 * One source, for as long as the gateway runs: connect, read or listen, and when the connection is gone mark its tags bad
 * once and connect again, for ever. Nothing that a source does or leaves undone reaches another: each has its own
 * timers, connection and time-outs, and nobody waits for it.
 */
import type { SourceConfig } from '../config/load.ts';
import type { DriverContext, ListenSession, PollSession } from '../driver.ts';
import { asError, SluiceError } from '../errors.ts';
import type { TagDefinition } from '../reading.ts';
import { sleep } from '../runtime/clock.ts';
import { BadMarks } from './bad-marks.ts';
import { pollUntilLost } from './poll.ts';
import type { IngestOptions } from './ports.ts';
import { type Asked, ReadThrough } from './read-through.ts';
import { Reconnect } from './reconnect.ts';
import { Schedule } from './schedule.ts';
import { SourceSink } from './sink.ts';
import { type SourceState, StateKeeper } from './state.ts';
import { Units } from './units.ts';

/** Name look-up, connection and log-in, over the slowest link that is of any use. */
const OPEN_TIMEOUT_MS = 30_000;
/** A session that does not close within this is left behind. */
const CLOSE_TIMEOUT_MS = 5_000;

export class SourceRunner {
  readonly #config: SourceConfig;
  readonly #options: IngestOptions;
  readonly #indexes: readonly (readonly number[])[];
  /** All tags of this source that were seen, for marking them bad. */
  readonly #tags: Set<number>;
  readonly #units: Units;
  readonly #state: StateKeeper;
  readonly #marks: BadMarks;
  readonly #reconnect: Reconnect;
  readonly #asked: ReadThrough;
  readonly #stopping = new AbortController();
  #done: Promise<void> = Promise.resolve();

  /** Registers the planned tags. Throws `registry.full` when they do not fit. */
  constructor(config: SourceConfig, options: IngestOptions) {
    this.#config = config;
    this.#options = options;
    const { groups, driver } = config.prepared;
    this.#indexes = groups.map((group) => group.tags.map((tag) => this.#register(tag, group.everyMs)));
    this.#tags = new Set(this.#indexes.flat());
    this.#units = new Units(groups, options.random);
    this.#reconnect = new Reconnect(options.random);
    const { clock, pipeline } = options;
    this.#asked = new ReadThrough({ groups, units: this.#units, clock, pipeline });
    this.#marks = new BadMarks(config.name, options.pipeline, options.clock);
    const onState = options.onState ?? (() => {});
    this.#state = new StateKeeper(config.name, driver, this.#units.names, options.clock, options.logger, onState);
  }

  /** Registry indexes of the tags that are read less often while the disk fills. */
  get slowable(): readonly number[] {
    const { groups, open } = this.#config.prepared;
    if (open.mode !== 'poll') return [];
    return this.#indexes.filter((_, id) => isLow(groups[id]?.tags ?? [])).flat();
  }

  /** Registry indexes by group of what can be asked for: nothing of a source that tells. */
  get askable(): readonly (readonly number[])[] {
    return this.#config.prepared.open.mode === 'poll' ? this.#indexes : [];
  }

  /** One read of a group out of turn, however many ask. */
  ask(group: number): Promise<Asked> {
    return this.#asked.ask(group);
  }

  get state(): SourceState {
    return this.#state.current;
  }

  start(): void {
    this.#done = this.#run();
  }

  /** Resolves when the session is closed and nothing more will be pushed. */
  async stop(): Promise<void> {
    this.#stopping.abort(new SluiceError('ingest.stopped', 'stop', 'the gateway stops'));
    await this.#done;
    this.#marks.stop();
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        await this.#live();
      } catch (thrown) {
        if (signal.aborted) return;
        if (this.#state.lost(thrown)) this.#marks.mark([...this.#tags]);
      }
      await sleep(clock, this.#reconnect.nextMs(), signal).catch(() => {}); // the loop's condition says the rest
    }
  }

  /** One connection, from opening to its end. */
  async #live(): Promise<void> {
    const { prepared } = this.#config;
    const { signal } = this.#stopping;
    if (prepared.open.mode === 'poll') {
      const { open } = prepared;
      const session = await this.#within((abort) => open.session(this.#indexes, this.#context(), abort));
      await this.#whileOpen(session, (life) => this.#poll(session, life));
      return;
    }
    const { open } = prepared;
    const sink = await this.#sink();
    try {
      const session = await this.#within((abort) => open.session(this.#indexes, this.#context(), sink, abort));
      if (!signal.aborted) this.#state.connected();
      await this.#whileOpen(session, (life) => untilAborted(life));
    } finally {
      sink.close();
    }
  }

  #poll(session: PollSession, life: AbortSignal): Promise<never> {
    const { clock, pipeline } = this.#options;
    const { name, prepared, readTimeout } = this.#config;
    let isProven = false;
    const round = {
      source: name,
      groups: prepared.groups,
      indexes: this.#indexes,
      readTimeoutMs: readTimeout,
      clock,
      pipeline,
      schedule: new Schedule(
        name,
        prepared.groups.map(({ unit, everyMs, tags }, id) => ({ id, unit, everyMs, isLow: isLow(tags) })),
        clock.monoMs(),
      ),
      units: this.#units,
      state: this.#state,
      marks: this.#marks,
      asked: this.#asked,
      // Not before: a device that takes connections and then says nothing is down all the while.
      onAnswer: () => {
        this.#reconnect.proven();
        if (!isProven) this.#state.connected();
        isProven = true;
      },
    };
    return pollUntilLost(session, round, life);
  }

  async #sink(): Promise<SourceSink> {
    const { pipeline, cache, registry } = this.#options;
    const { name } = this.#config;
    // What the last session delivered must be on disk before the list of what was committed is asked for.
    const { signal } = this.#stopping;
    await unlessAborted(pipeline.durable(), signal);
    const committed = await unlessAborted(cache.receipts(name), signal);
    let isFullKnown = false;
    return new SourceSink(name, registry, pipeline, committed, {
      tag: (index) => this.#tags.add(index),
      tagRefused: (tag) => {
        this.#state.count('tagsRefused');
        if (!isFullKnown)
          this.#options.logger.warn(
            { source: name, tag },
            `${name} has more tags than pipeline.tagsMax allows: new ones are refused`,
          );
        isFullKnown = true;
      },
      delivering: (chunk) => this.#marks.before(chunk),
      delivered: () => {
        this.#state.count('reads');
        this.#reconnect.proven();
      },
    });
  }

  /** Runs `work` until the session ends or the gateway stops, and closes the session whatever happens. */
  async #whileOpen(session: PollSession | ListenSession, work: (life: AbortSignal) => Promise<unknown>): Promise<void> {
    const life = new AbortController();
    const { signal } = this.#stopping;
    const onStop = () => life.abort(signal.reason);
    signal.addEventListener('abort', onStop, { once: true });
    if (signal.aborted) onStop();
    session.closed.then(
      () => life.abort(new SluiceError('ingest.closed', 'retry', 'the connection was closed')),
      (thrown) => life.abort(asError(thrown)),
    );
    try {
      await work(life.signal);
    } finally {
      signal.removeEventListener('abort', onStop);
      await this.#close(session);
    }
  }

  /** Waits for opening at most so long, and closes a session that comes too late. */
  #within<Opened extends PollSession | ListenSession>(open: (abort: AbortSignal) => Promise<Opened>): Promise<Opened> {
    const { signal } = this.#stopping;
    const controller = new AbortController();
    return new Promise((resolve, reject) => {
      let isOver = false;
      const giveUp = (reason: unknown) => {
        isOver = true;
        controller.abort(reason);
        end();
        reject(reason);
      };
      const onStop = () => giveUp(signal.reason);
      const timer = this.#options.clock.after(OPEN_TIMEOUT_MS, () =>
        giveUp(new SluiceError('ingest.open_timeout', 'retry', `no connection within ${OPEN_TIMEOUT_MS / 1000} s`)),
      );
      const end = () => {
        timer.cancel();
        signal.removeEventListener('abort', onStop);
      };
      signal.addEventListener('abort', onStop, { once: true });
      if (signal.aborted) return onStop();
      open(controller.signal).then(
        (session) => {
          end();
          if (isOver) void this.#close(session);
          else resolve(session);
        },
        (thrown) => {
          end();
          reject(asError(thrown));
        },
      );
    });
  }

  async #close(session: PollSession | ListenSession): Promise<void> {
    const timeUp = new AbortController();
    // A driver that fails to close has nothing left that we could do for it.
    const closed = session.close().catch(() => {});
    await Promise.race([closed, sleep(this.#options.clock, CLOSE_TIMEOUT_MS, timeUp.signal).catch(() => {})]);
    timeUp.abort();
  }

  #context(): DriverContext {
    const { gateway, clock, random } = this.#options;
    return { gateway, source: this.#config.name, clock, random };
  }

  #register(tag: SourceConfig['prepared']['groups'][number]['tags'][number], everyMs: number): number {
    const { name, type, unit, description, location, deviceType } = tag;
    const definition: TagDefinition = {
      name: `${this.#config.name}/${name}`,
      type,
      ...(unit === undefined ? {} : { unit }),
      ...(description === undefined ? {} : { description }),
      ...(location === undefined ? {} : { location }),
      ...(deviceType === undefined ? {} : { deviceType }),
    };
    const periodMs = this.#config.prepared.open.mode === 'poll' ? everyMs : undefined;
    const index = this.#options.registry.register(this.#config.name, definition, tag.fields, periodMs);
    if (index !== undefined) return index;
    throw new SluiceError(
      'registry.full',
      'stop',
      `the tag ${definition.name} does not fit: there are more tags than pipeline.tagsMax`,
    );
  }
}

/** A group is read as a whole: one tag of normal priority keeps it at its pace. */
function isLow(tags: SourceConfig['prepared']['groups'][number]['tags']): boolean {
  return tags.every(({ fields }) => fields.priority === 'low');
}

/** A full cache may keep us for as long as the cloud is away: the end of the gateway does not wait for it. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}
