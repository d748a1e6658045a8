/** What the parts of the uplink say to each other and to whoever starts it. */
import type { AckedAnswer, CacheClient, CutBatch } from '../cache/types.ts';
import type { UplinkConfig } from '../config/uplink.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Lane } from '../wire/classes.ts';
import type { BreakerState } from './breaker.ts';
import type { CloudNews, Outcome } from './decide.ts';

/** What the uplink needs of the cache. */
export type UplinkCache = Pick<
  CacheClient,
  'cut' | 'acknowledge' | 'release' | 'refuse' | 'hello' | 'helloRuns' | 'forgetDictionary' | 'setRecipient' | 'backlog'
>;

/** pino's own loggers fit. */
export interface UplinkLogger {
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

export interface Attempt {
  readonly outcome: Outcome;
  /** With `acknowledged`. */
  readonly answer?: AckedAnswer;
  /** Of any answer that verified, refusals too. */
  readonly incarnation?: string;
}

/** One attempt; never rejects. */
export type Send = (
  lane: Lane,
  batch: Pick<CutBatch, 'envelope' | 'digest' | 'rows'>,
  signal: AbortSignal,
) => Promise<Attempt>;

export interface LanesOptions {
  readonly config: UplinkConfig;
  readonly target: string;
  readonly cache: UplinkCache;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly logger: UplinkLogger;
  readonly send: Send;
  /** Asks the cloud whether it lives; never rejects. */
  readonly hello: (signal: AbortSignal) => Promise<CloudNews>;
  /** Called after every attempt. */
  readonly onChange: () => void;
  readonly onIncarnation: (incarnation: string) => void;
  readonly onWrittenOff: (rows: number, reason: string) => void;
}

export interface UplinkCounters {
  /** Readings under a valid answer; those the cloud held already included. */
  delivered: number;
  duplicates: number;
  /** Batches acknowledged. */
  batches: number;
  /** Attempts after the first. */
  resent: number;
  /** Envelope bytes and readings over all attempts: their ratio is the cost of a reading on the wire. */
  bytesSent: number;
  readingsSent: number;
  refusedRows: number;
  /** Age of the newest acknowledged live reading when its answer came. */
  freshnessMs: number | undefined;
}

/** Answers that changed nothing, by why. */
export interface IgnoredAnswers {
  /** No signature of ours: a portal, a proxy, an error page. */
  unsigned: number;
  /** Signed, but to other bytes or another device: old, doubled or replayed. */
  foreign: number;
  /** Signed by a key that is not in the list. */
  unknownKey: number;
  malformed: number;
}

export interface LaneState {
  readonly inFlight: number;
  /** Sealed batches that wait for their next try. */
  readonly waiting: number;
  readonly parked: number;
  /** Wall clock of the next try, while there is one to wait for. */
  readonly waitingUntil: number | undefined;
  readonly lastAckMs: number | undefined;
  readonly lastError: string | undefined;
  /** Rows the next batch may have. */
  readonly batchRows: number;
}

export interface HoldState {
  readonly reason: string;
  readonly text: string;
  readonly hint: string;
  readonly sinceMs: number;
}

export interface CloudTime {
  /** Cloud time minus the box's wall clock, in ms. */
  readonly offsetMs: number;
  /** Half the round trip: the true offset is within it. */
  readonly uncertaintyMs: number;
  readonly atMonoMs: number;
}

export interface UplinkState extends Readonly<UplinkCounters> {
  readonly lanes: Readonly<Record<Lane, LaneState>>;
  readonly breaker: BreakerState;
  readonly lastError: string | undefined;
  readonly holds: readonly HoldState[];
  readonly ignored: Readonly<IgnoredAnswers>;
  /** As the cache last said, at most some seconds old. */
  readonly pendingRows: number | undefined;
  /** Undefined before the first hello. */
  readonly cloudTime: CloudTime | undefined;
  readonly lastHelloMs: number | undefined;
}
