/** Carries out what `decide` said about one batch: in the cache, in its lane, in the counters. */
import type { AckedAnswer, CutRequest } from '../cache/types.ts';
import { describe } from '../errors.ts';
import type { BreakerState } from './breaker.ts';
import { type Decision, halfHistory } from './decide.ts';
import type { Lane, Trial } from './lane.ts';
import type { LanesOptions, UplinkCounters } from './types.ts';

/** After the cache itself failed to answer; the daemon is about to stop anyway when it is broken for good. */
export const CACHE_RETRY_MS = 1000;

export interface Site {
  readonly options: LanesOptions;
  readonly counters: UplinkCounters;
  readonly breaker: { readonly state: BreakerState };
  cutRequest(lane: Lane, rowsMax: number): CutRequest;
}

/** @param answer with the action `deliver`. Never rejects: what the cache would not do is tried again by resending. */
export async function carryOut(
  site: Site,
  lane: Lane,
  trial: Trial,
  decision: Decision,
  answer: AckedAnswer | undefined,
): Promise<void> {
  const { cache, clock, logger, onWrittenOff, target } = site.options;
  const { action } = decision;
  const { batchId, refusable } = trial.batch;
  try {
    switch (action.do) {
      case 'deliver':
        if (answer !== undefined) await deliver(site, lane, trial, answer);
        break;
      case 'again':
        again(site, lane, trial, decision);
        break;
      case 'park':
        trial.parked = action.reason;
        trial.parkedMs ??= clock.wallMs();
        lane.again(trial, clock.monoMs() + action.afterMs, true);
        break;
      case 'split':
        await split(site, lane, trial);
        break;
      case 'writeOff':
        await cache.refuse(batchId, action.reason);
        lane.done(trial);
        site.counters.refusedRows += refusable;
        onWrittenOff(refusable, action.reason);
        break;
      case 'reseal':
      case 'recut':
        if (action.do === 'reseal') await cache.forgetDictionary(target);
        await cache.release(batchId);
        lane.done(trial);
        lane.nextCutMs = clock.monoMs();
        break;
    }
  } catch (error) {
    // The cache did not do it: the batch is as it was before this answer, and sending it again harms nothing.
    logger.error({ error: describe(error), batchId, action: action.do }, 'uplink: the cache did not take an answer');
    lane.again(trial, clock.monoMs() + CACHE_RETRY_MS, trial.aside);
  }
}

async function deliver({ options, counters }: Site, lane: Lane, trial: Trial, answer: AckedAnswer): Promise<void> {
  const { batch } = trial;
  await options.cache.acknowledge(batch.batchId, answer);
  lane.done(trial);
  const nowMs = options.clock.wallMs();
  lane.lastAckMs = nowMs;
  counters.batches++;
  counters.delivered += batch.readings;
  counters.duplicates += answer.duplicates;
  if (lane.name === 'live' && batch.readings > 0) counters.freshnessMs = Math.max(0, nowMs - batch.lastMs);
}

function again({ options, breaker }: Site, lane: Lane, trial: Trial, { action, cloud }: Decision): void {
  if (action.do !== 'again') return;
  const paused = cloud.state === 'failed' && cloud.pauseMs !== undefined;
  // While the breaker is not closed it does the waiting: when the cloud is back, nothing should sit out an old back-off.
  const afterMs = breaker.state === 'closed' || paused ? action.afterMs : 0;
  lane.again(trial, options.clock.monoMs() + afterMs, action.aside || trial.aside);
}

/** Both halves are cut while the whole is still in flight: nobody else can take their rows in between. */
async function split(site: Site, lane: Lane, trial: Trial): Promise<void> {
  const { cache, clock, logger } = site.options;
  const { batch } = trial;
  const request = site.cutRequest(lane, batch.rows);
  const cuts = await Promise.allSettled((batch.halves ?? []).map((only) => cache.cut({ ...request, only })));
  const halves = cuts.flatMap((cut) => (cut.status === 'fulfilled' && cut.value !== undefined ? [cut.value] : []));
  lane.halved(
    trial,
    halves.map((half) => ({
      batch: half,
      root: trial.root,
      history: halfHistory(trial.history, { smallest: half.halves === undefined, refusable: half.refusable }),
      aside: true,
      parked: undefined,
      parkedMs: undefined,
      dueMs: clock.monoMs(),
      yieldedAt: 0,
    })),
  );
  await cache.release(batch.batchId);
  logger.warn({ lane: lane.name, rows: batch.rows, error: lane.lastError }, 'uplink: batch halved');
}
