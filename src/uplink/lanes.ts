/**
 * The three lanes at work: whenever a slot is free and the breaker lets something out, the most urgent lane cuts or
 * resends; what comes back goes through the answer table (`decide`), and its decision is carried out here.
 *
 * Invariants: nothing is acknowledged or refused in the cache but by a decision on a verified answer; every batch the
 * cache gave out is acknowledged, refused, released, or still held here; a resend is the same bytes.
 */
import type { CutBatch, CutRequest } from '../cache/types.ts';
import { describe } from '../errors.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import { LANES } from '../wire/classes.ts';
import { CODEC } from '../wire/compress.ts';
import { ROWS_MAX } from '../wire/envelope.ts';
import { Breaker, HELLO_TRIAL } from './breaker.ts';
import { CACHE_RETRY_MS, carryOut, type Site } from './carry-out.ts';
import { decide, errorText, noted, type Outcome, type Passes } from './decide.ts';
import { Lane, type Trial } from './lane.ts';
import { BacklogPace } from './pace.ts';
import type { LanesOptions, UplinkCounters } from './types.ts';

/** A live batch that took longer is late enough for the backlog to give way, however short the interval. */
const LIVE_SLOW_MS = 1000;
/** Most of a backlog batch while the disk fills: 13 % fewer bytes a reading than 10,000 rows, and all a cloud takes. */
const PRESSED_ROWS_MAX = ROWS_MAX;
/** An alarm is cut this soon after its commit even when nobody nudged. */
const ALARM_POLL_MS = 500;

export class Lanes implements Site {
  readonly options: LanesOptions;
  readonly lanes: readonly Lane[];
  readonly breaker: Breaker;
  readonly counters: UplinkCounters = {
    delivered: 0,
    duplicates: 0,
    batches: 0,
    resent: 0,
    bytesSent: 0,
    readingsSent: 0,
    refusedRows: 0,
    freshnessMs: undefined,
  };
  readonly #clock: Clock;
  readonly #pace: BacklogPace;
  readonly #stop = new AbortController();
  readonly #work = new Set<Promise<void>>();
  /** By suite and codec. */
  readonly #passed = new Map<string, number>();
  readonly #refused = new Map<string, number>();
  #passedAny = 0;
  #dictionaryMisses = 0;
  #sealedBytesMax: number;
  #codec: 'brotli' | 'deflate';
  #isPressed = false;
  #started = false;
  #wake: Timer | undefined;

  constructor(options: LanesOptions) {
    const { config, clock } = options;
    this.options = options;
    this.#clock = clock;
    this.breaker = new Breaker(clock, options.random);
    this.#pace = new BacklogPace(config.backlogParallel, Math.max(LIVE_SLOW_MS, config.cutInterval));
    this.#sealedBytesMax = config.bytesMax;
    this.#codec = config.codec;
    const slots = { alarm: () => 1, live: () => 1, backlog: () => this.#pace.slots };
    this.lanes = LANES.map((name) => new Lane(name, config.rowsMax, slots[name]));
  }

  start(): void {
    this.#started = true;
    this.pump();
  }

  /** What the cloud said it takes. What had been too large is tried again. */
  limit(bytesMax: number, codecs: readonly number[]): void {
    const { config } = this.options;
    this.#sealedBytesMax = Math.min(config.bytesMax, bytesMax);
    this.#codec =
      config.codec === 'brotli' && !codecs.includes(CODEC.brotli) && codecs.includes(CODEC.deflate)
        ? 'deflate'
        : config.codec;
    for (const lane of this.lanes) lane.size.forgetCeiling();
  }

  /**
   * The disk fills with what is to be sent: the backlog goes in larger batches and is compressed more strongly. Live and
   * alarms go as ever.
   */
  press(isPressed: boolean): void {
    this.#isPressed = isPressed;
    const rowsMax = isPressed ? Math.max(PRESSED_ROWS_MAX, this.options.config.rowsMax) : this.options.config.rowsMax;
    for (const lane of this.lanes) if (lane.name === 'backlog') lane.size.limit(rowsMax);
  }

  /** Something urgent was committed: cut alarms now rather than at the next poll. */
  nudge(): void {
    this.#cutAlarmsNow();
    this.pump();
  }

  /** Every lane cuts as soon as it has a slot, whatever its interval. */
  cutNow(): void {
    for (const lane of this.lanes) lane.nextCutMs = this.#clock.monoMs();
    this.pump();
  }

  #cutAlarmsNow(): void {
    for (const lane of this.lanes) if (lane.name === 'alarm') lane.nextCutMs = this.#clock.monoMs();
  }

  /** Starts whatever may start now. Called after everything that could change that. */
  pump(): void {
    if (!this.#started || this.#stop.signal.aborted) return;
    for (const lane of this.lanes) {
      while (this.#step(lane));
    }
    this.#lastResort();
    this.#scheduleWake();
  }

  /** Nothing new goes out; what is in flight is waited for at most `graceMs`, then everything unanswered is released. */
  async stop(graceMs: number): Promise<void> {
    this.#started = false;
    this.#wake?.cancel();
    let timer: Timer | undefined;
    const grace = new Promise<void>((resolve) => {
      timer = this.#clock.after(graceMs, resolve);
    });
    await Promise.race([this.#settled(), grace]);
    timer?.cancel();
    this.#stop.abort(new Error('the uplink is stopping'));
    await this.#settled();
    const unanswered = this.lanes.flatMap((lane) => lane.drain());
    await Promise.allSettled(unanswered.map((trial) => this.options.cache.release(trial.batch.batchId)));
  }

  async #settled(): Promise<void> {
    while (this.#work.size > 0) await Promise.allSettled([...this.#work]);
  }

  /** @returns whether it started something */
  #step(lane: Lane): boolean {
    const next = lane.next(this.#clock.monoMs(), (id) => this.breaker.admits(id), this.breaker.admitsNew);
    if (next === undefined) return false;
    this.#run(next === 'cut' ? this.#cut(lane) : this.#send(lane, next));
    return true;
  }

  #run(work: Promise<void>): void {
    const settled = work.then(
      () => {
        this.#work.delete(settled);
        this.pump();
      },
      // Nothing below throws by design: this is the last net, so that a mistake stops no lane.
      (error: unknown) => {
        this.#work.delete(settled);
        this.options.logger.error({ error: describe(error) }, 'uplink: unexpected');
        this.pump();
      },
    );
    this.#work.add(settled);
  }

  async #cut(lane: Lane): Promise<void> {
    const reserved = `cut ${lane.name}`;
    this.breaker.sent(reserved);
    lane.cutStarted();
    const startedMs = this.#clock.monoMs();
    lane.nextCutMs = startedMs + this.options.config.cutInterval;
    let batch: CutBatch | undefined;
    try {
      batch = await this.options.cache.cut(this.cutRequest(lane, lane.size.rows));
    } catch (error) {
      lane.nextCutMs = this.#clock.monoMs() + CACHE_RETRY_MS;
      lane.lastError = describe(error);
      return;
    } finally {
      lane.cutDone();
      this.breaker.unsent(reserved);
    }
    // Nothing live to send: nobody for the backlog to give way to.
    if (lane.name === 'live' && batch === undefined) this.#pace.live(0);
    if (lane.name === 'alarm') lane.nextCutMs = startedMs + (batch === undefined ? ALARM_POLL_MS : 0);
    if (lane.name === 'backlog' && batch !== undefined) lane.nextCutMs = this.#clock.monoMs() + this.#pace.gapMs;
    if (batch !== undefined) lane.sealed(batch, this.#clock.monoMs(), this.#dictionaryMisses);
  }

  cutRequest(lane: Lane, rowsMax: number): CutRequest {
    const { target, config } = this.options;
    const [bytesMax, codec, liveMs] = [this.#sealedBytesMax, this.#codec, config.liveMaxAge];
    const stronger = this.#isPressed && lane.name === 'backlog';
    return { target, lane: lane.name, rowsMax, bytesMax, liveMs, codec, stronger };
  }

  async #send(lane: Lane, trial: Trial): Promise<void> {
    const { batch } = trial;
    if (trial.history.failures + trial.history.refusals > 0) this.counters.resent++;
    this.breaker.sent(batch.batchId);
    lane.sent(trial);
    this.counters.bytesSent += batch.envelope.length;
    this.counters.readingsSent += batch.readings;
    const startedMs = this.#clock.monoMs();
    const { outcome, answer, incarnation } = await this.options.send(lane.name, batch, this.#stop.signal);
    if (this.#stop.signal.aborted && outcome.kind !== 'acknowledged') {
      lane.again(trial, 0, trial.aside);
      return;
    }
    this.#learn(lane, trial, outcome, this.#clock.monoMs() - startedMs);
    const { action, cloud } = decide(trial.history, outcome, this.#passes(batch), this.options.random());
    const before = this.breaker.state;
    this.breaker.tell(batch.batchId, cloud);
    if (before !== 'closed' && this.breaker.state === 'closed') this.#cutAlarmsNow();
    if (outcome.kind === 'acknowledged') this.#countPass(batch);
    lane.lastError = errorText(outcome);
    await carryOut(this, lane, trial, { action, cloud }, answer);
    this.options.onChange();
    if (incarnation !== undefined) this.options.onIncarnation(incarnation);
  }

  /** What an attempt teaches beyond its own batch: sizes, pace, history. */
  #learn(lane: Lane, trial: Trial, outcome: Outcome, tookMs: number): void {
    if (outcome.kind === 'refused') countIn(this.#refused, kindOf(trial.batch));
    trial.history = noted(trial.history, outcome, this.#passes(trial.batch));
    if (outcome.kind === 'acknowledged') lane.size.passed();
    if (outcome.kind === 'failed' && outcome.cause === 'timeout') lane.size.timedOut();
    if (outcome.kind === 'tooLarge') lane.size.tooLarge(trial.batch.rows);
    if (outcome.kind === 'dictionaryUnknown') {
      this.#dictionaryMisses = Math.max(this.#dictionaryMisses, trial.history.dictionaryMisses);
    }
    if (lane.name === 'live') this.#pace.live(tookMs);
  }

  #passes(batch: CutBatch): Passes {
    const kind = kindOf(batch);
    return { any: this.#passedAny, alike: this.#passed.get(kind) ?? 0, refusals: this.#refused.get(kind) ?? 0 };
  }

  #countPass(batch: CutBatch): void {
    this.#passedAny++;
    countIn(this.#passed, kindOf(batch));
    this.#dictionaryMisses = 0;
  }

  /**
   * A hello finds out whether the cloud is back: when only the batch that opened the breaker is left, and in a hold when there is
   * nothing to send that could be tried.
   */
  #lastResort(): void {
    if (this.breaker.state === 'closed' || !this.breaker.admitsNew) return;
    if (this.lanes.some((lane) => lane.busy > 0)) return;
    const isOpen = this.breaker.state === 'open';
    const isTried = ({ dueMs }: Trial) => isOpen || dueMs <= this.#clock.monoMs();
    if (this.lanes.some(({ waiting }) => waiting.some(isTried)) !== isOpen) return;
    this.breaker.sent(HELLO_TRIAL);
    const asked = this.options.hello(this.#stop.signal).then((news) => {
      this.breaker.tell(HELLO_TRIAL, news);
      this.options.onChange();
    });
    this.#run(asked);
  }

  #scheduleWake(): void {
    this.#wake?.cancel();
    const nowMs = this.#clock.monoMs();
    const times = [...this.lanes.flatMap((lane) => lane.wakes()), this.breaker.nextMs ?? nowMs].filter(
      (ms) => ms > nowMs,
    );
    const wakeMs = Math.min(nowMs + this.options.config.cutInterval, ...times);
    this.#wake = this.#clock.after(wakeMs - nowMs, () => this.pump());
  }
}

/** Suite and codec stand at bytes 4 and 5 of an envelope. */
function kindOf(batch: CutBatch): string {
  return `${batch.envelope[4]}/${batch.envelope[5]}`;
}

function countIn(counts: Map<string, number>, kind: string): void {
  counts.set(kind, (counts.get(kind) ?? 0) + 1);
}
