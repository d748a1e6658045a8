/**
 * What is known of a source, for status, HMI and alarms. Each change is published and logged once; a retry that fails as
 * the one before is no change.
 */
import { codeOf, describe, isSluiceError } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/log.ts';

export interface Fault {
  readonly code: string;
  readonly message: string;
  readonly hint?: string | undefined;
}

export interface UnitState {
  readonly unit: string;
  /** `unknown` while its source has no connection, or has had none yet: nobody can have asked it. */
  readonly state: 'up' | 'down' | 'unknown';
  /** Wall clock, ms, of the last change. */
  readonly since: number;
  readonly error?: Fault | undefined;
}

export interface SourceState {
  readonly source: string;
  readonly driver: string;
  /** `degraded`: connected, and some unit behind it gives no answer. */
  readonly state: 'connecting' | 'up' | 'degraded' | 'down';
  /** Wall clock, ms, of the last change of `state`. */
  readonly since: number;
  /** Of the last failure, while it lasts. */
  readonly error?: Fault | undefined;
  readonly units: readonly UnitState[];
  /** Rounds of reads that ended, for poll sources; deliveries for listen sources. */
  readonly reads: number;
  /** Reads left out because an earlier one took too long, the process slept, the cache was full, or it fills and the tags are of low priority. */
  readonly skipped: number;
  /** Groups read out of turn because somebody asked for a value that was past its time. */
  readonly asked: number;
  /** Rounds that took longer than until the next one was due. */
  readonly overruns: number;
  readonly connects: number;
  /** Times that connecting failed, or the connection was lost. */
  readonly failures: number;
  /** New tags turned away because the registry was full. */
  readonly tagsRefused: number;
}

export type IngestLogger = Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>;
type Counter = 'reads' | 'skipped' | 'asked' | 'overruns' | 'connects' | 'failures' | 'tagsRefused';

export function faultOf(thrown: unknown): Fault {
  const hint = isSluiceError(thrown) ? thrown.hint : undefined;
  return { code: codeOf(thrown), message: describe(thrown), ...(hint === undefined ? {} : { hint }) };
}

export class StateKeeper {
  readonly #clock: Clock;
  readonly #logger: IngestLogger;
  readonly #onState: (state: SourceState) => void;
  #state: SourceState;
  #downSinceMs: number | undefined;

  constructor(
    source: string,
    driver: string,
    units: readonly string[],
    clock: Clock,
    logger: IngestLogger,
    onState: (state: SourceState) => void,
  ) {
    this.#clock = clock;
    this.#logger = logger;
    this.#onState = onState;
    const since = clock.wallMs();
    this.#state = {
      source,
      driver,
      state: 'connecting',
      since,
      units: units.map((unit) => ({ unit, state: 'up', since })),
      reads: 0,
      skipped: 0,
      asked: 0,
      overruns: 0,
      connects: 0,
      failures: 0,
      tagsRefused: 0,
    };
  }

  get current(): SourceState {
    return asKnown(this.#state);
  }

  count(counter: Counter, by = 1): void {
    if (by !== 0) this.#state = { ...this.#state, [counter]: this.#state[counter] + by };
  }

  connected(): void {
    this.count('connects');
    const { source, driver } = this.#state;
    if (this.#downSinceMs === undefined) this.#logger.info({ source, driver }, `${source} is connected`);
    else {
      const downMs = Math.round(this.#clock.monoMs() - this.#downSinceMs);
      this.#logger.info({ source, driver, downMs }, `${source} is connected again`);
    }
    this.#downSinceMs = undefined;
    this.#change(this.#state.units, undefined, true);
  }

  /** Connecting failed, or the connection was lost. True when the source was not down before. */
  lost(thrown: unknown): boolean {
    this.count('failures');
    const error = faultOf(thrown);
    const { source, driver, state, error: before } = this.#state;
    const isNew = state !== 'down';
    if (isNew) {
      this.#downSinceMs = this.#clock.monoMs();
      this.#logger.warn({ source, driver, ...error }, `${source} is down: ${error.message}`);
    } else this.#logger.debug({ source, ...error }, `${source} is still down`);
    if (isNew || before?.code !== error.code) this.#change(this.#state.units, error, false);
    return isNew;
  }

  unitDown(unit: string, thrown: unknown): void {
    const error = faultOf(thrown);
    const { source } = this.#state;
    this.#logger.warn({ source, unit, ...error }, `${source}, ${unit} does not answer: ${error.message}`);
    this.#changeUnit(unit, 'down', error);
  }

  unitUp(unit: string): void {
    const { source, units } = this.#state;
    const since = units.find((each) => each.unit === unit)?.since ?? this.#clock.wallMs();
    this.#logger.info(
      { source, unit, downMs: Math.max(0, Math.round(this.#clock.wallMs() - since)) },
      `${source}, ${unit} answers again`,
    );
    this.#changeUnit(unit, 'up');
  }

  #changeUnit(unit: string, state: UnitState['state'], error?: Fault): void {
    const changed: UnitState = { unit, state, since: this.#clock.wallMs(), ...(error === undefined ? {} : { error }) };
    this.#change(
      this.#state.units.map((each) => (each.unit === unit ? changed : each)),
      this.#state.error,
      this.#state.state !== 'down',
    );
  }

  #change(units: readonly UnitState[], error: Fault | undefined, isConnected: boolean): void {
    const someDown = units.some((unit) => unit.state === 'down');
    const state = !isConnected ? 'down' : someDown ? 'degraded' : 'up';
    const { error: _, ...rest } = this.#state;
    const since = state === rest.state ? rest.since : this.#clock.wallMs();
    this.#state = { ...rest, state, since, units, ...(error === undefined ? {} : { error }) };
    this.#onState(this.current);
  }
}

function asKnown(source: SourceState): SourceState {
  if (source.state === 'up' || source.state === 'degraded') return source;
  return { ...source, units: source.units.map(({ unit, since }) => ({ unit, state: 'unknown', since })) };
}
