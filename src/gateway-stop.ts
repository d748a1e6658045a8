/**
 * The end in order, from the drivers forwards, within the time that people and service managers wait for. A part that does
 * not end is left behind; what is on disk then is what counts.
 */
import type { CacheClient } from './cache/index.ts';
import { asError, describe, SluiceError } from './errors.ts';
import { type Clock, sleep } from './runtime/clock.ts';
import type { Logger } from './runtime/log.ts';
import type { Uplink } from './uplink/index.ts';

/** What is taken at the end and not yet sent gets this long; then it waits on the disk for the next start. */
const DRAIN_MS = 4000;
/** Service managers kill after 10 s (Docker) or more. The last commit is what the time is for. */
const END_MS = 9500;
const PARTS_MS = 8000;

export interface Stage {
  readonly name: string;
  stop(): Promise<void> | void;
}

export interface End {
  /** Nothing that was taken is lost. */
  readonly onDisk: boolean;
  /** Something may still run. */
  readonly leftBehind: boolean;
}

/** @param stages in the order they were started; the first is what keeps the readings, and ends last. */
export async function endAll(stages: readonly Stage[], clock: Clock, logger: Logger): Promise<End> {
  const startedMs = clock.monoMs();
  const end = { onDisk: true, leftBehind: false };
  for (const [at, stage] of [...stages.entries()].reverse()) {
    const untilMs = startedMs + (at === 0 ? END_MS : PARTS_MS);
    try {
      if (await endsWithin(stage, untilMs - clock.monoMs(), clock)) continue;
      end.leftBehind = true;
      if (at === 0) end.onDisk = false;
      logger[at === 0 ? 'error' : 'warn']({ part: stage.name }, `${stage.name} did not end in time and is left behind`);
    } catch (error) {
      // One stage that cannot end in order must not keep the others from it.
      end.onDisk = false;
      logger.error({ part: stage.name, err: asError(error) }, `${stage.name} did not end in order: ${describe(error)}`);
    }
  }
  return end;
}

async function endsWithin({ stop }: Stage, delayMs: number, clock: Clock): Promise<boolean> {
  const timeUp = new AbortController();
  const isLate = sleep(clock, Math.max(0, delayMs), timeUp.signal).then(
    () => false,
    () => true,
  );
  try {
    return await Promise.race([Promise.resolve(stop()).then(() => true), isLate]);
  } finally {
    timeUp.abort();
  }
}

/** Sends what is still to be sent, as long as the cloud takes it, and lets go. */
export async function endUplink(
  uplink: Pick<Uplink, 'drain' | 'stop'>,
  cache: Pick<CacheClient, 'committed'>,
  clock: Clock,
): Promise<void> {
  const untilMs = clock.monoMs() + DRAIN_MS;
  const timeUp = new AbortController();
  try {
    // Together: while the cache is full, what is sent makes the room that the last commit waits for.
    const committed = Promise.race([cache.committed(), sleep(clock, DRAIN_MS, timeUp.signal).catch(() => {})]);
    await Promise.all([uplink.drain(untilMs), committed]);
    await uplink.drain(untilMs);
  } finally {
    timeUp.abort();
    await uplink.stop();
  }
}

/** @throws gateway.not_taken (stop) when the cache had no room for the last readings. */
export async function endPipeline(pipeline: { stop(): Promise<number> }): Promise<void> {
  const readings = await pipeline.stop();
  if (readings === 0) return;
  throw new SluiceError('gateway.not_taken', 'stop', `${readings} readings were not committed: the cache has no room`, {
    facts: { readings },
  });
}
