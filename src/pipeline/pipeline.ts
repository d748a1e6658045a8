/**
 * What every reading passes between its driver and the cache, in one direction and without waiting:
 *
 *   push → validate → hot → alarms → HMI → deadband → outbox → cache
 *
 * Each step works in place on the chunk's columns. Hot values, alarms and the HMI come first: they see every valid reading,
 * whether there is room for it on the disk or not; the deadband only marks what the journal leaves out.
 *
 * Counted for each source: received = rejected + duplicate + thinned + accepted. The cache counts what it accepts; the
 * others travel with the readings they belong to, into the same commit.
 *
 * Full: level 5 of the cache's degradation ladder, or memory for uncommitted readings at its cap. Sources ask `pressed` before they read a device. A chunk that comes all the same when the cache is at its cap is
 * seen by them and kept by nobody: counted as received and rejected, and `push` says so, so that nobody acknowledges it.
 */
import type { AlarmRow, CacheClient, LadderLevel, Receipt } from '../cache/types.ts';
import type { PipelineConfig } from '../config/pipeline.ts';
import type { Chunk } from '../reading.ts';
import { type Clock, sleep } from '../runtime/clock.ts';
import { Accounts } from './accounts.ts';
import { LimitAlarms } from './alarm.ts';
import { AlarmBook } from './alarm-book.ts';
import { TagColumns, Trait } from './columns.ts';
import { DeadLetters, originalOf } from './dead-letters.ts';
import { Deadband } from './deadband.ts';
import { Outbox } from './outbox.ts';
import type { TagRegistry } from './registry.ts';
import { CLOSED_LEVEL, slowdownAt } from './relief.ts';
import { SourceAlarms, type SourceHealth } from './source-alarms.ts';
import { type RejectReason, timeLimits, validate } from './validate.ts';

/** A cache that is only busy has room again after its next commit; a full disk would keep us for ever. */
const STOP_MS = 3_000;
/** Kinds of reasons that are counted by name. */
const REASONS_MAX = 64;
/** Valid, and not taken. */
const NO_ROOM = 'no_room';

export interface PipelineOptions {
  readonly registry: TagRegistry;
  /** Takes the last value of each tag. */
  readonly hot: { update(chunk: Chunk): void };
  readonly cache: Pick<CacheClient, 'append' | 'accepting' | 'committed' | 'uncommittedBytes' | 'uncommittedBytesMax'>;
  /** Absent where nobody looks. `changed` must not keep the array: its buffer moves on. */
  readonly hmi?: { changed(indexes: Uint32Array): void; alarm(id: string, state: object): void } | undefined;
  readonly clock: Clock;
  /** Alarm rows of the cache's last run, in order; what was active stays active. */
  readonly alarms?: readonly AlarmRow[];
  /** Names of the configured sources: restored alarms of others are cleared. */
  readonly sources?: readonly string[];
}

export class Pipeline {
  readonly #options: PipelineOptions;
  readonly #futureMaxMs: number;
  readonly #accounts = new Accounts();
  readonly #letters: DeadLetters;
  readonly #outbox: Outbox;
  readonly #book: AlarmBook;
  readonly #columns: TagColumns;
  readonly #limitAlarms: LimitAlarms;
  readonly #sourceAlarms: SourceAlarms;
  readonly #deadband: Deadband;
  readonly #reasons = new Map<string, number>();
  #level: LadderLevel = 0;

  constructor(config: PipelineConfig, options: PipelineOptions) {
    const { clock, registry, cache, hmi } = options;
    this.#options = options;
    this.#futureMaxMs = config.futureMax;
    this.#letters = new DeadLetters(config.deadLetters, clock);
    this.#outbox = new Outbox(cache, this.#accounts, this.#letters, clock, registry);
    this.#book = new AlarmBook((row) => {
      this.#outbox.alarm(row);
      hmi?.alarm(row.id, row);
    });
    this.#columns = new TagColumns(registry, config.maxSilence, (tag) => this.#limitAlarms.watch(tag));
    this.#limitAlarms = new LimitAlarms(this.#columns, this.#book, clock);
    this.#sourceAlarms = new SourceAlarms(this.#book, clock);
    this.#deadband = new Deadband(this.#columns);
    this.#restoreAlarms(options.alarms ?? [], options.sources);
  }

  /**
   * The chunk is gone for the caller.
   * @param receipts kept in the same commit as these readings.
   * @returns false when there was no room: nothing of it is kept.
   */
  push(source: string, chunk: Chunk, receipts: readonly Receipt[] = []): boolean {
    const { clock, hot, hmi } = this.#options;
    const received = chunk.length;
    this.#columns.refresh();
    const time = timeLimits(clock.wallMs(), clock.synced(), this.#futureMaxMs);
    const reasons = new Map<string, number>();
    const valid = validate(chunk, this.#columns, time, (row, reason) => {
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      this.#rejectRow(source, chunk, row, reason);
    });
    if (valid.chunk.length > 0) {
      hot.update(valid.chunk);
      if ((valid.traits & Trait.alarm) !== 0) this.#limitAlarms.apply(valid.chunk);
      hmi?.changed(
        valid.chunk.length === valid.chunk.tag.length
          ? valid.chunk.tag
          : valid.chunk.tag.subarray(0, valid.chunk.length),
      );
    }
    if (this.closed || !this.#outbox.hasRoom(valid.chunk.length)) {
      reasons.set(NO_ROOM, valid.chunk.length);
      this.#accounts.add(source, { received, rejected: received }, reasons);
      this.#countReason(NO_ROOM, valid.chunk.length);
      // Nothing may come for long that these counts could go with.
      this.#outbox.flushSoon();
      return false;
    }
    const isThinned = valid.chunk.length > 0 && (valid.traits & Trait.deadband) !== 0;
    const thinned = isThinned ? this.#deadband.apply(valid.chunk) : 0;
    this.#outbox.readings(source, valid.chunk, { received, rejected: valid.rejected, thinned, reasons }, receipts);
    return true;
  }

  /** An input that became no reading: one received, one rejected. */
  reject(source: string, subject: string, original: Uint8Array | string, reason: string): void {
    this.#accounts.add(source, { received: 1, rejected: 1 }, new Map([[this.#countReason(reason), 1]]));
    if (this.#letters.admits(source)) this.#letters.keep(source, subject, original, reason);
    this.#outbox.flushSoon();
  }

  /** An input that came again and was committed before. */
  duplicate(source: string): void {
    this.#accounts.add(source, { received: 1, duplicate: 1 });
    this.#outbox.flushSoon();
  }

  releaseReceipts(source: string, packetIds: readonly number[]): void {
    this.#outbox.release(source, packetIds);
  }

  clearReceipts(source: string): void {
    this.#outbox.clear(source);
  }

  /** Whether sources that can wait should: polls are skipped, not queued. */
  pressed(): boolean {
    return this.closed || !this.#options.cache.accepting();
  }

  /** The disk is full: nothing but alarms and counts is taken. */
  get closed(): boolean {
    return this.#level === CLOSED_LEVEL;
  }

  /** How many times less often low-priority tags shall be read. */
  slowdown(): number {
    return slowdownAt(this.#level);
  }

  /** A step of the degradation ladder, up or down. */
  ladder(level: LadderLevel): void {
    this.#level = level;
    this.#deadband.widening = slowdownAt(level);
  }

  /** Resolves when everything pushed before is on disk; rejects when it never will be. */
  async durable(): Promise<void> {
    await this.#outbox.emptied();
    await this.#options.cache.committed();
  }

  /** What the runner knows of a source: its faults are alarms. */
  sourceState(health: SourceHealth): void {
    this.#sourceAlarms.update(health);
  }

  /**
   * An alarm of the box itself, such as an uplink that is held. Said again while it is active, its text changes.
   * @param isWorse somebody who acknowledged it has to look again.
   */
  gatewayAlarm(id: string, isActive: boolean, text: string, isWorse = false): void {
    const event = { at: this.#options.clock.wallMs(), text };
    if (isActive && this.#book.isActive(id)) this.#book.change(id, event, isWorse);
    else if (isActive) this.#book.raise(id, {}, 'fault', event);
    else this.#book.clear(id, event);
  }

  /** False when there is no such alarm, or it is acknowledged already. */
  acknowledge(alarmId: string, by: string): boolean {
    return this.#book.acknowledge(alarmId, by, this.#options.clock.wallMs());
  }

  activeAlarms(): readonly AlarmRow[] {
    return this.#book.active();
  }

  /** Since the process started; what was accepted is in the cache's ledger. */
  counts(): Readonly<Record<string, { received: number; rejected: number; duplicate: number; thinned: number }>> {
    return this.#accounts.totals();
  }

  /** Rejected inputs by reason, since the process started. */
  rejections(): ReadonlyMap<string, number> {
    return this.#reasons;
  }

  /**
   * Hands over what still waits, as far as the cache takes it in time. Nothing may be pushed afterwards.
   * @returns how many readings it did not take.
   */
  async stop(): Promise<number> {
    this.#sourceAlarms.stop();
    this.#limitAlarms.stop();
    const timeUp = new AbortController();
    const handedOver = this.#outbox.emptied().catch(() => {}); // a broken cache is reported by itself
    await Promise.race([handedOver, sleep(this.#options.clock, STOP_MS, timeUp.signal).catch(() => {})]);
    timeUp.abort();
    this.#outbox.stop();
    return this.#outbox.rows;
  }

  #rejectRow(source: string, chunk: Chunk, row: number, reason: RejectReason): void {
    this.#countReason(reason);
    if (!this.#letters.admits(source)) return;
    const tag = this.#options.registry.get(chunk.tag[row] ?? 0);
    const subject = tag?.definition.name ?? `${source}/?`;
    this.#letters.keep(source, subject, originalOf(chunk, row, tag?.definition.type), reason);
  }

  /** @returns the name under which it is counted. */
  #countReason(reason: string, by = 1): string {
    // Reasons of drivers are sentences of their own making, but few; a driver that makes up new ones is cut off.
    const key = this.#reasons.has(reason) || this.#reasons.size < REASONS_MAX ? reason : 'other';
    this.#reasons.set(key, (this.#reasons.get(key) ?? 0) + by);
    return key;
  }

  #restoreAlarms(rows: readonly AlarmRow[], sources: readonly string[] | undefined): void {
    this.#book.restore(rows);
    const at = this.#options.clock.wallMs();
    for (const { id, tag, source } of this.#book.active()) {
      const owner = source ?? tag?.split('/')[0];
      // The box's own parts start afresh, and say so themselves if it is as before.
      if (owner === undefined) this.#book.clear(id, { at, text: 'the gateway was restarted' });
      else if (sources !== undefined && !sources.includes(owner)) {
        this.#book.clear(id, { at, text: `${owner} is not configured any more` });
      }
    }
  }
}

export function startPipeline(config: PipelineConfig, options: PipelineOptions): Pipeline {
  return new Pipeline(config, options);
}
